"""A state machine of a user who does things in the module in any order, and of what must still be there afterwards.

Hypothesis chooses the actions. After each of them no slot may have failed; what was drawn on a slice must be there when
it is opened again, and what was committed must be in the study with the pixels that were drawn.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import slicer
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ActiveSegmentationLib.cohort import AnnotationKind, SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.study import SliceAnnotation, Study, hash_labels

from .flow import REQUESTS, SLICES, Flow, observers, ownedNodes, planesOf, same
from .flow_events import leaveAndReturn, reloadModule, saveAndImport, saveAndLoad
from .held_client import heldIn

BUTTONS = (
    *("nextButton", "previousButton", "flagButton", "newStudyButton", "addLabelButton", "removeLabelButton"),
    *("clearCacheButton", "mapButton", "curveButton", "showPredictionCheckBox"),
)
"""What users press, where it is enabled."""

STEPS = 20
"""Actions of one user."""

MANY_NODES = 120
"""Nodes above which a scene is not imported into itself again."""

RELOADS = 10
"""Every so many users may reload the module."""

LONG = 3600
"""Seconds that the worker may take on a busy machine."""

EVENTS = {
    "another annotator commits": lambda user: user.commitElsewhere(),
    "become Anna": lambda user: user.flow.session.setAnnotator("Anna"),
    "become Zoë": lambda user: user.flow.session.setAnnotator("Zoë"),
    "leave a volume out, or take it back": lambda user: user.leaveOut(),
    "close the study": lambda user: user.flow.session.closeStudy(),
    "leave the module and return": lambda user: leaveAndReturn(user.flow),
    "reload the module": lambda user: user.reload(),
    "clear the scene": lambda user: slicer.mrmlScene.Clear(0),
    "save and load the scene": lambda user: saveAndLoad(user.flow),
    "save and import the scene": lambda user: user.importScene(),
    "delete the image's node": lambda user: user.removeNode("volumeNode"),
    "delete the segmentation's node": lambda user: user.removeNode("segmentationNode"),
    "rename nodes": lambda user: user.renameNodes(),
}
"""What interrupts the work, by name."""


class User(RuleBasedStateMachine):
    """A user with a study of their own; ``userOf`` makes the class for a module.

    Attributes:
        flow: The module.
        template: Study that each user gets a copy of.
        done: How often each action was done, over all users.
        onEnd: Called when a user has closed the study.
    """

    flow: Flow
    template: Path
    done: Counter[str]
    onEnd: Callable[[], None]

    @initialize()
    def start(self):
        self.flow.folder = self.template.with_name(f"user-{self.done['users']}")  # next to it: it names its images so
        self.done["users"] += 1
        shutil.copytree(self.template, self.flow.folder)
        self.strokes, self.committed = {}, {}
        self.open()

    def open(self):
        ui = self.flow.module.ui
        ui.newStudyButton.checked = False  # it takes the place of the other
        ui.openPathLineEdit.currentPath = str(self.flow.folder)
        self.flow.settle()
        self.flow.module.click("openStudyButton")
        assert self.flow.study is not None, self.flow.module.message

    def attempt(self, name, action):
        """Do something; what cannot be done now is refused with a reason."""
        if self.flow.study is None:
            self.open()
        try:
            action()
            self.done[name] += 1
        except BadInput:
            self.done[f"{name}, refused"] += 1
        self.flow.settle()

    @property
    def place(self):
        """The open slice and who draws, or None."""
        task = self.flow.session.task
        return None if task is None or self.flow.case is None else (task.slice, self.flow.session.annotator)

    @rule(volume=st.integers(0, 3), index=st.integers(0, SLICES - 1))
    def openSlice(self, volume, index):
        def action():
            volumes = self.flow.study.cohort.volumes
            self.flow.session.openSlice(SliceId(volumes[volume % len(volumes)].id, index))

        self.attempt("open a slice", action)

    @rule(number=st.integers(1, REQUESTS))
    def openRequest(self, number):
        self.attempt("open a request", lambda: self.flow.session.openRequest(number))

    @rule(value=st.integers(0, 3), start=st.integers(0, 30))
    def draw(self, value, start):
        def action():
            if self.place is None:
                self.flow.session.openRequest(1 + start % REQUESTS)
            self.flow.module.draw(value, self.flow.mask(start))
            self.strokes[self.place] = planesOf(self.flow.case, self.place[0].index)

        self.attempt("draw", action)

    @rule(button=st.sampled_from(["commitButton", "commitButton", "emptyButton"]))
    def commit(self, button):
        if self.place not in self.strokes and button == "commitButton":
            self.draw(value=1, start=8)
        if self.place is None:
            return
        pressed = getattr(self.flow.module.ui, button)
        if not pressed.enabled:
            self.done[f"{button}, disabled"] += 1
            return
        place, case = self.place, self.flow.case
        before = len(self.flow.study.audit.records(place[1]))
        drawn = case.capture(place[0].index) if button == "commitButton" else None

        def action():
            pressed.click()
            self.flow.settle()
            if len(self.flow.study.audit.records(place[1])) == before:
                raise BadInput("refused, with a message in the panel", "")
            self.committed[place] = hash_labels(np.zeros(case.volume.plane_shape, np.uint8) if drawn is None else drawn)
            if drawn is None:
                self.strokes.pop(place, None)

        self.attempt(button, action)

    @rule()
    @precondition(lambda self: self.place is not None)
    def skip(self):
        place, button = self.place, self.flow.module.ui.skipButton
        if button.enabled:
            self.attempt("skip", button.click)
            self.strokes.pop(place, None)

    @rule(name=st.sampled_from(BUTTONS))
    def press(self, name):
        button = getattr(self.flow.module.ui, name)
        if button.enabled:
            self.attempt(name, button.click)

    @rule(name=st.sampled_from(sorted(EVENTS)))
    def disturb(self, name):
        """Something that interrupts the work."""
        self.attempt(name, lambda: EVENTS[name](self))

    def commitElsewhere(self):
        """Somebody else commits a slice of the last volume, from another computer."""
        study = Study.open(self.flow.folder)
        volume = study.cohort.volumes[-1]
        plane = np.full(volume.plane_shape, 1 + self.done["users"] % 3, np.uint8)
        slice_ = SliceId(volume.id, self.done["users"] % SLICES)
        study.commit([SliceAnnotation(slice_, plane, AnnotationKind.MASK, "Kim", None, 2.0, "")])
        self.committed[slice_, "Kim"] = hash_labels(plane)

    def leaveOut(self):
        """The last volume is left out, or taken back."""
        volume = self.flow.study.cohort.volumes[-1].id
        if volume in self.flow.session.excluded:
            self.flow.session.includeVolume(volume)
        else:
            self.flow.session.excludeVolume(volume, "blurred")

    def reload(self):
        """Some users reload the module: each time the test host keeps what PySide holds of deleted widgets, 0.15 MB."""
        if self.done["users"] % RELOADS:
            return
        reloadModule(self.flow)
        heldIn(self.flow.monkeypatch, self.flow.module.work)

    def importScene(self):
        """Once in a scene: it doubles the scene every time."""
        if slicer.mrmlScene.GetNumberOfNodes() < MANY_NODES:
            saveAndImport(self.flow)

    def removeNode(self, which):
        """Delete one of the nodes of the open volume."""
        if self.flow.case is not None:
            slicer.mrmlScene.RemoveNode(getattr(self.flow.case, which))

    def renameNodes(self):
        if self.flow.case is not None:
            self.flow.case.segmentationNode.SetName("my drawing")
            self.flow.case.volumeNode.SetName("my image")

    @invariant()
    def noSlotFailed(self):
        assert not self.flow.host.errors, self.flow.host.errors

    @invariant()
    def whatWasDrawnIsThere(self):
        place = self.place
        if place in self.strokes:
            assert same(planesOf(self.flow.case, place[0].index), self.strokes[place]), place

    def teardown(self):
        if not hasattr(self, "committed"):  # the study could not be opened
            return
        if self.flow.study is None:
            self.open()
        self._allStrokes()
        study = Study.open(self.flow.folder)
        for (slice_, annotator), digest in self.committed.items():
            found = study.annotations(annotator, include_excluded=True)[slice_]
            assert hash_labels(found.labels) == digest, (slice_, annotator)
        assert study.audit.verify() == []
        assert study.damaged() == []
        self.flow.session.closeStudy()
        slicer.mrmlScene.Clear(0)
        self.flow.settle()
        self.noSlotFailed()
        shutil.rmtree(self.flow.folder)
        self.onEnd()

    def _allStrokes(self):
        """Open every slice that was drawn on and look at it."""
        for volume in list(self.flow.session.excluded):
            self.flow.session.includeVolume(volume)
        for slice_, annotator in list(self.strokes):
            self.flow.session.setAnnotator(annotator)
            self.flow.session.openSlice(slice_)
            self.flow.settle()
            assert self.place == (slice_, annotator)
            self.whatWasDrawnIsThere()


def userOf(flow, onEnd=lambda: None):
    """A class of users of this module, for ``run_state_machine_as_test``.

    Args:
        flow: The module, with a study that each user gets a copy of.
        onEnd: Called after each user.
    """
    heldIn(flow.monkeypatch, flow.module.work)
    flow.createStudy()
    flow.suggest()
    template = flow.folder
    flow.session.closeStudy()
    flow.settle()
    own = {"flow": flow, "template": template, "done": Counter(), "onEnd": staticmethod(onEnd)}
    return type("User", (User,), own)


def howMany(users, **more):
    """Hypothesis' settings for this number of users. What fails is shown as it happened, not made shorter: users share
    the scene, so that a shorter story need not fail."""
    return settings(
        max_examples=users,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        **more,
    )


def left():
    """What is in the scene."""
    scene = slicer.mrmlScene
    return {
        "nodes": scene.GetNumberOfNodes(),
        "own nodes": len(ownedNodes()),
        "observers of the scene": observers(scene),
    }


def workOnce(flow, machine):
    """The module's own worker process chooses slices and trains for a moment; it ends with the study.

    Args:
        flow: The module, without a study.
        machine: The class of its users.
    """
    flow.reload()  # with its own client again
    flow.folder = machine.template.with_name("worked")
    shutil.copytree(machine.template, flow.folder)
    flow.openStudy()
    flow.session.openRequest(1)
    flow.module.draw(1, flow.mask(3))
    flow.session.annotating.commit()
    flow.module.work.train(steps=2)
    flow.module.finish(LONG)
    flow.module.work.suggest(2)
    flow.module.finish(LONG)
    assert flow.session.requests.round == 2, flow.module.message
    flow.session.closeStudy()
    slicer.mrmlScene.Clear(0)
    flow.module.work.client.stop()
    flow.reload()
    heldIn(flow.monkeypatch, flow.module.work)
    machine.noSlotFailed(machine)
    machine.done["worker trained and chose"] += 1
    shutil.rmtree(flow.folder)
