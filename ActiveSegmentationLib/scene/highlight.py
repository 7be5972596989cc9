"""Highlights a slice in a slice view: a coloured frame around the image and a line of text."""

from __future__ import annotations

import textwrap
from typing import Any

import vtk

from ActiveSegmentationLib.cohort import Geometry
from ActiveSegmentationLib.scene.fitting import sliceCorners
from ActiveSegmentationLib.scene.sliceViews import shownSlice

REQUESTED = (1.0, 0.75, 0.1)
COMMITTED = (0.3, 0.85, 0.4)
"""Colours of the frame: requested and open, or answered."""


FONT_SIZE = 15
CHARACTER_WIDTH = 0.58
"""Mean width of a character relative to the font size."""

LEAST_COLUMNS = 20


class SliceHighlight:
    """Highlights one slice in one slice view while the view shows it.

    Args:
        sliceNode: vtkMRMLSliceNode of the view.
        renderer: First renderer of the view's window; it stays the same when slice or layout change.
        render: Requests a redraw of the view.
    """

    def __init__(self, sliceNode: Any, renderer: Any, render: Any) -> None:
        self._sliceNode = sliceNode
        self._renderer = renderer
        self._render = render
        self._observation: int | None = None
        self._marked: tuple[Geometry, int, int] | None = None
        self._line = ""
        self._points = vtk.vtkPoints()
        self._frame = self._makeFrame()
        self._text = vtk.vtkTextActor()
        position = self._text.GetPositionCoordinate()
        position.SetCoordinateSystemToNormalizedViewport()
        position.SetValue(0.02, 0.93)  # the lower left corner is the DataProbe's
        properties = self._text.GetTextProperty()
        properties.SetFontSize(FONT_SIZE)
        properties.BoldOn()
        properties.ShadowOn()
        properties.SetVerticalJustificationToTop()

    @property
    def text(self) -> str:
        """The text that is shown, or "" if nothing is highlighted."""
        return self._line if self._marked is not None else ""

    @property
    def visible(self) -> bool:
        """Whether the view shows the highlighted slice."""
        return self._marked is not None and bool(self._frame.GetVisibility())

    def show(self, geometry: Geometry, axis: int, index: int, text: str, color: tuple[float, float, float]) -> None:
        """Highlight a slice.

        Args:
            geometry: Grid of the volume (LPS, millimetres).
            axis: Image axis across which slices are counted.
            index: 0-based index of the slice.
            text: Line to write.
            color: Red, green, blue, each 0 to 1.
        """
        self.hide()
        self._marked = (geometry, axis, index)
        self._line = text
        for actor in (self._frame, self._text):
            self._renderer.AddViewProp(actor)
        self._frame.GetProperty().SetColor(*color)
        self._text.GetTextProperty().SetColor(*color)
        self._observation = self._sliceNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._update())
        self._update()

    def hide(self) -> None:
        """Remove the highlight."""
        if self._observation is not None:
            self._sliceNode.RemoveObserver(self._observation)
            self._observation = None
        if self._marked is not None:
            self._marked = None
            for actor in (self._frame, self._text):
                self._renderer.RemoveViewProp(actor)
            self._render()

    def _update(self) -> None:
        """Follow the view: move the frame to the image's border; hide it on other slices."""
        if self._marked is None:
            return
        geometry, axis, index = self._marked
        shown = shownSlice(self._sliceNode, geometry, axis) == index
        for actor in (self._frame, self._text):
            actor.SetVisibility(shown)
        if shown:
            for number, (x, y) in enumerate(sliceCorners(self._sliceNode, geometry, axis, index)):
                self._points.SetPoint(number, x, y, 0.0)
            self._points.Modified()
            self._text.SetInput(textwrap.fill(self._line, self._columns()))
        self._render()

    def _columns(self) -> int:
        """Characters that fit in a line of the view."""
        width = self._sliceNode.GetDimensions()[0] * 0.96
        return max(LEAST_COLUMNS, int(width / (FONT_SIZE * CHARACTER_WIDTH)))

    def _makeFrame(self) -> vtk.vtkActor2D:
        self._points.SetNumberOfPoints(4)
        line = vtk.vtkCellArray()
        line.InsertNextCell(5, [0, 1, 2, 3, 0])
        shape = vtk.vtkPolyData()
        shape.SetPoints(self._points)
        shape.SetLines(line)
        mapper = vtk.vtkPolyDataMapper2D()
        mapper.SetInputData(shape)
        actor = vtk.vtkActor2D()
        actor.SetMapper(mapper)
        actor.GetProperty().SetLineWidth(3.0)
        return actor
