"""Slicer's Segment Editor in the panel; the only place that calls it, because the order of calls matters."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from slicer.util import VTKObservationMixin

from ActiveSegmentationLib.scene.editor import Editor, Tool

SINGLETON = "ActiveSegmentation"
"""Tag of our own editor node; sharing one with the Segment Editor module would let both change the segmentation."""

EFFECTS = ("Paint", "Draw", "Erase", "Level tracing", "Scissors", "Islands", "Threshold", "Smoothing", "Margin")
"""Effects that are offered, in this order: those that are useful on a single slice."""

BRUSH_RELATIVE, BRUSH_DIAMETER = "BrushDiameterIsRelative", "BrushAbsoluteDiameter"
"""Parameters of the Paint effect on the editor node: 1 for a brush in percent of the screen; diameter in mm."""

BRUSH_SET = "ActiveSegmentation.Brush"
"""Attribute of an editor node whose brush we have set; the effect sets a brush in percent on a new node."""

UNDO_STATES = 20


class SegmentEditor(Editor, VTKObservationMixin):
    """The embedded editor widget.

    Args:
        widget: qMRMLSegmentEditorWidget.
    """

    def __init__(self, widget: Any) -> None:
        Editor.__init__(self)
        VTKObservationMixin.__init__(self)
        self._widget = widget
        self._entered = False
        self._segment: str | None = None
        self._useNode()
        widget.setEffectNameOrder(list(EFFECTS))
        widget.unorderedEffectsVisible = False
        widget.segmentationNodeSelectorVisible = False
        widget.sourceVolumeNodeSelectorVisible = False
        widget.switchToSegmentationsButtonVisible = False
        widget.addRemoveSegmentButtonsVisible = False  # the labels are the study's
        widget.show3DButtonVisible = False  # single slices have no surface, and the list of segments needs the room
        widget.specifyGeometryButtonVisible = True  # to restore a geometry that was changed
        widget.maximumNumberOfUndoStates = UNDO_STATES

    def _useNode(self) -> None:
        """Edit by our node. The widget's own signal reports clicks in its list only, not its keys and not scripts."""
        node = self._node()
        self.removeObservers()
        self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._onNodeModified)
        self._widget.setMRMLSegmentEditorNode(node)

    def _onNodeModified(self, node: Any, event: str) -> None:
        segment = node.GetSelectedSegmentID()
        if segment != self._segment:
            self._segment = segment
            self.toolChanged.emit()

    def _node(self) -> Any:
        scene = slicer.mrmlScene
        node = scene.GetSingletonNode(SINGLETON, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = scene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)  # the scene keeps it
            node.SetSingletonTag(SINGLETON)
            node = scene.AddNode(node)
        if node.GetAttribute(BRUSH_SET) is None:  # new, or as new after the scene was closed
            node.SetAttribute(BRUSH_RELATIVE, "0")
            node.SetAttribute(BRUSH_SET, "1")
        node.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)  # classes exclude each other
        return node

    def setNodes(self, segmentationNode: Any, volumeNode: Any) -> None:
        """Edit this segmentation over this volume; None for both stops editing."""
        if segmentationNode is None:
            self._widget.setActiveEffect(None)
        self._widget.setSegmentationNode(segmentationNode)
        self._widget.setSourceVolumeNode(volumeNode)

    def selectSegment(self, segmentId: str) -> None:
        """Select the segment to draw."""
        self._widget.setCurrentSegmentID(segmentId)

    def saveStateForUndo(self) -> None:
        """Save the state, so that the next change can be undone in one step."""
        self._widget.saveStateForUndo()

    def clearUndo(self) -> None:
        """Clear the undo history."""
        self._widget.undoEnabled = True  # enabling undo again clears the history; Slicer has no other way

    def tool(self) -> Tool:
        """The active effect and the selected segment."""
        effect = self._widget.activeEffect()
        return Tool("" if effect is None else str(effect.name), str(self._widget.currentSegmentID()))

    def takeTool(self, tool: Tool) -> None:
        """Activate the effect of a tool, if the module is shown."""
        if self._entered and tool.effect:
            self._widget.setActiveEffectByName(tool.effect)

    def brush(self) -> float | None:
        """Diameter of the brush in millimetres, or None if the user set it in percent."""
        node = self._widget.mrmlSegmentEditorNode()
        diameter = node.GetAttribute(BRUSH_DIAMETER) if node is not None else None
        if diameter is None or node.GetAttribute(BRUSH_RELATIVE) != "0":
            return None
        return float(diameter)

    def setBrush(self, diameter: float) -> None:
        """Set the diameter of the brush in millimetres, unless the user set it in percent."""
        node = self._widget.mrmlSegmentEditorNode()
        if node is not None and node.GetAttribute(BRUSH_RELATIVE) == "0":
            node.SetAttribute(BRUSH_DIAMETER, f"{diameter:.4g}")

    def paint(self) -> None:
        """Activate the Paint effect if no effect is active and the module is shown."""
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
        """The module is left: deactivate effects and shortcuts."""
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
        self._useNode()
        if self._entered:
            self._widget.setupViewObservations()

    def close(self) -> None:
        """Release all nodes, for a reload of the module."""
        self.exit()
        self.removeObservers()
        self._widget.setSegmentationNode(None)
        self._widget.setMRMLSegmentEditorNode(None)
