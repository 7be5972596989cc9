"""Probability that is missing to certainty."""

from __future__ import annotations

from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.uncertain import Uncertain
from ActiveSegmentationLib.uncertainty import Deterministic, Sampler


@register
class LeastConfidence(Uncertain):
    """Mean over pixels of 1 - max_c p_c (Lewis and Gale 1994).

    One prediction without dropout; of several models, of their mean. Needs a trained model. Cost: one prediction of
    every slice, O(n).
    """

    name = "least-confidence"
    summary = "Slices whose predicted labels are the least probable on average."
    finding = "The model gives its labels of this slice less probability than those of {others}."

    def sampler(self) -> Sampler:
        """The model as it is."""
        return Deterministic()

    def map_name(self) -> str:
        """One less the largest probability."""
        return "least-confidence"
