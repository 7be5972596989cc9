"""What was drawn, calculated from the mouse positions alone, for comparison with what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk

STEP_VOXELS = 1.0
"""Distance of two places of a stroke; less than the radius of any brush, so that a stroke has no gap."""


@dataclass(frozen=True)
class Stroke:
    """One drag of the mouse.

    Attributes:
        value: Label that was drawn, 0 for background.
        points: (n, 2) places in voxels of the slice (row, column).
        radius: Radius of the brush in millimetres.
    """

    value: int
    points: np.ndarray
    radius: float


class Paper:
    """A slice in a slice view: where its voxels are on the screen, and what its segmentation holds.

    Args:
        widget: qMRMLSliceWidget.
        volumeNode: The image.
        axis: Image axis across which slices are counted.
        index: The slice.
    """

    def __init__(self, widget: Any, volumeNode: Any, axis: int, index: int) -> None:
        self._node, self._view = widget.mrmlSliceNode(), widget.sliceView()
        self._axis, self._index = axis, index
        self._columnAxis, self._rowAxis = (other for other in range(3) if other != axis)
        matrix = vtk.vtkMatrix4x4()
        volumeNode.GetIJKToRASMatrix(matrix)
        self._toRas = slicer.util.arrayFromVTKMatrix(matrix)
        spacing = volumeNode.GetSpacing()
        self.spacing = np.array([spacing[self._rowAxis], spacing[self._columnAxis]])

    def _toView(self) -> np.ndarray:
        return np.linalg.solve(slicer.util.arrayFromVTKMatrix(self._node.GetXYToRAS()), self._toRas)

    def place(self) -> tuple[float, ...]:
        """Where the slice lies on the screen; changes where the view moves, turns, zooms or gets another size."""
        return (*self._toView().ravel().round(6), *self.onScreen((0, 0)), self._view.width, self._view.height)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Pixels of the view (x to the right, y up) that show places of the slice: (n, 2) whole numbers."""
        voxels = np.ones((len(points), 4))
        voxels[:, self._axis] = self._index
        voxels[:, self._rowAxis], voxels[:, self._columnAxis] = points.T
        return np.rint((self._toView() @ voxels.T)[:2].T).astype(int)

    def places(self, pixels: np.ndarray) -> np.ndarray:
        """Places of the slice (row, column) behind pixels of the view: (n, 2)."""
        view = np.column_stack([pixels, np.zeros(len(pixels)), np.ones(len(pixels))])
        voxels = np.linalg.inv(self._toView()) @ view.T
        return voxels[[self._rowAxis, self._columnAxis]].T

    def onScreen(self, pixel: Sequence[int]) -> tuple[int, int]:
        """Place on the screen of a pixel of the view."""
        import qt

        place = self._view.mapToGlobal(qt.QPoint(int(pixel[0]), self._view.height - 1 - int(pixel[1])))
        return place.x(), place.y()

    def isUnderMouse(self, pixel: Sequence[int]) -> bool:
        """Whether the view has followed the mouse to a pixel."""
        return tuple(self._view.interactor().GetEventPosition()) == (int(pixel[0]), int(pixel[1]))


def path(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Places from one to another, close together: (n, 2)."""
    steps = max(2, int(np.ceil(np.linalg.norm(end - start) / STEP_VOXELS)) + 1)
    return np.linspace(start, end, steps)


def labelsOf(segmentationNode: Any, volumeNode: Any, values: Sequence[int], unlabelled: int) -> np.ndarray:
    """What a segmentation holds, as an array of label values in the volume's own order (k, j, i)."""
    found = np.full(slicer.util.arrayFromVolume(volumeNode).shape[:3], unlabelled, np.uint8)
    for value in values:
        segment = f"Segment_{value}" if value else "Background"
        drawn = slicer.util.arrayFromSegmentBinaryLabelmap(segmentationNode, segment, volumeNode)
        if drawn is not None and drawn.size:
            found[drawn > 0] = value
    return found


def differences(stored: np.ndarray, before: np.ndarray, strokes: Sequence[Stroke], spacing: np.ndarray) -> list[str]:
    """How a stored slice differs from what the mouse drew; an empty list where it does not.

    Args:
        stored: Label values of the slice, (rows, columns).
        before: The same before the first stroke.
        strokes: Strokes in the order in which they were drawn, those that were undone left out.
        spacing: Millimetres between rows and between columns.
    """
    rows, columns = np.indices(stored.shape)
    voxels = np.stack([rows, columns], axis=-1).reshape(-1, 1, 2)
    reach = [
        np.linalg.norm((voxels - stroke.points) * spacing, axis=-1).min(axis=1).reshape(stored.shape)
        for stroke in strokes
    ]
    near = [distance <= stroke.radius + spacing.max() for distance, stroke in zip(reach, strokes, strict=True)]
    problems = []
    for number, stroke in enumerate(strokes):
        under = np.zeros(stored.shape, bool)
        under[tuple(np.clip(np.rint(stroke.points).astype(int).T, 0, np.array([stored.shape]).T - 1))] = True
        for later, other in zip(near[number + 1 :], strokes[number + 1 :], strict=True):
            under &= ~later | (other.value == stroke.value)
        missing = int((under & (stored != stroke.value)).sum())
        if missing:
            problems.append(f"{missing} voxels under stroke {number + 1} do not have the label {stroke.value}")
    for value in np.unique(stored):
        allowed = before == value
        for distance, stroke in zip(near, strokes, strict=True):
            allowed |= distance & (stroke.value == value)
        far = int(((stored == value) & ~allowed).sum())
        if far:
            problems.append(f"{far} voxels have the label {value} where the mouse was not")
    return problems
