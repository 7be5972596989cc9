"""Settings of the infoVAE and of the VAE, and presets with the paper's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Self

import pydantic
from pydantic import Field

from ActiveSegmentationLib.embedding.autoencoder import fitting_side
from ActiveSegmentationLib.training import Settings, settings

Kernel = Literal["mixture", "laplace"]
Divergence = Literal["mmd", "kl"]


@settings
class InfoVaeSettings(Settings):
    """Settings of the infoVAE; the defaults are the preset "auto".

    Attributes:
        side: Rows and columns of the network's input, a multiple of 2 to the power of the number of blocks. None
            chooses by the size of the slices.
        channels: Channels of the blocks, each of which halves rows and columns; multiples of 8.
        latent: Length of a latent vector.
        divergence: What draws the latent vectors to a standard normal distribution: "mmd", the maximum mean discrepancy
            of an infoVAE, or "kl", the Kullback-Leibler divergence of a VAE, whose encoder predicts a mean and a
            variance. "kernel" and "prior_samples" belong to "mmd".
        kl_weight: Weight of the Kullback-Leibler divergence; 1 is the evidence lower bound for pixels with variance 1.
        kernel: "mixture" of Gaussians whose widths grow with the latent space, or "laplace", exp(-|z - z'| / 2), which
            is what the text of Ozdemir et al. (2021) states.
        mmd_weight: Weight of the discrepancy to N(0, I) relative to the mean squared error of a pixel.
        prior_samples: Number of draws from N(0, I) that a batch is compared with.
        batch_size: Slices per batch.
        epochs: Number of times that every slice is used.
        max_steps: Maximum number of steps, even if the epochs are not finished, or None.
        steps: Number of steps, which overrides ``epochs`` and ``max_steps``, or None.
        learning_rate: Learning rate of Adam.
    """

    where: ClassVar[str] = "infoVAE settings"
    later: ClassVar[Mapping[str, Any]] = {"divergence": "mmd", "kl_weight": 1.0}

    side: int | None = None
    channels: tuple[Annotated[int, Field(ge=8, multiple_of=8)], ...] = Field(default=(16, 32, 64, 64), min_length=1)
    latent: int = Field(default=32, ge=1)
    divergence: Divergence = "mmd"
    kl_weight: float = Field(default=1.0, ge=0)
    kernel: Kernel = "mixture"
    mmd_weight: float = Field(default=1.0, ge=0)
    prior_samples: int = Field(default=256, ge=2)
    batch_size: int = Field(default=64, ge=2)
    epochs: int = Field(default=60, ge=1)
    max_steps: int | None = Field(default=1500, ge=1)
    steps: int | None = Field(default=None, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)

    @pydantic.model_validator(mode="after")
    def _blocks_halve_the_side(self) -> Self:
        block = 2 ** len(self.channels)
        if self.side is not None and (self.side < block or self.side % block):
            raise ValueError(f"'side' must be a multiple of {block} with {len(self.channels)} 'channels'.")
        return self

    def resolved(self, grid: tuple[int, int]) -> InfoVaeSettings:
        """The same settings with the side chosen for slices of ``grid`` rows and columns."""
        if self.side is not None:
            return self
        return replace(self, side=fitting_side(grid))

    def total_steps(self, slices: int) -> int:
        """Number of steps of the whole training on this many slices."""
        if self.steps is not None:
            return self.steps
        planned = self.epochs * -(-slices // self.batch_size)
        return planned if self.max_steps is None else min(planned, self.max_steps)


_PAPER = InfoVaeSettings(
    side=96,
    channels=(32, 64, 128, 256, 256),
    latent=200,
    batch_size=32,
    epochs=100,
    max_steps=None,
    learning_rate=5e-5,
)

INFO_VAE_PRESETS: dict[str, InfoVaeSettings] = {
    "auto": InfoVaeSettings(),
    "ozdemir2021": _PAPER,
    "ozdemir2021-kernel": replace(_PAPER, kernel="laplace"),
    "vae": InfoVaeSettings(divergence="kl"),
    "ozdemir2021-vae": replace(_PAPER, divergence="kl"),
}
"""Settings by name.

- "auto" is made for a CPU: 1500 steps, less than a minute on one core for thousands of slices of 48 x 48 pixels.
- "ozdemir2021" has what Ozdemir et al. (Medical Image Analysis 2021, Sec. 2.5) state: 96 x 96 pixels, five blocks, 200
  latent numbers, Adam with 5e-5 and batches of 32. They state neither the channels nor the number of steps, and the
  warm-up and falling learning rate are additions. Their loss is the plain sum of both terms, hence the weight 1. The
  error here is the mean over the pixels, so that the discrepancy has more weight than next to an l2 norm.
- "ozdemir2021-kernel" has the kernel of their Eq. 6 too. It is below 1e-4 between any two draws of a normal
  distribution in 200 dimensions, so that it hardly shapes the latent space; "ozdemir2021" uses the mixture instead.
- "vae" and "ozdemir2021-vae" are "auto" and "ozdemir2021" with the Kullback-Leibler divergence in place of the
  discrepancy: the VAE that Ozdemir et al. compare with (Sec. 4), of which they state nothing else.
"""
