"""The learner in the panel: a list with those that cannot be used in grey, and a table of the learner's options."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from ActiveSegmentationLib.panels.tables import CHOOSABLE, ITEM_FLAGS, NOT_CHOOSABLE, ROW_HEIGHT, setHeader
from ActiveSegmentationLib.scene.work import Work

OPTION, VALUE = range(2)
"""Columns of the table of options."""

MOST_ROWS = 6
"""Options that are visible without scrolling in the table."""

USUAL = "#808080"
"""Colour of values that are not changed."""


class LearnerChoice:
    """Shows which learner the open study uses, and changes it.

    Args:
        ui: Widgets of the module.
        work: The worker's jobs.
        act: Wraps an action so that its errors are shown, see ``Panel.act``.
    """

    def __init__(self, ui: Any, work: Work, act: Any) -> None:
        self._ui, self._work = ui, work
        self._names: list[str] = []
        self._shown: Any = None
        setHeader(ui.learnerOptionsTable, VALUE)
        ui.learnerComboBox.activated.connect(act(self._onLearner))
        ui.learnerOptionsTable.cellChanged.connect(act(self._onOption))

    def _onLearner(self) -> None:
        index = self._ui.learnerComboBox.currentIndex
        if 0 <= index < len(self._names) and self._names[index] != self._work.learner:
            self._work.chooseLearner(self._names[index])

    def _onOption(self) -> None:
        usual = {name: text(option["default"]) for name, option in self._details()["options"].items()}
        written = {name: self._ui.learnerOptionsTable.item(row, VALUE).text().strip() for row, name in enumerate(usual)}
        changed = {name: value for name, value in written.items() if value not in ("", usual[name])}
        self._shown = None  # what is refused does not stay in the table
        self._work.chooseLearner(self._work.learner, changed)

    def update(self) -> None:
        """Show the learner, its options, and which learners cannot be used."""
        ui, work = self._ui, self._work
        names = [known["name"] for known in work.learners]
        names += [] if work.learner in names else [work.learner]
        if names != self._names:
            self._fill(names)
        for row, known in enumerate(work.learners):
            reason = known["unavailable_reason"]
            ui.learnerComboBox.setItemData(row, NOT_CHOOSABLE if reason else CHOOSABLE, ITEM_FLAGS)
            ui.learnerComboBox.setItemData(row, reason or known["summary"], qt.Qt.ToolTipRole)
        if ui.learnerComboBox.currentIndex != names.index(work.learner):
            ui.learnerComboBox.setCurrentIndex(names.index(work.learner))
        details, reason = self._details(), work.learnerReason(work.learner)
        refusal = _("Cannot be used now: {reason}").format(reason=reason) if reason else ""
        ui.learnerLabel.text = " ".join(filter(None, (refusal, details["summary"])))
        self._updateOptions(details["options"] if work.session.study is not None else {})

    def _fill(self, names: list[str]) -> None:
        box = self._ui.learnerComboBox
        box.clear()
        for name in names:
            box.addItem(name, name)
        self._names = names

    def _details(self) -> dict[str, Any]:
        unknown = {"summary": "", "options": {}}
        return next((known for known in self._work.learners if known["name"] == self._work.learner), unknown)

    def _updateOptions(self, options: dict[str, Any]) -> None:
        """Fill the table, unless it shows this already or the user is typing in it."""
        table, values = self._ui.learnerOptionsTable, self._work.learnerOptions
        now = (self._work.learner, {name: option["default"] for name, option in options.items()}, values)
        table.setVisible(bool(options))
        if now == self._shown:
            return
        self._shown = now
        blocked = table.blockSignals(True)
        table.setRowCount(len(options))
        for row, (name, option) in enumerate(options.items()):
            self._fillRow(row, name, option, values.get(name, option["default"]))
        table.setFixedHeight(ROW_HEIGHT * (1 + min(MOST_ROWS, len(options))) + ROW_HEIGHT // 2)
        table.blockSignals(blocked)

    def _fillRow(self, row: int, name: str, option: dict[str, Any], value: Any) -> None:
        usual = _("Usual value: {value}.").format(value=text(option["default"]) or _("empty"))
        meaning = option["meaning"].replace("``", "")  # marks of code in docstrings
        for column, words in ((OPTION, name), (VALUE, text(value))):
            item = qt.QTableWidgetItem(words)
            item.setToolTip(f"{meaning} {usual}")
            if column == OPTION:
                item.setFlags(qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled)
            elif words == text(option["default"]):
                item.setForeground(qt.QBrush(qt.QColor(USUAL)))
            self._ui.learnerOptionsTable.setItem(row, column, item)


def text(value: Any) -> str:
    """A value of an option as it is shown and written: "yes" and "no" for truth values, "" for none."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
