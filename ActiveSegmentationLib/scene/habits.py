"""Settings that carry over to the next volume: effect, segment, brush, channel, window and level."""

from __future__ import annotations

import math

from ActiveSegmentationLib.scene.case import Case
from ActiveSegmentationLib.scene.contrast import Choice
from ActiveSegmentationLib.scene.editor import Editor, Tool
from ActiveSegmentationLib.scene.fitting import brushDiameter, voxelSize
from ActiveSegmentationLib.scene.segmentations import segmentId


class Habits:
    """Settings of the user that are kept when another volume opens.

    Attributes:
        channel: Channel of the images that is shown, 0-based.
    """

    def __init__(self) -> None:
        self.channel = 0
        self._tool = Tool()
        self._brush: float | None = None
        self._given: float | None = None
        self._contrast: dict[int, Choice | None] = {}

    @property
    def contrast(self) -> Choice | None:
        """The user's window and level for this channel, or None for the default."""
        return self._contrast.get(self.channel)

    def note(self, editor: Editor, case: Case) -> None:
        """Save the settings before a volume closes or the channel changes."""
        self._tool = editor.tool()
        brush = editor.brush()
        if brush is not None and self._given is not None and not math.isclose(brush, self._given, rel_tol=1e-3):
            self._brush = brush / voxelSize(case.volume.geometry, case.volume.axis)
        if case.intact:
            self._contrast[case.channel] = case.contrast.choice(self._contrast.get(case.channel))

    def restore(self, editor: Editor, case: Case) -> None:
        """Restore the settings on another volume; the brush keeps its size in voxels."""
        known = case.segmentationNode.GetSegmentation().GetSegmentIDs()
        first = segmentId(case.values[0])
        editor.selectSegment(self._tool.segment if self._tool.segment in known else first)
        editor.takeTool(self._tool)
        geometry, axis = case.volume.geometry, case.volume.axis
        diameter = brushDiameter(geometry, axis) if self._brush is None else self._brush * voxelSize(geometry, axis)
        editor.setBrush(diameter)
        self._given = editor.brush()
