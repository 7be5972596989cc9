"""Random slices: the baseline that every other strategy must beat."""

from __future__ import annotations

import numpy as np

from ActiveSegmentationLib.acquisition.base import Choice, Strategy
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.registry import register


@register
class Random(Strategy):
    """Uniform draw without replacement from the slices that may be asked for (the baseline of all four papers).

    Needs nothing; cost O(n).
    """

    name = "random"
    summary = "Slices drawn at random from the whole cohort; the baseline."

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices; see ``Strategy.select``."""
        picks = pool.allowance().take_in_order(rng.permutation(len(pool)), budget)
        return [Choice(pool.ids[position], None, "Drawn at random.") for position in picks]
