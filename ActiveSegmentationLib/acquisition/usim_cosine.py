"""USIM with cosine similarity of the gradients at the network's coarsest level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.gradient_options import gradients_of
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.usim import QuerySet, Usim


@register
class UsimCosine(Usim):
    """A query set of uncertain slices, and the batch that stands for it by the directions of gradients (Foellmer et
    al. 2024, "USIMC", Eq. 1 and 2).

    The uncertainty of a slice is the variance of each foreground class over dropout passes, weighted by the inverse of
    the class's annotated pixels; the query set is drawn from it with replacement, as many as the knee of the sorted
    scores tells and at least 5 for each slice wanted. Similar are slices whose gradients of the mean log-probability of
    the model's own labels point the same way at the last convolution of the coarsest level. FLQMI is maximised exactly,
    stochastically where the pool is very large. Of the layer a random subset of 10,000 weights is kept, where the paper
    takes the first, those of a few output channels (``entries=first``). Of several models the uncertainty comes from
    all, the gradients from the first. Needs a U-Net trained with dropout; costs ``passes`` forward passes and one
    backward pass a slice, then O(budget n q).
    """

    name = "usim-cosine"
    summary = "Few slices that stand for the many the model is unsure of, rare structures first; copies are left out."
    known_options: ClassVar[Mapping[str, Option]] = {
        **Usim.known_options,
        "entries": Option("random", "Which weights of the layer are kept.", choices=("random", "first")),
    }

    def points(self, pool: Pool, queries: QuerySet, rng: np.random.Generator) -> np.ndarray:
        """Gradients of length 1, see ``Usim.points``; a gradient of 0 is like nothing."""
        found = gradients_of(pool, "bottleneck", self.options["parameters"], rng, entries=self.options["entries"])
        return of_unit_length(found)


def of_unit_length(points: np.ndarray) -> np.ndarray:
    """Points (n, d) float32 divided by their length where that is not 0."""
    lengths = np.sqrt(np.einsum("ij,ij->i", points, points, dtype=np.float64))[:, None]
    return np.divide(points, lengths, out=np.zeros_like(points), where=lengths > 0, casting="same_kind")
