"""Panel 2: suggest the slices to annotate next, and the list of requests."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.defaults import DEFAULT_STRATEGY
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.panels.elided import ElidedLabel
from ActiveSegmentationLib.panels.panel import Panel
from ActiveSegmentationLib.panels.tables import (
    CHOOSABLE,
    IDENTITY,
    ITEM_FLAGS,
    NOT_CHOOSABLE,
    identityOf,
    setHeader,
)
from ActiveSegmentationLib.scene.requestRows import OPEN, SKIPPED, RequestRow
from ActiveSegmentationLib.scene.work import splitStrategy

RECOMMENDED = "Recommended: every patient in turn, evenly spread slices, guided by the model once there is one."

THUMBNAIL_SIDE = 56
NAME_WIDTH = 88
PATIENT = 1
"""Column of the patient."""

ROW_HEIGHT = 40
"""Height of a row without a picture, in pixels: two lines of a reason."""


class SuggestPanel(Panel):
    """Suggesting slices."""

    def setup(self) -> None:
        """Connect the widgets."""
        ui = self.ui
        self._shown: list[RequestRow] = []
        self._device = ElidedLabel(ui.deviceLabel)
        self._known: list[dict[str, Any]] = []
        self._strategies: list[str] = []
        self._fillStrategies([{"name": DEFAULT_STRATEGY, "summary": RECOMMENDED, "options": {}}])
        ui.suggestButton.clicked.connect(self.startOrStop("suggest", self.suggest))
        ui.strategyComboBox.currentIndexChanged.connect(lambda *args: self._onStrategy())
        ui.strategyOptionsLineEdit.textChanged.connect(lambda *args: self._onOptions())
        ui.requestsTable.cellClicked.connect(lambda row, column: self.act(lambda: self._open(row))())
        ui.requestsTable.setIconSize(qt.QSize(THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        setHeader(ui.requestsTable, 4)
        for column in (1, 2):  # long names must not take the place of the reason
            ui.requestsTable.horizontalHeader().setSectionResizeMode(column, qt.QHeaderView.Interactive)
            ui.requestsTable.setColumnWidth(column, NAME_WIDTH)

    def suggest(self) -> None:
        """Suggest as many slices as set in the panel; the first one opens when they are ready.

        Raises:
            BadInput: If no study is open, or it cannot use the strategy now.
        """
        parameters = self.parameters()
        reason = self.work.unavailableReason(parameters.strategy)
        if reason:
            advice = _("Choose another strategy.")
            raise BadInput(
                _("This strategy cannot be used now."), where=parameters.strategy, advice=reason + " " + advice
            )
        constraints = {
            "max_per_volume": parameters.maxPerVolume or None,
            "max_per_patient": parameters.maxPerPatient or None,
            "min_gap": parameters.minGap,
        }
        self.work.suggest(
            parameters.requestCount,
            parameters.strategy,
            parameters.seed,
            constraints,
            openFirst=True,
        )

    def _open(self, tableRow: int) -> None:
        volume, _separator, index = identityOf(self.ui.requestsTable, tableRow).rpartition("/")
        self.openSlice(SliceId(volume, int(index)))

    def _fillStrategies(self, strategies: list[dict[str, Any]]) -> None:
        box = self.ui.strategyComboBox
        blocked = box.blockSignals(True)
        box.clear()
        ordered = sorted(strategies, key=lambda strategy: strategy["name"] != DEFAULT_STRATEGY)
        for strategy in ordered:
            box.addItem(strategy["name"], strategy["name"])
        self._known = strategies
        self._details = {strategy["name"]: strategy for strategy in strategies}
        self._strategies = [strategy["name"] for strategy in ordered]
        box.blockSignals(blocked)

    def _onStrategy(self) -> None:
        index = self.ui.strategyComboBox.currentIndex
        if 0 <= index < len(self._strategies):
            self.parameters().strategy = self._strategies[index]  # options of another strategy do not apply
        self.update()

    def _onOptions(self) -> None:
        name = splitStrategy(self.parameters().strategy)[0]
        self.parameters().strategy = name + self._suffix(name, self.ui.strategyOptionsLineEdit.text)
        self.update()

    def _suffix(self, name: str, text: str) -> str:
        """The text of the options line as the suffix of a strategy's name."""
        text = text.strip()
        if not text or text[0] in ":/":
            return text
        first = text.partition("/")[0].partition("=")[0]
        return ("/" if first in self._details.get(name, {}).get("options", {}) else ":") + text

    def _updateStrategy(self) -> None:
        """Show the selected strategy with its description, and which ones cannot be used now."""
        ui = self.ui
        if self.work.strategies and self.work.strategies != self._known:
            self._fillStrategies(self.work.strategies)
        name, suffix = splitStrategy(self.parameters().strategy)
        for row, known in enumerate(self._strategies):
            reason = self.work.unavailableReason(known)
            ui.strategyComboBox.setItemData(row, NOT_CHOOSABLE if reason else CHOOSABLE, ITEM_FLAGS)
            ui.strategyComboBox.setItemData(row, reason or self._details[known]["summary"], qt.Qt.ToolTipRole)
        index = self._strategies.index(name) if name in self._strategies else -1
        if ui.strategyComboBox.currentIndex != index:
            blocked = ui.strategyComboBox.blockSignals(True)
            ui.strategyComboBox.setCurrentIndex(index)
            ui.strategyComboBox.blockSignals(blocked)
        line = ui.strategyOptionsLineEdit
        if self._suffix(name, line.text) != suffix:  # while the user types, it never differs
            blocked = line.blockSignals(True)
            line.text = suffix.removeprefix(":")
            line.blockSignals(blocked)
        details = self._details.get(name, {"summary": "", "options": {}})
        words = [f"{key}={option['default']}: {option['meaning']}" for key, option in details["options"].items()]
        line.toolTip = "\n".join([_("What follows the strategy's name, such as pixels or eta=5/passes=10."), *words])
        reason = self.work.unavailableReason(name)
        refusal = _("Cannot be used now: {reason}").format(reason=reason) if reason else ""
        options = _("Options: {names}.").format(names=", ".join(details["options"])) if words else ""
        ui.strategyLabel.text = " ".join(filter(None, (refusal, details["summary"], options)))

    def update(self) -> None:
        """Show the requests, and enable what can be done."""
        ui, session = self.ui, self.session
        self._updateStrategy()
        ui.requestsTable.setVisible(bool(session.requests.rows))
        device = self.work.deviceText
        self._device.show(_("Computes on: {device}").format(device=device) if device else "")
        self.showJob(
            ui.suggestButton,
            "suggest",
            "" if session.study is not None else _("Open or create a study first."),
            self.work.unavailableReason(self.parameters().strategy),
        )
        if self._shown != session.requests.rows:
            self._fillRequests(session.requests.rows)
        self._select()

    def _fillRequests(self, rows: list[RequestRow]) -> None:
        """Fill the table in place; pictures are read only for rows that are new."""
        table = self.ui.requestsTable
        before = {row.request.slice: row for row in self._shown}
        same = [row.request.slice for row in self._shown] == [row.request.slice for row in rows]
        blocked = table.blockSignals(True)
        if not same:
            table.setRowCount(0)
            table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            if same and before[row.request.slice] == row:
                continue
            self._fillRow(table, number, row)
        self._shown = list(rows)
        evident = all(row.request.patient in row.request.slice.volume for row in rows)
        table.setColumnHidden(PATIENT, evident)  # the reason needs the room
        table.blockSignals(blocked)

    def _fillRow(self, table: Any, number: int, row: RequestRow) -> None:
        request = row.request
        flag = " ⚑" if row.flagged else ""
        statuses = {OPEN: _("open"), SKIPPED: _("skipped")}
        texts = (
            "",
            request.patient,
            request.slice.volume,
            str(request.slice.index + 1),
            request.reason,
            statuses.get(row.status, _("committed")) + flag,
        )
        for column, text in enumerate(texts):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(text)
            item.setFlags(qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled)
            if column == 0:
                item.setData(IDENTITY, f"{request.slice.volume}/{request.slice.index}")
                if row.thumbnail:
                    item.setIcon(qt.QIcon(qt.QPixmap(row.thumbnail)))
            if row.status != OPEN:
                item.setForeground(qt.QBrush(qt.QColor(110, 140, 110)))
            table.setItem(number, column, item)
        table.setRowHeight(number, THUMBNAIL_SIDE + 4 if row.thumbnail else ROW_HEIGHT)

    def _select(self) -> None:
        task, table = self.session.task, self.ui.requestsTable
        number = -1 if task is None or task.row is None else task.row.number - 1
        if number != table.currentRow():
            blocked = table.blockSignals(True)
            if number < 0:
                table.clearSelection()
                table.setCurrentCell(-1, -1)
            else:
                table.selectRow(number)
                table.setCurrentCell(number, 0)
                table.scrollToItem(table.item(number, 0))
            table.blockSignals(blocked)
