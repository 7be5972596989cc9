"""The strategy for whoever does not want to choose one."""

from __future__ import annotations

import numpy as np

from ActiveSegmentationLib.acquisition.balanced import Balanced
from ActiveSegmentationLib.acquisition.base import Choice, Strategy
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.registry import register


@register
class Recommended(Strategy):
    """ "balanced" with what measurements on development data favoured (ours; ``docs/recommended_strategy.md``).

    Patients take turns, then their volumes; places are spread evenly over the middle 80 % of the volumes and far from
    what is annotated in the same volume. From the first model on, of the slices around each place the one is drawn by
    lottery of which the model is least sure, every label counting alike. Fixed: it has no options, so that a name in a
    table means one thing. Needs nothing; before the first model it does without. Cost: one prediction of every slice.
    """

    name = "recommended"
    summary = "Recommended: every patient in turn, evenly spread slices, guided by the model once there is one."

    WINDOW = 0.3
    TRIM = 0.1

    def __init__(self, argument: str | None = None, options: dict[str, str] | None = None) -> None:
        super().__init__(argument, options)
        chosen = {"window": str(self.WINDOW), "trim": str(self.TRIM)}
        self._balanced = Balanced("class-entropy", chosen)
        self.figures = self._balanced.figures

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices; see ``Strategy.select``."""
        return self._balanced.select(pool, budget, rng)
