"""Entropy of the prediction, the plainest uncertainty."""

from __future__ import annotations

from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.uncertain import Uncertain
from ActiveSegmentationLib.uncertainty import Deterministic, Sampler


@register
class Entropy(Uncertain):
    """Mean over pixels of H(p) = -sum_c p_c ln p_c, one prediction without dropout (the baseline "Entropy" of
    Gaillochet 2023 and of the other papers; of several models, of their mean).

    Needs a trained model. Cost: one prediction of every slice, O(n).
    """

    name = "entropy"
    summary = "Slices on which the model is least sure; often near copies of one another."

    def sampler(self) -> Sampler:
        """The model as it is."""
        return Deterministic()

    def map_name(self) -> str:
        """Entropy of the mean."""
        return "entropy"
