"""Uncertainty that needs the predictions of several models."""

from __future__ import annotations

from ActiveSegmentationLib.acquisition.uncertain import Uncertain
from ActiveSegmentationLib.uncertainty import EnsembleSampler, Sampler


class OfMembers(Uncertain):
    """A strategy whose score comes from the predictions of several models, without dropout."""

    needs = frozenset({"members"})

    def sampler(self) -> Sampler:
        """One prediction a model."""
        return EnsembleSampler()
