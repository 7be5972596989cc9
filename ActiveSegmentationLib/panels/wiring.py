"""Connects session, worker, panels and Slicer's views, and updates the panels in one place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ActiveSegmentationLib.common.signals import Signal
from ActiveSegmentationLib.panels import settings
from ActiveSegmentationLib.panels.annotatePanel import AnnotatePanel
from ActiveSegmentationLib.panels.dependencies import workerCommand, workerEnvironment
from ActiveSegmentationLib.panels.elided import ElidedLabel
from ActiveSegmentationLib.panels.folding import Folding
from ActiveSegmentationLib.panels.imagesPanel import ImagesPanel
from ActiveSegmentationLib.panels.labelButtons import LABEL_KEYS
from ActiveSegmentationLib.panels.mapPanel import MapPanel
from ActiveSegmentationLib.panels.messages import Messages
from ActiveSegmentationLib.panels.offersPanel import OffersPanel
from ActiveSegmentationLib.panels.panel import Panel
from ActiveSegmentationLib.panels.reviewPanel import ReviewPanel
from ActiveSegmentationLib.panels.segmentEditor import SegmentEditor
from ActiveSegmentationLib.panels.shortcuts import Shortcuts, press
from ActiveSegmentationLib.panels.slicerViews import PlotView, SlicerViews
from ActiveSegmentationLib.panels.studyPanel import StudyPanel
from ActiveSegmentationLib.panels.suggestPanel import SuggestPanel
from ActiveSegmentationLib.panels.trainPanel import TrainPanel
from ActiveSegmentationLib.panels.wheel import WheelGuard
from ActiveSegmentationLib.scene.charts import removeCharts
from ActiveSegmentationLib.scene.session import atOnce

UPDATE_MILLISECONDS = 40
"""Changes within this time are shown together."""

SCROLL_BAR_WIDTH, MOST_WIDTH = 20, 520
"""Width of the panel's scroll bar, and the maximum width that the panel claims, in pixels."""

SECTIONS = (
    "study",
    "images",
    "advanced",
    "suggest",
    "annotate",
    "more",
    "train",
    "trainAdvanced",
    "review",
    "reviewAdvanced",
    "map",
)
"""Collapsible sections of the panel."""


