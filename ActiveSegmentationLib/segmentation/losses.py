"""Losses of masks, of scribbles, and of batches with both; unlabelled pixels are ignored in all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch.nn import functional

from ActiveSegmentationLib.common.labels import IGNORE_LABEL
from ActiveSegmentationLib.segmentation.settings import TrainingSettings


@dataclass(frozen=True)
class SegmentationLoss:
    """Cross-entropy and soft Dice on masks, cross-entropy alone on scribbles.

    In a mixed batch the cross-entropy is over all slices and the Dice over those with masks, weighted by their share of
    the batch, so the loss of a mixed batch is between the two.

    Attributes:
        background: Whether background counts in the Dice loss.
        squared: Whether the Dice loss squares probabilities in its denominator.
        scribble_dice: Whether the labelled pixels of scribbled slices count in the Dice loss too.
        dice_share: Share of the Dice in the loss of masks, 0..1.
        absent: Whether classes without a labelled pixel count in the Dice loss, see ``partial_dice``.
        class_weights: (C,) weights of the classes in the cross-entropy, see ``partial_cross_entropy``.
        by_pixel: Whether the cross-entropy is that of ``pooled_cross_entropy``.
        pooled: Whether the Dice is that of all slices together, see ``partial_dice``.

    Example:
        >>> loss = SegmentationLoss(background=True)
        >>> loss(logits, labels, dense).backward()
    """

    background: bool = False
    squared: bool = False
    scribble_dice: bool = False
    dice_share: float = 0.5
    absent: bool = False
    class_weights: torch.Tensor | None = None
    by_pixel: bool = False
    pooled: bool = True

    @classmethod
    def of(cls, settings: TrainingSettings, class_weights: torch.Tensor | None = None) -> Self:
        """The loss that the settings of a training define."""
        return cls(
            background=settings.dice_background,
            squared=settings.dice_squared,
            scribble_dice=settings.scribble_dice,
            dice_share=settings.dice_share,
            absent=settings.dice_absent,
            class_weights=class_weights,
            by_pixel=settings.cross_entropy_mean == "pixels",
            pooled=settings.dice_of == "batch",
        )

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor, dense: torch.Tensor) -> torch.Tensor:
        """The loss of a batch.

        Args:
            logits: (n, C, H, W) float.
            labels: (n, H, W) integer classes, 255 where unlabelled.
            dense: (n,) bool, True for slices with masks, False for scribbles.

        Returns:
            Scalar, 0 where no pixel is labelled.
        """
        if self.by_pixel:
            cross_entropy = pooled_cross_entropy(logits, labels, dense, class_weights=self.class_weights)
        else:
            cross_entropy = partial_cross_entropy(logits, labels, class_weights=self.class_weights)
        counted = torch.ones_like(dense) if self.scribble_dice else dense
        if self.dice_share == 0 or (counted.device.type == "cpu" and not bool(counted.any())):
            return cross_entropy  # on a GPU the Dice is computed with a share of 0 rather than waited for
        seen = torch.where(counted[:, None, None], labels, torch.full_like(labels, IGNORE_LABEL))
        ways = {"background": self.background, "squared": self.squared, "absent": self.absent, "pooled": self.pooled}
        dice = partial_dice(logits, seen, **ways)
        share = counted.to(logits.dtype).mean() * self.dice_share
        return (1 - share) * cross_entropy + share * dice

    def by_slice(self, logits: torch.Tensor, labels: torch.Tensor, dense: torch.Tensor) -> torch.Tensor:
        """The loss of every slice on its own: (n,) float, what a call with that slice alone returns.

        Args as of a call.
        """
        known = (labels != IGNORE_LABEL).flatten(1)
        cross_entropy = _slice_cross_entropies(logits, labels, self.class_weights)
        target = functional.one_hot(torch.where(labels == IGNORE_LABEL, 0, labels).long(), logits.shape[1])
        target = target.movedim(-1, 1).flatten(2).to(logits.dtype) * known[:, None]
        p = torch.softmax(logits, 1).flatten(2) * known[:, None]
        sizes = (p**2 + target**2 if self.squared else p + target).sum(2)
        smooth = 1e-5 if self.absent else 0.0
        dice = 1 - (2 * (p * target).sum(2) + smooth) / (sizes + 1e-5)
        present = (target.sum(2) > 0).to(logits.dtype)
        if self.absent:
            present = known.any(1, keepdim=True).to(logits.dtype).expand_as(present)
        if not self.background:
            dice, present = dice[:, 1:], present[:, 1:]
        dice = (dice * present).sum(1) / present.sum(1).clamp(min=1)
        counted = torch.ones_like(dense) if self.scribble_dice else dense
        return torch.where(counted, (1 - self.dice_share) * cross_entropy + self.dice_share * dice, cross_entropy)


def partial_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, *, class_weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross-entropy of the labelled pixels: mean over those of a slice, then over the slices that have any.

    Where every pixel is labelled this is the usual mean. Averaging by slice first lets a scribbled slice count as much
    as a slice with a mask.

    Args:
        logits: (n, C, H, W) float.
        labels: (n, H, W) integer classes, 255 where unlabelled.
        class_weights: (C,) weights of pixels by their class in the mean of a slice. Default: equal weights.

    Returns:
        Scalar, 0 where no pixel is labelled.
    """
    by_slice = _slice_cross_entropies(logits, labels, class_weights)
    return by_slice.sum() / (labels != IGNORE_LABEL).flatten(1).any(1).sum().clamp(min=1)


