"""Representativeness times score."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.base import significant
from ActiveSegmentationLib.acquisition.combination import WEIGHT, GreedyCombination
from ActiveSegmentationLib.acquisition.registry import register


@register
class Product(GreedyCombination):
    """Greedy on gain x score^weight, each brought to 0..1 over the slices that may be picked (ours).

    A slice must be both unlike what is annotated and hard for the model. The argument names the two: coreset+entropy
    unless told. Needs what its parts need. Cost: that of its parts, and O(budget n).
    """

    name = "product"
    summary = "Slices both unlike any annotated one and hard for the model, such as product:coreset+entropy."
    known_options: ClassVar = {"weight": WEIGHT}

    def joint(self, gains: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Product of the two after scaling."""
        return _scaled(gains) * _scaled(scores) ** self.options["weight"]


def _scaled(values: np.ndarray) -> np.ndarray:
    """Values (n,) brought to 0..1; all 1 where they are equal."""
    values = significant(values)
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.ones(len(values))
