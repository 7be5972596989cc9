"""How the infoVAE is trained, and the settings of the paper by name."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import Any, Literal

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.embedding.autoencoder import fitting_side

Kernel = Literal["mixture", "laplace"]


@dataclass(frozen=True)
class InfoVaeSettings:
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

    side: int | None = None
    channels: tuple[int, ...] = (16, 32, 64, 64)
    latent: int = 32
    kernel: Kernel = "mixture"
    mmd_weight: float = 1.0
    prior_samples: int = 256
    batch_size: int = 64
    epochs: int = 60
    max_steps: int | None = 1500
    steps: int | None = None
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        fits = bool(self.channels) and all(number >= 8 and number % 8 == 0 for number in self.channels)
        _require(fits, "channels", "be multiples of 8")
        block = 2 ** len(self.channels)
        side_fits = self.side is None or (self.side >= block and self.side % block == 0)
        _require(side_fits, "side", f"be a multiple of {block}")
        _require(self.kernel in ("mixture", "laplace"), "kernel", "be one of mixture, laplace")
        _require(self.mmd_weight >= 0, "mmd_weight", "be 0 or more")
        _require(self.learning_rate > 0, "learning_rate", "be greater than 0")
        _require(self.latent >= 1, "latent", "be at least 1")
        for name in ("prior_samples", "batch_size"):
            _require(getattr(self, name) >= 2, name, "be at least 2")
        for name in ("epochs", "max_steps", "steps"):
            value = getattr(self, name)
            _require(value is None or value >= 1, name, "be at least 1")

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

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return dataclasses.asdict(self) | {"channels": list(self.channels)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> InfoVaeSettings:
        """Inverse of ``to_json``; missing settings take their defaults.

        Raises:
            BadInput: If a setting is unknown or out of range.
        """
        unknown = sorted(set(value) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            advice = "Check the spelling, or use the version of the program that wrote the settings."
            raise BadInput(f"Unknown settings: {', '.join(unknown)}.", where="infoVAE settings", advice=advice)
        return cls(**value)


def _require(holds: bool, name: str, wish: str) -> None:
    if not holds:
        raise BadInput(f"'{name}' must {wish}.", where="infoVAE settings", advice="Correct this setting.")


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
