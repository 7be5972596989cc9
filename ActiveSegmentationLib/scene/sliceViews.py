"""Slice views that show exactly one array slice of a volume, for any orientation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from ActiveSegmentationLib.cohort import Geometry
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.scene.volumeNodes import ijkToRas

PRESETS = ("Axial", "Sagittal", "Coronal")
"""Slicer's standard orientations; a view is turned to the nearest one that the volume's axes allow."""

PARALLEL = 1e-3
"""Largest sine of the angle between two directions that count as equal."""

_BETWEEN = 1e-6  # in slice distances: closer than this to the middle between two slices, neither counts as shown


@dataclass(frozen=True)
class SavedView:
    """State of a slice view, for ``restoreView``.

    Attributes:
        sliceToRas: 4 x 4 values of the matrix, row by row (RAS, millimetres).
        fieldOfView: Width, height and depth of the view in millimetres.
        xyzOrigin: Shift of the view within its plane in millimetres.
        orientation: Name of the orientation, "Reformat" where it is none of the presets.
    """

    sliceToRas: tuple[float, ...]
    fieldOfView: tuple[float, float, float]
    xyzOrigin: tuple[float, float, float]
    orientation: str


def alignToSlice(sliceNode: Any, geometry: Geometry, axis: int, index: int, center: bool = False) -> bool:
    """Show exactly one array slice, turned as nearly as possible to Slicer's standard view of that plane.

    - The zoom never changes; see ``fitting`` for showing the whole slice.
    - The pan stays if the view already has this orientation and its centre is within the slice.
    - Otherwise the view is centred on the slice.

    Args:
        sliceNode: vtkMRMLSliceNode of the view.
        geometry: Grid of the volume (LPS, millimetres); it may be oblique, flipped and anisotropic.
        axis: Image axis across which slices are counted (0 = i, 1 = j, 2 = k).
        index: 0-based index of the slice in the stored array.
        center: Centre the view on the slice in any case.

    Returns:
        True if the view was turned or moved to another place, False if only the slice changed.

    Raises:
        BadInput: If there is no such slice, or the view lacks Slicer's orientation presets.
    """
    if not 0 <= index < geometry.slice_count(axis):
        advice = f"Use an index from 0 to {geometry.slice_count(axis) - 1}."
        raise BadInput(f"There is no slice with index {index}.", where=sliceNode.GetName(), advice=advice)
    grid = viewMatrix(ijkToRas(geometry))
    view = viewMatrix(sliceNode.GetSliceToRAS())
    target = np.eye(4)
    target[:3, :3] = _nearestRotation(sliceNode, grid, axis)
    middle = _position(grid, _centerIndex(geometry, axis, index))
    normal = target[:3, 2]
    sameTurn = not center and np.allclose(view[:3, :3], target[:3, :3], atol=1e-6)
    kept = sameTurn and _isOverSlice(sliceNode, grid, geometry, axis)
    origin = view[:3, 3] if kept else middle
    target[:3, 3] = origin + ((middle - origin) @ normal) * normal
    _setMatrix(sliceNode, target, None if kept else (0.0, 0.0, 0.0))
    return not kept


def shownSlice(sliceNode: Any, geometry: Geometry, axis: int) -> int | None:
    """The array slice that a view shows.

    Args:
        sliceNode: vtkMRMLSliceNode of the view.
        geometry: Grid of the volume (LPS, millimetres).
        axis: Image axis across which slices are counted (0 = i, 1 = j, 2 = k).

    Returns:
        Its 0-based index; None if the view is not parallel to the slices, lies outside the volume, or exactly
        between two slices.
    """
    grid = viewMatrix(ijkToRas(geometry))
    view = viewMatrix(sliceNode.GetSliceToRAS())
    normal = grid[:3, axis] / geometry.spacing[axis]
    if np.linalg.norm(np.cross(view[:3, 2] / np.linalg.norm(view[:3, 2]), normal)) > PARALLEL:
        return None
    # the centre of the view, not of its matrix: where the two planes are not quite parallel, that is what one sees
    place = (np.linalg.inv(grid) @ np.append(_viewCenter(sliceNode), 1.0))[axis]
    index = math.floor(place + 0.5)
    if abs(place - index) > 0.5 - _BETWEEN or not 0 <= index < geometry.slice_count(axis):
        return None
    return index


def saveView(sliceNode: Any) -> SavedView:
    """Save the state of a view for ``restoreView``."""
    return SavedView(
        tuple(viewMatrix(sliceNode.GetSliceToRAS()).ravel().tolist()),
        tuple(sliceNode.GetFieldOfView()),
        tuple(sliceNode.GetXYZOrigin()),
        sliceNode.GetOrientation(),
    )


def restoreView(sliceNode: Any, saved: SavedView) -> None:
    """Restore a view to the state of ``saveView``; its size on screen may have changed."""
    width, height, depth = saved.fieldOfView
    modifying = sliceNode.StartModify()
    _setMatrix(sliceNode, np.reshape(saved.sliceToRas, (4, 4)), saved.xyzOrigin)
    columns, rows, _ = sliceNode.GetDimensions()
    if columns > 0 and rows > 0:  # the width counts: pixels stay square in a view of another shape
        height = width * rows / columns
    sliceNode.SetFieldOfView(width, height, depth)
    sliceNode.EndModify(modifying)


def _nearestRotation(sliceNode: Any, grid: np.ndarray, axis: int) -> np.ndarray:
    """Columns x, y, z of the view: the image's own axes, permuted and signed to come nearest to a preset."""
    axes = grid[:3, :3] / np.linalg.norm(grid[:3, :3], axis=0)
    normal = axes[:, axis]
    preset = max((_preset(sliceNode, name) for name in PRESETS), key=lambda columns: abs(columns[:, 2] @ normal))
    first, second = (axes[:, other] for other in range(3) if other != axis)
    x, y = max(
        ((first, second), (second, first)),
        key=lambda pair: abs(pair[0] @ preset[:, 0]) + abs(pair[1] @ preset[:, 1]),
    )
    columns = np.stack([x, y, normal], axis=1)
    signs = np.where(np.sum(columns * preset, axis=0) < 0, -1.0, 1.0)
    return columns * signs


