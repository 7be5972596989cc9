"""The map of slices: which are similar, which are annotated, which are requested."""

from __future__ import annotations

from typing import Any

import numpy as np
from slicer.i18n import tr as _

from ActiveSegmentationLib.common.signals import Signal
from ActiveSegmentationLib.panels.panel import Panel
from ActiveSegmentationLib.scene.charts import SliceMapChart

METHODS = ("pca", "tsne")
"""Layouts in the order of the box."""


class MapPanel(Panel):
    """Showing all slices as dots.

    Attributes:
        chartWanted: Emitted with a chart node to show in a plot view.
    """

    def setup(self) -> None:
        """Connect the widgets."""
        self.chartWanted: Signal[[Any]] = Signal()
        self._chart: SliceMapChart | None = None
        self._shown: tuple[Any, ...] = ()
        for text in (_("principal components (quick)"), _("t-SNE (neighbourhoods)")):
            self.ui.mapMethodComboBox.addItem(text)
        self.ui.mapButton.clicked.connect(self.startOrStop("slice_map", self.lay))

    @property
    def chart(self) -> Any:
        """Chart node of the map, or None before it is shown."""
        return self._chart.chart if self._chart is not None else None

    def lay(self) -> None:
        """Compute the map and show it."""
        self.work.layOut(METHODS[self.ui.mapMethodComboBox.currentIndex], lambda answer: self._onLaidOut())

    def _onLaidOut(self) -> None:
        self.drawMap()
        assert self._chart is not None
        self.chartWanted.emit(self._chart.chart)

    def drawMap(self) -> None:
        """Update the status of the slices in the chart."""
        found = self.work.sliceMap
        if found is None:
            return
        statuses = [self.session.sliceStatus(self.work.mapSlice(number)) for number in range(len(found["volumes"]))]
        content = (id(found), *statuses)
        if content == self._shown and self._chart is not None:
            return
        self._shown = content
        if self._chart is None:
            self._chart = SliceMapChart()
        titles = {
            "pixels": _("Slices by their pixels"),
            "segmenter": _("Slices by features of the trained model"),
            "learned": _("Slices by learned features"),
        }
        title = titles[found["embedding"]]
        self._chart.update(np.array(found["places"], dtype=float).reshape(-1, 2), statuses, title)

    def pick(self, seriesId: str, row: int) -> None:
        """Open the slice of a dot."""
        number = self._chart.picked(seriesId, row) if self._chart is not None else None
        if number is not None:
            self.act(lambda: self.openSlice(self.work.mapSlice(number)))()

    def forgetNodes(self) -> None:
        """The scene is being closed."""
        self._chart = None

    def update(self) -> None:
        """Enable what can be done, and update a map that is shown."""
        noStudy = "" if self.session.study is not None else _("Open or create a study first.")
        self.showJob(self.ui.mapButton, "slice_map", noStudy)
        if self._chart is not None:
            self.drawMap()
