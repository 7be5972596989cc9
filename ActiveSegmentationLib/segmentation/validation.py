"""Dice on validation slices and training batches."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.nn import functional

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
    sums = torch.zeros(3, classes, dtype=torch.float64)
    for start in range(0, len(images), batch_size):
        logits = network(images[start : start + batch_size].float())
        sums += _counts(logits, labels[start : start + batch_size])
    for plane, target in whole:
        logits = windowed(network, plane.float(), (images.shape[-2], images.shape[-1]))
        sums += _counts(logits, target)
    return _mean_dice(sums)


@torch.no_grad()
def batch_dice(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean Dice of the foreground classes of one batch, as in ``foreground_dice``.

    Args:
        logits: (n, classes, H, W).
        labels: (n, H, W) uint8 classes; unlabelled pixels (255) do not count.
    """
    return _mean_dice(_counts(logits, labels))


def _counts(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Number of pixels by class: in both prediction and target, the sum of both, in the target: (3, classes)."""
    classes = logits.shape[1]
    labelled = (target != IGNORE_LABEL).flatten()
    found = functional.one_hot(logits.argmax(1).flatten()[labelled], classes)
    truth = functional.one_hot(target.flatten()[labelled].long(), classes)
    return torch.stack([(found * truth).sum(0), (found + truth).sum(0), truth.sum(0)]).cpu().double()


def _mean_dice(sums: torch.Tensor) -> float:
    both, total, held = sums[:, 1:]
    present = held > 0
    if not bool(present.any()):
        return 0.0
    return float((2 * both / total.clamp(min=1))[present].mean())
