"""Training patches of volumes in which single slices are annotated."""

from __future__ import annotations

import numpy as np
import torch

from ActiveSegmentationLib.cohort import BACKGROUND, IGNORE_LABEL
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.segmentation.crops import BY_CLASS
from ActiveSegmentationLib.segmentation.examples import Examples
from ActiveSegmentationLib.segmentation.slices import Slices, plane_images, whole_planes
from ActiveSegmentationLib.segmentation.volume_plan import Size

NO_ANNOTATION, SCRIBBLE, MASK = -1, 0, 1
"""Kinds of the slices of a patch."""


class VolumePatches:
    """Patches around annotated slices, with all labels that the patch has.

    A patch holds a chosen pixel of a chosen annotated slice at a random position. The pixel is one of a foreground
    class as often as one of any class (``crops.BY_CLASS``). Only the slices that are needed are read.

    Patches may reach beyond the first and the last slice, which are then repeated, without labels. Otherwise, where a
    patch holds whole volumes, an annotated slice would always be at one position of the patch: the network, which sees
    where a patch ends, would learn slices at that position only.

    Args:
        stack: The cohort's slices.
        examples: Annotated slices.
        size: Slices, rows and columns of a patch.
    """

    def __init__(self, stack: Slices, examples: Examples, size: Size) -> None:
        self._stack, self._examples, self._size = stack, examples, size
        self._number = {int(row): number for number, row in enumerate(examples.rows)}

    def __len__(self) -> int:
        return len(self._examples)

    def batch(self, numbers: np.ndarray, seed: int, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Patches around annotated slices.

        Args:
            numbers: (n,) numbers of the examples that the patches must hold.
            seed: Seed of the training.
            step: Number of the training step.

        Returns:
            Images (n, C, S, H, W) float32, labels (n, S, H, W) uint8 with 255 where unlabelled, and the kinds (n, S) of
            the slices, int8: ``NO_ANNOTATION``, ``SCRIBBLE`` or ``MASK``. All on the CPU.
        """
        parts = [
            self.patch(int(number), generator(seed, "patches", step, place)) for place, number in enumerate(numbers)
        ]
        images, labels, kinds = zip(*parts, strict=True)
        return torch.stack(images), torch.from_numpy(np.stack(labels)), torch.from_numpy(np.stack(kinds))

    def patch(self, number: int, rng: np.random.Generator) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        """A patch around an example: what ``batch`` returns, without the first axis."""
        row = int(self._examples.rows[number])
        own = self._labels(number)
        first, last = self._volume(row)
        centre = (row - first, *self._pixel(own, rng))
        lengths = (last - first, *own.shape)
        starts = [centre[0] - int(rng.integers(self._size[0]))]
        starts += [_start(*each, rng) for each in zip(centre[1:], self._size[1:], lengths[1:], strict=True)]
        places = [
            np.clip(np.arange(start, start + size), 0, length - 1)
            for start, size, length in zip(starts, self._size, lengths, strict=True)
        ]
        labels, kinds = self._labels_of(first + starts[0], (first, last), starts[1:])
        return self._images(first + places[0], places[1], places[2]), labels, kinds

    def _volume(self, row: int) -> tuple[int, int]:
        """First row of the volume that a row belongs to, and one past its last."""
        numbers = self._stack.volume_number
        first, last = (int(np.searchsorted(numbers, numbers[row], side)) for side in ("left", "right"))
        return first, last

    def _labels(self, number: int) -> np.ndarray:
        return self._examples.whole.get(number, self._examples.labels[number])

    def _pixel(self, labels: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
        """Row and column of a labelled pixel."""
        present = np.unique(labels)
        classes = present[(present != BACKGROUND) & (present != IGNORE_LABEL)]
        chosen = labels == rng.choice(classes) if len(classes) and rng.random() < BY_CLASS else labels != IGNORE_LABEL
        places = np.flatnonzero(chosen if chosen.any() else np.ones_like(chosen))
        row, column = divmod(int(places[rng.integers(len(places))]), labels.shape[1])
        return row, column

    def _images(self, rows: np.ndarray, down: np.ndarray, right: np.ndarray) -> torch.Tensor:
        """The voxels at rows of the stack, rows of the planes and columns: (C, S, H, W) float32."""
        wanted, back = np.unique(rows, return_inverse=True)
        large = whole_planes(self._stack)
        if large is not None and bool(large.holds(wanted[:1])[0]):
            top, left = int(down[0]), int(right[0])
            box = int(down[-1]) + 1 - top, int(right[-1]) + 1 - left
            planes = torch.from_numpy(np.stack([large.window(int(row), top, left, box) for row in wanted]))
            down, right = down - top, right - left
        else:
            planes = plane_images(self._stack, wanted, "cpu")
        found = planes[:, :, torch.from_numpy(down)[:, None], torch.from_numpy(right)]
        return found[torch.from_numpy(back)].transpose(0, 1).contiguous()

    def _labels_of(self, first: int, volume: tuple[int, int], corner: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Labels and kinds of a patch that begins at a row of the stack and at a row and column of its planes."""
        labels = np.full(self._size, IGNORE_LABEL, dtype=np.uint8)
        kinds = np.full(self._size[0], NO_ANNOTATION, dtype=np.int8)
        for place in range(self._size[0]):
            row = first + place
            number = self._number.get(row) if volume[0] <= row < volume[1] else None
            if number is not None:
                kinds[place] = MASK if self._examples.dense[number] else SCRIBBLE
                _put(self._labels(number), corner, labels[place])
        return labels, kinds


def _start(centre: int, size: int, length: int, rng: np.random.Generator) -> int:
    """Where a patch that holds ``centre`` begins along a direction; a volume that is smaller lies in its middle."""
    shift = int(rng.integers(0, size))
    return -((size - length) // 2) if length <= size else int(np.clip(centre - shift, 0, length - size))


def _put(plane: np.ndarray, corner: list[int], target: np.ndarray) -> None:
    """Copy the part of a plane that begins at a corner, which may lie outside, to an array of the part's size."""
    spans = [
        (max(0, start), min(length, start + size))
        for start, size, length in zip(corner, target.shape, plane.shape, strict=True)
    ]
    here, there = (
        tuple(slice(low - shift, high - shift) for (low, high), shift in zip(spans, shifts, strict=True))
        for shifts in (corner, (0, 0))
    )
    target[here] = plane[there]
