"""Fits a view to a slice, and the brush to the size of the slice."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ActiveSegmentationLib.cohort import Geometry
from ActiveSegmentationLib.scene.sliceViews import alignToSlice, viewMatrix
from ActiveSegmentationLib.scene.volumeNodes import ijkToRas

FILL = 0.96
"""Fraction of the view that a fitted slice fills along its limiting direction; the rest shows the frame."""

SMALLEST_BRUSH, LARGEST_BRUSH = 2, 8
"""Diameters of the brush in voxels on the smallest and the largest slices."""


def fitToSlice(sliceNode: Any, geometry: Geometry, axis: int, index: int) -> None:
    """Show exactly one array slice in a view: whole, centred and as large as possible.

    Args:
        sliceNode: vtkMRMLSliceNode of the view.
        geometry: Grid of the volume (LPS, millimetres).
        axis: Image axis across which slices are counted (0 = i, 1 = j, 2 = k).
        index: 0-based index of the slice in the stored array.

    Raises:
        BadInput: As ``alignToSlice`` does.
    """
    modifying = sliceNode.StartModify()
    alignToSlice(sliceNode, geometry, axis, index, center=True)
    columns, rows, depth = sliceNode.GetDimensions()
    width, height = _sizeInView(sliceNode, geometry, axis)
    if columns > 0 and rows > 0:
        step = max(width / columns, height / rows) / FILL
        sliceNode.SetFieldOfView(step * columns, step * rows, geometry.spacing[axis] * max(1, depth))
    sliceNode.EndModify(modifying)


def sliceCorners(sliceNode: Any, geometry: Geometry, axis: int, index: int) -> np.ndarray:
    """Positions (x, y) in pixels of the view of the four corners of a slice, in turn: (4, 2)."""
    first, second = (other for other in range(3) if other != axis)
    voxels = np.ones((4, 4))
    voxels[:, axis] = index
    for number, (a, b) in enumerate(((0, 0), (1, 0), (1, 1), (0, 1))):
        voxels[number, first] = a * geometry.size[first] - 0.5
        voxels[number, second] = b * geometry.size[second] - 0.5
    toView = np.linalg.solve(viewMatrix(sliceNode.GetXYToRAS()), viewMatrix(ijkToRas(geometry)))
    return (toView @ voxels.T)[:2].T


def brushDiameter(geometry: Geometry, axis: int) -> float:
    """A brush for a slice in millimetres: 2 voxels on small slices, 8 on those of 512 pixels and more.

    Args:
        geometry: Grid of the volume.
        axis: Image axis across which slices are counted.
    """
    rows, columns = geometry.plane_shape(axis)
    voxels = round(math.sqrt(math.sqrt(rows * columns)) / 2.8)
    return min(max(voxels, SMALLEST_BRUSH), LARGEST_BRUSH) * voxelSize(geometry, axis)


def voxelSize(geometry: Geometry, axis: int) -> float:
    """Size of a voxel within the slice in millimetres: the geometric mean of its two sides."""
    first, second = (geometry.spacing[other] for other in range(3) if other != axis)
    return math.sqrt(first * second)


def _sizeInView(sliceNode: Any, geometry: Geometry, axis: int) -> tuple[float, float]:
    """Width and height in millimetres of a slice as an aligned view shows it."""
    first, second = (other for other in range(3) if other != axis)
    sides = {other: geometry.size[other] * geometry.spacing[other] for other in (first, second)}
    direction = np.reshape(geometry.direction, (3, 3))[:, first] * (-1.0, -1.0, 1.0)
    alongX = abs(direction @ viewMatrix(sliceNode.GetSliceToRAS())[:3, 0]) > 0.5
    return (sides[first], sides[second]) if alongX else (sides[second], sides[first])
