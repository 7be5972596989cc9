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
"""Accuracies closer than this to chance mean that the scores are hardly informative."""


@dataclass(frozen=True)
class Vaal(ScoreStrategy):
    """Variational adversarial active learning (Sinha, Ebrahimi and Darrell, ICCV 2019).

    - In every round an autoencoder and a discriminator are trained on all slices of the pool: the autoencoder learns to
      hide which slices are annotated, the discriminator to tell.
    - The score is -log of the discriminator's probability that a slice is annotated. This is the paper's order, lowest
      probability first, but scores still differ when probabilities round to 0.
    - Annotated slices have the target 1 and others 0. (Public code gives 1 to both, which makes its scores random.)
    - A message warns if the discriminator is hardly better than chance.

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
        """Not ready before a slice is annotated; see ``Strategy.not_ready_reason``."""
        return "" if len(pool.annotated_rows) else "No slice is annotated yet"

    def score(self, pool: Pool) -> np.ndarray:
        """-log of the probability of being annotated; 0 for all if no slice is left to request."""
        pool.per_item(("vaal", "means"), lambda rows: _means(pool, rows))  # a broken image must not affect the others
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
        """The discriminator's probability that the slice is annotated; see ``ScoreStrategy.reason``."""
        likely = f"{np.exp(-score):.0%}" if np.exp(-score) >= 0.01 else "below 1%"
        return f"A network that distinguishes annotated from other slices finds it annotated with probability {likely}."


def _means(pool: Pool, rows: np.ndarray) -> np.ndarray:
    """Mean of each image, not finite if any pixel is not: (m,) -> (m,)."""
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
            "The scores of vaal are close to noise: it ranks annotated and other slices correctly in "
            f"{outcome.accuracy:.0%} of pairs, by chance in 50%."
        )
    return outcome.surprise