class Wiring:
    """The running module: all its panels, and what connects them.

    Args:
        ui: Widgets of the module.
        makeLogic: Makes the module's logic from views, editor and the worker's Python.
        parameters: Returns the parameter node.
        views: Where volumes are shown. Default: Slicer's slice views.
        editor: What draws. Default: the Segment Editor in the panel.
    """

    def __init__(
        self,
        ui: Any,
        makeLogic: Callable[..., Any],
        parameters: Callable[[], Any],
        views: Any = None,
        editor: Any = None,
    ) -> None:
        self.ui = ui
        self.messages = Messages(ui, self._reassurance)
        self.editor = editor or SegmentEditor(ui.segmentEditorWidget)
        self.logic = makeLogic(views or SlicerViews(), self.editor, settings.value("Python"))
        self.session, self.work = self.logic.session, self.logic.work
        self.work.device = settings.value("Device", "auto")
        self.session.annotator = settings.value("Annotator", "annotator")
        self._listen()
        self._timer = self._makeTimer()
        self.panels = self._makePanels(parameters)
        self.plots = PlotView()
        self._joinPanels()
        self.folding = Folding(ui, self.session)
        self._job = ElidedLabel(ui.jobLabel)
        self._wheel = WheelGuard()
        self._giveKeysBack()
        self._connectWidgets()
        self.shortcuts = self._makeShortcuts()
        self.scheduleUpdate()

    def _makePanels(self, parameters: Callable[[], Any]) -> tuple[Panel, ...]:
        arguments = (self.ui, self.session, self.work, self.messages, parameters)
        self.study = StudyPanel(*arguments)
        self.images = ImagesPanel(*arguments)
        self.suggest = SuggestPanel(*arguments)
        self.annotate = AnnotatePanel(*arguments)
        self.train = TrainPanel(*arguments)
        self.review = ReviewPanel(*arguments)
        self.map = MapPanel(*arguments)
        self.offers = OffersPanel(*arguments)
        return (
            self.study,
            self.images,
            self.suggest,
            self.annotate,
            self.train,
            self.review,
            self.map,
            self.offers,
        )

    def _makeTimer(self) -> Any:
        timer = qt.QTimer()
        timer.setSingleShot(True)
        timer.setInterval(UPDATE_MILLISECONDS)
        timer.timeout.connect(self.update)
        return timer

    def _connectWidgets(self) -> None:
        """Connect the widgets that belong to no panel."""
        for name in SECTIONS:  # opening a section shows again what was hidden in it
            section = getattr(self.ui, f"{name}CollapsibleButton")
            section.contentsCollapsed.connect(lambda *args: self.scheduleUpdate())
        self.ui.cancelButton.clicked.connect(lambda *args: self.work.cancel())
        self.ui.restartWorkerButton.clicked.connect(lambda *args: self.restartWorker())
        self.ui.installButton.clicked.connect(self.study.act(self.install))
        self.ui.pythonPathLineEdit.currentPathChanged.connect(lambda *args: self._onPython())

    def _listen(self) -> None:
        """Show every change and every problem."""
        for signal in self._changes():
            signal.connect(self.scheduleUpdate)
        self.session.failed.connect(self.messages.error)
        self.session.said.connect(self.messages.tell)
        self.session.later = lambda action: qt.QTimer.singleShot(0, action)
        self.work.failed.connect(self.messages.error)
        self.work.said.connect(self.messages.tell)
        self.work.aboutToLearn.connect(self._onAboutToLearn)
        if slicer.app.layoutManager() is not None:
            slicer.app.layoutManager().layoutChanged.connect(self._onLayoutChanged)

    def _changes(self) -> tuple[Signal[[]], ...]:
        """Signals after which the panels show something else."""
        session, work = self.session, self.work
        return session.changed, session.viewChanged, self.editor.toolChanged, work.changed, work.client.stateChanged

    def _onLayoutChanged(self, *_: Any) -> None:
        """The layout has changed: another view, or none, may be the one to annotate in."""
        self.scheduleUpdate()

    def _joinPanels(self) -> None:
        """Connect the panels with each other."""
        self.work.reported.connect(self.train.report)
        self.work.automatic = self.train.automatic
        self.work.cleanUp = self.review.cleanUp
        self.work.suggestionsWanted.connect(self.suggest.act(self.suggest.suggest))
        self.plots.picked.connect(self.map.pick)
        self.train.chartWanted.connect(self.plots.show)
        self.map.chartWanted.connect(self.plots.show)
        self.study.aboutToWrite.connect(self.logic.dependencies.ensureLight)
        self.study.opened.connect(self._onOpened)
        self.study.found.connect(self.images.showFound)
        self.annotate.allAnswered.connect(self._onAllAnswered)

    def _makeShortcuts(self) -> Shortcuts | None:
        if slicer.app.commandOptions().noMainWindow:
            return None
        return Shortcuts(slicer.util.mainWindow(), self.keys())

    def keys(self) -> dict[str, Callable[..., None]]:
        """The action of each keyboard shortcut."""
        ui = self.ui
        buttons = {
            "Ctrl+Return": ui.commitButton,
            "Ctrl+E": ui.emptyButton,
            "Ctrl+K": ui.skipButton,
            "Ctrl+J": ui.flagButton,
            "N": ui.nextButton,
            "P": ui.previousButton,
            "H": ui.uncertaintyCheckBox,
        }
        pressed = {key: press(button, self.update, self._refusal(button)) for key, button in buttons.items()}
        chosen = {key: self._labelKey(number) for number, key in enumerate(LABEL_KEYS)}
        return {**pressed, **chosen}

    def _refusal(self, button: Any) -> Callable[[], None]:
        return lambda: self.messages.tell(self.annotate.reason(button))

    def _labelKey(self, number: int) -> Callable[..., None]:
        return lambda *_: self.annotate.chooseNumber(number)

    # The worker

    def _onAboutToLearn(self) -> None:
        """Install the packages that learning needs, where the worker runs in Slicer's own Python."""
        if not settings.value("Python"):
            self.logic.dependencies.ensure()
        if not self.work.deviceText and not self.work.isRunning("describe"):
            self.work.describe()

    def install(self) -> None:
        """Install missing packages and restart the worker."""
        self.logic.dependencies.ensure()
        self.restartWorker()
        self.work.describe()

    def restartWorker(self) -> None:
        """End the worker; the next job starts a new one."""
        self.work.client.stop()
        self.work.deviceText, self.work.missing = "", []
        self.scheduleUpdate()

    def _onPython(self) -> None:
        chosen = self.ui.pythonPathLineEdit.currentPath
        if chosen == settings.value("Python") or (chosen and not Path(chosen).is_file()):
            return
        settings.setValue("Python", chosen)
        client = self.work.client
        client.stop()
        client.command = workerCommand(chosen)
        client.setEnvironment(workerEnvironment(chosen))
        self.work.deviceText, self.work.missing = "", []
        self.work.describe()

    def _onOpened(self) -> None:
        """A study was opened: fetch the data that the panels show, unless packages must be installed first."""
        if not self.session.requests.rows and not self.messages.text:
            self._offerSuggestions(_("The study is open."), lambda: not self.session.requests.rows)
        if settings.value("Python") or not self.logic.dependencies.missing():
            self.work.readCurve()
            self.work.fetchThumbnails()
            self.work.readStrategies()
            self.work.readLearners()

    # Showing

    def scheduleUpdate(self) -> None:
        """Schedule one update for all changes of the next moment."""
        if not self._timer.isActive():
            self._timer.start()

    def update(self) -> None:
        """Show the state of session and worker, and enable what can be done."""
        self._timer.stop()
        self.session.view.settle()
        self.messages.refresh()
        self._updateJob()
        if self.folding.update():
            self.scheduleUpdate()
        for panel in self.panels:
            panel.update()
        self._claimWidth()

    def _claimWidth(self) -> None:
        """Reserve the width that the contents need; a scroll area does not do that."""
        needed = self.ui.panelContents.layout().minimumSize().width() + SCROLL_BAR_WIDTH
        if self.ui.panelScrollArea.minimumWidth != min(needed, MOST_WIDTH):
            self.ui.panelScrollArea.setMinimumWidth(min(needed, MOST_WIDTH))

    def _updateJob(self) -> None:
        ui, running = self.ui, self.work.running
        ui.jobFrame.setVisible(bool(running))
        if not running:
            return
        first = running[0]
        more = _(" ({count} more waiting)").format(count=len(running) - 1) if len(running) > 1 else ""
        stuck = _(" The worker does not answer; press Restart under Study, Advanced.")
        self._job.show(first.text() + more + (stuck if self.work.client.state == "stuck" else ""))
        ui.jobProgressBar.setRange(0, first.total)  # 0 to 0 shows that something happens
        ui.jobProgressBar.setValue(first.done)
        ui.cancelButton.enabled = not first.cancelling

    def _reassurance(self) -> str:
        """What an error does not affect."""
        return _("Your strokes are still there.") if self.session.drafts.isDirty else ""

    # The next step

    def _onAllAnswered(self, said: str) -> None:
        """No request is open: offer training, or the next suggestions."""
        text = _("All requests are answered.") if self.session.requests.rows else _("No slice is requested.")
        text = f"{said} {text}".strip()
        if self.work.isRunning("train"):
            self.messages.tell(text + " " + _("The next slices can be suggested when the training ends."))
            return
        if self.work.untrainedCount:
            tip = _("Train on every committed slice; suggestions are better afterwards.")
            train = self.train.act(self.train.train)
            self.messages.offer(text, _("Train now"), train, tip, self._isOpen(self._allAnswered))
        else:
            self._offerSuggestions(text, self._allAnswered)

    def _allAnswered(self) -> bool:
        return self.session.nextRow() is None

    def _offerSuggestions(self, text: str, stillSo: Callable[[], bool]) -> None:
        tip = _("Suggest the next slices with the settings under Suggest.")
        suggest = self.suggest.act(self.suggest.suggest)
        self.messages.offer(text, _("Suggest next slices"), suggest, tip, self._isOpen(stillSo))

    def _isOpen(self, stillSo: Callable[[], bool]) -> Callable[[], bool]:
        """Whether a condition still holds, and the same study is open."""
        study = self.session.study
        return lambda: self.session.study is study and stillSo()

    def _giveKeysBack(self) -> None:
        """After a choice in a combo box, keys go to the module again, not to the box."""
        for box in self.ui.panelContents.findChildren(qt.QComboBox):
            box.activated.connect(_unfocus(box))

    # Enter, exit, close

    def enter(self) -> None:
        """The module is shown."""
        self.editor.enter()
        self._wheel.watch(self.ui.panelContents)  # again each time: effects of the editor add their own boxes
        self.annotate.start()
        if self.shortcuts is not None:
            self.shortcuts.setEnabled(True)
        if self.session.study is not None and self.work.learners:  # the command line may have chosen another one
            self.work.readLearners()
        self.update()

    def exit(self) -> None:
        """The user leaves the module; the worker keeps running."""
        self.annotate.stop()
        self.editor.exit()
        if self.shortcuts is not None:
            self.shortcuts.setEnabled(False)

    def onSceneStartClose(self) -> None:
        """The scene is being closed."""
        self.editor.onSceneStartClose()
        self.train.forgetNodes()
        self.map.forgetNodes()

    def onSceneEndClose(self) -> None:
        """The scene is closed."""
        self.editor.onSceneEndClose()
        self.scheduleUpdate()

    def close(self) -> None:
        """The module is unloaded: stop everything."""
        self._timer.stop()
        self.exit()
        self.plots.disconnect()
        if slicer.app.layoutManager() is not None:
            slicer.app.layoutManager().layoutChanged.disconnect(self._onLayoutChanged)
        if self.shortcuts is not None:
            self.shortcuts.remove()
        for signal in self._changes():
            signal.disconnect(self.scheduleUpdate)
        self.work.failed.disconnect(self.messages.error)  # stopping a running job is not an error here
        self.session.later = atOnce
        self.logic.close()
        removeCharts()
        self.editor.close()


def _unfocus(widget: Any) -> Callable[..., None]:
    def slot(*_: Any) -> None:
        widget.clearFocus()

    return slot
