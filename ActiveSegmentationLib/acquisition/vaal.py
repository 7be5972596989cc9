"""Variational adversarial active learning: the slices that a discriminator finds least like annotated ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from ActiveSegmentationLib.acquisition.base import ScoreStrategy
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.common.seeds import torch_seed

if TYPE_CHECKING:
    from ActiveSegmentationLib.embedding import VaalSettings

NOISE = 0.05
"""Accuracies closer than this to chance mean that the scores say little."""


@dataclass(frozen=True)
class Vaal(ScoreStrategy):
    """Variational adversarial active learning (Sinha, Ebrahimi and Darrell, ICCV 2019).

    - In every round an autoencoder and a discriminator are trained on all slices of the pool: one learns to hide which
      slices are annotated, the other to tell.
    - The score is -log of the discriminator's probability that a slice is annotated. This is the paper's order, lowest
      probability first, and still distinct where probabilities round to 0.
    - Annotated slices have the target 1 and others 0; public code that gives 1 to both scores at random.
    - A message says when the discriminator does hardly better than chance.

    Networks are smaller than the paper's by default; ``network="original"`` is for a GPU and more ``steps``. Needs an
    annotated slice, but no model. Cost: a training every round, at most ``steps`` steps and ten passes of the pool (10
    seconds on one core for slices of up to 64 pixels, 40 for larger ones).
    """

    name = "vaal"
    summary = (
        "Slices that look least like the annotated ones to a small network trained on images alone; needs no model."
    )
    source = "Vepa (Sinha 2019)"
    requires = "an annotated slice"

    steps: Annotated[int, Option("most training steps in a round", least=1, most=100000)] = 400
    latent: Annotated[int, Option("numbers that the autoencoder describes a slice by", least=2, most=1024)] = 32
    network: Annotated[
        Literal["small", "original"], Option("networks and batches for a CPU, or those of the paper")
    ] = "small"

    def not_ready_reason(self, pool: Pool) -> str:
        """Nothing is annotated; see ``Strategy.not_ready_reason``."""
        return "" if len(pool.annotated_rows) else "No slice is annotated yet"

    def score(self, pool: Pool) -> np.ndarray:
        """-log of the probability of being annotated; 0 for all where no slice is left to ask for."""
        pool.per_item(("vaal", "means"), lambda rows: _means(pool, rows))  # a broken image must not spoil the others
        settings = self.settings()
        return pool.per_item(("vaal", settings), lambda rows: _surprise(pool, rows, settings))

    def settings(self) -> VaalSettings:
        """Settings of the training."""
        from ActiveSegmentationLib.embedding import VaalSettings

        settings = VaalSettings(steps=self.steps, latent=self.latent)
        if self.network == "original":
            settings = replace(settings, widths=(128, 256, 512, 1024), hidden=512, batch_size=128)
        return settings

    def reason(self, pool: Pool, position: int, score: float) -> str:
        """How likely the slice is annotated by its looks; see ``ScoreStrategy.reason``."""
        likely = f"{np.exp(-score):.0%}" if np.exp(-score) >= 0.01 else "below 1%"
        return f"A network that tells annotated from other slices gives it a chance of {likely} of being annotated."


def _means(pool: Pool, rows: np.ndarray) -> np.ndarray:
    """Mean of each image, not finite where a pixel is not: (m,) -> (m,)."""
    found = [
        pool.stack.batches(part).double().mean((1, 2, 3)).numpy() for part in np.array_split(rows, len(rows) // 256 + 1)
    ]
    return np.concatenate(found)


def _surprise(pool: Pool, rows: np.ndarray, settings: VaalSettings) -> np.ndarray:
    from ActiveSegmentationLib.embedding import train_vaal

    annotated = np.isin(rows, pool.annotated_rows)
    if annotated.all():
        return np.zeros(len(rows))
    seed = torch_seed(pool.plan.seed, "vaal", pool.plan.number)
    outcome = train_vaal(pool.stack, rows, annotated, settings, seed=seed, compute=pool.compute)
    if abs(outcome.accuracy - 0.5) < NOISE:
        pool.compute.progress.message(
            f"The scores of vaal are close to noise: it tells annotated from other slices in {outcome.accuracy:.0%} of "
            "pairs, by chance in 50%."
        )
    return outcome.surprise
