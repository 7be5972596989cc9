"""Plays the module's flow with a real mouse and keyboard, and compares what is stored with what was drawn.

``Slicer --testing --no-splash --additional-module-paths ActiveSegmentation --python-script Testing/Slicer/play_flow.py
-- --cohort DIR --annotation mask|scribble --requests 10`` on Linux, on a display with xdotool and nothing else in front
of Slicer's window. Without ``--cohort`` it plays on the sample cohort. The exit code is 1 where anything differs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import slicer

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from checks import Checks, changes, differ  # noqa: E402 - Slicer runs this file as a script
from drawing import Paper, Stroke, differences, labelsOf, path  # noqa: E402
from hands import Hands, NotSeen  # noqa: E402

from ActiveSegmentationLib.panels.labelButtons import LABEL_KEYS  # noqa: E402
from ActiveSegmentationLib.scene.editor import Tool  # noqa: E402
from ActiveSegmentationLib.scene.scripting import runScript  # noqa: E402

ROUNDS = 2
STEPS = 30
"""Training steps; the quality of the model does not matter here."""

JOB_SECONDS = 1200.0
"""Longest time for a job of the worker."""

LOOK_SECONDS = 1.0
"""Time to look at a new slice, or at the window, before doing anything."""


class Player:
    """A user of the module.

    Args:
        options: See ``main``.
        folder: Where to make the study.
    """

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.hands, self.checks, self.random = Hands(), Checks(), np.random.default_rng(options.seed)
        self.stored: dict[Any, np.ndarray] = {}
        self.strokes: list[Stroke] = []
        self.answered = 0
        self.late = False

    def play(self) -> None:
        """The whole flow."""
        self.openModule()
        started = time.monotonic()
        self.hands.clicks = self.hands.keys = 0
        self.makeStudy()
        perRound = -(-self.options.requests // ROUNDS)
        for number in range(ROUNDS):
            if number:
                self.train()
            self.suggest(min(perRound, self.options.requests - self.answered), first=number == 0)
            while self.session.nextRow() is not None:
                self.answer(late=number > 0)
                if len(self.stored) == 1 and self.answered == 1:
                    seconds = time.monotonic() - started
                    counts = f"{self.hands.clicks} clicks, {self.hands.keys} keys and texts, {seconds:.0f} s"
                    print(f"From opening the module to the first stored slice: {counts}", flush=True)
        self.train()

    # To the first request

    def openModule(self) -> None:
        """Open the module in a window that fills the screen."""
        window = slicer.util.mainWindow()
        window.showMaximized()
        self.hands.until(lambda: window.visible and slicer.app.layoutManager().sliceWidget("Red"), "the main window")
        self.hands.untilSteady(lambda: str(window.geometry), "the window has stopped moving", LOOK_SECONDS)
        slicer.util.selectModule("ActiveSegmentation")
        self.widget = slicer.modules.ActiveSegmentationWidget
        self.ui, self.session, self.work = self.widget.ui, self.widget.logic.session, self.widget.logic.work
        self.area = self.ui.panelScrollArea
        self.hands.until(lambda: self.ui.newStudyButton.visible, "the module's panel")

    def click(self, widget: Any) -> None:
        """Click on a widget of the panel, scrolled into view where need be."""
        inside = self.ui.panelContents.isAncestorOf(widget)
        self.hands.click(widget, reveal=self.area if inside else None)

    def makeStudy(self) -> None:
        """Make a study of the cohort, or of the sample cohort."""
        ui, hands = self.ui, self.hands
        if self.options.cohort is None:
            self.click(ui.sampleButton)
            hands.until(lambda: self.session.study is not None, "the sample study is open", JOB_SECONDS)
            return
        self.click(ui.newStudyButton)
        hands.until(lambda: ui.newStudyFrame.visible, "the lines for a new study")
        hands.fill(ui.cohortPathLineEdit, str(self.options.cohort), reveal=self.area)
        hands.key("Return")
        hands.until(lambda: ui.newStudyFrame2.visible and not self.work.running, "the images are read", JOB_SECONDS)
        if self.options.annotation == "scribble":
            hands.reveal(ui.kindComboBox, self.area)
            hands.click(ui.kindComboBox)
            hands.key("Down")
            hands.key("Return")
            hands.until(lambda: ui.kindComboBox.currentIndex == 1, "scribbles are chosen")
        hands.fill(ui.studyPathLineEdit, str(self.folder / "study"), reveal=self.area)
        self.click(ui.createStudyButton)
        hands.until(lambda: self.session.study is not None, f"the study is open ({ui.messageLabel.text})")
        self.checks.note("the study annotates as chosen", self._wrongKind())

    def _wrongKind(self) -> str:
        found = self.session.study.annotation.value
        return "" if found == self.options.annotation else found

    def suggest(self, count: int, first: bool) -> None:
        """Ask for slices; the first opens by itself, or is offered."""
        ui, hands = self.ui, self.hands
        if ui.suggestCollapsibleButton.collapsed:
            self.click(ui.suggestCollapsibleButton)
        if ui.countSpinBox.value != count:
            hands.fill(ui.countSpinBox, str(count), reveal=self.area)
            hands.until(lambda: ui.countSpinBox.value == count, "the number of slices is taken")
        known = self.session.requests.round
        self.click(ui.suggestButton)
        hands.until(
            lambda: self.session.requests.round != known or (first and self.session.requests.rows),
            f"slices are suggested ({ui.messageLabel.text})",
            JOB_SECONDS,
        )
        hands.until(lambda: self._isReady() or ui.offerFrame.visible, "a request is open")
        if not self._isReady():
            self.click(ui.offerButton)

    def _isReady(self) -> bool:
        session = self.session
        return bool(session.task and session.task.row and session.view.isOnSlice and session.task.row.status == "open")

    # A request

    def answer(self, late: bool) -> None:
        """Draw on the open request and commit it, with detours."""
        self.hands.until(self._isReady, "an open request is shown")
        turn = self.answered % 5
        if late and self.session.case.volume.id not in self.session.overlays.reviews and not self.late:
            self.startLate()
        self.begin()
        if turn == 1:
            self.undoAndRedo()
        if turn in (2, 3):
            self.drawAll(some=True)
            self.commitElsewhere("ctrl+Return" if turn == 2 else "ctrl+e")
        self.drawAll()
        self.commit(straight=turn % 2 == 0)
        self.answered += 1

    def begin(self) -> None:
        """Wait as while looking at the open slice."""
        session = self.session
        case, self.slice = session.case, session.task.slice
        self.volume, self.axis = case.volume, case.volume.axis
        self.values = [0, *session.study.labels.values] if self._scribbles() else list(session.study.labels.values)
        self.paper = Paper(self._view(), case.volumeNode, self.axis, self.slice.index)
        self.before, self.strokes = self.drawn(), []
        self.hands.untilSteady(self.paper.place, "the view has stopped moving", LOOK_SECONDS)

    def _scribbles(self) -> bool:
        return self.session.study.annotation.value == "scribble"

    def _view(self) -> Any:
        return slicer.app.layoutManager().sliceWidget("Red")

    def drawn(self) -> np.ndarray:
        """What the segmentation of the open volume holds: (slices, rows, columns)."""
        case = self.session.case
        found = labelsOf(case.segmentationNode, case.volumeNode, self.values, 255 if self._scribbles() else 0)
        return np.moveaxis(found, 2 - self.axis, 0)

    def reference(self) -> np.ndarray:
        """Reference labels of the slice, which say where to draw; nowhere where there are none."""
        from ActiveSegmentationLib.cohort import AnnotationKind, read_labels, slices_first

        labels = read_labels(self.session.study.cohort, self.volume, AnnotationKind.MASK)
        shape = self.volume.plane_shape
        return np.zeros(shape, np.uint8) if labels is None else slices_first(labels, self.axis)[self.slice.index]

    def drawAll(self, some: bool = False) -> None:
        """A stroke in each structure of the slice, or only in the first; the mouse is let go at the end of each."""
        wanted = [value for value in self.values if (self.reference() == value).any()][: 1 if some else None]
        self.pending = [(value, *self._ends(value)) for value in wanted]
        while self.pending and (some or len(self.pending) > 1):
            self.stroke(*self.pending.pop(0))

    def _ends(self, value: int) -> tuple[np.ndarray, np.ndarray]:
        """Two places of a structure."""
        places = np.argwhere(self.reference() == value)
        first, second = self.random.integers(0, len(places), 2)
        if value == 0:  # the background is wide, a scribble goes somewhere in it
            second = (first + 15) % len(places)
        return places[first].astype(float), places[second].astype(float)

    def stroke(self, value: int, start: np.ndarray, end: np.ndarray, then: str = "") -> None:
        """Choose a label by its key and draw a line with it."""
        session, hands = self.session, self.hands
        order = [*session.study.labels.values, *([0] if self._scribbles() else [])]
        segment = f"Segment_{value}" if value else "Background"
        if session.editor.tool().segment != segment:
            hands.key(LABEL_KEYS[order.index(value)].lower())
        hands.until(lambda: session.editor.tool() == Tool("Paint", segment), "the brush has the label")
        hands.untilSteady(self.paper.place, "the view has stopped moving")
        pixels = self.paper.pixels(path(start, end))
        places = [self.paper.onScreen(pixel) for pixel in pixels]
        self.strokes.append(Stroke(value, self.paper.places(pixels), session.editor.brush() / 2))
        before = self.drawn()
        place = self.paper.place()
        hands.drag(places, lambda number: self.paper.isUnderMouse(pixels[number]), then)
        if not then:
            self.checks.note(
                "the view has stopped moving while a stroke is drawn", place != self.paper.place() and "it moved"
            )
        if not then:
            hands.until(lambda: session.drafts.isDirty or np.array_equal(before, self.drawn()), "the stroke is there")

    # Detours

    def undoAndRedo(self) -> None:
        """Draw, undo, redo, and undo again."""
        present = [value for value in self.values if (self.reference() == value).any()]
        if not present:
            return
        before = self.drawn()
        self.stroke(present[0], *self._ends(present[0]))
        after = self.drawn()
        for key, wanted, name in (("ctrl+z", before, "undo"), ("y", after, "redo"), ("ctrl+z", before, "undo")):
            self.hands.key(key)
            self._see(f"{name} by key", lambda wanted=wanted: np.array_equal(self.drawn(), wanted))
        self.strokes.pop()

    def _see(self, name: str, so: Any, seconds: float = 20.0) -> bool:
        try:
            self.hands.until(so, name, seconds)
        except NotSeen as error:
            self.checks.note(name, error)
            return False
        self.checks.note(name)
        return True

    def commitElsewhere(self, key: str) -> None:
        """Scroll away, try to store: it must be refused with a message; then return with the button."""
        ui, session = self.ui, self.session
        records, drawn = self.readBack(), self.drawn()
        middle = self.paper.onScreen((self._view().sliceView().width // 2, self._view().sliceView().height // 2))
        self.hands.wheel(middle, up=self.slice.index == 0)
        if session.view.isOnSlice:
            self.hands.pause(0.5)
        if session.view.isOnSlice:
            self.hands.wheel(middle, up=self.slice.index != 0)
        self._see("the wheel scrolls away, and the panel says so", lambda: ui.offSliceFrame.visible)
        self.hands.key(key)
        self._see(
            f"{key} on another slice is refused with a message", lambda: "You are on slice" in ui.messageLabel.text
        )
        self.checks.note("nothing is stored on another slice", changes(records, self.readBack()))
        self.checks.note("strokes stay when a commit is refused", differ(drawn, self.drawn()))
        self.click(ui.backButton)
        self._see("the button leads back to the request", lambda: session.view.isOnSlice)

    def startLate(self) -> None:
        """Ask for the prediction, and go to another request before it answers."""
        ui, session, hands = self.ui, self.session, self.hands
        if sum(row.status == "open" for row in session.requests.rows) < 2:
            return
        asked = session.task.slice
        self.click(ui.predictionButton)
        hands.key("n")
        hands.until(lambda: session.task.slice != asked and session.view.isOnSlice, "the next request is shown")
        self.begin()
        hands.until(lambda: not self.work.isRunning("predict"), "the prediction", JOB_SECONDS)
        self.checks.note("a late prediction is not drawn on another slice", differ(self.before, self.drawn()))
        if self._see("a late prediction is offered", lambda: ui.offerFrame.visible):
            self.click(ui.offerButton)
            self._see("the offer leads to its slice", lambda: session.task.slice == asked and session.view.isOnSlice)
        self.late = True

    # Storing

    def commit(self, straight: bool) -> None:
        """Store the slice by key: at once with the last stroke, or after a look at the segmentation."""
        asked, before = self.slice, self.readBack()
        segmentation = None
        if not self.pending and not (self.drawn()[asked.index] != (255 if self._scribbles() else 0)).any():
            self.hands.key("ctrl+e")
        elif straight and self.pending:
            self.stroke(*self.pending.pop(), then="ctrl+Return")
        else:
            while self.pending:
                self.stroke(*self.pending.pop(0))
            segmentation = self.drawn()
            self.hands.key("ctrl+Return")
        name = "a commit by key straight after a stroke" if segmentation is None else "a commit by key"
        if not self._see(name, lambda: len(self.readBack()) > len(before), 60):
            raise NotSeen(f"slice {asked.index + 1} of {asked.volume}: {self.ui.messageLabel.text}")
        self.compare(asked, segmentation)
        self.hands.until(lambda: self._isReady() or self.session.nextRow() is None, "the next request")

    def compare(self, asked: Any, segmentation: np.ndarray | None) -> None:
        """What is in the study folder against what was drawn."""
        found = self.readBack()
        stored = found.get(asked)
        where = f"slice {asked.index + 1} of {asked.volume}: "
        if stored is None:
            self.checks.note("the requested slice is stored", where + "not in the study")
            return
        if segmentation is not None:
            self.checks.note("stored as in the segmentation", differ(stored, segmentation[asked.index], where))
            others = np.delete(segmentation, asked.index, axis=0), np.delete(self.before, asked.index, axis=0)
            self.checks.note("no other slice of the volume was drawn on", differ(*others, where))
        base = self.before[asked.index]
        if stored.max(initial=0) == 0 and not self.strokes:
            base = stored
        problems = differences(stored, base, self.strokes, self.paper.spacing)
        self.checks.note("stored as the mouse drew", where + "; ".join(problems) if problems else "")
        rest = {slice_: labels for slice_, labels in found.items() if slice_ != asked}
        self.checks.note("all other stored slices are as before", changes(self.stored, rest))
        self.stored[asked] = stored

    def readBack(self) -> dict[Any, np.ndarray]:
        """Label values of every stored slice, read from the study's folder."""
        from ActiveSegmentationLib.study import Study

        return {slice_: found.labels for slice_, found in Study.open(self.session.study.folder).annotations().items()}

    # Training

    def train(self) -> None:
        """Train with few steps, by clicking."""
        ui, hands = self.ui, self.hands
        if ui.stepsSpinBox.value != STEPS:
            for button in (ui.trainCollapsibleButton, ui.trainAdvancedCollapsibleButton):
                if button.collapsed:
                    self.click(button)
            hands.fill(ui.stepsSpinBox, str(STEPS), reveal=self.area)
        known = len(self.work.curve)
        self.click(ui.trainButton)
        hands.until(lambda: len(self.work.curve) > known, f"a model is trained ({ui.messageLabel.text})", JOB_SECONDS)
        self.checks.note("training learns from every stored slice", self._unlearned())

    def _unlearned(self) -> str:
        learned, stored = self.work.curve[-1]["annotated"], len(self.readBack())
        return "" if learned == stored else f"learned from {learned} of {stored}"


def main(arguments: list[str]) -> int:
    """Play; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cohort", type=Path, metavar="DIR", help="images with masks; default: the sample cohort")
    parser.add_argument("--annotation", choices=("mask", "scribble"), default="mask")
    parser.add_argument("--requests", type=int, default=10, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the places where strokes lie")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="play-") as folder:
        player = Player(options, Path(folder))
        try:
            player.play()
        except Exception as error:  # noqa: BLE001 - the checks so far are worth a table
            traceback.print_exc()
            player.checks.note("the flow reaches its end", error)
        else:
            player.checks.note("the flow reaches its end")
        player.session.closeStudy()
        return player.checks.report()


if __name__ == "__main__":
    runScript(main)
