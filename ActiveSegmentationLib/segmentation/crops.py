"""Random crops: training parts of planes that are larger than the grid, each with labelled pixels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from ActiveSegmentationLib.cohort import BACKGROUND, IGNORE_LABEL
from ActiveSegmentationLib.common.compute import on_device
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.segmentation.slices import WholePlanes

BY_CLASS = 0.5
"""Share of the crops that are placed on a foreground class, each class of the slice with the same probability, so that
small structures are trained on. The other crops are placed on any labelled pixel with the same probability."""


class RandomCrops:
    """Crops of the size of the grid from annotated planes that are larger.

    A crop holds a chosen pixel at a random position, not at its centre, so that structures are trained at all
    positions.

    Args:
        planes: The stack's large planes.
        rows: Row of the stack of each example.
        labels: (h, w) uint8 classes of the plane, 255 where unlabelled, by the number of an example.
        size: Rows and columns of a crop.
    """

    def __init__(
        self, planes: WholePlanes, rows: np.ndarray, labels: Mapping[int, np.ndarray], size: tuple[int, int]
    ) -> None:
        self._planes, self._rows, self._labels, self._size = planes, rows, labels, size
        self._classes = {number: _foreground(plane) for number, plane in labels.items()}

    def put(self, chosen: torch.Tensor, images: torch.Tensor, labels: torch.Tensor, seed: int, step: int) -> None:
        """Replace the examples of a batch that have large planes by crops of them.

        Args:
            chosen: (n,) numbers of the examples, on the CPU.
            images: (n, C, H, W) float32, written to.
            labels: (n, H, W) uint8, written to.
            seed: Seed of the training.
            step: Number of the training step.
        """
        for place, number in enumerate(chosen.tolist()):
            if number in self._labels:
                image, own = self.crop(number, generator(seed, "crops", step, place))
                images[place] = on_device(image, images.device)
                labels[place] = on_device(own, labels.device)

    def crop(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A random crop of an example: (C, H, W) float32 image and (H, W) uint8 labels."""
        labels = self._labels[number]
        pixel = self._pixel(number, labels, rng)
        top, left = (
            int(np.clip(centre - rng.integers(0, size), 0, length - size))
            for centre, size, length in zip(pixel, self._size, labels.shape, strict=True)
        )
        part = np.ascontiguousarray(labels[top : top + self._size[0], left : left + self._size[1]])
        return self._planes.window(int(self._rows[number]), top, left, self._size), part

    def _pixel(self, number: int, labels: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
        classes = self._classes[number]
        if len(classes) and rng.random() < BY_CLASS:
            places = np.flatnonzero(labels == rng.choice(classes))
        else:
            places = np.flatnonzero(labels != IGNORE_LABEL)
        if not len(places):
            return int(rng.integers(labels.shape[0])), int(rng.integers(labels.shape[1]))
        row, column = divmod(int(places[rng.integers(len(places))]), labels.shape[1])
        return row, column


def _foreground(labels: np.ndarray) -> np.ndarray:
    found = np.unique(labels)
    return found[(found != BACKGROUND) & (found != IGNORE_LABEL)]
