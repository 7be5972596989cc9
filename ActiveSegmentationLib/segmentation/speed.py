"""The time of a training step on this computer, measured on a few steps that are thrown away."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import numpy as np

from ActiveSegmentationLib.segmentation.examples import Examples
from ActiveSegmentationLib.segmentation.slices import Slices
from ActiveSegmentationLib.training import private_randomness

if TYPE_CHECKING:
    from ActiveSegmentationLib.segmentation.network_learner import NetworkLearner
    from ActiveSegmentationLib.segmentation.settings import TrainingSettings

FEWEST, MOST, SECONDS = 3, 30, 2.0
"""Numbers of training steps that are timed, after one that is not, and the time after which no more are."""


def trial_training(
    learner: type[NetworkLearner], stack: Slices, classes: int, settings: TrainingSettings, *, device: str
) -> NetworkLearner:
    """A training on the first slices with invented labels; what it learns is of no use, but a step takes as long.

    Args:
        learner: The learner.
        stack: The cohort's slices.
        classes: Number of classes including background.
        settings: Settings of the training.
        device: PyTorch device.
    """
    rows = np.arange(min(settings.batch_size, len(stack.volume_number)))
    stripes = (np.arange(stack.grid_shape[1]) % classes).astype(np.uint8)
    labels = np.tile(stripes, (len(rows), stack.grid_shape[0], 1))
    examples = Examples(rows, labels, np.ones(len(rows), dtype=bool))
    training = learner(stack, examples, classes, settings, seed=0, device=device)
    if learner.uses_unlabelled(settings):
        training.learn_from_unlabelled(np.arange(len(stack.volume_number)))
    return training


def seconds_per_step(training: NetworkLearner) -> float:
    """Median seconds of a few steps of a training; PyTorch's generators stay as they are."""
    found: list[float] = []
    with private_randomness(training.device):
        for _ in range(MOST + 1):
            if len(found) > FEWEST and sum(found[1:]) > SECONDS:
                break
            wait_for(training.device)
            started = time.perf_counter()
            training.step(training.steps - 1)  # the first steps of some trainings take less
            wait_for(training.device)
            found.append(time.perf_counter() - started)
    return statistics.median(found[1:])


def wait_for(device: str) -> None:
    """Wait until a GPU has finished everything that it was given."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)
