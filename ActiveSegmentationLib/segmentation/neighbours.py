"""Neighbouring slices as further input channels: context in the third direction that costs no annotation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ActiveSegmentationLib.segmentation.slices import Slices, WholePlanes, whole_planes

if TYPE_CHECKING:
    import torch


def with_neighbours(stack: Slices, reach: int) -> Slices:
    """The stack as a network with ``reach`` neighbours on either side sees it; the stack itself for 0."""
    return NeighbourSlices(stack, reach) if reach else stack


class NeighbourSlices:
    """A stack whose images have the slices before and after them in their volume as further channels.

    Channel c of slice i is followed by the same channel of its neighbours: (c of i - reach, ..., c of i + reach) are
    channels c * (2 * reach + 1) and following. Beyond the first and the last slice of a volume, that slice is repeated.

    Args:
        stack: The cohort's slices.
        reach: Number of neighbours on either side, at least 1.
    """

    def __init__(self, stack: Slices, reach: int) -> None:
        self._stack, self._reach = stack, reach
        large = whole_planes(stack)
        self.whole: WholePlanes | None = None if large is None else _NeighbourPlanes(large, self)

    def __getattr__(self, name: str) -> Any:
        """Everything but the images is that of the stack."""
        return getattr(self._stack, name)

    @property
    def channels(self) -> int:
        """Channels of the images, of the slice and its neighbours."""
        return self._stack.channels * (2 * self._reach + 1)

    def batches(self, rows: Any, device: Any = "cpu") -> torch.Tensor:
        """Images (n, channels, H, W) float32 of the rows on the device."""
        around = self.around(rows)
        return side_by_side(self._stack.batches(around.reshape(-1), device), len(around))

    def around(self, rows: Any) -> np.ndarray:
        """Rows of the slices before, at and after each row: (n, 2 * reach + 1) int64."""
        rows = np.asarray(rows, dtype=np.int64)
        numbers = self._stack.volume_number
        first, last = (np.searchsorted(numbers, numbers[rows], side) for side in ("left", "right"))
        found = rows[:, None] + np.arange(-self._reach, self._reach + 1)
        return np.clip(found, first[:, None], last[:, None] - 1)


class _NeighbourPlanes:
    """Planes larger than the grid, with their neighbours; see ``WholePlanes``."""

    def __init__(self, planes: WholePlanes, stack: NeighbourSlices) -> None:
        self._planes, self._stack = planes, stack

    def holds(self, rows: Any) -> np.ndarray:
        return self._planes.holds(rows)

    def shape(self, row: int) -> tuple[int, int]:
        return self._planes.shape(row)

    def planes(self, rows: Any, device: Any = "cpu") -> torch.Tensor:
        around = self._stack.around(rows)
        return side_by_side(self._planes.planes(around.reshape(-1), device), len(around))

    def window(self, row: int, top: int, left: int, size: tuple[int, int]) -> np.ndarray:
        around = self._stack.around([row])[0]
        parts = np.stack([self._planes.window(int(each), top, left, size) for each in around], axis=1)
        return parts.reshape(-1, *parts.shape[2:])


def side_by_side(images: torch.Tensor, n: int) -> torch.Tensor:
    """Images of slices and their neighbours (n * k, C, H, W), slice by slice -> (n, C * k, H, W)."""
    apart = images.reshape(n, -1, *images.shape[1:])
    return apart.transpose(1, 2).reshape(n, -1, *images.shape[2:])