def pooled_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, dense: torch.Tensor, *, class_weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross-entropy of the labelled pixels: mean over those of all slices with scribbles together, so that a slice with
    many strokes counts more; the same for slices with masks, and in a mixed batch the mean of both by number of slices.

    In a batch of one kind this is the usual mean over the labelled pixels of the batch.

    Args:
        logits: (n, C, H, W) float.
        labels: (n, H, W) integer classes, 255 where unlabelled.
        dense: (n,) bool, True for slices with masks, False for scribbles.
        class_weights: (C,) weights of pixels by their class. Default: equal weights.

    Returns:
        Scalar, 0 where no pixel is labelled.
    """
    losses, weights = _pixel_cross_entropies(logits, labels, class_weights)
    losses, weights = losses.sum(1), weights.sum(1)
    annotated = (labels != IGNORE_LABEL).flatten(1).any(1)
    total = logits.new_zeros(())
    for kind in (dense, ~dense):
        mean = (losses * kind).sum() / (weights * kind).sum().clamp(min=1e-12)
        total = total + mean * (kind & annotated).sum()
    return total / annotated.sum().clamp(min=1)


def _slice_cross_entropies(
    logits: torch.Tensor, labels: torch.Tensor, class_weights: torch.Tensor | None
) -> torch.Tensor:
    """(n,) mean over the labelled pixels of each slice, 0 if it has none."""
    losses, weights = _pixel_cross_entropies(logits, labels, class_weights)
    return losses.sum(1) / weights.sum(1).clamp(min=1 if class_weights is None else 1e-12)


def _pixel_cross_entropies(
    logits: torch.Tensor, labels: torch.Tensor, class_weights: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted cross-entropies and weights of the pixels, both (n, H * W) and 0 where unlabelled."""
    targets = labels.long()
    losses = functional.cross_entropy(
        logits, targets, weight=class_weights, ignore_index=IGNORE_LABEL, reduction="none"
    ).flatten(1)
    known = (labels != IGNORE_LABEL).flatten(1)
    if class_weights is None:
        return losses, known.to(losses.dtype)
    return losses, class_weights[torch.where(known, targets.flatten(1), 0)] * known


def partial_dice(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    background: bool = False,
    squared: bool = False,
    absent: bool = False,
    pooled: bool = True,
) -> torch.Tensor:
    """Soft Dice loss of the labelled pixels: over the whole batch for each class, then mean over the classes present.

    A class that no labelled pixel of the batch has is left out unless ``absent``: its Dice would be near 0 for any
    prediction, and the cross-entropy already counts its false positives.

    Args:
        logits: (n, C, H, W) float.
        labels: (n, H, W) integer classes, 255 where unlabelled.
        background: Whether class 0 counts.
        squared: Whether probabilities are squared in the denominator.
        absent: Whether classes without a labelled pixel count; then 1e-5 is added to both sides of the fraction.
        pooled: Whether pixels of all slices count together. Otherwise every slice has its own Dice, and the loss is the
            mean over the slices in which a class counts.

    Returns:
        Scalar in [0, 1], 0 where no class counts.
    """
    from monai.losses import DiceLoss  # slow to import, and most commands train nothing

    labelled = (labels != IGNORE_LABEL).unsqueeze(1)
    classes = logits.shape[1]
    known = torch.where(labels == IGNORE_LABEL, 0, labels).long()
    target = functional.one_hot(known, classes).movedim(-1, 1).to(logits.dtype) * labelled
    dice = DiceLoss(
        squared_pred=squared, batch=pooled, reduction="none", smooth_nr=1e-5 if absent else 0.0, smooth_dr=1e-5
    )
    losses = dice(torch.softmax(logits, 1) * labelled, target).reshape(-1, classes)
    axes, every = ((0, 2, 3), (0, 1, 2, 3)) if pooled else ((2, 3), (1, 2, 3))
    present = (target.sum(axes) > 0).to(logits.dtype).reshape(-1, classes)
    if absent:
        present = torch.maximum(present, labelled.sum(every).clamp(max=1).to(present.dtype).reshape(-1, 1))
    if not background:
        losses, present = losses[:, 1:], present[:, 1:]
    means = (losses * present).sum(1) / present.sum(1).clamp(min=1)
    return means.sum() / present.amax(1).sum().clamp(min=1)