def _preset(sliceNode: Any, name: str) -> np.ndarray:
    if not sliceNode.HasSliceOrientationPreset(name):
        advice = "Restore the default views: View, Layout, Conventional."
        raise BadInput(f"The view has no orientation '{name}'.", where=sliceNode.GetName(), advice=advice)
    return slicer.util.arrayFromVTKMatrix(sliceNode.GetSliceOrientationPreset(name))


def _centerIndex(geometry: Geometry, axis: int, index: int) -> np.ndarray:
    center = (np.array(geometry.size) - 1) / 2
    center[axis] = index
    return center


def _position(grid: np.ndarray, index: np.ndarray) -> np.ndarray:
    return grid[:3, :3] @ index + grid[:3, 3]


def _viewCenter(sliceNode: Any) -> np.ndarray:
    """RAS position of the middle of the view; a pan shifts it from the origin of the view's matrix."""
    x, y, _ = sliceNode.GetXYZOrigin()
    view = viewMatrix(sliceNode.GetSliceToRAS())
    return view[:3, 3] + x * view[:3, 0] + y * view[:3, 1]


def _isOverSlice(sliceNode: Any, grid: np.ndarray, geometry: Geometry, axis: int) -> bool:
    """Whether the middle of the view is over the slices of the volume, at any depth."""
    place = (np.linalg.inv(grid) @ np.append(_viewCenter(sliceNode), 1.0))[:3]
    inside = (place > -0.5) & (place < np.array(geometry.size) - 0.5)
    return bool(np.delete(inside, axis).all())


def viewMatrix(matrix: Any) -> np.ndarray:
    """A vtkMatrix4x4 as a (4, 4) array."""
    return slicer.util.arrayFromVTKMatrix(matrix)


def _setMatrix(sliceNode: Any, matrix: np.ndarray, xyzOrigin: tuple[float, float, float] | None) -> None:
    modifying = sliceNode.StartModify()
    slicer.util.updateVTKMatrixFromArray(sliceNode.GetSliceToRAS(), matrix)
    if xyzOrigin is not None:
        sliceNode.SetXYZOrigin(*xyzOrigin)
    sliceNode.UpdateMatrices()
    sliceNode.EndModify(modifying)
