"""The part of a slice stack that segmentation needs, as protocols."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.training import ImageStack

if TYPE_CHECKING:
    import torch

    from ActiveSegmentationLib.cohort import SourceVolume


class WholePlanes(Protocol):
    """Planes that are larger than the grid, such as ``cohort.SliceStack.whole``."""

    def holds(self, rows: Any, /) -> np.ndarray:
        """Which rows are larger than the grid: (n,) bool."""

    def shape(self, row: int, /) -> tuple[int, int]:
        """Rows and columns (h, w) of a slice that is larger than the grid."""

    def planes(self, rows: Any, device: Any = "cpu", /) -> torch.Tensor:
        """Images of slices that are larger than the grid and have one shape: float32 (n, C, h, w) on the device."""

    def window(self, row: int, top: int, left: int, size: tuple[int, int], /) -> np.ndarray:
        """A window of a slice that is larger than the grid: (C, rows, columns) float32."""


def whole_planes(stack: Slices) -> WholePlanes | None:
    """The planes of a stack that are larger than its grid, or None."""
    return getattr(stack, "whole", None)


def same_shape_runs(stack: Slices, rows: np.ndarray) -> Iterator[tuple[np.ndarray, tuple[int, int]]]:
    """Split rows, in their order, into runs whose planes have one shape.

    Yields:
        Rows (b,) and the shape (h, w) of their planes; where every plane fits the grid, all rows at once.
    """
    large = whole_planes(stack)
    if large is None or not len(rows):
        yield rows, stack.grid_shape
        return
    held = large.holds(rows)
    shapes = [large.shape(int(row)) if own else stack.grid_shape for row, own in zip(rows, held, strict=True)]
    start = 0
    for stop in range(1, len(rows) + 1):
        if stop == len(rows) or (shapes[stop], held[stop]) != (shapes[start], held[start]):
            yield rows[start:stop], shapes[start]
            start = stop


def plane_images(stack: Slices, rows: np.ndarray, device: str) -> torch.Tensor:
    """Whole planes of a run of ``same_shape_runs``: float32 (n, C, h, w) on the device."""
    large = whole_planes(stack)
    if large is not None and len(rows) and bool(large.holds(rows[:1])[0]):
        return large.planes(rows, device)
    return stack.batches(rows, device)


class Slices(ImageStack, Protocol):
    """Slices on one grid, such as ``cohort.SliceStack``.

    A stack may have an attribute ``whole`` with planes that are larger than its grid (``WholePlanes``); ``to_grid``,
    ``inside`` and ``from_grid`` then work at the size of those planes.
    """

    @property
    def volume_number(self) -> np.ndarray:
        """Number of the volume of each row, ascending: (N,) int64."""

    @property
    def volumes(self) -> Sequence[Any]:
        """The volumes, each with its ``id``."""

    def voxel_spacing(self, number: int, /) -> tuple[float, float, float]:
        """Millimetres between slices, and between rows and columns on the grid, of the volume with this number."""

    def row(self, slice_id: SliceId, /) -> int:
        """Row of a slice."""

    def slice_id(self, row: int, /) -> SliceId:
        """The slice in a row."""

    def volume_rows(self, volume_id: str, /) -> np.ndarray:
        """Rows of a volume's slices, in their order."""

    def to_grid(self, labels: Any, volume_id: str, /) -> np.ndarray:
        """(h, w) uint8 labels of a slice -> (H, W) uint8, nearest neighbour; 255 outside the image."""

    def inside(self, rows: Any, /) -> np.ndarray:
        """Which pixels of the rows are inside the image, not padding: (n, H, W) bool."""

    def planes_to_grid(self, values: Any, volume_id: str, /) -> np.ndarray:
        """(n, C, h, w) probabilities in the volume's plane -> (n, C, H, W) float32; background outside the image."""

    def source_volume(self, volume_id: str, /) -> SourceVolume:
        """The image of a volume as it was acquired."""

    def from_grid(self, values: Any, volume_id: str, /) -> np.ndarray:
        """(n, C, H, W) float32 probabilities -> (n, C, h, w) in the volume's plane; background outside the grid."""
