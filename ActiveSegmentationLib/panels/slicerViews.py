"""Slicer's slice views and plot view, as the session and the panels need them."""

from __future__ import annotations

from typing import Any

import qt
import slicer

from ActiveSegmentationLib.common.signals import Signal
from ActiveSegmentationLib.scene.views import View

ANNOTATION_VIEW = "Red"
"""Name of the slice view to annotate in; where the layout does not show it, the first view that it shows."""


class SlicerViews:
    """Slicer's slice views, including those that the current layout hides."""

    @property
    def headless(self) -> bool:
        """Whether Slicer runs without a main window."""
        return slicer.app.layoutManager() is None

    def annotationView(self) -> View | None:
        """The view to annotate in, or None if the layout shows no slice view."""
        name = _annotationViewName()
        return None if name is None else _view(name)

    def others(self) -> list[View]:
        """The other slice views, including hidden ones, which the user may show later."""
        first = _annotationViewName()
        return [_view(name) for name in _sliceViewNames() if name != first]


def _annotationViewName() -> str | None:
    manager = slicer.app.layoutManager()
    shown = [name for name in _sliceViewNames() if manager.sliceWidget(name).mrmlSliceNode().IsMappedInLayout()]
    return ANNOTATION_VIEW if ANNOTATION_VIEW in shown else next(iter(shown), None)


def _sliceViewNames() -> list[str]:
    manager = slicer.app.layoutManager()
    if manager is None:
        return []
    names = [str(name) for name in manager.sliceViewNames()]
    widgets = {name: manager.sliceWidget(name) for name in names}
    return [name for name, widget in widgets.items() if widget is not None and widget.mrmlSliceNode() is not None]


def _view(name: str) -> View:
    widget = slicer.app.layoutManager().sliceWidget(name)
    view = widget.sliceView()
    renderer = view.renderWindow().GetRenderers().GetFirstRenderer()
    return View(widget.mrmlSliceNode(), widget.sliceLogic(), renderer, view.scheduleRender)


class PlotView:
    """Shows charts in Slicer's plot view.

    Attributes:
        picked: Emitted with the id of a series and a row of its table when the user clicks on a dot.
    """

    def __init__(self) -> None:
        self.picked: Signal[[str, int]] = Signal()
        self._connected: list[Any] = []
        self._choice: tuple[str, int] | None = None

    def show(self, chart: Any) -> None:
        """Show a chart, in a layout that has a plot view."""
        manager = slicer.app.layoutManager()
        if manager is None:
            return
        slicer.modules.plots.logic().ShowChartInLayout(chart)
        for index in range(manager.plotViewCount):
            view = manager.plotWidget(index).plotView()
            if view not in self._connected:
                view.dataSelected.connect(self._onSelected)
                self._connected.append(view)

    def _onSelected(self, seriesIds: Any, selections: Any) -> None:
        """Slicer reports a click twice, first with the old selection: the last one within a turn of the loop counts."""
        for number in range(seriesIds.GetNumberOfValues()):
            rows = selections.GetItemAsObject(number)
            if rows is not None and rows.GetNumberOfValues():
                self._choice = (seriesIds.GetValue(number), int(rows.GetValue(0)))
        qt.QTimer.singleShot(0, self._tell)

    def _tell(self) -> None:
        choice, self._choice = self._choice, None
        if choice is not None:
            self.picked.emit(*choice)

    def disconnect(self) -> None:
        """Disconnect from the views."""
        for view in self._connected:
            view.dataSelected.disconnect(self._onSelected)
        self._connected = []
