"""Learning from unlabelled slices: an average of the network labels them, and the network learns these labels."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ActiveSegmentationLib.cohort import IGNORE_LABEL
from ActiveSegmentationLib.common.compute import on_device
from ActiveSegmentationLib.common.seeds import torch_generator
from ActiveSegmentationLib.segmentation.augmentation import change_intensities, move_randomly
from ActiveSegmentationLib.segmentation.losses import partial_dice
from ActiveSegmentationLib.segmentation.network import SegmentationNetwork
from ActiveSegmentationLib.segmentation.settings import AugmentationSettings, TrainingSettings
from ActiveSegmentationLib.segmentation.slices import Slices, whole_planes
from ActiveSegmentationLib.segmentation.training_parts import autocast

DECAY = 0.99
"""Share of the teacher's weights that stays at each step; less in the first hundred steps."""

CONFIDENT = 0.9
"""Probability above which the teacher's class of a pixel is learned."""

FIRST, FULL = 0.2, 0.4
"""Shares of the training before which unlabelled slices have no weight, and from which they have all of it."""

SMALLEST, LARGEST = 0.3, 0.7
"""Shares of the height and width of a slice that the rectangle of another slice takes."""

INTENSITIES = AugmentationSettings(probability=1.0, gamma=0.8, contrast=0.5, brightness=0.3, noise=0.3)
"""How the intensities of what the network sees change; the teacher sees the slices as they are."""


class MeanTeacher:
    """A teacher that labels unlabelled slices for the network which it is the average of.

    - The teacher's weights are a moving average of the network's (mean teacher, Tarvainen & Valpola 2017).
    - It sees slices that are moved only. The network sees them with other intensities (FixMatch, Sohn et al. 2020),
      each with a rectangle of another slice and of its labels in it (CutMix, French et al. 2020), and learns the
      classes of which the teacher is confident, by cross-entropy and Dice.
    - Every random draw is from a stream named by the number of the step, so that a training can be resumed.

    Args:
        network: The network at the start of the training; copied.
        stack: The cohort's slices, with the neighbours that the network takes.
        rows: Rows of the slices to learn from, at least one.
        settings: Settings of the training; a step takes half as many of these slices as labelled ones.
        weight: Weight of the loss, next to the weight 1 of the loss on labels.
        seed: Seed of the training.
        device: PyTorch device.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        stack: Slices,
        rows: np.ndarray,
        settings: TrainingSettings,
        *,
        weight: float,
        seed: int,
        device: str,
    ) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._stack, self._rows, self._settings = stack, np.asarray(rows, dtype=np.int64), settings
        self._large = whole_planes(stack)
        self._weight, self._seed, self._device = weight, seed, device
        self._size = max(2, settings.batch_size // 2)

    def weight(self, number: int) -> float:
        """Weight of the loss in a step: 0 at first, while the teacher knows nothing, then rising."""
        return self._weight * min(1.0, max(0.0, (number / self._settings.steps - FIRST) / (FULL - FIRST)))

    def add_gradients(self, network: SegmentationNetwork, number: int, parts: int = 1) -> torch.Tensor | None:
        """Add the gradients of the loss on unlabelled slices to those of a network.

        Args:
            network: The network that learns.
            number: Number of the step, from 0.
            parts: Into how many parts to split the slices, to save memory.

        Returns:
            The weighted loss, a scalar; None in a step in which these slices have no weight.
        """
        weight = self.weight(number)
        if not weight:
            return None
        images, labels = self.labelled(number, parts)
        total = torch.zeros((), device=self._device)
        for part, own in zip(images.chunk(parts), labels.chunk(parts), strict=True):
            with autocast(self._settings, self._device):
                logits = network(part)
            loss = weight * len(part) / len(images) * self._loss(logits.float(), own)
            loss.backward()
            total = total + loss.detach()
        return total

    @staticmethod
    def _loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Cross-entropy, of which pixels without a label have none, and Dice."""
        entropies = functional.cross_entropy(logits, labels.long(), ignore_index=IGNORE_LABEL, reduction="sum")
        return 0.5 * (entropies / labels.numel() + partial_dice(logits, labels))

    @torch.no_grad()
    def labelled(self, number: int, parts: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Slices of a step as the network sees them, with the teacher's labels.

        Returns:
            (n, C, H, W) float32 images and (n, H, W) uint8 classes, 255 where the teacher is not confident.
        """
        settings = self._settings
        draw = torch_generator(self._seed, "unlabelled slices", number, device=self._device)
        images = self._images(number)
        outside = torch.zeros((len(images), *images.shape[-2:]), dtype=torch.uint8, device=self._device)
        if settings.augment:
            images, outside = move_randomly(images, outside, settings.augmentation, draw)
        labels = torch.cat([self._labels(part) for part in images.chunk(parts)])
        labels = torch.where(outside == IGNORE_LABEL, outside, labels)
        changes = replace(INTENSITIES, noise_of_range=settings.augmentation.noise_of_range)
        images = change_intensities(images, changes, draw, together=2 * settings.neighbours + 1)
        return self._with_rectangles(images, labels, number)

    def _labels(self, images: torch.Tensor) -> torch.Tensor:
        with autocast(self._settings, self._device):
            logits = self.network(images)
        confidence, classes = torch.softmax(logits.float(), 1).max(1)
        return torch.where(confidence > CONFIDENT, classes.to(torch.uint8), IGNORE_LABEL)

    def _images(self, number: int) -> torch.Tensor:
        """Slices of a step; of planes larger than the grid, a part of the grid's size."""
        draw = torch_generator(self._seed, "choice of unlabelled slices", number)
        picked = self._rows[torch.randint(len(self._rows), (self._size,), generator=draw).numpy()]
        images = self._stack.batches(picked, self._device).float()
        if self._large is not None:
            size = self._stack.grid_shape
            for place in np.flatnonzero(self._large.holds(picked)):
                row = int(picked[place])
                spare = [own - grid + 1 for own, grid in zip(self._large.shape(row), size, strict=True)]
                top, left = (int(torch.randint(each, (), generator=draw)) for each in spare)
                images[place] = on_device(self._large.window(row, top, left, size), self._device)
        return images

    def _with_rectangles(
        self, images: torch.Tensor, labels: torch.Tensor, number: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Each slice with a rectangle of the one before it, at the same place."""
        draw = torch_generator(self._seed, "rectangles", number)
        spans = []
        for side in images.shape[-2:]:
            share = SMALLEST + (LARGEST - SMALLEST) * float(torch.rand((), generator=draw))
            length = max(1, int(side * share))
            start = int(torch.randint(side - length + 1, (), generator=draw))
            spans.append(slice(start, start + length))
        rows, columns = spans
        images, labels = images.clone(), labels.clone()
        images[..., rows, columns] = images.roll(1, 0)[..., rows, columns]
        labels[..., rows, columns] = labels.roll(1, 0)[..., rows, columns]
        return images, labels

    @torch.no_grad()
    def follow(self, network: SegmentationNetwork, number: int) -> None:
        """Move the teacher's weights towards those of the network after a step."""
        share = 1 - min(DECAY, (number + 1) / (number + 10))
        for own, other in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if own.dtype.is_floating_point:
                own.lerp_(other, share)
            else:
                own.copy_(other)

    def state(self) -> dict[str, Any]:
        """The teacher's weights."""
        return self.network.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of ``state``."""
        self.network.load_state_dict(state)
