"""USIM with the Fisher kernel of the gradients in the decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.gradient_options import gradients_at
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.usim import QuerySet, Usim
from ActiveSegmentationLib.acquisition.usim_cosine import of_unit_length
from ActiveSegmentationLib.uncertainty.gradients import mean_squared_gradients

LAYER = "decoder"

FISHER_SLICES = 200
"""Slices of the query set that the Fisher information is the mean over, as in the paper's program."""


@register
class UsimFisher(Usim):
    """A query set of uncertain slices, and the batch that stands for it by its influence on the model (Foellmer et al.
    2024, "USIMF", Eq. 1, 3 and 4).

    The query set is drawn as by "usim-cosine". The Fisher information F of every weight of the decoder's convolutions
    is the mean squared gradient of the mean log-probability of the model's own labels over up to 200 members of the
    query set; ``parameters`` weights are drawn in proportion to it; the similarity of two slices is the product of
    their gradients there, each weight divided by F + damping x mean F. Long gradients count for more, unless
    ``normalise=yes`` gives all the same length. Of several models the uncertainty comes from all, the gradients from
    the first. Needs a U-Net trained with dropout; costs ``passes`` forward passes and one backward pass through the
    decoder a slice, then O(budget n q).
    """

    name = "usim-fisher"
    summary = "Few slices that stand for the many the model is unsure of, by how much they would change it."
    known_options: ClassVar[Mapping[str, Option]] = {
        **Usim.known_options,
        "damping": Option(1e-3, "What keeps weights of little influence from counting much.", least=1e-9),
        "normalise": Option("no", "Whether all slices' gradients get the same length.", choices=("no", "yes")),
    }

    def points(self, pool: Pool, queries: QuerySet, rng: np.random.Generator) -> np.ndarray:
        """Gradients divided by the root of the damped Fisher information, see ``Usim.points``."""
        fisher = self._fisher(pool, queries, rng)
        useful = np.count_nonzero(fisher)
        if useful == 0:  # no member of the query set would change anything
            return np.zeros((len(pool), 1), dtype=np.float32)
        wanted = min(self.options["parameters"], useful)
        columns = np.sort(rng.choice(len(fisher), wanted, replace=False, p=fisher / fisher.sum()))
        scale = np.sqrt(fisher[columns] + self.options["damping"] * fisher.mean())
        points = (gradients_at(pool, LAYER, columns) / scale).astype(np.float32)
        return of_unit_length(points) if self.options["normalise"] == "yes" else points

    def _fisher(self, pool: Pool, queries: QuerySet, rng: np.random.Generator) -> np.ndarray:
        """Mean squared gradients over slices drawn from the query set, copies counted: (parameters,) float64."""
        assert pool.model is not None
        drawn = np.repeat(queries.positions, queries.counts)
        rows = np.concatenate([pool.rows_of(int(position)) for position in drawn])
        some = rng.choice(rows, min(FISHER_SLICES, len(rows)), replace=False)
        different, counts = np.unique(some, return_counts=True)
        return mean_squared_gradients(
            pool.model,
            pool.stack,
            different,
            layer=LAYER,
            weights=counts,
            compute=pool.compute,
        )
