"""The figure that picks the best weights."""

from __future__ import annotations

import torch
from torch.nn import functional

from ActiveSegmentationLib.cohort import UNDECIDED


@torch.no_grad()
def foreground_dice(
    network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, classes: int, *, batch_size: int
) -> float:
    """Mean Dice of the foreground classes, each over all slices together.

    Args:
        network: Network in evaluation mode, on the tensors' device.
        images: (n, channels, H, W) float.
        labels: (n, H, W) uint8 classes; undecided pixels (255) do not count.
        classes: Classes including background.
        batch_size: Slices predicted at once.

    Returns:
        Value in [0, 1]. A class that the slices do not hold is left out of the mean; 0 where they hold none.
    """
    both, total, held = (torch.zeros(classes, dtype=torch.float64) for _ in range(3))
    for start in range(0, len(images), batch_size):
        target = labels[start : start + batch_size]
        decided = (target != UNDECIDED).flatten()
        predicted = network(images[start : start + batch_size].float()).argmax(1).flatten()[decided]
        found = functional.one_hot(predicted, classes)
        truth = functional.one_hot(target.flatten()[decided].long(), classes)
        both += (found * truth).sum(0).cpu()
        total += (found + truth).sum(0).cpu()
        held += truth.sum(0).cpu()
    present = held[1:] > 0
    if not bool(present.any()):
        return 0.0
    return float((2 * both[1:] / total[1:].clamp(min=1))[present].mean())
