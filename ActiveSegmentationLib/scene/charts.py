"""Plots in the scene: learning curve, loss of a running training, and the map of slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import slicer
import vtk

PREFIX = "ActiveSegmentation"
"""Prefix of the names of all these nodes."""

WAITING = "Learning curve: the first point appears when the next slices are annotated and a model is trained on them"
"""Title of a learning curve without any point."""

STATUS_COLORS = {
    "not annotated": (0.65, 0.65, 0.65),
    "requested": (1.0, 0.6, 0.0),
    "annotated": (0.1, 0.6, 0.2),
    "skipped": (0.5, 0.3, 0.3),
    "current": (0.85, 0.1, 0.1),
}
"""Colours of the statuses of slices in the map, in drawing order."""


def learningCurveChart(curve: Sequence[Mapping[str, Any]]) -> Any:
    """A chart of Dice over annotated slices.

    Args:
        curve: Entries as of ``StudyLoop.learning_curve``: "annotated", "unseen" and "reference".

    Returns:
        The vtkMRMLPlotChartNode; calling again updates it.
    """
    chart = _chart("Learning curve", "Annotated slices", "Dice")
    chart.SetYAxisRangeAuto(False)
    chart.SetYAxisRange(0.0, 1.0)
    chart.RemoveAllPlotSeriesNodeIDs()
    for key, name, color in (
        ("unseen", "the next slices, before learning from them", (0.9, 0.5, 0.1)),
        ("reference", "reference masks", (0.2, 0.4, 0.8)),
    ):
        points = [(e["annotated"], e[key]) for e in curve if e[key] is not None and e["annotated"] is not None]
        if points:
            table = _table(f"curve {key}", {"Annotated slices": [p[0] for p in points], "Dice": [p[1] for p in points]})
            series = _series(name, table, "Annotated slices", "Dice", color)
            series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleCircle)
            series.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleSolid)
            chart.AddAndObservePlotSeriesNodeID(series.GetID())
            chart.SetYAxisTitle(f"Dice on {name}")
    chart.SetTitle("Learning curve" if chart.GetNumberOfPlotSeriesNodes() else WAITING)
    several = chart.GetNumberOfPlotSeriesNodes() > 1
    chart.SetLegendVisibility(several)  # a legend would cover the curve, which is at the top
    if several:
        chart.SetYAxisTitle("Dice")
    return chart


class LossChart:
    """Loss and Dice of a running training."""

    def __init__(self) -> None:
        self.chart = _chart("Training", "Step", "Loss, Dice")
        self.chart.SetTitle("Training: waiting for the first steps")
        self._tables: dict[str, Any] = {}

    def clear(self) -> None:
        """Clear the chart for a new training."""
        self.chart.RemoveAllPlotSeriesNodeIDs()
        self._tables = {}

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add the values of one progress report (loss, dice)."""
        self.chart.SetTitle("Training")
        for name, value in values.items():
            if name in self._tables:
                _append(self._tables[name], (step, value))
                continue
            color = {"loss": (0.8, 0.2, 0.2), "dice": (0.2, 0.5, 0.8)}.get(name, (0.4, 0.4, 0.4))
            self._tables[name] = _table(f"training {name}", {"Step": [step], name: [value]})
            series = _series(f"training {name}", self._tables[name], "Step", name, color)
            series.SetName(name)
            self.chart.AddAndObservePlotSeriesNodeID(series.GetID())


class SliceMapChart:
    """Every slice as a dot, with one series per status, so that a picked dot can be identified.

    Attributes:
        chart: The vtkMRMLPlotChartNode.
    """

    def __init__(self) -> None:
        self.chart = _chart("Map of slices", "", "")
        self.chart.SetXAxisTitleVisibility(False)
        self.chart.SetYAxisTitleVisibility(False)
        self._rows: dict[str, np.ndarray] = {}

    def update(self, places: np.ndarray, statuses: Sequence[str], title: str) -> None:
        """Plot the dots.

        Args:
            places: (n, 2) positions.
            statuses: Status of each, one of ``STATUS_COLORS``.
            title: Title of the chart.
        """
        self.chart.SetTitle(title)
        self.chart.RemoveAllPlotSeriesNodeIDs()
        self._rows = {}
        for status, color in STATUS_COLORS.items():
            rows = np.flatnonzero([found == status for found in statuses])
            if not len(rows):
                continue
            table = _table(f"map {status}", {"x": places[rows, 0], "y": places[rows, 1]})
            series = _series(f"map {status}", table, "x", "y", color)
            series.SetName(f"{status} ({len(rows)})")
            series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
            series.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleNone)
            series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleCircle)
            series.SetMarkerSize(5 if status == "not annotated" else 9)
            self.chart.AddAndObservePlotSeriesNodeID(series.GetID())
            self._rows[series.GetID()] = rows

    def picked(self, seriesId: str, row: int) -> int | None:
        """Number of the dot (0 to n - 1) in a row of a series, or None if the series is not ours."""
        rows = self._rows.get(seriesId)
        return int(rows[min(row, len(rows) - 1)]) if rows is not None and row >= 0 else None


def removeCharts() -> None:
    """Remove every node of this file from the scene."""
    for className in ("vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode", "vtkMRMLTableNode"):
        for node in slicer.util.getNodesByClass(className):
            if node.GetAttribute(PREFIX) is not None:
                slicer.mrmlScene.RemoveNode(node)


def _node(className: str, key: str) -> Any:
    """The node of this key, created on first use; not saved with the scene, since the study has the data."""
    for node in slicer.util.getNodesByClass(className):
        if node.GetAttribute(PREFIX) == key:
            return node
    node = slicer.mrmlScene.AddNewNodeByClass(className, f"{PREFIX} {key}")
    node.SetAttribute(PREFIX, key)
    node.SetSaveWithScene(False)
    return node


def _chart(title: str, x: str, y: str) -> Any:
    chart = _node("vtkMRMLPlotChartNode", title)
    chart.SetTitle(title)
    chart.SetXAxisTitle(x)
    chart.SetYAxisTitle(y)
    return chart


def _series(key: str, table: Any, x: str, y: str, color: tuple[float, float, float]) -> Any:
    series = _node("vtkMRMLPlotSeriesNode", key)
    series.SetName(key)
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName(x)
    series.SetYColumnName(y)
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    series.SetColor(*color)
    return series


def _table(key: str, columns: Mapping[str, Any]) -> Any:
    node = _node("vtkMRMLTableNode", key)
    table = vtk.vtkTable()
    for name, values in columns.items():
        column = vtk.vtkDoubleArray()
        column.SetName(name)
        for value in values if len(values) != 1 else [*values, *values]:  # VTK warns about lines of one point
            column.InsertNextValue(float(value))
        table.AddColumn(column)
    node.SetAndObserveTable(table)
    return node


def _append(node: Any, values: Sequence[float]) -> None:
    table = node.GetTable()
    for number, value in enumerate(values):
        table.GetColumn(number).InsertNextValue(float(value))
    table.Modified()
    node.Modified()
