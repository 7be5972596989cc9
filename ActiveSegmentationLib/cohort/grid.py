"""The mapping between an acquired slice and the stack's common grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ActiveSegmentationLib.cohort.turns import AS_STORED, Turn
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.labels import BACKGROUND, IGNORE_LABEL

SMOOTHING_ZOOM = 1.2
"""Images are smoothed before they shrink by more than this factor, so that fine structure does not alias."""


@dataclass(frozen=True)
class PlaneGrid:
    """Centre-aligned in-plane map: the centres of native plane and grid coincide, only the pixel size differs.

    The map is separable: rows and columns are resampled one after the other, each by two neighbours and their weights.
    Where pixels keep their size the map shifts by whole pixels, so that every value stays exactly the same; the centres
    then differ by up to half a pixel.

    Planes are turned before they are resampled, and turned back afterwards.

    Attributes:
        native: Rows and columns of the acquired slice, as stored.
        grid: Rows and columns of the common grid.
        zoom: Native pixels that a grid pixel spans, along the grid's rows and along its columns.
        turn: How the stored plane is turned to lie as the grid does.
    """

    native: tuple[int, int]
    grid: tuple[int, int]
    zoom: tuple[float, float] = (1.0, 1.0)
    turn: Turn = AS_STORED

    def images_to_grid(self, images: np.ndarray, fill: np.ndarray) -> np.ndarray:
        """Resample images linearly, smoothed by a Gaussian beforehand in directions that shrink by more than 1.2.

        Args:
            images: (c, n, h, w) float array.
            fill: (c,) value beyond the images' borders.

        Returns:
            (c, n, H, W) float32 array.

        Raises:
            BadInput: If the images' size is not ``native``.
        """
        self._require(images, self.native)
        moved = _smoothed(self.turn.apply(np.asarray(images, dtype=np.float32)), self.zoom)
        for axis, line in zip((-2, -1), self._lines, strict=True):
            moved = _interpolated(moved, line.grid_places(), axis)
        return np.where(self._inside_image, moved, np.asarray(fill, dtype=np.float32)[:, None, None, None])

    def labels_to_grid(self, labels: np.ndarray) -> np.ndarray:
        """Resample labels by nearest neighbour; pixels beyond the image's border are unlabelled.

        Args:
            labels: (..., h, w) uint8 array.

        Returns:
            (..., H, W) uint8 array.

        Raises:
            BadInput: If the labels' size is not ``native``.
        """
        self._require(labels, self.native)
        rows, columns = self._nearest
        found = self.turn.apply(labels)[..., rows[:, None], columns[None, :]]
        return np.where(self._inside_image, found, np.uint8(IGNORE_LABEL))

    def probabilities_from_grid(self, values: np.ndarray) -> np.ndarray:
        """Resample class probabilities linearly onto the acquired plane; beyond the grid it is all background.

        Args:
            values: (..., C, H, W) float array, class 0 is background.

        Returns:
            (..., C, h, w) float32 array.

        Raises:
            BadInput: If the size of ``values`` is not ``grid``.
        """
        self._require(values, self.grid)
        moved = np.asarray(values, dtype=np.float32)
        for axis, line in zip((-2, -1), self._lines, strict=True):
            moved = _interpolated(moved, line.native_places(), axis)
        certain = np.zeros((moved.shape[-3], 1, 1), dtype=np.float32)
        certain[BACKGROUND] = 1
        return self.turn.undo(np.where(self._inside_grid, moved, certain))

    def probabilities_to_grid(self, values: np.ndarray) -> np.ndarray:
        """Resample class probabilities of acquired planes linearly to the grid; beyond the image it is all background.

        Args:
            values: (n, C, h, w) float array, class 0 is background.

        Returns:
            (n, C, H, W) float32 array.

        Raises:
            BadInput: If the size of ``values`` is not ``native``.
        """
        certain = np.zeros(values.shape[-3], dtype=np.float32)
        certain[BACKGROUND] = 1
        return self.images_to_grid(np.swapaxes(values, 0, 1), certain).swapaxes(0, 1)

    def _require(self, array: np.ndarray, size: tuple[int, int]) -> None:
        if array.shape[-2:] != size:
            found = " x ".join(str(n) for n in array.shape[-2:])
            advice = "Pass slices as rows x columns of the volume they belong to."
            raise BadInput(
                f"The slice is {found} pixels, expected {size[0]} x {size[1]}.", where="slice", advice=advice
            )

    @cached_property
    def _lines(self) -> tuple[_Line, _Line]:
        rows, columns = (_Line(*three) for three in zip(self.turn.pair(self.native), self.grid, self.zoom, strict=True))
        return rows, columns

    @cached_property
    def _nearest(self) -> tuple[np.ndarray, np.ndarray]:
        rows, columns = (line.nearest() for line in self._lines)
        return rows, columns

    @cached_property
    def _inside_image(self) -> np.ndarray:
        rows, columns = (_within(line.grid_places(), line.native) for line in self._lines)
        return rows[:, None] & columns[None, :]

    @cached_property
    def _inside_grid(self) -> np.ndarray:
        rows, columns = (_within(line.native_places(), line.grid) for line in self._lines)
        return rows[:, None] & columns[None, :]


@dataclass(frozen=True)
class _Line:
    """The map along rows or along columns: native place = grid place * zoom + offset."""

    native: int
    grid: int
    zoom: float

    @property
    def offset(self) -> float:
        """Native place of the grid's first pixel."""
        offset = (self.native - 1) / 2 - self.zoom * (self.grid - 1) / 2
        return float(np.floor(offset)) if self.zoom == 1 else offset

    def grid_places(self) -> np.ndarray:
        """Where the grid's pixel centres lie among the native pixels."""
        return np.arange(self.grid) * self.zoom + self.offset

    def native_places(self) -> np.ndarray:
        """Where the native pixel centres lie among the grid's pixels."""
        return (np.arange(self.native) - self.offset) / self.zoom

    def nearest(self) -> np.ndarray:
        """Native pixel nearest to each grid pixel, the one on the right or below where two are equally near."""
        # The millionth resolves ties in the same way on every machine, regardless of rounding.
        return np.clip(np.floor(self.grid_places() + 0.5 + 1e-6).astype(np.int64), 0, self.native - 1)


def _within(places: np.ndarray, count: int) -> np.ndarray:
    """Whether places lie within ``count`` pixels, whose outer ones reach half a pixel beyond their centres."""
    return (places > -0.5 - 1e-6) & (places < count - 0.5 + 1e-6)


def _smoothed(images: np.ndarray, zoom: tuple[float, float]) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d

    for axis, factor in zip((-2, -1), zoom, strict=True):
        if factor > SMOOTHING_ZOOM:
            images = gaussian_filter1d(images, (factor - 1) / 2, axis=axis, mode="nearest")
    return images


def _interpolated(array: np.ndarray, places: np.ndarray, axis: int) -> np.ndarray:
    """Values at fractional places along an axis; the outer pixels' values go on beyond their centres.

    Two gathers rather than a matrix product: the result then depends on no library's threads or order of summation.
    """
    last = array.shape[axis] - 1
    places = np.clip(places, 0, last)
    low = np.floor(places).astype(np.int64)
    weight = (places - low).astype(np.float32)
    below = np.take(array, low, axis=axis)
    if not weight.any():
        return below
    weight = weight.reshape(-1, *(1,) * (-1 - axis))
    above = np.take(array, np.minimum(low + 1, last), axis=axis)
    return below * (1 - weight) + above * weight
