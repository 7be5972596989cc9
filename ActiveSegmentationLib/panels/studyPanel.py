"""Panel 1: create or open a study; name of the annotator and device."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ActiveSegmentationLib.cohort import (
    AnnotationKind,
    Cohort,
    Preview,
    StackSettings,
    discover,
    reduced_size,
    write_phantom,
)
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.signals import Signal
from ActiveSegmentationLib.panels import settings
from ActiveSegmentationLib.panels.labelTable import LabelTable
from ActiveSegmentationLib.panels.panel import Panel
from ActiveSegmentationLib.panels.pseudonymChoice import PseudonymChoice
from ActiveSegmentationLib.study import LabelSet

KINDS = (AnnotationKind.MASK, AnnotationKind.SCRIBBLE)
"""Kinds of annotation in the order of the box."""

DEVICES = ("auto", "cpu", "cuda")

SIDES = (128, 256, 0)
"""Longer side of a prepared slice in the order of the box; 0 keeps the images' own pixels."""

SMALL_SIDE, MIDDLE_SIDE = 128, 320
"""Images with a longer side up to the first (in pixels) are proposed at full size, up to the second at 128."""

SAMPLE_PATIENTS = 6

SHOWN_REPAIRS = 2
"""Repairs that the message tells; the details have all."""


