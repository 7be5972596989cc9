"""Strokes without a mouse, for scripts, tests and the headless benchmark."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np
import slicer

from ActiveSegmentationLib.cohort import slices_first
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.scene.layers import Layer, gridSize, layersOf, newImage, planeShape


class Brush:
    """Paints whole slices of a segmentation with Slicer's editor logic; every stroke is one undo step.

    Use it in a ``with`` statement, or call ``close``. Until then, its strokes can be undone.

    Args:
        segmentationNode: Segmentation to paint in.
        volumeNode: The volume that it belongs to.

    Raises:
        BadInput: If the segmentation lies on another grid than the volume.
    """

    def __init__(self, segmentationNode: Any, volumeNode: Any) -> None:
        layersOf(segmentationNode, volumeNode)
        self._segmentationNode = segmentationNode
        self._volumeNode = volumeNode
        self._editorNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode", "ActiveSegmentationBrush")
        self._editorNode.SetHideFromEditors(True)
        self._editorNode.SetSaveWithScene(False)
        self._editorNode.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._logic.SetMRMLScene(slicer.mrmlScene)
        self._logic.SetSegmentEditorNode(self._editorNode)
        self._logic.SetSegmentationNode(segmentationNode)
        self._logic.SetSourceVolumeNode(volumeNode)
        self._logic.UpdateReferenceGeometryImage()

    def __enter__(self) -> Brush:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def paint(self, segmentId: str, axis: int, index: int, mask: np.ndarray) -> None:
        """Paint pixels of one slice into a segment and remove them from all others.

        Args:
            segmentId: Id of the segment.
            axis: Image axis across which slices are counted (0 = i, 1 = j, 2 = k).
            index: 0-based index of the slice in the stored array.
            mask: (rows, columns) bool, true where the stroke goes.

        Raises:
            BadInput: If there is no such segment or slice, or the mask has another shape.
        """
        self._modify(segmentId, axis, index, mask, slicer.vtkSlicerSegmentEditorLogic.ModificationModeAdd)

    def erase(self, segmentId: str, axis: int, index: int, mask: np.ndarray) -> None:
        """Remove pixels of one slice from a segment; arguments and errors as ``paint``."""
        self._modify(segmentId, axis, index, mask, slicer.vtkSlicerSegmentEditorLogic.ModificationModeRemove)

    def undo(self) -> None:
        """Undo the last stroke; does nothing if there is none."""
        self._logic.Undo()

    def redo(self) -> None:
        """Redo the last stroke that was undone; does nothing if there is none."""
        self._logic.Redo()

    def saveStateForUndo(self) -> None:
        """Save the state, so that the next change can be undone in one step."""
        self._logic.SaveStateForUndo()

    def clearUndo(self) -> None:
        """Clear the undo history."""
        self._logic.ClearUndoState()

    def close(self) -> None:
        """Release the segmentation; strokes stay, but can no longer be undone."""
        self._logic.SetSegmentationNode(None)
        self._logic.SetSegmentEditorNode(None)
        slicer.mrmlScene.RemoveNode(self._editorNode)

    def _modify(self, segmentId: str, axis: int, index: int, mask: np.ndarray, mode: int) -> None:
        self._check(segmentId, axis, index, mask)
        box = np.stack([np.zeros(3, dtype=int), np.array(gridSize(self._volumeNode)) - 1], axis=1)
        box[axis] = index
        stroke = newImage(self._volumeNode, box)
        slices_first(Layer(stroke, {}).array(), axis)[0] = mask
        self._editorNode.SetSelectedSegmentID(segmentId)
        self._logic.UpdateSelectedSegmentLabelmap()
        self._logic.SaveStateForUndo()
        self._logic.ModifySegmentByLabelmap(self._segmentationNode, segmentId, stroke, mode, False, False)

    def _check(self, segmentId: str, axis: int, index: int, mask: np.ndarray) -> None:
        where = self._segmentationNode.GetName()
        present = self._segmentationNode.GetSegmentation().GetSegmentIDs()
        if segmentId not in present:
            raise BadInput(
                f"There is no segment '{segmentId}'.", where=where, advice=f"There are {', '.join(present)}."
            )
        count = gridSize(self._volumeNode)[axis]
        if not 0 <= index < count:
            raise BadInput(f"There is no slice with index {index}.", where=where, advice=f"Use 0 to {count - 1}.")
        if mask.shape != planeShape(self._volumeNode, axis) or mask.dtype != np.bool_:
            advice = f"Give booleans of shape {planeShape(self._volumeNode, axis)}."
            raise BadInput(f"The stroke is of type {mask.dtype} and shape {mask.shape}.", where=where, advice=advice)


def paint(segmentationNode: Any, volumeNode: Any, segmentId: str, axis: int, index: int, mask: np.ndarray) -> None:
    """Paint pixels of one slice into a segment and remove them from all others, as the Paint effect does.

    Args:
        segmentationNode: Segmentation to paint in.
        volumeNode: The volume that it belongs to.
        segmentId: Id of the segment.
        axis: Image axis across which slices are counted (0 = i, 1 = j, 2 = k).
        index: 0-based index of the slice in the stored array.
        mask: (rows, columns) bool, true where the stroke goes.

    Raises:
        BadInput: If there is no such segment or slice, the mask has another shape, or the segmentation lies on another
            grid than the volume.
    """
    with Brush(segmentationNode, volumeNode) as brush:
        brush.paint(segmentId, axis, index, mask)
