"""Data augmentation: random changes of a batch of slices and labels, computed on the device for all slices at once."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from ActiveSegmentationLib.cohort import IGNORE_LABEL
from ActiveSegmentationLib.segmentation.settings import AugmentationSettings


def augment(
    images: torch.Tensor,
    labels: torch.Tensor,
    settings: AugmentationSettings,
    generator: torch.Generator,
    *,
    together: int = 1,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Move slices together with their labels, and change their intensities.

    Args:
        images: (n, C, H, W) float32.
        labels: (n, H, W) uint8 classes, 255 where unlabelled; or (n, S, H, W) of several slices.
        settings: Ranges of the changes.
        generator: Source of randomness, on the device of the images.
        together: Number of successive channels that are the same channel of neighbouring slices, whose intensities
            change alike.

    Returns:
        Images of the same shape, interpolated bilinearly and continued at the border; labels of the same shape, nearest
        neighbour, 255 where the content comes from outside the slice.
    """
    images, labels = move_randomly(images, labels, settings, generator)
    return change_intensities(images, settings, generator, together=together), labels


def move_randomly(
    images: torch.Tensor, labels: torch.Tensor, settings: AugmentationSettings, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """The part of ``augment`` that moves slices and labels."""
    return move(images, labels, _placements(images, settings, generator))


def move(images: torch.Tensor, labels: torch.Tensor, placements: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Resample slices and labels under affine maps.

    Args:
        images: (n, C, H, W) float32.
        labels: (n, H, W) uint8, or (n, S, H, W) of several slices.
        placements: (n, 2, 3) maps from output to input in (x, y) coordinates that run from -1 to 1 over the slice, as
            in ``torch.nn.functional.affine_grid``.
    """
    grid = functional.affine_grid(placements, list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    planes = labels.reshape(len(labels), -1, *labels.shape[-2:])
    shifted = planes.float() - IGNORE_LABEL  # 0 fills the outside, and becomes the ignore label again below
    sampled = functional.grid_sample(shifted, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return moved, (sampled.reshape(labels.shape) + IGNORE_LABEL).round().to(labels.dtype)


def change_intensities(
    images: torch.Tensor, settings: AugmentationSettings, generator: torch.Generator, *, together: int = 1
) -> torch.Tensor:
    """Random gamma, contrast, brightness and noise for each slice and channel of (n, C, H, W) float32 images.

    Args:
        images: The images.
        settings: Ranges of the changes.
        generator: Source of randomness, on the device of the images.
        together: See ``augment``.
    """
    shape = images.shape
    images = images.reshape(shape[0], -1, together * shape[2], shape[3])
    draw = _Draw(images, generator)
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    spread = (high - low).clamp(min=1e-6)
    changed = ((images - low) / spread).clamp(0, 1) ** draw.factor(settings.gamma) * spread + low
    deviation = changed.std((2, 3), keepdim=True)
    mean = changed.mean((2, 3), keepdim=True)
    changed = (changed - mean) * draw.factor(settings.contrast) + mean
    changed = changed + deviation * settings.brightness * draw.symmetric()
    amount = deviation * settings.noise * draw.uniform()
    amount = amount + spread * settings.noise_of_range
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    return torch.where(draw.chosen(settings.probability), changed + amount * noise, images).reshape(shape)


class _Draw:
    """Random numbers of shape (n, C, 1, 1), or (n, 1, 1, 1) for choices, on the images' device."""

    def __init__(self, images: torch.Tensor, generator: torch.Generator) -> None:
        self._shape = (images.shape[0], images.shape[1], 1, 1)
        self._device = images.device
        self._generator = generator

    def uniform(self) -> torch.Tensor:
        return torch.rand(self._shape, generator=self._generator, device=self._device)

    def symmetric(self) -> torch.Tensor:
        return self.uniform() * 2 - 1

    def factor(self, largest: float) -> torch.Tensor:
        """Random factors between 1 / (1 + largest) and 1 + largest, above 1 as often as below."""
        return torch.exp(self.symmetric() * math.log1p(largest))

    def chosen(self, probability: float) -> torch.Tensor:
        return self.uniform()[:, :1] < probability


def _placements(images: torch.Tensor, settings: AugmentationSettings, generator: torch.Generator) -> torch.Tensor:
    n, _, height, width = images.shape
    draw = _Draw(images[:, :1], generator)
    angle = draw.symmetric() * math.radians(settings.rotation)
    zoom = 1 / draw.factor(settings.scale)
    shift_x, shift_y = draw.symmetric() * 2 * settings.shift, draw.symmetric() * 2 * settings.shift
    chosen = draw.chosen(settings.probability)
    angle, shift_x, shift_y = (torch.where(chosen, value, 0.0) for value in (angle, shift_x, shift_y))
    zoom = torch.where(chosen, zoom, 1.0)
    turns = torch.floor(draw.uniform() * 4) * (math.pi / 2)
    angle = angle + torch.where(chosen & settings.quarter_turns, turns, 0.0)
    signs = [torch.where((draw.uniform() < 0.5) & on, -1.0, 1.0) for on in (settings.flip_columns, settings.flip_rows)]
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    aspect = height / width  # the grid's coordinates are stretched where the slice is not square; this undoes it
    rows = [[cos * signs[0], -sin * aspect * signs[1], shift_x], [sin / aspect * signs[0], cos * signs[1], shift_y]]
    return torch.stack([torch.stack([entry.reshape(n) for entry in row], 1) for row in rows], 1)
