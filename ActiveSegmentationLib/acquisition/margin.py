"""Margin between the two most probable classes."""

from __future__ import annotations

from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.uncertain import Uncertain
from ActiveSegmentationLib.uncertainty import Deterministic, Sampler


@register
class Margin(Uncertain):
    """Mean over pixels of 1 - (p_first - p_second), by the two most probable classes (Scheffer et al. 2001).

    One prediction without dropout; of several models, of their mean. Needs a trained model. Cost: one prediction of
    every slice, O(n).
    """

    name = "margin"
    summary = "Slices on which the model hesitates between two labels."
    finding = "The model hesitates between two labels more in this slice than in {others}."

    def sampler(self) -> Sampler:
        """The model as it is."""
        return Deterministic()

    def map_name(self) -> str:
        """One less the margin."""
        return "margin"
