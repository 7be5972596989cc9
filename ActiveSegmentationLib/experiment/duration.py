"""How long an experiment will take: measured on a few steps before it starts, and corrected by what is finished."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from ActiveSegmentationLib.cohort import Role, SliceStack
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.experiment.run import Design
from ActiveSegmentationLib.segmentation import TrainingSettings
from ActiveSegmentationLib.segmentation.losses import segmentation_loss
from ActiveSegmentationLib.segmentation.network import UNet, build_network

STEPS = 3
"""Training steps that are timed, after one that is not."""

SLICES = 32
"""Slices whose prediction is timed."""


@dataclass(frozen=True)
class Speed:
    """How fast this machine computes an experiment's models.

    Attributes:
        step: Seconds of a training step of one model.
        slice: Seconds of one model's prediction of a slice.
    """

    step: float
    slice: float

    def round_seconds(self, design: Design) -> float:
        """Seconds of one round: its trainings, one prediction of the pool to choose, one of the test part to score.

        What strategies need on top (dropout, gradients, learned networks) is not in it.
        """
        slices = len(design.rows[Role.POOL]) + len(design.rows[Role.TEST])
        return design.settings.ensemble_members * (design.settings.training.steps * self.step + slices * self.slice)


def measure_speed(design: Design, stack: SliceStack, device: str) -> Speed:
    """Time a few training steps and predictions; torch's generators are left as they were."""
    settings = replace(design.settings.training, loss_head=False)
    with torch.random.fork_rng(devices=[]):
        network = build_network(stack.channels, design.labels.classes, settings, seed=0).to(device)
        rows = design.rows[Role.POOL]
        images = stack.batches(rows[np.arange(settings.batch_size) % len(rows)], device).float()
        step = _seconds_of_steps(network, images, design.labels.classes, settings, device)
        many = stack.batches(rows[np.arange(SLICES) % len(rows)], device).float()
        network.eval()
        with torch.no_grad():
            network(many)
            started = time.perf_counter()
            network(many)
            _finish(device)
    return Speed(step, (time.perf_counter() - started) / SLICES)


def _seconds_of_steps(
    network: UNet, images: torch.Tensor, classes: int, settings: TrainingSettings, device: str
) -> float:
    labels = torch.arange(images.shape[-1], device=images.device).expand(len(images), *images.shape[-2:]) % classes
    dense = torch.ones(len(images), dtype=torch.bool, device=images.device)
    optimiser = torch.optim.SGD(network.parameters(), 1e-6)
    network.train()
    started = 0.0
    for number in range(STEPS + 1):
        if number == 1:
            _finish(device)
            started = time.perf_counter()
        optimiser.zero_grad()
        segmentation_loss(network(images), labels, dense, squared=settings.dice_squared).backward()
        optimiser.step()
    _finish(device)
    return (time.perf_counter() - started) / STEPS


def _finish(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


class Remaining:
    """Tells how long the rounds that are left will take.

    Args:
        rounds: Rounds to compute.
        progress: Who is told.
    """

    def __init__(self, rounds: int, progress: Progress) -> None:
        self._rounds, self._progress = rounds, progress
        self._done, self._started = 0, time.monotonic()

    def finished(self) -> None:
        """One more round is finished."""
        self._done += 1
        left = self._rounds - self._done
        seconds = (time.monotonic() - self._started) / self._done * left
        told = f"; about {duration_text(seconds)} left" if left else ""
        self._progress.message(f"{self._done} of {self._rounds} rounds are done{told}.")


def duration_text(seconds: float) -> str:
    """Seconds in words: "40 seconds", "12 minutes", "3.5 hours"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    if seconds < 5400:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours"
