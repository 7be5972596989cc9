"""Predictions of whole volumes, in the plane geometry of their own slices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.segmentation.predictor import Predictor, iterate_images
from ActiveSegmentationLib.segmentation.slices import Slices


class Sampler(Protocol):
    """A way to draw several predictions of the same images; those of the ``uncertainty`` room are such."""

    def draws(self, model: Predictor, images: torch.Tensor, batch: int) -> Iterator[torch.Tensor]:
        """Yield probabilities (n, classes, H, W) float32, one tensor a draw.

        Args:
            model: The model, on the images' device and in evaluation mode.
            images: (n, channels, H, W) float32.
            batch: Number of the batch, from 0, so that draws are repeatable.
        """


@dataclass(frozen=True)
class VolumePrediction:
    """Prediction of a volume's S slices of (h, w) pixels.

    Attributes:
        labels: (S, h, w) uint8 most probable class.
        probabilities: (classes, S, h, w) float32, summing to 1 over the classes; empty where they are not kept.
    """

    labels: np.ndarray
    probabilities: np.ndarray


def predict_planes(
    model: Predictor,
    stack: Slices,
    volume_id: str,
    *,
    sampler: Sampler | None = None,
    device: str = "cpu",
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Iterator[np.ndarray]:
    """Predict the slices of a volume in their order, a batch at a time, so that large volumes need little memory.

    Arguments as of ``predict_volume``.

    Yields:
        (n, classes, h, w) float32 probabilities in the plane geometry of the volume's slices, n >= 1.
    """
    rows = stack.volume_rows(volume_id)
    batches = iterate_images(model, stack, rows, device, batch_size, "Predicting slices", progress)
    for number, (_, images) in enumerate(batches):
        with torch.no_grad():
            mean = model.predict(images) if sampler is None else _mean(sampler.draws(model, images, number))
        yield np.asarray(stack.from_grid(mean.cpu().numpy(), volume_id), dtype=np.float32)


def predict_volume(
    model: Predictor,
    stack: Slices,
    volume_id: str,
    *,
    sampler: Sampler | None = None,
    device: str = "cpu",
    batch_size: int | None = None,
    keep_probabilities: bool = True,
    progress: Progress | None = None,
) -> VolumePrediction:
    """Predict every slice of a volume.

    Probabilities, not labels, are brought to the volume's own pixels, so outlines are as fine as those. Planes larger
    than the stack's grid are predicted whole; where slices are cropped, what lies outside of the grid is background.

    Args:
        model: A segmenter or an ensemble.
        stack: The cohort's slices.
        volume_id: The volume.
        sampler: Average over its draws rather than one prediction without dropout.
        device: Torch device.
        batch_size: Slices a batch, chosen by the size of the grid unless told.
        keep_probabilities: Whether the result holds probabilities, which of large volumes take gigabytes.
        progress: Told after every batch.
    """
    options = {"sampler": sampler, "device": device, "batch_size": batch_size, "progress": progress}
    labels, kept = [], []
    for planes in predict_planes(model, stack, volume_id, **options):  # type: ignore[arg-type]
        labels.append(planes.argmax(1).astype(np.uint8))
        kept += [planes] if keep_probabilities else []
    probabilities = np.moveaxis(np.concatenate(kept), 1, 0) if kept else np.zeros(0, dtype=np.float32)
    return VolumePrediction(np.concatenate(labels), np.ascontiguousarray(probabilities))


def _mean(draws: Iterator[torch.Tensor]) -> torch.Tensor:
    total, count = next(draws).clone(), 1
    for draw in draws:
        total += draw
        count += 1
    return total / count
