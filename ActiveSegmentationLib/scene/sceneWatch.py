"""Observes the scene: strokes on the open volume, nodes that are removed, a scene that is closed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import slicer
import vtk
from slicer.util import VTKObservationMixin

from ActiveSegmentationLib.common.signals import Signal
from ActiveSegmentationLib.scene.case import Case

FIRST = 1000.0
"""Priority of an observer that is called before Slicer's own, which empty a segmentation that is being removed."""

EDITS = (
    slicer.vtkSegmentation.SourceRepresentationModified,
    slicer.vtkSegmentation.SegmentModified,
    slicer.vtkSegmentation.SegmentAdded,
    slicer.vtkSegmentation.SegmentRemoved,
)
"""Events of a segmentation that change the strokes, or what can be committed; undo and redo send the second only."""


class SceneWatch(VTKObservationMixin):
    """Emits signals for changes by the user or another module; see ``ownChanges`` for our own changes.

    Attributes:
        edited: Emitted when something on the watched volume is drawn, erased or undone.
        nodeRemoved: Emitted with a node that is about to leave the scene.
        closing: Emitted before the scene is closed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.edited: Signal[[]] = Signal()
        self.nodeRemoved: Signal[[Any]] = Signal()
        self.closing: Signal[[]] = Signal()
        self._busy = 0
        self._segmentation: Any = None
        scene = slicer.mrmlScene
        self.addObserver(scene, slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, self._onRemoved, priority=FIRST)
        self.addObserver(scene, slicer.vtkMRMLScene.StartCloseEvent, self._onClosing, priority=FIRST)

    @contextlib.contextmanager
    def ownChanges(self) -> Iterator[None]:
        """Changes within this block are our own: ``edited`` and ``nodeRemoved`` are not emitted."""
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    def watch(self, case: Case) -> None:
        """Emit ``edited`` for a volume."""
        self._segmentation = case.segmentationNode.GetSegmentation()
        for event in EDITS:
            self.addObserver(self._segmentation, event, self._onEdited)

    def unwatch(self) -> None:
        """Stop emitting ``edited``."""
        for event in EDITS:
            self.removeObserver(self._segmentation, event, self._onEdited)
        self._segmentation = None

    def close(self) -> None:
        """Remove all observers."""
        self.removeObservers()

    def _onEdited(self, caller: Any, event: Any) -> None:
        if self._busy == 0:
            self.edited.emit()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onRemoved(self, caller: Any, event: Any, node: Any) -> None:
        if self._busy == 0 and node is not None:
            self.nodeRemoved.emit(node)

    def _onClosing(self, caller: Any, event: Any) -> None:
        self.closing.emit()
