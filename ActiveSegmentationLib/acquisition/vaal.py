"""Variational adversarial active learning: what a discriminator takes for least annotated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.base import ScoreStrategy
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.common.seeds import torch_seed
from ActiveSegmentationLib.embedding import VaalSettings, train_vaal

NOISE = 0.05
"""Accuracies nearer than this to chance mean that the scores say little."""

NETWORKS = {
    "small": VaalSettings(),
    "original": VaalSettings(widths=(128, 256, 512, 1024), hidden=512, batch_size=128),
}
"""Settings of the game by the size of the networks; steps and latent numbers are options of their own."""


@register
class Vaal(ScoreStrategy):
    """Variational adversarial active learning (Sinha, Ebrahimi and Darrell, ICCV 2019).

    In every round a variational autoencoder and a discriminator are trained on all slices of the pool, one to hide
    which are annotated and one to tell; those that the discriminator takes for annotated least are asked for. The score
    is -log of its probability that a slice is annotated: the paper's order (the lowest probability first), and still
    distinct where probabilities are rounded to 0. Annotated slices are given the target 1 and others 0; public code
    that gives 1 to both scores at random. The log says when the discriminator does hardly better than chance. Weights
    and batches depend on the seed and the round only. Needs an annotated slice, but no model; cost: a training every
    round, at most ``steps`` steps and ten passes of the pool (10 seconds on one core for slices of up to 64 pixels, 40
    for larger).
    Networks are smaller than the paper's unless ``network=original``, which is for a GPU and more ``steps``.
    """

    name = "vaal"
    summary = (
        "Slices that look least like the annotated ones to a small network trained on images alone; needs no model."
    )
    known_options: ClassVar[Mapping[str, Option]] = {
        "steps": Option(400, "Most training steps in a round.", least=1, most=100000),
        "latent": Option(32, "Numbers that the autoencoder describes a slice by.", least=2, most=1024),
        "network": Option("small", "Networks and batches for a CPU, or those of the paper.", choices=tuple(NETWORKS)),
    }

    def hold(self, pool: Pool) -> str:
        """Nothing is annotated; see ``ModelStrategy.hold``."""
        return "" if len(pool.annotated_rows) else "No slice is annotated yet"

    def score(self, pool: Pool) -> np.ndarray:
        """-log of the probability of being annotated; 0 for all where no slice is left to ask for."""
        pool.per_item(("vaal", "means"), lambda rows: _means(pool, rows))  # a broken image must not spoil the others
        network = NETWORKS[self.options["network"]]
        settings = replace(network, steps=self.options["steps"], latent=self.options["latent"])
        return pool.per_item(("vaal", settings), lambda rows: _surprise(pool, rows, settings))

    def reason(self, pool: Pool, position: int, score: float) -> str:
        """Why a slice is asked for; see ``ScoreStrategy.reason``."""
        likely = f"{np.exp(-score):.0%}" if np.exp(-score) >= 0.01 else "below 1%"
        return f"To a network that tells annotated slices from the rest the chance of its being annotated is {likely}."


def _means(pool: Pool, rows: np.ndarray) -> np.ndarray:
    """Mean of each image, not finite where a pixel is not: (m,) -> (m,)."""
    found = [
        pool.stack.batches(part).double().mean((1, 2, 3)).numpy() for part in np.array_split(rows, len(rows) // 256 + 1)
    ]
    return np.concatenate(found)


def _surprise(pool: Pool, rows: np.ndarray, settings: VaalSettings) -> np.ndarray:
    annotated = np.isin(rows, pool.annotated_rows)
    if annotated.all():
        return np.zeros(len(rows))
    seed = torch_seed(pool.seed, "vaal", pool.round_number)
    outcome = train_vaal(pool.stack, rows, annotated, settings, seed=seed, compute=pool.compute)
    if abs(outcome.accuracy - 0.5) < NOISE:
        pool.progress.message(
            f"The scores of vaal are close to noise: it tells annotated from other slices in {outcome.accuracy:.0%} of "
            "pairs, by chance in 50%."
        )
    return outcome.surprise
