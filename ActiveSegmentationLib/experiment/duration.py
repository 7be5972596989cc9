"""Estimates of how long an experiment takes: from a few timed steps before it starts, then from finished rounds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from ActiveSegmentationLib.cohort import Role, SliceStack
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.experiment.run import Design
from ActiveSegmentationLib.segmentation import Examples, NetworkLearner, learner_class
from ActiveSegmentationLib.training import private_randomness

STEPS = 3
"""Number of training steps that are timed, after one that is not."""

SLICES = 32
"""Number of slices whose prediction is timed."""


@dataclass(frozen=True)
class Speed:
    """Speed of this computer with the models of an experiment.

    Attributes:
        step: Seconds for a training step of one model.
        slice: Seconds for the prediction of a slice by one model.
    """

    step: float
    slice: float

    def round_seconds(self, design: Design) -> float:
        """Seconds for one round: its trainings, and one prediction each of the pool and of the test volumes.

        What strategies need in addition (dropout, gradients, learned networks) is not included.
        """
        slices = len(design.rows[Role.POOL]) + len(design.rows[Role.TEST])
        return design.settings.ensemble_members * (design.settings.training.steps * self.step + slices * self.slice)


def measure_speed(design: Design, stack: SliceStack, device: str) -> Speed | None:
    """Time a few training steps and predictions; PyTorch's generators stay as they are.

    Returns:
        None for a learner that does not train slice by slice.
    """
    trainer = learner_class(design.settings.training.learner)
    if not issubclass(trainer, NetworkLearner):
        return None
    rows, classes = design.rows[Role.POOL], design.labels.classes
    settings = replace(design.settings.training, loss_head=False)
    chosen = np.unique(rows[: settings.batch_size])
    examples = Examples(chosen, _stripes(len(chosen), stack.grid_shape, classes), np.ones(len(chosen), dtype=bool))
    with private_randomness(device):
        learner = trainer(stack, examples, classes, settings, seed=0, device=device)
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
    """Reports how long the remaining rounds will take.

    Args:
        rounds: Number of rounds to compute.
        progress: Progress reporter.
    """

    def __init__(self, rounds: int, progress: Progress) -> None:
        self._rounds, self._progress = rounds, progress
        self._done, self._started = 0, time.monotonic()

    def finished(self) -> None:
        """Count one more finished round."""
        self._done += 1
        left = self._rounds - self._done
        seconds = (time.monotonic() - self._started) / self._done * left
        remaining = f"; about {duration_text(seconds)} left" if left else ""
        self._progress.message(f"{self._done} of {self._rounds} rounds are done{remaining}.")


def duration_text(seconds: float) -> str:
    """Seconds in words: "40 seconds", "12 minutes", "3.5 hours"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    if seconds < 5400:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours"