class StudyPanel(Panel):
    """Creating and opening studies.

    Attributes:
        aboutToWrite: Emitted before a study is created or opened; an error in a listener prevents it.
        opened: Emitted when a study was opened.
        found: Emitted with the cohort and the previews when images were read.
    """

    def setup(self) -> None:
        """Connect the widgets."""
        self.aboutToWrite: Signal[[]] = Signal()
        self.opened: Signal[[]] = Signal()
        self.found: Signal[[Cohort, list[Preview]]] = Signal()
        self._cohort: Cohort | None = None
        self._previews: list[Preview] = []
        self._counted: tuple[Path, int] | None = None
        self._connectOpening()
        self._connectMaking()
        self._connectSettings()
        self._fillRecent()

    def _connectOpening(self) -> None:
        ui = self.ui
        ui.newStudyButton.toggled.connect(lambda *args: self.update())
        self.session.opened.connect(self._onOpened)
        ui.sampleButton.clicked.connect(self.act(self.openSample))
        ui.closeStudyButton.clicked.connect(self.act(self.session.closeStudy))
        ui.openStudyButton.clicked.connect(self.act(lambda: self.open(Path(ui.openPathLineEdit.currentPath))))
        ui.openPathLineEdit.currentPathChanged.connect(lambda *args: self.update())
        ui.recentComboBox.activated.connect(self.act(self._openRecent))
        self._pressOnReturn(ui.openPathLineEdit, ui.openStudyButton)

    def _connectMaking(self) -> None:
        ui = self.ui
        ui.cohortPathLineEdit.currentPathChanged.connect(lambda *args: self.update())
        ui.studyPathLineEdit.currentPathChanged.connect(lambda *args: self.update())
        ui.lookButton.clicked.connect(self.startOrStop("index", self.look))
        self._pressOnReturn(ui.cohortPathLineEdit, ui.lookButton)
        self.labels = LabelTable(ui.labelsTable)
        self.labels.changed.connect(self.update)
        self.pseudonyms = PseudonymChoice(ui, self.update)
        ui.addLabelButton.clicked.connect(self.act(self.labels.add))
        ui.removeLabelButton.clicked.connect(self.act(self.labels.remove))
        ui.createStudyButton.clicked.connect(self.act(self.create))
        for text in (_("quick (128 pixels)"), _("fine (256 pixels)"), _("the images' own pixels")):
            ui.resolutionComboBox.addItem(text)

    def _connectSettings(self) -> None:
        ui = self.ui
        for text in (_("automatic"), _("processor (CPU)"), _("graphics card (CUDA)")):
            ui.deviceComboBox.addItem(text)
        if self.work.device not in DEVICES:  # a setting of another version
            self.work.device = DEVICES[0]
        ui.deviceComboBox.setCurrentIndex(DEVICES.index(self.work.device))
        ui.deviceComboBox.currentIndexChanged.connect(lambda *args: self._onDevice())
        ui.annotatorLineEdit.text = settings.value("Annotator", "annotator")
        ui.annotatorLineEdit.editingFinished.connect(self._onAnnotator)
        ui.pythonPathLineEdit.currentPath = settings.value("Python")
        ui.clearCacheButton.clicked.connect(self.act(self._clearCache))

    def _pressOnReturn(self, pathLine: Any, button: Any) -> None:
        """Let Return in a path click the button next to it; the completion list would take the first mouse click."""

        field = pathLine.findChild(qt.QLineEdit)

        def pressed(*_: Any) -> None:
            if field.completer() is not None:
                field.completer().popup().hide()
            if button.enabled and not self.work.isRunning("index"):  # a second Return must not stop the reading
                button.setFocus()
                button.click()

        field.returnPressed.connect(pressed)

    # Opening

    def open(self, folder: Path) -> None:
        """Open a study and remember it.

        Raises:
            BadInput: If it cannot be opened.
        """
        self.aboutToWrite.emit()
        self.session.openStudy(folder)

    def _onOpened(self, folder: Path) -> None:
        """A study was created or opened, here or by a script: remember it, and name what is damaged."""
        settings.addRecentStudy(folder)
        self._fillRecent()
        self.ui.newStudyButton.checked = False
        self.ui.openPathLineEdit.currentPath = str(folder)
        self.parameters().studyFolder = str(folder)
        if not self._tellDamage():
            self._tellDrafts()
        self.opened.emit()

    def _tellDamage(self) -> bool:
        """Name what is damaged and left out, and offer the repairs that need no decision."""
        study = self.session.requireStudy()
        problems = study.repairs.problems()
        if not problems:
            return False
        steps = study.repairs.plan()
        command = f'activesegmentation repair "{study.folder}"'
        text = _("Damaged and left out in this study: {count} (all under Details); the rest can be used. {first}")
        text = text.format(count=len(problems), first=problems[0].replace(f"{study.folder}{os.sep}", ""))
        details = "\n\n".join([*problems, *map(str, steps), command])
        possible = [step.action for step in steps if not step.prefers]
        if possible:
            tip = "\n".join([*possible, _("Copies are kept.")])
            self.messages.warn(text, details, _("Repair"), self.act(self._repair), tip)
        else:
            self.messages.warn(f"{text} {_('Further advice: {command}').format(command=command)}", details)
        return True

    def _repair(self) -> None:
        study = self.session.requireStudy()
        with study.lock():
            done = study.repairs.make()
        self.open(study.folder)
        if not self.session.requireStudy().repairs.problems():
            what = " ".join(step.action for step in done[:SHOWN_REPAIRS]) + (
                " ..." if len(done) > SHOWN_REPAIRS else ""
            )
            text = _("Repaired: {what} Copies of what was replaced are in the folder set-aside of the study.")
            self.messages.warn(text.format(what=what), "\n\n".join(map(str, done)))

    def _tellDrafts(self) -> None:
        drafts = list(self.session.requireStudy().drafts.all(self.session.annotator))
        if drafts:
            shown = ", ".join(f"{s.volume} {s.index + 1}" for s in drafts[:3]) + (", ..." if len(drafts) > 3 else "")
            text = _("Slices with uncommitted strokes: {count} ({slices}). They are restored when their volume opens.")
            self.messages.tell(text.format(count=len(drafts), slices=shown))

    def _openRecent(self) -> None:
        folder = self.ui.recentComboBox.currentData
        if folder:
            self.open(Path(str(folder)))

    def _fillRecent(self) -> None:
        box = self.ui.recentComboBox
        blocked = box.blockSignals(True)
        box.clear()
        box.addItem(_("Choose a study"), "")
        for folder in settings.recentStudies():
            box.addItem(str(folder), str(folder))
        box.blockSignals(blocked)

    def openSample(self) -> None:
        """Create a cohort of artificial images and a study of it in a new folder, and open the study."""
        self.aboutToWrite.emit()
        root = Path(tempfile.mkdtemp(prefix="sample-", dir=_ownFolder()))
        with _waiting():
            write_phantom(root / "cohort", patients=SAMPLE_PATIENTS, scribbles=False)
            cohort = discover(root / "cohort")
            labels = LabelSet.from_names({v: n for v, n in cohort.labels.items() if v})
            stack = StackSettings().to_json()
            self.session.createStudy(root / "study", cohort, labels, AnnotationKind.MASK, {"stack": stack})

    # Creating

    def offer(self, path: Path) -> None:
        """Propose a cohort for a new study, and read it."""
        self.ui.newStudyButton.checked = True
        self.ui.cohortPathLineEdit.currentPath = str(path)
        self.act(self.look)()

    def look(self) -> None:
        """Let the worker index the images."""
        path = Path(self.ui.cohortPathLineEdit.currentPath)
        self._cohort = None
        pictures = Path(tempfile.mkdtemp(prefix="preview-", dir=_ownFolder()))
        self.work.index(path, self._onIndexed, pictures, self._onPreviewed)
        self.update()

    def _onPreviewed(self, previews: list[Preview]) -> None:
        self._previews = previews

    def _onIndexed(self, cohort: Cohort, labels: LabelSet | None) -> None:
        self._cohort = cohort
        self.found.emit(cohort, self._previews)
        self.labels.show(labels.labels if labels is not None else ())
        self._proposeDefaults(cohort)
        if not self.ui.studyPathLineEdit.currentPath:
            self.ui.studyPathLineEdit.currentPath = str(_freeFolder(cohort.root))
        self.update()
        if self.ui.createStudyButton.enabled:
            text = _("Check how the images are interpreted, then create the study.")
            tip = _("Create the study in {folder}. The images stay where they are.")
            folder = self.ui.studyPathLineEdit.currentPath
            button = self.ui.newStudyButton
            create = self.act(self.create)
            self.messages.offer(text, _("Create study"), create, tip.format(folder=folder), lambda: button.checked)

    def _proposeDefaults(self, cohort: Cohort) -> None:
        """Set defaults that fit the images; the user can change them."""
        onlyScribbles = any(v.scribble for v in cohort.volumes) and not any(v.mask for v in cohort.volumes)
        self.ui.kindComboBox.setCurrentIndex(KINDS.index(AnnotationKind.SCRIBBLE if onlyScribbles else KINDS[0]))
        side = max((max(volume.plane_shape) for volume in cohort.volumes), default=0)
        fitting = 0 if side <= SMALL_SIDE else SIDES[0] if side <= MIDDLE_SIDE else SIDES[1]
        self.ui.resolutionComboBox.setCurrentIndex(SIDES.index(fitting))

    def create(self) -> None:
        """Create the study as set in the widgets, and open it.

        Raises:
            BadInput: If an entry is missing or invalid; nothing is written then.
        """
        ui = self.ui
        self.update()
        if reason := self.reason(ui.createStudyButton):  # the message's button does not know it
            raise BadInput(_("No study is created yet."), advice=reason)
        assert self._cohort is not None
        folder = Path(ui.studyPathLineEdit.currentPath)
        kind = KINDS[ui.kindComboBox.currentIndex]
        side = SIDES[ui.resolutionComboBox.currentIndex]
        stack = reduced_size(self._cohort.volumes, side) if side else StackSettings()
        with _waiting():
            cohort, labels = self.pseudonyms.apply(self._cohort, folder), LabelSet(tuple(self.labels.labels()))
            self.session.createStudy(folder, cohort, labels, kind, {"stack": stack.to_json()})
        ui.studyPathLineEdit.currentPath = ""
        self.pseudonyms.clear()

    # User settings

    def _onDevice(self) -> None:
        self.work.device = DEVICES[self.ui.deviceComboBox.currentIndex]
        settings.setValue("Device", self.work.device)
        self.work.deviceText = ""
        self.update()

    def _onAnnotator(self) -> None:
        if self.ui.annotatorLineEdit.text != self.session.annotator:
            self.act(lambda: self.session.setAnnotator(self.ui.annotatorLineEdit.text))()
            self.ui.annotatorLineEdit.text = self.session.annotator
            settings.setValue("Annotator", self.session.annotator)

    def _clearCache(self) -> None:
        study = self.session.requireStudy()
        freed = study.clear_cache()
        self._counted = None
        self.messages.tell(_("{size} freed.").format(size=_bytes(freed)))
        self.update()

    def update(self) -> None:
        """Show the study, and enable what can be done."""
        ui, study = self.ui, self.session.study
        if study is None and not ui.openPathLineEdit.currentPath and self.parameters().studyFolder:
            ui.openPathLineEdit.currentPath = self.parameters().studyFolder  # a saved scene names its study
        ui.newStudyFrame.setVisible(ui.newStudyButton.checked)
        ui.newStudyFrame2.setVisible(ui.newStudyButton.checked and self._cohort is not None)
        ui.openFrame.setVisible(not ui.newStudyButton.checked)
        ui.studyLabel.text = self._describeStudy()
        for button in (ui.closeStudyButton, ui.clearCacheButton):
            self.enable(button, "" if study is not None else _("No study is open."))
        path = ui.openPathLineEdit.currentPath
        isStudy = bool(path) and os.path.isfile(os.path.join(path, "study.json"))  # false on a disk that is gone
        self.enable(
            ui.openStudyButton, "" if isStudy else _("Choose the folder of a study (it has a file study.json).")
        )
        self._enableMaking()
        self._showCache()
        ui.workerLabel.text = self._describeWorker()

    def _describeStudy(self) -> str:
        study = self.session.study
        if study is None:
            return _("No study is open. Create one from a folder of images, or try the sample cohort.")
        text = _("<b>{name}</b>: {volumes} volumes, {annotated} slices annotated, by {kind}.")
        return text.format(
            name=study.folder.name if study.folder.name != "study" else study.folder.parent.name,
            volumes=len(study.cohort.volumes),
            annotated=self.session.requests.annotatedCount,
            kind=_("masks") if study.annotation == AnnotationKind.MASK else _("scribbles"),
        )

    def _enableMaking(self) -> None:
        ui = self.ui
        hasPath = bool(ui.cohortPathLineEdit.currentPath)
        self.showJob(ui.lookButton, "index", "" if hasPath else _("Choose the images first."))
        self.enable(
            ui.createStudyButton,
            "" if self._cohort is not None else _("Read the images first."),
            "" if self._cohort is None or self._cohort.volumes else _("None of the images can be used; see the table."),
            "" if len(self.labels) else _("Add at least one label."),
            "" if ui.studyPathLineEdit.currentPath else _("Choose a folder for the study."),
            self.pseudonyms.missing,
        )
        self.pseudonyms.update()
        self.enable(ui.removeLabelButton, "" if len(self.labels) else _("There is no label."))

    def _showCache(self) -> None:
        """Show the size of the cache; measured again only after a job has begun or ended, because it takes time."""
        study = self.session.study
        if study is None or self.ui.advancedCollapsibleButton.collapsed:
            self._counted = None
            self.ui.cacheLabel.text = ""
        elif self._counted != (study.folder, len(self.work.running)):
            self._counted = (study.folder, len(self.work.running))
            self.ui.cacheLabel.text = _bytes(study.cache_size())

    def _describeWorker(self) -> str:
        state = self.work.client.state
        texts = {
            "stopped": _("not started"),
            "starting": _("starting"),
            "ready": _("ready"),
            "stuck": _("does not answer; press Restart"),
        }
        missing = self.work.missing
        lacks = _("; missing: {names}").format(names=", ".join(missing)) if missing else ""
        return texts[state] + lacks


@contextlib.contextmanager
def _waiting() -> Any:
    qt.QApplication.setOverrideCursor(qt.QCursor(qt.Qt.WaitCursor))
    try:
        yield
    finally:
        qt.QApplication.restoreOverrideCursor()


def _ownFolder() -> str:
    folder = Path(slicer.app.temporaryPath) / "ActiveSegmentation"
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def _freeFolder(cohortRoot: Path) -> Path:
    """A folder next to the cohort that does not exist yet."""
    first = cohortRoot.parent / f"{cohortRoot.name}-study"
    names = [first, *(first.with_name(f"{first.name}-{number}") for number in range(2, 1000))]
    return next(path for path in names if not path.exists())


def _bytes(count: int) -> str:
    return f"{count / 2**20:.0f} MB" if count < 2**30 else f"{count / 2**30:.1f} GB"
