"""Estimates of how long an experiment takes: from a few timed steps before it starts, then from finished rounds."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from ActiveSegmentationLib.cohort import Role, SliceStack
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.experiment.design import Design
from ActiveSegmentationLib.segmentation import (
    NetworkLearner,
    lacking,
    learner_class,
    seconds_per_step,
    trial_training,
    wait_for,
    with_neighbours,
)

SLICES = 32
"""Number of slices whose prediction is timed."""


@dataclass(frozen=True)
class Speed:
    """Speed of this computer with the models of an experiment.

    Attributes:
        step: Seconds for a training step of one model.
        slice: Seconds for the prediction of a slice by one model.
        steps: Training steps of one model, their mean over the rounds.
    """

    step: float
    slice: float
    steps: int

    def round_seconds(self, design: Design) -> float:
        """Seconds for one round: its trainings, and one prediction each of the pool and of the test volumes.

        What strategies need in addition (dropout, gradients, learned networks) is not included.
        """
        slices = len(design.rows[Role.POOL]) + len(design.rows[Role.TEST])
        return design.settings.ensemble_members * (self.steps * self.step + slices * self.slice)


def measure_speed(design: Design, stack: SliceStack, device: str) -> Speed | None:
    """Time a few training steps and predictions; PyTorch's generators stay as they are.

    Returns:
        None for a learner that does not train slice by slice.
    """
    trainer = learner_class(design.settings.training.learner)
    if not issubclass(trainer, NetworkLearner) or "augmentation" in lacking(design.settings.training):
        return None
    rows, classes = design.rows[Role.POOL], design.labels.classes
    asked = replace(design.settings.training, loss_head=False)
    settings = trainer.configure(asked, stack, classes, compute=Compute(device))
    training = trial_training(trainer, stack, classes, settings, device=device)
    step, network = seconds_per_step(training), training.trained_network()
    images = with_neighbours(stack, settings.neighbours).batches(rows[np.arange(SLICES) % len(rows)], device)
    with torch.no_grad():
        network(images)
        wait_for(device)
        started = time.perf_counter()
        network(images)
        wait_for(device)
    steps = np.mean([settings.for_slices(count).steps for count in design.rounds])
    return Speed(step, (time.perf_counter() - started) / SLICES, round(float(steps)))


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
