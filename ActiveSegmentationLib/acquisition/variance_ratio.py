"""Disagreement of several models about the label."""

from __future__ import annotations

from ActiveSegmentationLib.acquisition.of_members import OfMembers
from ActiveSegmentationLib.acquisition.registry import register


@register
class VarianceRatio(OfMembers):
    """Part of the models that do not vote for the most voted class, 1 - f / M, mean over pixels (Freeman 1965; the
    baseline "Variance Ratio" of Vepa 2024, whose program compares differently augmented copies; these are aligned).

    Needs two or more trained models. Cost: one prediction of every slice by every model.
    """

    name = "variance-ratio"
    summary = "Slices in which several models vote for different labels; needs two or more models a round."
    finding = "The models vote for different labels in a larger part of this slice than of {others}."

    def map_name(self) -> str:
        """Variance ratio."""
        return "variance-ratio"
