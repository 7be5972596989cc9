"""Thumbnails of slices, for lists in which users recognise slices."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.cohort import SliceId, SliceStack
from ActiveSegmentationLib.cohort.previews import small_picture, upright, write_picture


def write_thumbnails(stack: SliceStack, slices: Iterable[SliceId], folder: Path) -> dict[SliceId, Path]:
    """Write a grey picture (PNG) of each slice in radiological orientation; existing pictures are kept.

    Args:
        stack: The cohort's slices; the first channel is shown.
        slices: Which slices.
        folder: Folder of the pictures; those of a stack are in a subfolder named by its key.

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
            picture = small_picture(turn.undo(plane), pixel)
            write_picture(path, upright(picture, volume.geometry, volume.axis))
        paths[slice_id] = path
    return paths
