"""Representativeness and score by the sum of their ranks."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.base import significant
from ActiveSegmentationLib.acquisition.combination import WEIGHT, GreedyCombination
from ActiveSegmentationLib.acquisition.registry import register


@register
class Borda(GreedyCombination):
    """Greedy on the sum of ranks by gain and by score, equal values sharing their mean rank (Borda count; ours).

    Ranks need no common scale and are not ruled by outliers. The argument names the two: coreset+entropy unless told.
    Needs what its parts need. Cost: that of its parts, and O(budget n log n).
    """

    name = "borda"
    summary = "Slices that rank high both as unlike the annotated and as hard for the model; robust to outliers."
    known_options: ClassVar = {"weight": WEIGHT}

    def joint(self, gains: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Sum of the two ranks, divided by the number of slices."""
        from scipy.stats import rankdata

        ranks = rankdata(significant(gains)) + self.options["weight"] * rankdata(significant(scores))
        return ranks / len(gains)
