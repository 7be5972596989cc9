"""VAAL: a variational autoencoder trained against a discriminator that distinguishes annotated slices from others."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
import torch
from pydantic import Field
from scipy.stats import rankdata
from torch import nn
from torch.nn import functional

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.seeds import generator, torch_generator, torch_seed
from ActiveSegmentationLib.embedding.autoencoder import down_blocks, fitting_side, standardised, up_blocks
from ActiveSegmentationLib.embedding.slices import EmbeddableSlices
from ActiveSegmentationLib.training import (
    Learner,
    Settings,
    StepLosses,
    descend,
    run_training,
    seeded_weights,
    settings,
)

PASSES = 10
"""Number of passes over a small pool; a larger pool gets the steps of the settings."""
END = 4
"""Largest number of positions along a side of the last map, as in the paper."""
SCORED = 256
"""Slices scored at a time."""


@settings
class VaalSettings(Settings):
    """Settings of the two networks and their training.

    Attributes:
        steps: Largest number of steps; pools that ``PASSES`` passes need fewer for get fewer.
        latent: Length of a latent vector.
        batch_size: Number of annotated slices in a step, and of other slices.
        widths: Channels of the blocks; the last is repeated until the map has 4 x 4 positions or fewer.
        hidden: Units of both hidden layers of the discriminator.
        beta: Weight of the divergence from N(0, I).
        adversary: Weight of the autoencoder's adversarial loss, which is low where all slices look annotated.
        turns: Steps of the autoencoder for each of the discriminator.
        learning_rate: Learning rate of Adam, of both networks.
    """

    where: ClassVar[str] = "VAAL settings"

    steps: int = Field(default=400, ge=1)
    latent: int = Field(default=32, ge=1)
    batch_size: int = Field(default=32, ge=1)
    widths: tuple[Annotated[int, Field(ge=8, multiple_of=8)], ...] = Field(default=(8, 16, 32), min_length=1)
    hidden: int = Field(default=128, ge=1)
    beta: float = Field(default=1.0, ge=0)
    adversary: float = Field(default=1.0, ge=0)
    turns: int = Field(default=2, ge=1)
    learning_rate: float = Field(default=5e-4, gt=0)

    def total_steps(self, slices: int) -> int:
        """Number of steps for a pool of this many slices."""
        return min(self.steps, math.ceil(PASSES * slices / self.batch_size))


class VaalOutcome(NamedTuple):
    """Scores of the slices by the trained discriminator.

    Attributes:
        surprise: (n,) float64, 0 or more: -log of the probability that a slice is annotated.
        accuracy: Share of the pairs of an annotated and another slice in which the annotated one gets the higher
            probability (the area under the ROC curve); 0.5 is chance.
    """

    surprise: np.ndarray
    accuracy: float


def train_vaal(
    stack: EmbeddableSlices,
    rows: np.ndarray,
    annotated: np.ndarray,
    settings: VaalSettings | None = None,
    *,
    seed: int,
    compute: Compute | None = None,
) -> VaalOutcome:
    """Train autoencoder and discriminator from scratch, and score every slice (Sinha, Ebrahimi and Darrell 2019).

    A beta-VAE learns from all slices, with a loss that is low where all of them look annotated in its latent space; the
    discriminator learns which slices are annotated (target 1) and which are not (0). Departures from the released code:

    - The divergence is a sum over the latent space and a mean over the batch, as the error is a sum over the pixels.
      There it was summed over the batch too, and the latent space collapsed.
    - Logits instead of probabilities; small images and networks.
    - Normalisation does not mix slices, because batch statistics would reveal if a batch is annotated.

    Args:
        stack: The cohort's slices, all finite.
        rows: (n,) rows of the pool, in an order that does not depend on chance.
        annotated: (n,) bool; at least one slice is annotated and at least one is not.
        settings: Settings of the training. Default: ``VaalSettings()``.
        seed: Seed of weights, batches and noise; PyTorch's global generators stay as they are.
        compute: Device and progress reporter. Default: the CPU.

    Raises:
        ValueError: If all slices are annotated, or none.
        JobFailed: If the training diverges.
        Cancelled: If the user asked to stop.
    """
    if annotated.all() or not annotated.any():
        raise ValueError("both annotated and other slices are needed")
    compute = compute or Compute()
    learner = VaalLearner(stack, rows, annotated, settings or VaalSettings(), seed=seed, device=compute.device)
    run_training(learner, compute.progress)
    return learner.outcome()


class VaalNetworks(nn.Module):
    """Encoder, decoder and discriminator.

    Args:
        channels: Channels of the images.
        settings: Settings of the networks.
        side: Rows and columns of the images.
    """

    def __init__(self, channels: int, settings: VaalSettings, side: int) -> None:
        super().__init__()
        widths = settings.widths
        while side >> len(widths) > END:
            widths = (*widths, widths[-1])
        self.encoder = down_blocks(channels, widths, 2 * settings.latent, side)
        self.decoder = up_blocks(channels, widths, settings.latent, side)
        hidden = settings.hidden
        self.discriminator = nn.Sequential(
            nn.Linear(settings.latent, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )

    def encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (n, C, side, side) -> means and log variances, (n, latent) each."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance.clamp(-10, 10)  # so that no variance overflows

    def logits(self, mean: torch.Tensor) -> torch.Tensor:
        """Latent means (n, latent) -> log odds (n,) that a slice is annotated."""
        return self.discriminator(mean)[:, 0]


class VaalLearner(Learner):
    """Trains autoencoder and discriminator as adversaries.

    Args:
        stack: The cohort's slices.
        rows: (n,) rows of the pool.
        annotated: (n,) bool, which slices are annotated.
        settings: Settings of the training.
        seed: Seed of weights, batches and noise.
        device: PyTorch device.
    """

    advice: ClassVar[str] = "Look for broken images in the cohort, or choose another strategy."
    stage = "Training the VAAL networks"
    network: VaalNetworks

    def __init__(
        self,
        stack: EmbeddableSlices,
        rows: np.ndarray,
        annotated: np.ndarray,
        settings: VaalSettings,
        *,
        seed: int,
        device: str,
    ) -> None:
        self._stack, self._rows, self._annotated, self._settings = stack, rows, annotated, settings
        self.steps, self.device = settings.total_steps(len(rows)), device
        self._side = fitting_side(stack.grid_shape)
        with seeded_weights(torch_seed(seed, "vaal", "weights")):
            self.network = VaalNetworks(stack.channels, settings, self._side)
        self.network.to(device)
        coder = [*self.network.encoder.parameters(), *self.network.decoder.parameters()]
        self.optimisers = {
            "autoencoder": torch.optim.Adam(coder, settings.learning_rate),
            "discriminator": torch.optim.Adam(self.network.discriminator.parameters(), settings.learning_rate),
        }
        self._draw = generator(seed, "vaal", "batches")
        self._noise = torch_generator(seed, "vaal", "noise", device=device)
        kinds = [torch.ones(settings.batch_size), torch.zeros(settings.batch_size)]
        self._targets = torch.cat(kinds).to(device)

    def step(self, number: int) -> StepLosses:
        """Do some steps of the autoencoder and one of the discriminator; see ``Learner.step``."""
        for _ in range(self._settings.turns):
            images = self._batch()
            coder_loss = self._autoencoder_loss(images)
            descend(self.optimisers["autoencoder"], coder_loss)
        with torch.no_grad():
            means = self.network.encode(images)[0]
        loss = functional.binary_cross_entropy_with_logits(self.network.logits(means), self._targets)
        descend(self.optimisers["discriminator"], loss)
        return {"autoencoder": coder_loss.detach(), "discriminator": loss.detach()}

    @torch.no_grad()
    def outcome(self) -> VaalOutcome:
        """Score all slices with the trained discriminator."""
        parts = [self._rows[start : start + SCORED] for start in range(0, len(self._rows), SCORED)]
        found = [self.network.logits(self.network.encode(self._images(part))[0]) for part in parts]
        logits = torch.cat(found).cpu().double().numpy()
        return VaalOutcome(np.logaddexp(0.0, -logits), _pair_accuracy(logits, self._annotated))

    def _autoencoder_loss(self, images: torch.Tensor) -> torch.Tensor:
        """Negative evidence lower bound per pixel, plus the adversarial loss."""
        settings = self._settings
        mean, log_variance = self.network.encode(images)
        draws = torch.randn(mean.shape, generator=self._noise, device=mean.device)
        made = self.network.decoder(mean + draws * (0.5 * log_variance).exp())
        error = 0.5 * (made - images).square().flatten(1).sum(1).mean()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        fooled = functional.softplus(-self.network.logits(mean)).mean()
        return (error + settings.beta * divergence) / images[0].numel() + settings.adversary * fooled

    def _batch(self) -> torch.Tensor:
        """Annotated slices, then as many others."""
        count = self._settings.batch_size
        kinds = (self._rows[self._annotated], self._rows[~self._annotated])
        rows = [self._draw.choice(rows, count, replace=len(rows) < count) for rows in kinds]
        return self._images(np.concatenate(rows))

    def _images(self, rows: np.ndarray) -> torch.Tensor:
        return standardised(self._stack.batches(rows, self.device), self._side)


def _pair_accuracy(logits: np.ndarray, annotated: np.ndarray) -> float:
    """Share of pairs in the right order, ties as one half (Mann and Whitney's U over its maximum)."""
    known, other = int(annotated.sum()), int((~annotated).sum())
    return float((rankdata(logits)[annotated].sum() - known * (known + 1) / 2) / (known * other))
