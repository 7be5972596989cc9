"""How the infoVAE is trained, and the settings of the paper by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal, Self

import pydantic
from pydantic import Field

from ActiveSegmentationLib.embedding.autoencoder import fitting_side
from ActiveSegmentationLib.training import Settings, settings

Kernel = Literal["mixture", "laplace"]


@settings
class InfoVaeSettings(Settings):
    """Settings of the infoVAE; the defaults are the preset "auto".

    Attributes:
        side: Rows and columns of the images that the network sees, a multiple of 2 to the number of blocks; None to
            choose by the slices' size.
        channels: Channels of the blocks, each of which halves rows and columns; multiples of 8.
        latent: Numbers of the latent space.
        kernel: "mixture" of Gaussians whose widths grow with the latent space, or "laplace", exp(-|z - z'| / 2), which
            is what the text of Ozdemir et al. (2021) states.
        mmd_weight: Weight of the discrepancy to N(0, I) beside the mean squared error of a pixel.
        prior_samples: Draws from N(0, I) that a batch is compared with.
        batch_size: Slices a batch.
        epochs: Times that every slice is seen.
        max_steps: Steps after which training ends even if the epochs are not over, or None.
        steps: Steps, whatever ``epochs`` and ``max_steps`` say, or None.
        learning_rate: Step size of Adam.
    """

    where: ClassVar[str] = "infoVAE settings"

    side: int | None = None
    channels: tuple[Annotated[int, Field(ge=8, multiple_of=8)], ...] = Field(default=(16, 32, 64, 64), min_length=1)
    latent: int = Field(default=32, ge=1)
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
            raise ValueError(f"'side' must be a multiple of {block} where there are {len(self.channels)} 'channels'.")
        return self

    def resolved(self, grid: tuple[int, int]) -> InfoVaeSettings:
        """The same settings with the side chosen for slices of ``grid`` rows and columns."""
        if self.side is not None:
            return self
        return replace(self, side=fitting_side(grid))

    def total_steps(self, slices: int) -> int:
        """Steps of the whole training on so many slices."""
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
}
"""Settings by name.

"auto" is made for a CPU: 1500 steps, less than a minute on one core for thousands of slices of 48 x 48 pixels.
"ozdemir2021" has what Ozdemir et al. (Medical Image Analysis 2021, Sec. 2.5) state: 96 x 96 pixels, five blocks, 200
latent numbers, Adam with 5e-5 and batches of 32. They state neither channels nor length, and this has a warm-up and a
falling rate that they do not tell of. Their loss is the plain sum of both terms, hence the weight 1; but the error here
is the mean over the pixels, so that the discrepancy counts for more than beside an l2 norm. The kernel of their Eq. 6
is below 1e-4 between any two draws of a normal distribution in 200 dimensions, so that it hardly shapes the latent
space; the mixture stands in for it, and "ozdemir2021-kernel" has theirs.
"""
