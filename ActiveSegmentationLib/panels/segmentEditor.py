"""Slicer's Segment Editor in our panel: the one place that touches it, because its order of calls matters."""

from __future__ import annotations

from typing import Any

import slicer

from ActiveSegmentationLib.scene.session import Editor

SINGLETON = "ActiveSegmentation"
"""Tag of our own editor node; with the Segment Editor module's, both would fight for the same segmentation."""

EFFECTS = ("Paint", "Draw", "Erase", "Level tracing", "Scissors", "Islands", "Threshold", "Smoothing", "Margin")
"""Effects that are offered, in this order: those that make sense on a single slice."""

BRUSH_PERCENT = "5"
"""Diameter of the brush in percent of the view, as Slicer counts it; its own default hides small structures."""


UNDO_STATES = 20


class SegmentEditor(Editor):
    """The embedded editor widget.

    Args:
        widget: qMRMLSegmentEditorWidget.
    """

    def __init__(self, widget: Any) -> None:
        self._widget = widget
        self._entered = False
        widget.setMRMLSegmentEditorNode(self._node())
        widget.setEffectNameOrder(list(EFFECTS))
        widget.unorderedEffectsVisible = False
        widget.segmentationNodeSelectorVisible = False
        widget.sourceVolumeNodeSelectorVisible = False
        widget.switchToSegmentationsButtonVisible = False
        widget.specifyGeometryButtonVisible = True  # the way out where somebody changed the geometry
        widget.maximumNumberOfUndoStates = UNDO_STATES

    def _node(self) -> Any:
        scene = slicer.mrmlScene
        node = scene.GetSingletonNode(SINGLETON, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = scene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)  # the scene keeps it
            node.SetSingletonTag(SINGLETON)
            node = scene.AddNode(node)
        if node.GetAttribute("BrushRelativeDiameter") is None:  # new, or as new after the scene was closed
            node.SetAttribute("BrushRelativeDiameter", BRUSH_PERCENT)
        node.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)  # classes exclude each other
        return node

    def setNodes(self, segmentationNode: Any, volumeNode: Any) -> None:
        """Edit this segmentation over this volume; None for both ends editing."""
        if segmentationNode is None:
            self._widget.setActiveEffect(None)
        self._widget.setSegmentationNode(segmentationNode)
        self._widget.setSourceVolumeNode(volumeNode)

    def selectSegment(self, segmentId: str) -> None:
        """Make a segment the one that is drawn."""
        self._widget.setCurrentSegmentID(segmentId)

    def saveStateForUndo(self) -> None:
        """Let the next change be undone in one step."""
        self._widget.saveStateForUndo()

    def paint(self) -> None:
        """Take the brush, if nothing else is taken and the module is shown."""
        if self._entered and self._widget.segmentationNode() is not None and self._widget.activeEffect() is None:
            self._widget.setActiveEffectByName("Paint")

    def enter(self) -> None:
        """The module is shown."""
        if not self._entered:
            self._widget.setupViewObservations()
            self._widget.installKeyboardShortcuts()
            self._entered = True
            self.paint()

    def exit(self) -> None:
        """The module is left: no effect may go on drawing, no shortcut go on working."""
        if self._entered:
            self._widget.setActiveEffect(None)
            self._widget.uninstallKeyboardShortcuts()
            self._widget.removeViewObservations()
            self._entered = False

    def onSceneStartClose(self) -> None:
        """The scene is being closed."""
        self._widget.setActiveEffect(None)
        self._widget.setSegmentationNode(None)
        self._widget.removeViewObservations()

    def onSceneEndClose(self) -> None:
        """The scene is closed: the editor needs its node again."""
        self._widget.setMRMLSegmentEditorNode(self._node())
        if self._entered:
            self._widget.setupViewObservations()

    def close(self) -> None:
        """Let go of everything, for a reload of the module."""
        self.exit()
        self._widget.setSegmentationNode(None)
        self._widget.setMRMLSegmentEditorNode(None)
