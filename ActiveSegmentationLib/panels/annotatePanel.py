"""Panel 3: annotate the requested slice, commit it, go to the next."""

from __future__ import annotations

import time

import qt
from slicer.i18n import tr as _

from ActiveSegmentationLib.cohort import AnnotationKind, SliceId
from ActiveSegmentationLib.common.errors import ActiveSegmentationError
from ActiveSegmentationLib.common.signals import Signal
from ActiveSegmentationLib.panels.elided import ElidedLabel
from ActiveSegmentationLib.panels.labelButtons import LabelButtons, LabelEntry
from ActiveSegmentationLib.panels.panel import Panel
from ActiveSegmentationLib.scene.segmentations import BACKGROUND_COLOR, OverlapError, segmentId
from ActiveSegmentationLib.study import BACKGROUND_SEGMENT

AUTOSAVE_MILLISECONDS = 30_000
TICK_MILLISECONDS = 1_000


class AnnotatePanel(Panel):
    """Annotating the slice of a request.

    Attributes:
        allAnswered: Emitted when no request is open any more, with a line on what has just been done, or "".
    """

    def setup(self) -> None:
        """Connect the widgets."""
        ui = self.ui
        self.allAnswered: Signal[[str]] = Signal()
        self._saved = ""
        self._overlap: SliceId | None = None
        self._task = ElidedLabel(ui.taskLabel)
        self._why = ElidedLabel(ui.whyLabel, qt.Qt.ElideRight)
        self._state = ElidedLabel(ui.stateLabel, qt.Qt.ElideRight)
        self._offSlice = ElidedLabel(ui.offSliceLabel)
        self.labels = LabelButtons(ui.labelsFrame, ui.labelsFrame.layout(), self.chooseLabel)
        ui.nextButton.clicked.connect(self.act(lambda: self.step(1)))
        ui.previousButton.clicked.connect(self.act(lambda: self.step(-1)))
        ui.offHereButton.clicked.connect(self.act(self.session.view.annotateShown))
        ui.backButton.clicked.connect(self.act(self.session.view.goBack))
        ui.commitButton.clicked.connect(self.act(lambda: self.commit(empty=False)))
        ui.emptyButton.clicked.connect(self.act(lambda: self.commit(empty=True)))
        ui.skipButton.clicked.connect(self.act(self.skip))
        ui.flagButton.clicked.connect(self.act(self.flag))
        ui.revertButton.clicked.connect(self.act(self.session.annotating.revert))
        ui.overlapButton.clicked.connect(self.act(self.resolveOverlap))
        ui.firstSliceButton.clicked.connect(self.act(self.markFirst))
        ui.lastSliceButton.clicked.connect(self.act(self.markLast))
        ui.clearExtentButton.clicked.connect(self.act(self.clearExtent))
        box = ui.channelComboBox
        box.activated.connect(self.act(lambda: self.session.cases.setChannel(box.currentIndex)))
        ui.predictionButton.clicked.connect(self.act(self.work.startFromPrediction))
        ui.showPredictionCheckBox.clicked.connect(self.act(self._onShowPrediction))
        ui.uncertaintyCheckBox.clicked.connect(self.act(self._onShowUncertainty))
        ui.uncertaintySlider.valueChanged.connect(lambda *args: self._onOpacity())
        self._autosave = qt.QTimer()
        self._autosave.setInterval(AUTOSAVE_MILLISECONDS)
        self._autosave.timeout.connect(self.autosave)
        self._tick = qt.QTimer()
        self._tick.setInterval(TICK_MILLISECONDS)
        self._tick.timeout.connect(self._showState)

    def start(self) -> None:
        """The module is shown: start autosave and the timer."""
        self._autosave.start()
        self._tick.start()

    def stop(self) -> None:
        """The module is left: save once more and stop the timer."""
        self._autosave.stop()
        self._tick.stop()
        self.autosave()

    # From slice to slice

    def step(self, direction: int, said: str = "") -> bool:
        """Open the next or previous open request; false if all are answered or its image cannot be read."""
        row = self.session.nextRow(direction)
        if row is None:
            self.allAnswered.emit(said)
            return False
        return self.openSlice(row.request.slice)

    # Commit, skip, flag

    def commit(self, *, empty: bool) -> None:
        """Store the slice, and open the next request."""
        self._overlap = None
        try:
            stored = self.session.annotating.commit(empty=empty)
        except OverlapError as error:
            assert self.session.task is not None
            self._overlap = self.session.task.slice
            tip = _("Keep the structure that comes last in the list; can be undone.")
            self.messages.error(error, _("Resolve overlap"), self.act(self.resolveOverlap), tip)
            self.update()
            return
        self._saved = ""
        if empty:
            text = _("Slice {number} of {volume} stored: none of the structures is on it.")
        else:
            text = _("Slice {number} of {volume} stored.")
        self._done(text, stored)

    def skip(self) -> None:
        """Leave the slice out for the reason that is chosen, and open the next request."""
        skipped = self.session.annotating.skip(self.ui.reasonComboBox.currentText)
        self._done(_("Slice {number} of {volume} skipped."), skipped)

    def _done(self, text: str, sliceId: SliceId) -> None:
        """Report what was done with a slice, and open the next request."""
        said = text.format(number=sliceId.index + 1, volume=sliceId.volume)
        if self.step(1, said):
            self.messages.tell(said)

    def flag(self) -> None:
        """Flag the slice for review."""
        sliceId = self.session.annotating.flag(self.ui.reasonComboBox.currentText)
        text = _("Flagged: slice {number} of {volume}. It stays open.")
        self.messages.tell(text.format(number=sliceId.index + 1, volume=sliceId.volume))

    def resolveOverlap(self) -> None:
        """Resolve the overlap for which a commit was refused."""
        self.session.annotating.resolveOverlap()
        self._overlap = None
        self.messages.tell(_("Resolved. Check the slice, then commit it."))

    # Labels and channels

    def chooseLabel(self, segment: str) -> None:
        """Select the label to draw."""
        self.session.editor.selectSegment(segment)
        self.session.editor.paint()
        self._showLabels()

    def chooseNumber(self, number: int) -> None:
        """Select a label by its number, from 0, as its key does."""
        self.messages.clear()
        if self.session.task is None:
            self.messages.tell(_("Open a request first (Next)."))
        elif not self.labels.choose(number):
            self.messages.tell(_("There are only {count} labels.").format(count=len(self.labels.entries)))

    def _showLabels(self) -> None:
        study, case = self.session.study, self.session.case
        entries = []
        if study is not None and case is not None:
            entries = [LabelEntry(segmentId(label.value), label.name, label.color) for label in study.labels.labels]
            if study.annotation == AnnotationKind.SCRIBBLE:
                entries.append(LabelEntry(BACKGROUND_SEGMENT, _("Background"), BACKGROUND_COLOR))
        self.labels.show(entries, self.session.editor.tool().segment)

    def _showChannels(self) -> None:
        """Offer the channels, where the image has several."""
        box, case = self.ui.channelComboBox, self.session.case
        count = case.channels if case is not None else 1
        self.ui.channelFrame.setVisible(count > 1)
        blocked = box.blockSignals(True)
        if box.count != count:
            box.clear()
            for number in range(count):
                box.addItem(_("{number} of {count}").format(number=number + 1, count=count))
        if case is not None:
            box.setCurrentIndex(case.channel)
        box.blockSignals(blocked)

    # Extent

    def markFirst(self) -> None:
        """Mark the slice in view as the first of its volume that shows a structure."""
        self._markSlice("first")

    def markLast(self) -> None:
        """Mark the slice in view as the last of its volume that shows a structure."""
        self._markSlice("last")

    def clearExtent(self) -> None:
        """Delete the extent of the open volume."""
        if self.session.case is not None:
            self.session.extents.clear(self.session.case.volume.id)

    def _markSlice(self, which: str) -> None:
        extents = self.session.extents
        swapped = extents.markSlice(which, self.session.view.requireShown().index)
        if swapped and extents.current is not None:
            first, last = extents.current
            text = _("First and last slice were swapped: slices {first} to {last} are marked.")
            self.messages.tell(text.format(first=first + 1, last=last + 1))

    def _extentText(self) -> str:
        if self.session.case is None:
            return _("Structures:")
        if self.session.extents.current is None:
            return _("Structures: not marked")
        first, last = self.session.extents.current
        one, more = _("Structures: slice {first} of {count}"), _("Structures: slices {first} to {last} of {count}")
        count = self.session.case.volume.slice_count
        return (more if first < last else one).format(first=first + 1, last=last + 1, count=count)

    # The model's prediction

    def _onShowPrediction(self) -> None:
        self.session.overlays.wantPrediction(self.ui.showPredictionCheckBox.checked)

    def _onShowUncertainty(self) -> None:
        self.session.overlays.wantUncertainty(
            self.parameters().uncertaintyOpacity if self.ui.uncertaintyCheckBox.checked else 0.0
        )

    def _onOpacity(self) -> None:
        if self.session.overlays.uncertaintyWanted > 0:
            self.session.overlays.setUncertaintyOpacity(self.ui.uncertaintySlider.value)

    # Time

    def autosave(self) -> None:
        """Save uncommitted strokes as drafts."""
        try:
            if self.session.drafts.save():
                self._saved = time.strftime("%H:%M")
        except ActiveSegmentationError as error:
            self.messages.error(error)
        self._showState()

    def _showState(self) -> None:
        session, parts = self.session, []
        if session.task is not None:
            seconds = int(session.timer.seconds)
            parts.append(f"{seconds // 60}:{seconds % 60:02}")
            if session.drafts.isDirty:
                parts.append(_("not committed"))
            others = session.drafts.otherSlices()
            if others:
                slices = ", ".join(str(index + 1) for index in others[:5])
                parts.append(_("also not committed: slice {slices}").format(slices=slices))
            if self._saved:
                parts.append(_("saved at {time}").format(time=self._saved))
        self._state.show(", ".join(parts))

    # Showing

    def update(self) -> None:
        """Show the slice being annotated, and enable what can be done."""
        self._showTask()
        self._showLabels()
        self._showChannels()
        self._enableSteps()
        self._enableCommit()
        self._enableMarks()
        self._enablePrediction()
        self._showState()

    def _showTask(self) -> None:
        session = self.session
        study, task = session.study, session.task
        self._task.show(session.describeTask() if task is not None else _("No slice is open."))
        reason = task.row.request.reason if task is not None and task.row is not None else ""
        learned = any(entry.get("round", -1) >= session.requests.round for entry in self.work.curve)
        why = _("Why, before the last training: {reason}") if learned else _("Why: {reason}")
        self._why.show(why.format(reason=reason) if reason else "")
        scribbles = study is not None and study.annotation == AnnotationKind.SCRIBBLE
        self.ui.hintLabel.setVisible(scribbles)
        if scribbles:
            self.ui.hintLabel.text = _(
                "Scribbles: a few strokes in each structure, and some in the segment <b>Background</b>. "
                "What you do not draw on stays unlabelled."
            )

    def _noSlice(self) -> str:
        return "" if self.session.task is not None else _("Open a request first (Next).")

    def _enableSteps(self) -> None:
        ui, session = self.ui, self.session
        noStudy = "" if session.study is not None else _("Open or create a study first.")
        noRequest = "" if any(row.status == "open" for row in session.requests.rows) else _("No request is open.")
        for button in (ui.nextButton, ui.previousButton):
            self.enable(button, noStudy, noRequest)

    def _enableCommit(self) -> None:
        ui, session, task = self.ui, self.session, self.session.task
        noSlice, away = self._noSlice(), self.session.view.offSliceText()
        ui.offSliceFrame.setVisible(bool(away))
        for label in (ui.whyLabel, ui.stateLabel):
            label.setVisible(not away)
        if away and task is not None:
            self._offSlice.show(away)
            ui.backButton.text = _("Back to slice {number}").format(number=task.slice.index + 1)
            self.enable(ui.offHereButton, "" if session.view.index is not None else away)
        empty = session.case is None or task is None or session.case.isEmpty(task.slice.index)
        nothing = _("Nothing is drawn on this slice. If none of the structures is on it, press None on this slice.")
        self.enable(ui.commitButton, noSlice, away, nothing if empty else "")
        drawn = "" if empty else _("Something is drawn on this slice: erase it first, or commit it.")
        self.enable(ui.emptyButton, noSlice, away, drawn)
        isCommitted = session.case is not None and task is not None and task.slice.index in session.case.known
        committed = _("This slice is committed already. Flag it instead, or commit it again.")
        self.enable(ui.skipButton, noSlice, away, committed if isCommitted else "")
        self.enable(ui.flagButton, noSlice, away)
        clean = "" if session.drafts.isDirty else _("Nothing has changed since the last commit.")
        self.enable(ui.revertButton, noSlice, away, clean)
        overlap = task is not None and self._overlap == task.slice
        self.enable(ui.overlapButton, noSlice, "" if overlap else _("No commit was refused because of an overlap."))

    def _enableMarks(self) -> None:
        ui, noSlice = self.ui, self._noSlice()
        for widget in (ui.extentLabel, ui.firstSliceButton, ui.lastSliceButton):
            self.enable(widget, noSlice)
        unmarked = "" if self.session.extents.current is not None else _("No extent is marked in this volume.")
        self.enable(ui.clearExtentButton, noSlice, unmarked)
        ui.extentLabel.text = self._extentText()

    def _enablePrediction(self) -> None:
        ui, session = self.ui, self.session
        noModel = "" if self.work.curve else _("Train a model first.")
        self.enable(ui.predictionButton, self._noSlice(), noModel, session.view.offSliceText())
        for box in (ui.showPredictionCheckBox, ui.uncertaintyCheckBox):
            self.enable(box, self._noSlice(), noModel)
        ui.showPredictionCheckBox.checked = session.overlays.predictionWanted
        ui.uncertaintyCheckBox.checked = session.overlays.uncertaintyWanted > 0
        ui.uncertaintySlider.setVisible(session.overlays.uncertaintyWanted > 0)
