"""Planes that are larger than the stack's grid, kept whole, each volume in a file of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ActiveSegmentationLib.common.compute import on_device

if TYPE_CHECKING:
    import torch


class WholePlanes:
    """The slices of a stack whose planes are larger than its grid.

    Pixels have the size that the grid's have, so a network sees the same structures at the same scale; only the planes
    are larger. They stay on disk until needed, so that a few large volumes enlarge neither the memory nor the stack of
    the others.

    Args:
        arrays: By the first row of each volume: (S, C, h, w) float16, memory-mapped; h and w are at least the grid's.
    """

    def __init__(self, arrays: Mapping[int, np.ndarray]) -> None:
        self._first = np.array(sorted(arrays), dtype=np.int64)
        self._arrays = [arrays[int(first)] for first in self._first]
        self._stop = self._first + [len(array) for array in self._arrays]

    def holds(self, rows: np.ndarray) -> np.ndarray:
        """Which rows are larger than the grid: (n,) bool."""
        rows = np.asarray(rows, dtype=np.int64)
        place = np.maximum(np.searchsorted(self._first, rows, side="right") - 1, 0)
        return (rows >= self._first[place]) & (rows < self._stop[place])

    def shape(self, row: int) -> tuple[int, int]:
        """Rows and columns (h, w) of a slice that is larger than the grid."""
        height, width = self._array(row)[0].shape[2:]
        return int(height), int(width)

    def planes(self, rows: np.ndarray, device: str | torch.device = "cpu") -> torch.Tensor:
        """Slices of one shape that are larger than the grid: (n, C, h, w) float32 on the device."""

        found = [self.window(int(row), 0, 0, self.shape(int(row))) for row in rows]
        return on_device(np.stack(found), device)

    def window(self, row: int, top: int, left: int, size: tuple[int, int]) -> np.ndarray:
        """A part of a slice: (C, rows, columns) float32; only its pixels are read."""
        array, index = self._array(row)
        part = array[index, :, top : top + size[0], left : left + size[1]]
        return part.astype(np.float32)

    def _array(self, row: int) -> tuple[np.ndarray, int]:
        place = int(np.searchsorted(self._first, row, side="right")) - 1
        if place < 0 or row >= self._stop[place]:
            raise IndexError(f"row {row} is not larger than the grid")
        return self._arrays[place], int(row - self._first[place])
