"""The images of the open study, or of one to be created: how they are interpreted, previews, and a row per volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from ActiveSegmentationLib.cohort import Cohort, Preview, Volume
from ActiveSegmentationLib.panels.panel import Panel
from ActiveSegmentationLib.panels.tables import fillTable, identityOf, setHeader
from ActiveSegmentationLib.panels.understood import understood
from ActiveSegmentationLib.study import Study

PATIENT, VOLUME = 0, 1
WIDTHS = {PATIENT: 84, VOLUME: 100, 2: 44}
"""Widths in pixels of the columns patient, volume and slices; long names are elided, problems begin in the third."""

PROBLEM_HEIGHT = 52
PICTURES = 3
GREY = (120, 120, 120)
RED = (220, 60, 60)


class ImagesPanel(Panel):
    """Shows the volumes of a cohort; volumes can be excluded here."""

    def setup(self) -> None:
        """Connect the widgets."""
        ui = self.ui
        self._excluded: dict[str, str] = {}
        self._study: Study | None = None
        ui.leaveOutButton.clicked.connect(self.act(lambda: self.leaveOut(self._chosen())))
        ui.takeBackButton.clicked.connect(self.act(lambda: self.takeBack(self._chosen())))
        ui.cohortTable.itemSelectionChanged.connect(lambda *args: self.update())
        setHeader(ui.cohortTable, 5)
        for column, width in WIDTHS.items():
            ui.cohortTable.horizontalHeader().setSectionResizeMode(column, qt.QHeaderView.Interactive)
            ui.cohortTable.setColumnWidth(column, width)
        self._pictures = [getattr(ui, f"previewLabel{number}") for number in range(PICTURES)]
        self.clear()

    def clear(self) -> None:
        """Show nothing."""
        ui = self.ui
        self._study = None
        ui.cohortTable.setRowCount(0)
        ui.cohortLabel.text = ui.understoodLabel.text = ""
        ui.previewFrame.setVisible(False)

    def showFound(self, cohort: Cohort, previews: Sequence[Preview]) -> None:
        """Show the images that were read, before a study is created."""
        self._excluded = {}
        self._show(cohort, previews)
        self.ui.imagesCollapsibleButton.collapsed = False

    def _showStudy(self, study: Study) -> None:
        """Show the volumes of the open study, and which of them are excluded."""
        self._study, self._excluded = study, dict(self.session.excluded)
        self._show(study.cohort, ())
        self.ui.imagesCollapsibleButton.collapsed = True

    # Excluded volumes

    def _fillAnew(self, study: Study) -> None:
        """Show which volumes are excluded now; the selected row stays."""
        table = self.ui.cohortTable
        self._excluded = dict(self.session.excluded)
        chosen, blocked = table.currentRow(), table.blockSignals(True)
        self._fill(study.cohort)
        table.selectRow(chosen)
        table.blockSignals(blocked)

    def _chosen(self) -> str:
        return identityOf(self.ui.cohortTable, self.ui.cohortTable.currentRow())

    # Showing

    def _show(self, cohort: Cohort, previews: Sequence[Preview]) -> None:
        self._fill(cohort)
        self.ui.cohortLabel.text = _summary(cohort)
        self.ui.understoodLabel.text = "<br>".join(_escaped(line) for line in understood(cohort, previews))
        self.ui.previewFrame.setVisible(bool(previews))
        for number, label in enumerate(self._pictures):
            self._showPicture(label, previews[number] if number < len(previews) else None)

    def _showPicture(self, label: Any, preview: Preview | None) -> None:
        label.setVisible(preview is not None)
        label.clear()
        if preview is None:
            label.toolTip = ""
            return
        where = _("{volume}, slice {number}").format(volume=preview.slice.volume, number=preview.slice.index + 1)
        label.toolTip = "\n".join(filter(None, (where, preview.problem)))
        if preview.file is None:
            label.text = _("cannot be read")
        else:
            label.setPixmap(qt.QPixmap(str(preview.file)))

    def _fill(self, cohort: Cohort) -> None:
        table = self.ui.cohortTable
        problems = _problems(cohort)
        usable = {volume.id for volume in cohort.volumes}
        broken = [where for where in problems if where not in usable]  # unusable volumes come first
        rows: list[tuple[Any, ...]] = [("", where, "; ".join(problems[where]), "", "", "") for where in broken]
        rows += [self._row(volume, problems) for volume in cohort.volumes]
        evident = all(volume.patient in volume.id for volume in cohort.volumes)
        table.setColumnHidden(PATIENT, evident)  # volume and state need the room
        table.setColumnWidth(VOLUME, WIDTHS[VOLUME] + (WIDTHS[PATIENT] * 2 // 3 if evident else 0))
        table.clearSpans()
        fillTable(table, rows, [*broken, *(volume.id for volume in cohort.volumes)])
        for row in range(len(broken)):  # the problem takes the columns of what is unknown
            table.setSpan(row, 2, 1, 4)
            table.setRowHeight(row, PROBLEM_HEIGHT)
            table.item(row, 1).setForeground(qt.QBrush(qt.QColor(*RED)))
        for row, volume in enumerate(cohort.volumes, start=len(broken)):
            if volume.id in self._excluded:
                for column in range(table.columnCount):
                    table.item(row, column).setForeground(qt.QBrush(qt.QColor(*GREY)))

    def _row(self, volume: Volume, problems: Mapping[str, Sequence[str]]) -> tuple[Any, ...]:
        size = " x ".join(map(str, volume.geometry.size))
        spacing = " x ".join(f"{value:.3g}" for value in volume.geometry.spacing)
        state = "; ".join(problems.get(volume.id, [])) or _("fine")
        if volume.role != "pool":
            state = f"{state} ({volume.role})"
        if volume.id in self._excluded:
            state = _("left out: {reason}").format(reason=self._excluded[volume.id])
        return (volume.patient, volume.id, volume.slice_count, size, spacing, state)

    def update(self) -> None:
        """Enable what can be done with the selected volume."""
        ui, study = self.ui, self.session.study
        making = ui.newStudyButton.checked
        if (study is None or making) and self._study is not None:
            self.clear()
        elif study is not None and not making and study is not self._study:
            self._showStudy(study)
        elif self._study is not None and self._excluded != self.session.excluded:
            self._fillAnew(self._study)
        ui.imagesCollapsibleButton.setVisible(ui.cohortTable.rowCount > 0)
        for button in (ui.leaveOutButton, ui.takeBackButton):
            button.setVisible(self._study is not None)
        chosen = self._chosen()
        known = study is not None and any(volume.id == chosen for volume in study.cohort.volumes)
        none = "" if known else _("Select a volume in the table first.")
        out = chosen in self._excluded
        self.enable(ui.leaveOutButton, none, _("This volume is left out already.") if out else "")
        self.enable(ui.takeBackButton, none, "" if out else _("This volume is not left out."))


def _problems(cohort: Cohort) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for problem in cohort.problems:
        found.setdefault(problem.where, []).append(f"{problem.message} {problem.advice}".strip())
    return found


def _summary(cohort: Cohort) -> str:
    text = _("{volumes} volumes of {patients} patients, {slices} slices (layout: {layout}). Problems: {problems}.")
    return text.format(
        volumes=len(cohort.volumes),
        patients=len({volume.patient for volume in cohort.volumes}),
        slices=sum(volume.slice_count for volume in cohort.volumes),
        layout=cohort.layout,
        problems=len(cohort.problems),
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
