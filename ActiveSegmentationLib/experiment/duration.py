"""How long an experiment will take: measured on a few steps before it starts, and corrected by what is finished."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from ActiveSegmentationLib.cohort import Role, SliceStack
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.experiment.run import Design
from ActiveSegmentationLib.segmentation import Examples
from ActiveSegmentationLib.segmentation.learner import SegmentationLearner

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
    """Time a few training steps and predictions; PyTorch's generators stay as they are."""
    rows, classes = design.rows[Role.POOL], design.labels.classes
    settings = replace(design.settings.training, loss_head=False)
    chosen = np.unique(rows[: settings.batch_size])
    examples = Examples(chosen, _stripes(len(chosen), stack.grid_shape, classes), np.ones(len(chosen), dtype=bool))
    with torch.random.fork_rng(devices=[]):
        learner = SegmentationLearner(stack, examples, classes, settings, seed=0, device=device)
        learner.step(0)
        step = _seconds(lambda: [learner.step(number) for number in range(1, STEPS + 1)], device) / STEPS
        network, images = learner.trained_network(), stack.batches(rows[np.arange(SLICES) % len(rows)], device).float()
        with torch.no_grad():
            network(images)
            seconds = _seconds(lambda: network(images), device)
    return Speed(step, seconds / SLICES)


def _stripes(count: int, shape: tuple[int, int], classes: int) -> np.ndarray:
    """Labels (n, H, W) uint8 that have all classes."""
    return np.broadcast_to(np.arange(shape[1]) % classes, (count, *shape)).astype(np.uint8)


def _seconds(work: Callable[[], object], device: str) -> float:
    _finish(device)
    started = time.perf_counter()
    work()
    _finish(device)
    return time.perf_counter() - started


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
