"""Samplers: several predictions of a slice, from dropout, from ensemble members, or from test-time augmentation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ActiveSegmentationLib.common.compute import on_device
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.seeds import torch_generator, torch_seed
from ActiveSegmentationLib.segmentation import Ensemble, Predictor, Sampler
from ActiveSegmentationLib.segmentation.learner import AUGMENTATION

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
"""Modules that Monte Carlo dropout switches on; all others, such as normalisation, stay in evaluation mode."""


@dataclass(frozen=True)
class Deterministic:
    """One draw: the model's prediction without dropout (for an ensemble, the mean over its members)."""

    def draws(self, model: Predictor, inputs: Any, batch: int = 0) -> Iterator[torch.Tensor]:
        """Yield probabilities (n, classes, H, W) float32 once."""
        yield model.predict(inputs)


@dataclass(frozen=True)
class Dropout:
    """Monte Carlo dropout: ``passes`` draws from every ensemble member with its dropout modules on.

    Masks come from streams named by batch, member and pass, so that the same rows in the same batches give the same
    draws. PyTorch's global generators stay as they are.

    Attributes:
        passes: Draws from each ensemble member, at least 1.
        p: Dropout probability in (0, 1) for all modules, or None for the probabilities of the training.
        seed: Seed of the masks.
    """

    passes: int = 8
    p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.passes < 1 or not (self.p is None or 0 < self.p < 1):
            advice = "Use at least 1 pass and a probability between 0 and 1."
            raise BadInput(f"Dropout cannot make {self.passes} passes with p = {self.p}.", advice=advice)

    def draws(self, model: Predictor, inputs: Any, batch: int = 0) -> Iterator[torch.Tensor]:
        """Yield probabilities (n, classes, H, W) float32, ``passes`` times for each member.

        Raises:
            BadInput: If a network has no dropout module.
        """
        cuda = [device for device in {_device(network) for network in model.networks()} if device.type == "cuda"]
        for number, member in enumerate(_members(model)):
            for draw in range(self.passes):
                with torch.random.fork_rng(devices=cuda), contextlib.ExitStack() as active:
                    for network in member.networks():
                        active.enter_context(dropout_active(network, self.p))
                    torch.manual_seed(torch_seed(self.seed, "dropout", batch, number, draw))
                    probabilities = member.predict(inputs)
                yield probabilities


@dataclass(frozen=True)
class EnsembleSampler:
    """One draw from each ensemble member, without dropout."""

    def draws(self, model: Predictor, inputs: Any, batch: int = 0) -> Iterator[torch.Tensor]:
        """Yield probabilities (n, classes, H, W) float32, one ensemble member after the other.

        Raises:
            BadInput: If the model has fewer than two members, because the disagreement would be 0 everywhere.
        """
        members = _members(model)
        if len(members) < 2:
            advice = "Train several models, or use dropout."
            raise BadInput(
                "The disagreement of ensemble members needs at least two of them.", where="models", advice=advice
            )
        for member in members:
            yield member.predict(inputs)


