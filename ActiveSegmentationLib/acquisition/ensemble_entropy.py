"""Entropy of the mean of several models."""

from __future__ import annotations

from ActiveSegmentationLib.acquisition.of_members import OfMembers
from ActiveSegmentationLib.acquisition.registry import register


@register
class EnsembleEntropy(OfMembers):
    """Entropy of the models' mean prediction, mean over pixels (Beluch et al. 2018; the uncertainty under the
    stochastic batches of Vepa 2024).

    Needs two or more trained models. Cost: one prediction of every slice by every model.
    """

    name = "ensemble-entropy"
    summary = "Slices on which the average of several models is least sure; needs two or more models a round."
    finding = "The models together are less sure of this slice than of {others}."

    def map_name(self) -> str:
        """Entropy of the mean."""
        return "entropy"
