"""Prepares the slices of one volume on the stack's grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np

from ActiveSegmentationLib.cohort.grid import PlaneGrid
from ActiveSegmentationLib.cohort.preprocessing import (
    Normaliser,
    StackSettings,
    is_whole,
    normaliser,
    plane_zoom,
    resampled_shape,
)
from ActiveSegmentationLib.cohort.types import AnnotationKind, Cohort, Problem, Volume, slices_first
from ActiveSegmentationLib.common.errors import BadInput

BLANK_CONTRAST = 0.01
"""A slice whose standard deviation is at most this share of its volume's value range counts as blank."""

PIXELS_AT_ONCE = 1 << 23
"""Pixels of a volume that are resampled at once, so that large volumes need little more memory than their image and its
prepared slices."""

LARGEST = 1e30
"""Pixels beyond this (and NaN) are a sign of a damaged file, and would overflow in float32."""


@dataclass(frozen=True)
class PreparedVolume:
    """One prepared volume.

    Attributes:
        images: (S, C, H, W) float16, finite; of planes larger than the grid a smaller picture, see ``overview_grid``.
        whole: (S, C, h, w) float16, the planes that are larger than the grid; None if they fit.
        blank: (S,) bool, slices with next to no contrast in any channel.
        truth: Reference labels by kind, (S, h, w) uint8 label values.
        problems: Reference labels that could not be used.
    """

    images: np.ndarray
    whole: np.ndarray | None
    blank: np.ndarray
    truth: dict[str, np.ndarray]
    problems: tuple[Problem, ...]


def plane_grid(volume: Volume, settings: StackSettings) -> PlaneGrid:
    """Map between a volume's planes and the grid of resolved settings, or a larger one of their own that holds them."""
    size = cast(tuple[int, int], settings.size)
    if is_whole(volume, settings):
        rows, columns = resampled_shape(volume, cast(float, settings.spacing))
        size = max(rows, size[0]), max(columns, size[1])
    return PlaneGrid(volume.plane_shape, size, plane_zoom(volume, settings), volume.turn)


def overview_grid(volume: Volume, settings: StackSettings) -> PlaneGrid:
    """Map between a volume's planes and the common grid, which shows all of each plane.

    Planes that are larger than the grid are shrunk to it with their proportions kept, so that they can be embedded,
    compared and shown like the others; segmentation uses whole planes.
    """
    own, size = plane_grid(volume, settings), cast(tuple[int, int], settings.size)
    if own.grid == size:
        return own
    factor = max(n / limit for n, limit in zip(own.grid, size, strict=True))
    return PlaneGrid(volume.plane_shape, size, (own.zoom[0] * factor, own.zoom[1] * factor), volume.turn)


def prepare_volume(cohort: Cohort, volume: Volume, settings: StackSettings) -> PreparedVolume:
    """Read, normalise and resample the slices of a volume, and read its reference labels.

    Args:
        cohort: The cohort.
        volume: The volume.
        settings: Resolved settings.

    Raises:
        BadInput: If the image cannot be read or differs from the indexed one. Unusable labels are reported as problems
            in the result.
    """
    images, whole, blank = _slices(cohort, volume, settings)
    truth, problems = _truth(cohort, volume)
    return PreparedVolume(images, whole, blank, truth, problems)


def _slices(
    cohort: Cohort, volume: Volume, settings: StackSettings
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """What ``PreparedVolume`` calls images, whole and blank; resampled a few slices at a time."""
    image = read_channels(cohort, volume, settings)
    normalisers = [normaliser(channel, settings) for channel in image]
    low, high = (_extremes(end, image, normalisers) for end in (np.min, np.max))
    image = slices_first(image, volume.axis)
    grids = [overview_grid(volume, settings)]
    grids += [plane_grid(volume, settings)] if is_whole(volume, settings) else []
    prepared = [np.empty((image.shape[1], len(image), *grid.grid), dtype=np.float16) for grid in grids]
    blank = np.empty(image.shape[1], dtype=bool)
    for part in _parts(image):
        planes = np.stack([apply(channel[part]) for apply, channel in zip(normalisers, image, strict=True)])
        for grid, result in zip(grids, prepared, strict=True):
            result[part] = grid.images_to_grid(planes, low).swapaxes(0, 1)
        blank[part] = blank_slices(planes, high - low)
    return prepared[0], prepared[1] if len(prepared) > 1 else None, blank


def _extremes(end: Callable[..., np.ndarray], image: np.ndarray, normalisers: list[Normaliser]) -> np.ndarray:
    """The smallest or largest normalised value of each channel, (C,) float32."""
    found = [apply(end(channel, keepdims=True)) for apply, channel in zip(normalisers, image, strict=True)]
    return np.concatenate(found).ravel()


def _parts(image: np.ndarray) -> Iterator[slice]:
    """Slices of an image (C, S, h, w) that are prepared together."""
    channels, count, rows, columns = image.shape
    step = max(1, PIXELS_AT_ONCE // (channels * rows * columns))
    return (slice(first, min(first + step, count)) for first in range(0, count, step))


def blank_slices(planes: np.ndarray, contrast: np.ndarray) -> np.ndarray:
    """Slices with next to no contrast compared with their volume, in every channel.

    Args:
        planes: (C, S, h, w) float array.
        contrast: (C,) difference of the largest and the smallest value of the whole volume.

    Returns:
        (S,) bool.
    """
    # The range is exact; the deviation of a constant slice may not be, because of rounding.
    constant = planes.max(axis=(2, 3)) == planes.min(axis=(2, 3))
    return (constant | (planes.std(axis=(2, 3)) <= BLANK_CONTRAST * contrast[:, None])).all(axis=0)


def read_channels(cohort: Cohort, volume: Volume, settings: StackSettings) -> np.ndarray:
    """Read the channels of a volume that the settings choose: (c, k, j, i) float32, finite.

    Raises:
        BadInput: If the image cannot be read, or differs from the indexed one.
    """
    from ActiveSegmentationLib.cohort import io as cohort_io

    image = cohort_io.read_image(cohort, volume)
    where = cohort.path(volume.channels[0].paths[0])
    expected = (len(volume.channels) * volume.components, *volume.geometry.array_shape)
    if image.shape != expected:
        message = f"The image has the size {_times(image.shape)} (channels, k, j, i), expected {_times(expected)}."
        raise BadInput(message, where=where, advice="Index the cohort again if its files were changed.")
    if not (image.min() > -LARGEST and image.max() < LARGEST):
        message = "The image has pixels that are not finite (NaN, infinite or beyond 1e30)."
        raise BadInput(message, where=where, advice="Repair the file.")
    return image if settings.channels is None else image[list(settings.channels)]


def _truth(cohort: Cohort, volume: Volume) -> tuple[dict[str, np.ndarray], tuple[Problem, ...]]:
    from ActiveSegmentationLib.cohort import io as cohort_io

    truth: dict[str, np.ndarray] = {}
    problems: list[Problem] = []
    for kind in AnnotationKind:
        if volume.labels(kind) is None:
            continue
        try:
            labels = cohort_io.read_labels(cohort, volume, kind)
            if labels is None or labels.shape != volume.geometry.array_shape:
                raise BadInput("The labels do not have the size of the image.", advice="Repair the file.")
        except BadInput as error:
            place = f"{error.where}: " if error.where else ""
            message = f"The reference {kind} cannot be used: {place}{error.message}"
            problems.append(Problem(volume.id, message, error.advice, "warning"))
        else:
            truth[str(kind)] = np.ascontiguousarray(slices_first(labels, volume.axis))
    return truth, tuple(problems)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)
