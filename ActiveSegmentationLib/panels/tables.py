"""Filling tables and lists in the panels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt

ROW_HEIGHT = 22

IDENTITY = 0x0100
"""Qt.UserRole: the identity of a row, which stays with it when the table is sorted."""


ITEM_FLAGS = 255
"""Role (below Qt's first user role) that holds whether an item of a combo box can be selected."""
CHOOSABLE, NOT_CHOOSABLE = 33, 0
"""Values of that role: selectable and enabled, or neither."""


def fillTable(table: Any, rows: Sequence[Sequence[Any]], identities: Sequence[str]) -> None:
    """Replace the content of a table; it emits no signal before it is complete.

    Args:
        table: QTableWidget with as many columns as a row has values.
        rows: Texts or numbers; numbers sort as numbers.
        identities: Identity of each row, see ``identityOf``.
    """
    blocked = table.blockSignals(True)
    sorting = table.isSortingEnabled()
    table.setSortingEnabled(False)
    table.setRowCount(len(rows))
    for number, (values, identity) in enumerate(zip(rows, identities, strict=True)):
        for column, value in enumerate(values):
            item = qt.QTableWidgetItem()
            item.setData(qt.Qt.DisplayRole, value)
            item.setToolTip(str(value))
            item.setFlags(qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled)
            if column == 0:
                item.setData(IDENTITY, identity)
            table.setItem(number, column, item)
    table.setSortingEnabled(sorting)
    table.blockSignals(blocked)


def identityOf(table: Any, row: int) -> str:
    """Identity of a row, "" if there is no such row."""
    item = table.item(row, 0)
    return str(item.data(IDENTITY)) if item is not None else ""


def setHeader(table: Any, stretched: int) -> None:
    """Make every column as wide as its content, and stretch one over the rest."""
    header = table.horizontalHeader()
    for column in range(table.columnCount):
        mode = qt.QHeaderView.Stretch if column == stretched else qt.QHeaderView.ResizeToContents
        header.setSectionResizeMode(column, mode)
    table.verticalHeader().setVisible(False)
    table.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
