"""Observes the slice view to annotate in: which slice it shows, and whether the user zoomed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import vtk

from ActiveSegmentationLib.scene.case import Case
from ActiveSegmentationLib.scene.fitting import fitToSlice
from ActiveSegmentationLib.scene.sliceViews import shownSlice, viewMatrix


class ViewWatch:
    """Observes a slice node; create it once the view is fitted to a slice of the volume.

    When the view changes its size on the screen (another layout, a larger window) it must be fitted again, unless the
    user has zoomed or panned. ``settle`` does that; within the event itself Slicer would ignore it, because the node is
    updating its matrices.

    Args:
        sliceNode: vtkMRMLSliceNode of the view.
        case: The open volume.
        moved: Called when the view shows another slice or none, or needs ``settle``.

    Attributes:
        index: 0-based index of the slice that the view shows, or None if it shows none of them.
    """

    def __init__(self, sliceNode: Any, case: Case, moved: Callable[[], None]) -> None:
        self._node, self._case, self._moved = sliceNode, case, moved
        self.index = self._shown()
        self._dimensions = sliceNode.GetDimensions()[:2]
        self._fitted = self._place()
        self._unfitted = False
        self._tag = sliceNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._onModified())

    def isOf(self, sliceNode: Any, case: Case) -> bool:
        """Whether it observes this view for this volume."""
        return self._node is sliceNode and self._case is case

    def fit(self, index: int) -> None:
        """Fit the view to a slice."""
        self._unfitted = False
        fitToSlice(self._node, self._case.volume.geometry, self._case.volume.axis, index)
        self._fitted = self._place()

    def settle(self) -> None:
        """Fit the view to the slice it shows if its size has changed; do not call it within events of the view."""
        if self._unfitted and self.index is not None:
            self.fit(self.index)
        self._unfitted = False

    def stop(self) -> None:
        """Stop observing."""
        self._node.RemoveObserver(self._tag)

    def _shown(self) -> int | None:
        return shownSlice(self._node, self._case.volume.geometry, self._case.volume.axis)

    def _place(self) -> np.ndarray:
        """Zoom and pan: height of the view and position of its middle along its own two directions, in millimetres.

        The height, because a view keeps it when its shape changes.
        """
        view = viewMatrix(self._node.GetSliceToRAS())
        x, y, _ = self._node.GetXYZOrigin()
        pan = view[:3, 3] @ view[:3, :2] + (x, y)
        return np.array([self._node.GetFieldOfView()[1], *pan])

    def _onModified(self) -> None:
        index, dimensions = self._shown(), self._node.GetDimensions()[:2]
        moved = index != self.index
        self.index = index
        if dimensions != self._dimensions:
            self._dimensions = dimensions
            self._unfitted = np.allclose(self._place(), self._fitted, atol=1e-6)
        if moved or self._unfitted:
            self._moved()
