"""What draws, behind a narrow interface: Slicer's Segment Editor in the panel, nothing in a headless run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ActiveSegmentationLib.common.signals import Signal


@dataclass(frozen=True)
class Tool:
    """How a person draws; it survives the change of volume.

    Attributes:
        effect: Name of the active effect of the Segment Editor, "" for none.
        segment: Id of the selected segment, "" for none.
    """

    effect: str = ""
    segment: str = ""


class Editor:
    """The Segment Editor as far as a session needs it; this one is for runs without a user interface.

    Attributes:
        toolChanged: Emitted when another segment is selected.
    """

    def __init__(self) -> None:
        self.toolChanged: Signal[[]] = Signal()

    def setNodes(self, segmentationNode: Any, volumeNode: Any) -> None:
        """Edit this segmentation over this volume; None for both ends editing."""

    def selectSegment(self, segmentId: str) -> None:
        """Make a segment the one that is drawn."""

    def saveStateForUndo(self) -> None:
        """Let the next change be undone in one step."""

    def clearUndo(self) -> None:
        """Forget all earlier states: undo and redo do nothing until the next change."""

    def paint(self) -> None:
        """Activate the Paint effect if no effect is active."""

    def tool(self) -> Tool:
        """How the person draws now."""
        return Tool()

    def takeTool(self, tool: Tool) -> None:
        """Draw as before: activate the effect and select the segment, where there are such."""

    def brush(self) -> float | None:
        """Diameter of the brush in millimetres, or None where it is set in percent of the view, or not known."""
        return None

    def setBrush(self, diameter: float) -> None:
        """Let the brush have a diameter in millimetres."""
