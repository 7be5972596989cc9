"""Predictions of whole volumes, at the pixel size of their own slices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.segmentation.predictor import Predictor
from ActiveSegmentationLib.segmentation.slices import Slices


class Sampler(Protocol):
    """A way to draw several predictions of the same images; the package ``uncertainty`` has several."""

    def draws(self, model: Predictor, inputs: Any, batch: int) -> Iterator[torch.Tensor]:
        """Yield probabilities (n, classes, H, W) float32, one tensor per draw.

        Args:
            model: The model, on its device and in evaluation mode.
            inputs: Inputs of one of its batches; of most models images (n, channels, H, W) float32.
            batch: Number of the batch, from 0, so that draws are repeatable.
        """


@dataclass(frozen=True)
class VolumePrediction:
    """Prediction of a volume's S slices of (h, w) pixels.

    Attributes:
        labels: (S, h, w) uint8 most probable class.
        probabilities: (classes, S, h, w) float32, summing to 1 over the classes; empty if they are not kept.
    """

    labels: np.ndarray
    probabilities: np.ndarray


def predict_planes(
    model: Predictor,
    stack: Slices,
    volume_id: str,
    *,
    sampler: Sampler | None = None,
    compute: Compute | None = None,
) -> Iterator[np.ndarray]:
    """Predict the slices of a volume in their order, a batch at a time, so that large volumes need little memory.

    Args as of ``predict_volume``.

    Yields:
        (n, classes, h, w) float32 probabilities at the volume's own pixel size, n >= 1.
    """
    for number, batch in enumerate(model.plane_batches(stack, volume_id, compute)):
        with torch.no_grad():
            inputs = batch.inputs
            mean = model.predict(inputs) if sampler is None else _mean(sampler.draws(model, inputs, number))
        yield model.planes(stack, volume_id, batch.of_rows(mean))


def predict_volume(
    model: Predictor,
    stack: Slices,
    volume_id: str,
    *,
    sampler: Sampler | None = None,
    keep_probabilities: bool = True,
    compute: Compute | None = None,
) -> VolumePrediction:
    """Predict every slice of a volume.

    Probabilities, not labels, are resampled to the volume's own pixels, so that outlines are as fine as the images.
    Planes larger than the stack's grid are predicted whole. Where slices are cropped, pixels outside the grid are
    background.

    Args:
        model: A model or an ensemble.
        stack: The cohort's slices.
        volume_id: The volume.
        sampler: Predictions to average. Default: one prediction without dropout.
        keep_probabilities: Whether the result holds probabilities, which take gigabytes for large volumes.
        compute: Device, batch size and progress reporter. Default: the CPU.

    Example:
        >>> predict_volume(load_ensemble(folder), stack, "patient1").labels
    """
    count, done = len(stack.volume_rows(volume_id)), 0
    labels, probabilities = np.zeros(0, dtype=np.uint8), np.zeros(0, dtype=np.float32)
    for planes in predict_planes(model, stack, volume_id, sampler=sampler, compute=compute):
        if not done:  # the size of the planes is known now; filling arrays needs less memory than joining parts
            size = planes.shape[2:]
            labels = np.empty((count, *size), dtype=np.uint8)
            shape = (model.classes, count, *size) if keep_probabilities else (0,)
            probabilities = np.empty(shape, dtype=np.float32)
        part = slice(done, done + len(planes))
        labels[part] = planes.argmax(1)
        if keep_probabilities:
            probabilities[:, part] = np.moveaxis(planes, 1, 0)
        done += len(planes)
    return VolumePrediction(labels, probabilities)


def _mean(draws: Iterator[torch.Tensor]) -> torch.Tensor:
    total, count = next(draws).clone(), 1
    for draw in draws:
        total += draw
        count += 1
    return total / count
