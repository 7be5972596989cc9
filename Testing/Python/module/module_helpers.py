"""The module in the test host, with the two things that only a real Slicer has replaced behind their interfaces."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import slicer
from host.views import SliceView

from ActiveSegmentationLib.scene import Brush, segmentId
from ActiveSegmentationLib.scene.editor import Editor, Tool
from ActiveSegmentationLib.scene.views import View

ROOT = Path(__file__).parents[3]
MODULE = ROOT / "ActiveSegmentation" / "ActiveSegmentation.py"


class HostEditor(Editor):
    """Slicer's editor logic without its widget: the same strokes, the same undo."""

    def __init__(self, widget=None):
        super().__init__()
        self.stroke = None
        self.segment = ""
        self.nodes = (None, None)
        self.entered = False
        self.effect = ""
        self.diameter = 5.0

    def setNodes(self, segmentationNode, volumeNode):
        if self.stroke is not None:
            self.stroke.close()
            self.stroke = None
            self.effect = self.segment = ""
        self.nodes = (segmentationNode, volumeNode)
        if segmentationNode is not None:
            self.stroke = Brush(segmentationNode, volumeNode)

    def selectSegment(self, segment):
        self.segment = segment

    def saveStateForUndo(self):
        self.stroke.saveStateForUndo()

    def clearUndo(self):
        if self.stroke is not None:
            self.stroke.clearUndo()

    def paint(self):
        self.effect = self.effect or "Paint"

    def tool(self):
        return Tool(self.effect, self.segment)

    def takeTool(self, tool):
        self.effect = tool.effect

    def brush(self):
        return self.diameter

    def setBrush(self, diameter):
        self.diameter = diameter

    def enter(self):
        self.entered = True

    def exit(self):
        self.entered = False

    def onSceneStartClose(self):
        self.setNodes(None, None)

    def onSceneEndClose(self):
        pass

    def close(self):
        self.setNodes(None, None)


class HostViews:
    """One offscreen slice view."""

    headless = False

    def __init__(self, size=(420, 420)):
        self.view = SliceView(slicer.mrmlScene, name="Red", size=size)

    def annotationView(self):
        view = self.view
        return View(view.sliceNode, view.sliceLogic, view.renderer, lambda: None)

    def others(self):
        return []


class OpenModule:
    """The module with its panel, driven as by a user."""

    def __init__(self, host, monkeypatch):
        from ActiveSegmentationLib.panels import wiring

        self.host = host
        self.views = HostViews()
        self.editor = HostEditor()
        monkeypatch.setattr(wiring, "SlicerViews", lambda: self.views)
        monkeypatch.setattr(wiring, "SegmentEditor", lambda widget: self.editor)
        self.loaded = host.loadModule(MODULE)
        self.widget = self.loaded.widget
        self.ui = self.widget.ui
        self.logic = self.widget.logic
        self.session, self.work = self.logic.session, self.logic.work
        self.wiring = self.widget.wiring
        self.clicks = 0
        self.loaded.enter()
        self.settle()

    def settle(self):
        """Let everything scheduled happen, on a busy machine too."""
        self.host.settle(0.08)
        self.host.waitFor(lambda: not self.wiring._timer.isActive(), 5)

    @contextmanager
    def withoutWorker(self):
        """Studies that are opened within this block ask the worker for nothing; its start takes seconds."""
        self.wiring.study.opened.disconnect(self.wiring._onOpened)
        yield
        self.wiring.study.opened.connect(self.wiring._onOpened)

    def click(self, name):
        """Press a button, which must be enabled and visible."""
        button = getattr(self.ui, name)
        self.unfold(button)
        assert button.enabled, f"{name} is disabled: {button.toolTip}"
        assert button.isVisibleTo(self.widget.uiWidget), f"{name} is not visible"
        self.clicks += 1
        button.click()
        self.settle()

    def unfold(self, widget):
        """Open the collapsed sections that contain a widget, by a click each."""
        sections = []
        while widget is not self.widget.uiWidget:
            widget = widget.parentWidget()
            if type(widget).__name__ == "ctkCollapsibleButton" and widget.collapsed:
                sections.append(widget)
        for section in reversed(sections):
            self.clicks += 1
            section.collapsed = False
            self.settle()

    def finish(self, seconds=300):
        """Wait for the worker."""
        assert self.host.waitFor(lambda: not self.work.running, seconds), [r.text() for r in self.work.running]
        self.settle()

    @property
    def message(self):
        return self.ui.messageLabel.text

    def draw(self, value, mask):
        """A stroke on the slice that is shown."""
        case, index = self.session.case, self.session.task.slice.index
        segment = "Background" if value == 0 else segmentId(value)
        self.editor.stroke.paint(segment, case.volume.axis, index, np.asarray(mask, dtype=bool))
        self.settle()

    def drawTruth(self, plane):
        """Strokes that make the slice look like a plane of label values (255 stays undrawn)."""
        background = [0] if self.session.case.kind == "scribble" else []
        for value in [*background, *self.session.study.labels.values]:
            if (plane == value).any():
                self.draw(value, plane == value)
