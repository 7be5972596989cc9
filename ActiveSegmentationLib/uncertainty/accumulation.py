"""Running statistics over the draws of a sampler, in memory that does not grow with the number of draws."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from ActiveSegmentationLib.common.compute import Compute, on_device
from ActiveSegmentationLib.segmentation import Predictor, Sampler, Slices


@runtime_checkable
class MaskingSampler(Protocol):
    """A sampler whose draws are not valid at some pixels, such as those that a rotation moves out of the image."""

    def valid_pixels(self, images: torch.Tensor, batch: int) -> torch.Tensor:
        """Pixels at which all draws of this batch are valid: (n, channels, H, W) images -> (n, H, W) bool."""


class Accumulator:
    """Running statistics of probabilities p_1 .. p_T, each (n, C, H, W) float32.

    Mean and variance are updated by Welford's method, which is exact enough in float32 where draws hardly differ.

    Args:
        draws: Draws to start with, at least one.
        valid: (n, H, W) bool, pixels at which the draws are valid. Default: all pixels.
    """

    def __init__(self, draws: Iterator[torch.Tensor], valid: torch.Tensor | None = None) -> None:
        first = next(draws).float()
        self.valid = valid
        """Pixels that count in scores of slices: (n, H, W) bool, or None for all."""
        self.count = 1
        """Number of draws T."""
        self.mean = first.clone()
        """Mean over the draws: (n, C, H, W)."""
        self.votes = _votes(first)
        """Number of draws in which each class is the most probable: (n, C, H, W) int16."""
        self.mean_entropy = entropy(first)
        """Mean over the draws of their entropies, in nats: (n, H, W)."""
        self._squares = torch.zeros_like(first)
        for draw in draws:
            self.add(draw)

    def add(self, probabilities: torch.Tensor) -> None:
        """Add one more draw (n, C, H, W)."""
        p = probabilities.float()
        self.count += 1
        difference = p - self.mean
        self.mean += difference / self.count
        self._squares += difference * (p - self.mean)
        self.mean_entropy += (entropy(p) - self.mean_entropy) / self.count
        self.votes += _votes(p)

    @property
    def entropy(self) -> torch.Tensor:
        """Entropy of the mean (predictive entropy), in nats, 0 to ln C: (n, H, W)."""
        return entropy(self.mean)

    @property
    def mutual_information(self) -> torch.Tensor:
        """Entropy of the mean minus the mean entropy, in nats, 0 to ln C: (n, H, W).

        BALD (Houlsby et al. 2011) where the draws come from dropout; the Jensen-Shannon divergence of any draws.
        """
        return (self.entropy - self.mean_entropy).clamp(min=0)

    @property
    def variance(self) -> torch.Tensor:
        """Unbiased variance of each class over the draws, 0 for one draw: (n, C, H, W)."""
        return self._squares.clamp(min=0) / max(1, self.count - 1)

    @property
    def std(self) -> torch.Tensor:
        """Standard deviation of each class over the draws: (n, C, H, W)."""
        return self.variance.sqrt()

    @property
    def variance_ratio(self) -> torch.Tensor:
        """Share of the draws that do not predict the most frequently predicted class, 0 to 1 - 1 / C: (n, H, W)."""
        return 1 - self.votes.amax(1).float() / self.count


def accumulate(
    model: Predictor,
    stack: Slices,
    rows: np.ndarray,
    sampler: Sampler,
    compute: Compute | None = None,
) -> Iterator[tuple[np.ndarray, Accumulator]]:
    """Draw predictions of slices, batch by batch.

    Valid pixels are those inside the image at which the sampler's draws are valid. The padding around a plane that is
    smaller than the grid is left out: no annotation covers it, so predictions there are arbitrary and would mask those
    of the image.

    Args:
        model: A model or an ensemble.
        stack: The cohort's slices.
        rows: (n,) rows of the stack.
        sampler: Source of the draws.
        compute: Device, batch size and progress reporter. Default: the CPU.

    Yields:
        Rows (b,) and the statistics of their draws, on the device.
    """
    compute = compute or Compute()
    batches = model.batches(stack, rows, compute, stage="Measuring uncertainty")
    for number, batch in enumerate(batches):
        valid = on_device(stack.inside(batch.rows), compute.device)
        if isinstance(sampler, MaskingSampler):
            valid &= batch.of_rows(sampler.valid_pixels(batch.inputs, number))
        draws = sampler.draws(model, batch.inputs, number)
        yield batch.rows, Accumulator(map(batch.of_rows, draws), valid)


def entropy(probabilities: torch.Tensor) -> torch.Tensor:
    """Shannon entropy over dimension 1, in nats; 0 ln 0 counts as 0: (n, C, ...) -> (n, ...)."""
    return torch.special.entr(probabilities).sum(1)


def _votes(probabilities: torch.Tensor) -> torch.Tensor:
    votes = torch.zeros(probabilities.shape, dtype=torch.int16, device=probabilities.device)
    return votes.scatter_(1, probabilities.argmax(1, keepdim=True), 1)
