"""Disagreement and uncertainty of several models."""

from __future__ import annotations

from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.uncertain import Uncertain
from ActiveSegmentationLib.uncertainty import EnsembleSampler, Sampler


class _OfMembers(Uncertain):
    """A strategy whose score comes from the predictions of several models, without dropout."""

    needs = frozenset({"members"})

    def sampler(self) -> Sampler:
        """One prediction a model."""
        return EnsembleSampler()


@register
class VarianceRatio(_OfMembers):
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


@register
class EnsembleEntropy(_OfMembers):
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
