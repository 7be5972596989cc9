"""Clean-up of predicted label maps: only the largest part of each structure, no holes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np
from scipy import ndimage

from ActiveSegmentationLib.training import Settings, settings

Holes = Literal["no", "2d", "3d"]
"""Which holes are filled: none; those that are enclosed within a slice; those that are enclosed in the volume."""


@settings
class CleanUp(Settings):
    """What is changed in predicted label maps; by default nothing.

    Attributes:
        largest: Whether only the largest connected part of each structure is kept, in 3D; the others become background.
            Voxels that touch at a corner are connected (26 neighbours), as in nnU-Net.
        holes: Whether background that a structure encloses becomes that structure: "2d" slice by slice, also where the
            hole is open to the neighbouring slices, "3d" only if it is enclosed on all sides, which a hole that reaches
            the border of the volume is not. Voxels of other structures stay, also within a hole.
    """

    where: ClassVar[str] = "clean-up"

    largest: bool = False
    holes: Holes = "no"

    def __bool__(self) -> bool:
        return self != CleanUp()


def cleaned(classes: np.ndarray, clean_up: CleanUp) -> np.ndarray:
    """A label map after clean-up; the parts of all structures first, then their holes in the order of the classes.

    Args:
        classes: (S, h, w) uint8 classes, 0 background; not changed.
        clean_up: What is changed.

    Returns:
        (S, h, w) uint8.
    """
    if not clean_up:
        return classes
    result = classes.copy()
    boxes = ndimage.find_objects(classes)
    for number, box in enumerate(boxes, 1):
        if clean_up.largest and box is not None:
            _keep_largest(result[box], number)
    for number, box in enumerate(boxes, 1):
        if clean_up.holes != "no" and box is not None:
            _fill_holes(result[box], number, clean_up.holes)
    return result


def _keep_largest(classes: np.ndarray, number: int) -> None:
    """Set all parts of a class but the largest to background; of several equally large ones the first is kept."""
    parts, count = ndimage.label(classes == number, ndimage.generate_binary_structure(3, 3))
    if count > 1:
        sizes = np.sum([np.bincount(plane.ravel(), minlength=count + 1) for plane in parts], axis=0)
        kept = 1 + int(sizes[1:].argmax())
        classes[(parts != 0) & (parts != kept)] = 0


def _fill_holes(classes: np.ndarray, number: int, holes: Holes) -> None:
    """Give background that a class encloses to the class; the arrays' sides are those of the class's bounding box."""
    if holes == "2d":
        for plane in classes:
            plane[(plane == 0) & ndimage.binary_fill_holes(plane == number)] = number
        return
    outside, count = ndimage.label(classes != number, ndimage.generate_binary_structure(3, 1))
    enclosed = np.ones(count + 1, dtype=bool)
    enclosed[0] = False
    for face in _faces(outside):
        enclosed[np.unique(face)] = False
    if enclosed.any():
        for plane, parts in zip(classes, outside, strict=True):
            plane[(plane == 0) & enclosed[parts]] = number


def _faces(array: np.ndarray) -> Iterator[np.ndarray]:
    for axis in range(3):
        yield from (array.take(0, axis), array.take(-1, axis))
