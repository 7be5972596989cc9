"""The table of labels of a new study: value, name, colour and terminology of each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import qt
from slicer.i18n import tr as _

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.labels import IGNORE_LABEL
from ActiveSegmentationLib.common.signals import Signal
from ActiveSegmentationLib.panels.tables import IDENTITY, setHeader
from ActiveSegmentationLib.panels.terminology import chooseTerminology, meaning
from ActiveSegmentationLib.study import Label, LabelSet

VALUE, NAME, COLOR, TERMINOLOGY = range(4)
"""Columns of the table."""

DARKEST_LIGHT = 110
"""Grey level (0 to 255) up to which white text on a colour is easier to read than black, in light and dark themes."""


class LabelTable:
    """The labels as the user edits them.

    Args:
        table: QTableWidget with four columns.

    Attributes:
        changed: Emitted when a label was added or removed.
    """

    def __init__(self, table: Any) -> None:
        self.changed: Signal[[]] = Signal()
        self._table = table
        table.cellDoubleClicked.connect(self._onCellDoubleClicked)
        setHeader(table, NAME)

    def __len__(self) -> int:
        return self._table.rowCount

    def show(self, labels: Iterable[Label]) -> None:
        """Replace the content of the table."""
        self._table.setRowCount(0)
        for label in labels:
            self._addRow(label)

    def add(self) -> None:
        """Add a label with the smallest value that is free.

        Raises:
            BadInput: As ``labels``.
        """
        known = {label.value for label in self.labels()}
        value = next(number for number in range(1, IGNORE_LABEL) if number not in known)
        colored = LabelSet.from_names({n: f"label {n}" for n in range(1, value + 1)}).labels[-1]
        self._addRow(colored)
        self.changed.emit()

    def remove(self) -> None:
        """Remove the selected label, or the last one."""
        row = self._table.currentRow()
        self._table.removeRow(row if row >= 0 else len(self) - 1)
        self.changed.emit()

    def labels(self) -> list[Label]:
        """The labels in the order of the table.

        Raises:
            BadInput: If a value or a colour cannot be read; it names the row.
        """
        labels = []
        for row in range(len(self)):
            value, name, color = (self._table.item(row, column).text().strip() for column in (VALUE, NAME, COLOR))
            parsed = qt.QColor(color)
            if not value.isdecimal() or not parsed.isValid():
                advice = _("Give a whole number from 1 to 254, and a colour such as #ff0000.")
                raise BadInput(_("Value or colour cannot be read."), where=f"labels, row {row + 1}", advice=advice)
            rgb = (parsed.redF(), parsed.greenF(), parsed.blueF())
            labels.append(Label(int(value), name, rgb, self._terminology(row)))
        return labels

    def _addRow(self, label: Label) -> None:
        row = len(self)
        self._table.setRowCount(row + 1)
        for column, text in enumerate((str(label.value), label.name, "", "")):
            item = qt.QTableWidgetItem(text)
            if column in (COLOR, TERMINOLOGY):  # a double click opens a dialog there
                item.setFlags(qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled)
            self._table.setItem(row, column, item)
        self._setColor(row, qt.QColor.fromRgbF(*label.color))
        self._setTerminology(row, label.terminology)

    def _terminology(self, row: int) -> str:
        return str(self._table.item(row, TERMINOLOGY).data(IDENTITY))

    def _setTerminology(self, row: int, entry: str) -> None:
        item = self._table.item(row, TERMINOLOGY)
        item.setData(IDENTITY, entry)
        item.setText(meaning(entry) or _("none"))
        item.setToolTip(entry or _("Double-click to choose the standard term for this structure."))

    def _onCellDoubleClicked(self, row: int, column: int) -> None:
        if column == COLOR:
            self._chooseColor(row)
        elif column == TERMINOLOGY:
            self._chooseTerminology(row)

    def _chooseTerminology(self, row: int) -> None:
        chosen = chooseTerminology(self._terminology(row), self._table)
        if chosen is None:
            return
        self._setTerminology(row, chosen.entry)
        self._table.item(row, NAME).setText(chosen.name)
        if chosen.color.isValid():
            self._setColor(row, chosen.color)

    def _chooseColor(self, row: int) -> None:
        color = qt.QColorDialog.getColor(qt.QColor(self._table.item(row, COLOR).text()), self._table)
        if color.isValid():
            self._setColor(row, color)

    def _setColor(self, row: int, color: Any) -> None:
        item = self._table.item(row, COLOR)
        item.setText(color.name())
        item.setBackground(qt.QBrush(color))
        item.setForeground(qt.QBrush(qt.QColor("black" if qt.qGray(color.rgb()) > DARKEST_LIGHT else "white")))
