"""The interface to the editor: Slicer's Segment Editor in the panel, nothing in a headless run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ActiveSegmentationLib.common.signals import Signal


@dataclass(frozen=True)
class Tool:
    """The active effect and segment; kept when another volume opens.

    Attributes:
        effect: Name of the active effect of the Segment Editor, "" for none.
        segment: Id of the selected segment, "" for none.
    """

    effect: str = ""
    segment: str = ""


class Editor:
    """Interface of a session to the Segment Editor; this class does nothing, for runs without a user interface.

    Attributes:
        toolChanged: Emitted when another segment is selected.
    """

    def __init__(self) -> None:
        self.toolChanged: Signal[[]] = Signal()

    def setNodes(self, segmentationNode: Any, volumeNode: Any) -> None:
        """Edit this segmentation over this volume; None for both stops editing."""

    def selectSegment(self, segmentId: str) -> None:
        """Select the segment to draw."""

    def saveStateForUndo(self) -> None:
        """Save the state, so that the next change can be undone in one step."""

    def clearUndo(self) -> None:
        """Clear the undo history."""

    def paint(self) -> None:
        """Activate the Paint effect if no effect is active."""

    def tool(self) -> Tool:
        """The active effect and the selected segment."""
        return Tool()

    def takeTool(self, tool: Tool) -> None:
        """Activate the effect of a tool, if there is one."""

    def brush(self) -> float | None:
        """Diameter of the brush in millimetres, or None if it is set in percent of the view or unknown."""
        return None

    def setBrush(self, diameter: float) -> None:
        """Set the diameter of the brush in millimetres."""
