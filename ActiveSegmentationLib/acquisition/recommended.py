"""The strategy for whoever does not want to choose one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ActiveSegmentationLib.acquisition.balanced import Balanced
from ActiveSegmentationLib.acquisition.base import Choice, Strategy
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.registry import register

SETTINGS = {"trim": "0.1", "window": "0", "batches": "5", "foreground": "0.66"}
"""Options of "balanced:entropy" that were chosen on development data."""


@register
class Recommended(Strategy):
    """The strategy "balanced:entropy" with the options that measurements on development data favoured (ours).

    Patients take turns, then their volumes; places are spread evenly over the middle 80 % of the volumes and far from
    what is annotated in the same volume. From the first model on two thirds of them are spread over the slices in which
    the model sees structures, every class alike, five such batches are drawn, and the one of which the model is least
    sure is asked for. Where a person marked which slices of a volume show structures, that counts instead, from the
    first round on. How it was found, and how little separates the good strategies, is told in
    docs/experiments/recommended_strategy.md. It takes no options, so that its name in a table means one thing. Needs
    nothing; before the first model it does without. Cost: one prediction of every slice, and five times O(budget n) for
    the batches.
    """

    name = "recommended"
    summary = "Recommended: every patient in turn, evenly spread slices, most of them where the model sees structures."

    def __init__(self, argument: str | None = None, options: Mapping[str, str] | None = None) -> None:
        super().__init__(argument, options)
        self._balanced = Balanced("entropy", SETTINGS)
        self.figures, self.marks = self._balanced.figures, self._balanced.marks

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices; see ``Strategy.select``."""
        return self._balanced.select(pool, budget, rng)
