"""Variance of predictions with dropout."""

from __future__ import annotations

from typing import ClassVar

from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.uncertain import AGGREGATE, DropoutUncertain, dropout_option, passes_option


@register
class DropoutVariance(DropoutUncertain):
    """Variance of each foreground class over passes with dropout, mean over pixels, mean over these classes (Ozdemir et
    al. 2021, Eq. 2: 17 passes, mean over the anatomies).

    Needs a trained model with dropout. Cost: ``passes`` predictions of every slice by every model.
    """

    name = "dropout-variance"
    summary = "Slices whose predicted probabilities vary most with dropout, by the mean variance of each label."
    known_options: ClassVar = {"passes": passes_option(17), "p": dropout_option(), "aggregate": AGGREGATE}

    def map_name(self) -> str:
        """Variance, mean over the foreground classes."""
        return "foreground-variance"
