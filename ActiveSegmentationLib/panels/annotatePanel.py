"""Panel 3: draw on the requested slice, commit it, go on to the next."""

from __future__ import annotations

import time
from typing import Any

import qt
from slicer.i18n import tr as _

from ActiveSegmentationLib.cohort import AnnotationKind, SliceId
from ActiveSegmentationLib.common.errors import ActiveSegmentationError, BadInput
from ActiveSegmentationLib.panels.panel import Panel
from ActiveSegmentationLib.scene.segmentations import OverlapError

AUTOSAVE_MILLISECONDS = 30_000
TICK_MILLISECONDS = 1_000


class AnnotatePanel(Panel):
    """Annotating the slice of a request."""

    def setup(self) -> None:
        """Connect the widgets."""
        ui = self.ui
        self._saved = ""
        self._overlap: SliceId | None = None
        ui.nextButton.clicked.connect(self.act(lambda: self.step(1)))
        ui.previousButton.clicked.connect(self.act(lambda: self.step(-1)))
        ui.hereButton.clicked.connect(self.act(self.openShown))
        ui.commitButton.clicked.connect(self.act(lambda: self.commit(empty=False)))
        ui.emptyButton.clicked.connect(self.act(lambda: self.commit(empty=True)))
        ui.skipButton.clicked.connect(self.act(self.skip))
        ui.flagButton.clicked.connect(self.act(lambda: self.session.flagSlice(ui.reasonComboBox.currentText)))
        ui.revertButton.clicked.connect(self.act(self.session.revertSlice))
        ui.overlapButton.clicked.connect(self.act(self.resolveOverlap))
        ui.firstSliceButton.clicked.connect(self.act(self.markFirst))
        ui.lastSliceButton.clicked.connect(self.act(self.markLast))
        ui.clearExtentButton.clicked.connect(self.act(self.clearExtent))
        ui.predictionButton.clicked.connect(self.act(self.startFromPrediction))
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
        """The module is shown: save and count time."""
        self._autosave.start()
        self._tick.start()

    def stop(self) -> None:
        """The module is left: save once more, and no longer count time."""
        self._autosave.stop()
        self._tick.stop()
        self.autosave()

    def step(self, direction: int) -> None:
        """Open the next or the previous open request."""
        row = self.session.nextRow(direction)
        if row is None:
            self.messages.tell(_("All requests are answered. Train, or ask for more slices."))
            return
        self.session.openRequest(row)

    def openShown(self) -> None:
        """Annotate the slice that the view shows, which nobody asked for."""
        self.session.openSlice(self._shownSlice())

    def _shownSlice(self) -> SliceId:
        """The slice that the view shows."""
        case = self.session.case
        index = self.session.display.shownIndex(case) if case is not None else None
        if case is None or index is None:
            advice = _("Scroll to a slice of the open volume; Next brings the view back to it.")
            raise BadInput(_("The view shows no slice of the open volume."), where=_("annotate"), advice=advice)
        return case.sliceId(index)

    def commit(self, *, empty: bool) -> None:
        """Store the slice, and open the next request."""
        self._overlap = None
        try:
            self.session.commitSlice(empty=empty)
        except OverlapError:
            assert self.session.task is not None
            self._overlap = self.session.task.slice
            raise
        self._saved = ""
        try:
            self._trainWhenDue()
        finally:  # the slice is stored, whatever becomes of the training
            self.step(1)

    def skip(self) -> None:
        """Leave the slice out for the reason that is chosen, and open the next request."""
        self.session.skipSlice(self.ui.reasonComboBox.currentText)
        self.step(1)

    def resolveOverlap(self) -> None:
        """Settle the overlap that a commit was refused for."""
        self.session.resolveOverlap()
        self._overlap = None
        self.messages.tell(_("Settled. Look at the slice, then commit it."))

    def _trainWhenDue(self) -> None:
        parameters = self.parameters()
        answered = sum(row.status != "open" for row in self.session.requests.rows)
        due = parameters.autoTrain and answered and answered % parameters.trainAfter == 0
        if due and not self.work.isRunning("train"):
            self.work.train(parameters.models, parameters.steps)

    # Where the structures are

    def markFirst(self) -> None:
        """Note that the slice that the view shows is the first of its volume with any structure."""
        self._markEnd("first")

    def markLast(self) -> None:
        """Note that the slice that the view shows is the last of its volume with any structure."""
        self._markEnd("last")

    def clearExtent(self) -> None:
        """Forget which slices of the open volume show any structure."""
        if self.session.case is not None:
            self.session.clearExtent(self.session.case.volume.id)

    def _markEnd(self, end: str) -> None:
        if self.session.markEnd(end, self._shownSlice().index) and self.session.extent is not None:
            first, last = self.session.extent
            text = _(
                "The first slice lies after the last, so the two were swapped: slices {first} to {last} are marked."
            )
            self.messages.tell(text.format(first=first + 1, last=last + 1))

    def _extentText(self) -> str:
        if self.session.case is None:
            return _("Structures:")
        if self.session.extent is None:
            return _("Structures: not marked")
        first, last = self.session.extent
        one, more = _("Structures: slice {first} of {count}"), _("Structures: slices {first} to {last} of {count}")
        count = self.session.case.volume.slice_count
        return (more if first < last else one).format(first=first + 1, last=last + 1, count=count)

    # The model's opinion

    def startFromPrediction(self) -> None:
        """Draw the prediction on the slice, once the volume is predicted."""
        self._withReview(self.session.startFromPrediction)

    def _onShowPrediction(self) -> None:
        shown = self.ui.showPredictionCheckBox.checked
        if shown:
            self._withReview(lambda: self.session.showPrediction(True))
        else:
            self.session.showPrediction(False)

    def _onShowUncertainty(self) -> None:
        if self.ui.uncertaintyCheckBox.checked:
            self._withReview(lambda: self.session.showUncertainty(self.parameters().uncertaintyOpacity))
        else:
            self.session.showUncertainty(0.0)

    def _onOpacity(self) -> None:
        if self.session.display.uncertaintyShown:
            self.session.setUncertaintyOpacity(self.ui.uncertaintySlider.value)

    def _withReview(self, action: Any) -> None:
        """Do it now if the open volume is predicted, else when it is."""
        case = self.session.case
        if case is None or self.session.review() is not None:
            action()
            return

        def then(answer: dict[str, Any]) -> None:
            if self.session.case is case:
                self.act(action)()

        self.work.predict([case.volume.id], then)

    # Time

    def autosave(self) -> None:
        """Keep what is drawn and not committed."""
        try:
            if self.session.saveDrafts():
                self._saved = time.strftime("%H:%M")
        except ActiveSegmentationError as error:
            self.messages.error(error)
        self._showState()

    def _showState(self) -> None:
        session, parts = self.session, []
        if session.task is not None:
            seconds = int(session.timer.seconds)
            parts.append(f"{seconds // 60}:{seconds % 60:02}")
            if session.isDirty:
                parts.append(_("not committed"))
            others = session.otherDirtySlices()
            if others:
                slices = ", ".join(str(index + 1) for index in others[:5])
                parts.append(_("drawn and not committed too: slice {slices}").format(slices=slices))
            if self._saved:
                parts.append(_("kept at {time}").format(time=self._saved))
        self.ui.stateLabel.text = ", ".join(parts)

    def update(self) -> None:
        """Show the slice being annotated, and enable what can be done."""
        ui, session = self.ui, self.session
        study, task = session.study, session.task
        ui.taskLabel.text = session.describeTask() if task is not None else _("No slice is open.")
        scribbles = study is not None and study.annotation == AnnotationKind.SCRIBBLE
        ui.hintLabel.setVisible(scribbles)
        if scribbles:
            ui.hintLabel.text = _(
                "Scribbles: a few strokes in each structure, and some in the segment <b>Background</b>. "
                "What you do not draw on stays undecided."
            )
        noStudy = "" if study is not None else _("Open or make a study first.")
        noSlice = "" if task is not None else _("Open a request first (Next).")
        noRequest = "" if any(row.status == "open" for row in session.requests.rows) else _("No request is open.")
        for button in (ui.nextButton, ui.previousButton):
            self.enable(button, noStudy, noRequest)
        empty = session.case is None or task is None or session.case.isEmpty(task.slice.index)
        nothing = _("Nothing is drawn on this slice. If none of the structures is on it, press Empty.") if empty else ""
        self.enable(ui.commitButton, noSlice, nothing)
        drawn = "" if empty else _("Something is drawn on this slice: erase it first, or commit it.")
        self.enable(ui.emptyButton, noSlice, drawn)
        for widget in (ui.skipButton, ui.flagButton, ui.hereButton):
            self.enable(widget, noSlice)
        self.enable(
            ui.revertButton, noSlice, "" if session.isDirty else _("Nothing has changed since the last commit.")
        )
        for widget in (ui.extentLabel, ui.firstSliceButton, ui.lastSliceButton):
            self.enable(widget, noSlice)
        unmarked = "" if session.extent is not None else _("Nothing is marked in this volume.")
        self.enable(ui.clearExtentButton, noSlice, unmarked)
        ui.extentLabel.text = self._extentText()
        noModel = "" if self.work.curve else _("Train a model first.")
        for widget in (ui.predictionButton, ui.showPredictionCheckBox, ui.uncertaintyCheckBox):
            self.enable(widget, noSlice, noModel)
        ui.showPredictionCheckBox.checked = session.display.predictionShown
        ui.uncertaintyCheckBox.checked = session.display.uncertaintyShown
        overlap = task is not None and self._overlap == task.slice
        self.enable(ui.overlapButton, noSlice, "" if overlap else _("No overlap stands in the way of a commit."))
        self._showState()
