"""Entropy of the mean prediction with dropout."""

from __future__ import annotations

from typing import ClassVar

from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.uncertain import AGGREGATE, DropoutUncertain, dropout_option, passes_option


@register
class DropoutEntropy(DropoutUncertain):
    """Predictive entropy H(mean_t p_t), mean over pixels, of the passes with dropout (Gal et al. 2017).

    Needs a trained model with dropout. Cost: ``passes`` predictions of every slice by every model.
    """

    name = "dropout-entropy"
    summary = "Slices on which the average of predictions with dropout is least sure; steadier than plain entropy."
    finding = "Averaged over predictions with dropout, the model is less sure of this slice than of {others}."
    known_options: ClassVar = {"passes": passes_option(10), "p": dropout_option(), "aggregate": AGGREGATE}

    def map_name(self) -> str:
        """Entropy of the mean."""
        return "entropy"
