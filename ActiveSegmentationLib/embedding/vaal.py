"""Telling annotated slices from the others: a variational autoencoder and a discriminator as adversaries."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import rankdata
from torch import nn
from torch.nn import functional

from ActiveSegmentationLib.common.errors import JobFailed
from ActiveSegmentationLib.common.progress import Progress, or_silent
from ActiveSegmentationLib.common.seeds import generator, torch_generator, torch_seed
from ActiveSegmentationLib.embedding.autoencoder import down_blocks, fitting_side, standardised, up_blocks
from ActiveSegmentationLib.embedding.slices import EmbeddableSlices

STAGE = "Learning what is annotated"
PASSES = 10
"""Times that a small pool is gone through; larger ones are given the steps of the settings."""
END = 4
"""Most places along a side of the last map, as in the paper."""
SCORED = 256
"""Slices scored at a time."""


@dataclass(frozen=True)
class VaalSettings:
    """Settings of the game.

    Attributes:
        steps: Most steps; pools that ``PASSES`` passes need fewer for get fewer.
        latent: Numbers of the latent space.
        batch_size: Annotated slices, and as many others, a step.
        widths: Channels of the blocks; the last is repeated until the map has 4 x 4 places or fewer.
        hidden: Units of both hidden layers of the discriminator.
        beta: Weight of the divergence from N(0, I).
        adversary: Weight of the autoencoder's wish that all slices pass for annotated.
        turns: Steps of the autoencoder for each of the discriminator.
        learning_rate: Step size of Adam, of both networks.
    """

    steps: int = 400
    latent: int = 32
    batch_size: int = 32
    widths: tuple[int, ...] = (8, 16, 32)
    hidden: int = 128
    beta: float = 1.0
    adversary: float = 1.0
    turns: int = 2
    learning_rate: float = 5e-4

    def total_steps(self, slices: int) -> int:
        """Steps for a pool of so many slices."""
        return min(self.steps, math.ceil(PASSES * slices / self.batch_size))


class VaalOutcome(NamedTuple):
    """What the discriminator says after the game.

    Attributes:
        surprise: (n,) float64, 0 or more: -log of the probability that a slice is annotated.
        accuracy: Share of the pairs of an annotated and another slice in which it takes the right one for annotated,
            whatever its threshold; 0.5 is chance.
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
    device: str = "cpu",
    progress: Progress | None = None,
) -> VaalOutcome:
    """Train autoencoder and discriminator from scratch, and score every slice (Sinha, Ebrahimi and Darrell 2019).

    A beta-VAE learns from all slices and wishes that all of them look annotated in its latent space; the discriminator
    learns to tell which are (annotated 1, others 0). Departures from the released code: the divergence is a sum over
    the latent space and a mean over the batch, as the error is a sum over the pixels (there it was summed over the
    batch too, and the latent space collapsed); logits instead of probabilities; small images and networks; and
    normalisation that mixes no slices, because the statistics of a batch would tell which kind it is of.

    Args:
        stack: The cohort's slices, all finite.
        rows: (n,) rows of the pool, in an order that does not depend on chance.
        annotated: (n,) bool; at least one slice is annotated and at least one is not.
        settings: The defaults unless told.
        seed: Seed of weights, batches and noise; torch's global generators stay as they are.
        device: Torch device.
        progress: Told of every step.

    Raises:
        ValueError: If all slices are annotated, or none.
        JobFailed: If the training diverges.
        Cancelled: If the person asked to stop.
    """
    if annotated.all() or not annotated.any():
        raise ValueError("both annotated and other slices are needed")
    game = _Game(stack, rows, annotated, settings or VaalSettings(), seed, device, or_silent(progress))
    game.play()
    return game.outcome()


class _Networks(nn.Module):
    """Encoder, decoder and discriminator."""

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
        return mean, log_variance.clamp(-10, 10)  # a variance that overflows would end the game

    def logits(self, mean: torch.Tensor) -> torch.Tensor:
        """Latent means (n, latent) -> log odds (n,) that a slice is annotated."""
        return self.discriminator(mean)[:, 0]


