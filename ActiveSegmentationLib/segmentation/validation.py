"""Dice on validation slices and training batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import torch

from ActiveSegmentationLib.cohort import IGNORE_LABEL
from ActiveSegmentationLib.segmentation.windows import windowed


@torch.no_grad()
def foreground_dice(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    classes: int,
    *,
    batch_size: int,
    whole: Iterable[tuple[torch.Tensor, torch.Tensor]] = (),
) -> float:
    """Mean Dice of the foreground classes, for each class over all slices together.

    Args:
        network: Network in evaluation mode, on the tensors' device.
        images: (n, channels, H, W) float.
        labels: (n, H, W) uint8 classes; unlabelled pixels (255) do not count.
        classes: Classes including background.
        batch_size: Slices predicted at once.
        whole: Slices of larger planes, (1, channels, h, w) and (1, h, w), predicted in windows of H x W.

    Returns:
        Value in [0, 1]. A class that no slice has is left out of the mean; 0 where no slice has any.
    """
    size = (images.shape[-2], images.shape[-1])
    starts = range(0, len(images), batch_size)
    parts = (
        (network(images[start : start + batch_size].float()), labels[start : start + batch_size]) for start in starts
    )
    large = ((windowed(network, plane.float(), size), target) for plane, target in whole)
    return dice_of_parts(itertools.chain(parts, large), classes)


def dice_of_parts(parts: Iterable[tuple[torch.Tensor, torch.Tensor]], classes: int) -> float:
    """Mean Dice of the foreground classes, as in ``foreground_dice``, of predictions that come in parts.

    Args:
        parts: Logits or probabilities (n, classes, ...) and labels (n, ...), 255 where unlabelled.
        classes: Classes including background.
    """
    counts = [class_counts(scores, target) for scores, target in parts]
    return mean_dice(torch.stack(counts).sum(0)) if counts else 0.0


@torch.no_grad()
def class_counts(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Number of labelled pixels of each class, from which ``mean_dice`` computes; does not wait for a GPU.

    Args:
        logits: (n, classes, H, W).
        labels: (n, H, W) uint8 classes; unlabelled pixels (255) do not count.

    Returns:
        (3, classes) int64 on the device of the logits: pixels that have the class in both prediction and labels, the
        sum of those that have it in either, and those that have it in the labels.
    """
    numbers = torch.arange(logits.shape[1], device=logits.device)[:, None]
    found = (logits.argmax(1).flatten() == numbers) & (labels != IGNORE_LABEL).flatten()
    truth = labels.flatten() == numbers
    return torch.stack([(found & truth).sum(1), found.sum(1) + truth.sum(1), truth.sum(1)])


def mean_dice(counts: torch.Tensor) -> float:
    """Mean Dice of the foreground classes from counts (3, classes) of ``class_counts``, as in ``foreground_dice``."""
    both, total, held = counts.cpu().double()[:, 1:]
    present = held > 0
    if not bool(present.any()):
        return 0.0
    return float((2 * both / total.clamp(min=1))[present].mean())