@dataclass(frozen=True)
class TestTimeAugmentation:
    """Test-time augmentation: the slice as it is, and ``passes`` draws rotated and with noise (Gaillochet et al. 2023).

    - Every slice of every draw has its own angle, uniform in [-rotation, rotation]. (The paper's code uses one angle
      for a batch, so that scores depend on the other slices of the batch.)
    - Probabilities are rotated back bilinearly.
    - Pixels that a rotation moves out of the image hold the prediction of the slice as it is, and ``valid_pixels``
      leaves them out.

    Source: Gaillochet et al. 2023, Sec. 4.3.2.

    Attributes:
        passes: Augmented draws, at least 1.
        rotation: Largest angle in degrees, either way, in [0, 90].
        noise: Standard deviation of the Gaussian noise, in the units of the stack's images; 0 or more.
        seed: Seed of angles and noise.
    """

    __test__ = False  # or pytest takes the class for a test

    passes: int = 7
    rotation: float = 10.0
    noise: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if self.passes < 1 or not 0 <= self.rotation <= 90 or self.noise < 0:
            advice = "Use at least 1 pass, a rotation of 0 to 90 degrees and a noise of 0 or more."
            message = f"Augmentation cannot make {self.passes} passes with {self.rotation} degrees, noise {self.noise}."
            raise BadInput(message, advice=advice)

    def draws(self, model: Predictor, images: torch.Tensor, batch: int = 0) -> Iterator[torch.Tensor]:
        """Yield probabilities (n, classes, H, W) float32: of the images, then of every augmented draw.

        Raises:
            BadInput: If the model does not predict rotated slices.
        """
        if AUGMENTATION not in model.capabilities:
            message = "The model does not predict rotated slices."
            raise BadInput(message, where="model", advice="Choose another strategy, or another learner.")
        plain = model.predict(images)
        yield plain
        for draw in range(self.passes):
            angles = self.angles(images, batch, draw)
            stream = torch_generator(self.seed, "augmentation noise", batch, draw)
            noise = on_device(torch.randn(images.shape, generator=stream), images.device)
            turned = model.predict(rotate(images, angles) + self.noise * noise)
            back = rotate(turned, -angles)
            back = back / back.sum(1, keepdim=True).clamp(min=1e-6)
            yield torch.where(_kept(images, angles)[:, None], back, plain)

    def valid_pixels(self, images: torch.Tensor, batch: int = 0) -> torch.Tensor:
        """Pixels that no rotation of this batch moves out of the image: (n, channels, H, W) -> (n, H, W) bool."""
        kept = _kept(images, self.angles(images, batch, 0))
        for draw in range(1, self.passes):
            kept &= _kept(images, self.angles(images, batch, draw))
        return kept

    def angles(self, images: torch.Tensor, batch: int, draw: int) -> torch.Tensor:
        """Angles in degrees (n,) float32 of a draw, on the device of the images."""
        stream = torch_generator(self.seed, "augmentation angles", batch, draw)
        return on_device((torch.rand(len(images), generator=stream) * 2 - 1) * self.rotation, images.device)


def seeded(sampler: Sampler, seed: int) -> Sampler:
    """The sampler with the random seed ``seed``; a sampler without random draws is returned as it is."""
    return replace(sampler, seed=seed) if isinstance(sampler, Dropout | TestTimeAugmentation) else sampler


def rotate(values: torch.Tensor, degrees: torch.Tensor) -> torch.Tensor:
    """Rotate each (C, H, W) about its centre by an angle of its own, bilinearly; 0 comes in from outside.

    Args:
        values: (n, C, H, W) float.
        degrees: (n,) float.

    Returns:
        (n, C, H, W) of the same type.
    """
    height, width = values.shape[-2:]
    cos, sin = torch.cos(torch.deg2rad(degrees)), torch.sin(torch.deg2rad(degrees))
    nothing = torch.zeros_like(cos)
    # affine_grid has coordinates in half heights and widths, which stretch a rotation of an image that is not square
    rows = [torch.stack([cos, -sin * height / width, nothing], 1), torch.stack([sin * width / height, cos, nothing], 1)]
    grid = functional.affine_grid(torch.stack(rows, 1).to(values.dtype), list(values.shape), align_corners=False)
    return functional.grid_sample(values, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _kept(images: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Pixels that stay in the image when it is rotated by ``angles`` and back: (n, H, W) bool."""
    ones = torch.ones_like(images[:, :1])
    return rotate(rotate(ones, angles), -angles)[:, 0] > 0.999


@contextlib.contextmanager
def dropout_active(network: nn.Module, p: float | None = None) -> Iterator[None]:
    """Within the block the network is in evaluation mode except for its dropout; afterwards it is as before.

    Args:
        network: The network.
        p: Dropout probability within the block. Default: those of the network.

    Raises:
        BadInput: If the network has no dropout module.
    """
    dropouts = [module for module in network.modules() if isinstance(module, DROPOUTS)]
    if not dropouts:
        advice = "Train with dropout, or use an ensemble."
        raise BadInput("The model has no dropout to sample from.", where="model", advice=advice)
    modes = [(module, module.training) for module in network.modules()]
    rates = [(module, module.p) for module in dropouts]
    try:
        network.eval()
        for module in dropouts:
            module.training = True
            module.p = module.p if p is None else p
        yield
    finally:
        for each, mode in modes:
            each.training = mode
        for module, rate in rates:
            module.p = rate


def _members(model: Predictor) -> tuple[Predictor, ...]:
    return model.members if isinstance(model, Ensemble) else (model,)


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