class _Game:
    """The training: its slices and networks, and one step after the other."""

    def __init__(
        self,
        stack: EmbeddableSlices,
        rows: np.ndarray,
        annotated: np.ndarray,
        settings: VaalSettings,
        seed: int,
        device: str,
        report: Progress,
    ) -> None:
        self._stack, self._rows, self._settings = stack, rows, settings
        self._annotated, self._seed, self._device, self._report = annotated, seed, device, report
        self._side = fitting_side(stack.grid_shape)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(torch_seed(seed, "vaal", "weights"))
            self._networks = _Networks(stack.channels, settings, self._side)
        self._networks.to(device)
        coder = [*self._networks.encoder.parameters(), *self._networks.decoder.parameters()]
        self._coder = torch.optim.Adam(coder, settings.learning_rate)
        self._judge = torch.optim.Adam(self._networks.discriminator.parameters(), settings.learning_rate)

    def play(self) -> None:
        """Do all steps."""
        settings = self._settings
        steps = settings.total_steps(len(self._rows))
        draw = generator(self._seed, "vaal", "batches")
        noise = torch_generator(self._seed, "vaal", "noise", device=self._device)
        known, other = self._rows[self._annotated], self._rows[~self._annotated]
        truth = torch.cat([torch.ones(settings.batch_size), torch.zeros(settings.batch_size)]).to(self._device)
        for step in range(1, steps + 1):
            for _ in range(settings.turns):
                images = self._batch(draw, known, other)
                coder_loss = self._coder_loss(images, noise)
                _descend(self._coder, coder_loss)
            with torch.no_grad():
                means = self._networks.encode(images)[0]
            judge_loss = functional.binary_cross_entropy_with_logits(self._networks.logits(means), truth)
            _descend(self._judge, judge_loss)
            values = {"autoencoder": float(coder_loss.detach()), "discriminator": float(judge_loss.detach())}
            if not all(math.isfinite(value) for value in values.values()):
                advice = "Look for broken images in the cohort, or choose another strategy."
                raise JobFailed("Learning what is annotated diverged.", where="strategy vaal", advice=advice)
            self._report.update(STAGE, step, steps, **{name: round(value, 4) for name, value in values.items()})

    @torch.no_grad()
    def outcome(self) -> VaalOutcome:
        """Score all slices."""
        found = [
            self._networks.logits(self._networks.encode(self._images(self._rows[start : start + SCORED]))[0])
            for start in range(0, len(self._rows), SCORED)
        ]
        logits = torch.cat(found).double().cpu().numpy()
        return VaalOutcome(np.logaddexp(0.0, -logits), _pair_accuracy(logits, self._annotated))

    def _coder_loss(self, images: torch.Tensor, noise: torch.Generator) -> torch.Tensor:
        """Negative evidence bound, a pixel, plus what it costs to be told apart."""
        networks, settings = self._networks, self._settings
        mean, log_variance = networks.encode(images)
        draws = torch.randn(mean.shape, generator=noise, device=mean.device)
        made = networks.decoder(mean + draws * (0.5 * log_variance).exp())
        error = 0.5 * (made - images).square().flatten(1).sum(1).mean()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        fooled = functional.softplus(-networks.logits(mean)).mean()
        return (error + settings.beta * divergence) / images[0].numel() + settings.adversary * fooled

    def _batch(self, draw: np.random.Generator, known: np.ndarray, other: np.ndarray) -> torch.Tensor:
        """Annotated slices, then as many others."""
        count = self._settings.batch_size
        rows = [draw.choice(rows, count, replace=len(rows) < count) for rows in (known, other)]
        return self._images(np.concatenate(rows))

    def _images(self, rows: np.ndarray) -> torch.Tensor:
        return standardised(self._stack.batches(rows, self._device), self._side)


def _pair_accuracy(logits: np.ndarray, annotated: np.ndarray) -> float:
    """Share of pairs in the right order, ties as one half (Mann and Whitney's U over its maximum)."""
    known, other = int(annotated.sum()), int((~annotated).sum())
    return float((rankdata(logits)[annotated].sum() - known * (known + 1) / 2) / (known * other))


def _descend(optimiser: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
