"""Small pictures of slices, for lists in which a person should recognise a slice at a glance."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.cohort import Geometry, SliceId, SliceStack
from ActiveSegmentationLib.common.files import atomic_path

LONGEST_SIDE = 96
"""Pixels of the longer side of a thumbnail."""


def write_thumbnails(stack: SliceStack, slices: Iterable[SliceId], folder: Path) -> dict[SliceId, Path]:
    """Write a grey picture (PNG) of each slice, as a radiologist would have it; those that exist are kept.

    Args:
        stack: The cohort's slices; the first channel is shown.
        slices: Which slices.
        folder: Where to keep them; the pictures of a stack lie in a folder named by its key.

    Returns:
        The path of each slice's picture.

    Raises:
        BadInput: If there is no such slice, or the folder cannot be written.
    """
    paths = {}
    for slice_id in slices:
        path = folder / stack.key[:16] / slice_id.volume / f"{slice_id.index}.png"
        if not path.is_file():
            volume = stack.volume(slice_id.volume)
            turn, plane = volume.grid.turn, np.asarray(stack.images[stack.row(slice_id), 0], dtype=np.float32)
            pixel = np.multiply(turn.pair(volume.overview.zoom), volume.plane_spacing)
            _write(path, upright(_small(turn.undo(plane), pixel), volume.geometry, volume.axis))
        paths[slice_id] = path
    return paths


def upright(plane: np.ndarray, geometry: Geometry, axis: int) -> np.ndarray:
    """Turn a slice so that patient right is left, anterior or superior is up, as slice views show it.

    Args:
        plane: (rows, columns) pixels in the order of the volume's array.
        geometry: Grid of the volume.
        axis: Image axis along which its slices are counted.
    """
    rows, columns = (a for a in (2, 1, 0) if a != axis)
    direction = np.reshape(geometry.direction, (3, 3))
    down, right = direction[:, rows], direction[:, columns]  # LPS
    # On a screen, down is posterior or inferior and right is left (of the patient) or, seen from the side, posterior.
    vertical, horizontal = (_main(down), _main(right))
    if (horizontal[0] == 2) or (vertical[0] == 0):
        plane, vertical, horizontal = plane.T, horizontal, vertical
    if vertical[1] < 0 if vertical[0] == 1 else vertical[1] > 0:
        plane = plane[::-1]
    if horizontal[1] < 0:
        plane = plane[:, ::-1]
    return plane


def _main(vector: np.ndarray) -> tuple[int, float]:
    """The anatomical axis (0 left, 1 posterior, 2 superior) that a direction is nearest to, and its sign."""
    axis = int(np.abs(vector).argmax())
    return axis, float(np.sign(vector[axis]))


def _small(plane: np.ndarray, pixel: np.ndarray) -> np.ndarray:
    """Grey values (uint8) of the plane with square pixels; ``pixel`` holds the millimetres between rows and columns."""
    import SimpleITK

    low, high = np.percentile(plane, (1, 99.5))
    scaled = np.clip((plane - low) / max(float(high - low), 1e-6), 0, 1)
    image = SimpleITK.GetImageFromArray((scaled * 255).astype(np.uint8))
    extent = np.array(image.GetSize()) * pixel[::-1]
    size = [max(1, int(n)) for n in np.rint(extent / extent.max() * LONGEST_SIDE)]
    step = [old / new for old, new in zip(image.GetSize(), size, strict=True)]
    first = [(length - 1) / 2 for length in step]
    small = SimpleITK.Resample(image, size, SimpleITK.Transform(), SimpleITK.sitkLinear, first, step)
    return SimpleITK.GetArrayFromImage(small)


def _write(path: Path, picture: np.ndarray) -> None:
    import SimpleITK

    with atomic_path(path) as temporary:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.ascontiguousarray(picture)), str(temporary))
