"""A module, two studies on small cohorts, and helpers to drive them, for tests of events at every step."""

from __future__ import annotations

import numpy as np
import slicer

from ActiveSegmentationLib.cohort import SliceId, write_phantom
from ActiveSegmentationLib.scene.ownership import OWNER
from ActiveSegmentationLib.scene.strokes import segmentPlanes
from ActiveSegmentationLib.study import Request, RequestList

from .held_client import HeldClient
from .module_helpers import OpenModule

SIZE, SLICES, REQUESTS = (40, 40), 5, 4


MODEL = "model-1"


def writeCohorts(root):
    """Write two small cohorts; returns their folder."""
    for name in ("one", "two"):
        write_phantom(root / name, patients=2, slices=SLICES, size=SIZE, scribbles=False)
    return root


class Flow:
    """A module, two studies, and the work in the first that must not be lost."""

    def __init__(self, host, monkeypatch, cohorts, tmp_path):
        self.host, self.monkeypatch, self.cohorts, self.tmp = host, monkeypatch, cohorts, tmp_path
        self.folder = tmp_path / "study"
        self.expected = {}
        self.held = None
        self.open()

    def open(self):
        """Open the module; delayed updates happen at once, which halves the time."""
        self.module = OpenModule(self.host, self.monkeypatch)
        self.module.settle = self.settle

    def settle(self):
        self.host.settle()
        if self.module.wiring._timer.isActive():
            self.module.wiring.update()
        self.host.settle()

    @property
    def session(self):
        return self.module.session

    @property
    def study(self):
        return self.session.study

    @property
    def case(self):
        return self.session.case

    def createStudy(self, cohort="one", folder=None, **options):
        with self.module.withoutWorker():
            return self.module.logic.createStudy(folder or self.folder, self.cohorts / cohort, **options)

    def openStudy(self):
        with self.module.withoutWorker():
            return self.module.logic.openStudy(self.folder)

    def suggest(self):
        """Requests in the first two volumes, as the worker would write them."""
        volumes = self.study.cohort.volumes[:2]
        wanted = [(volumes[n // 2], 1 + 2 * (n % 2)) for n in range(REQUESTS)]
        requests = [Request(SliceId(v.id, k), v.patient, v.axis, None, "because") for v, k in wanted]
        self.study.requests.write(RequestList(self.study.requests.next_round(), "strided", 0, {}, tuple(requests)))
        self.session.refresh()
        self.module.settle()

    def mask(self, start=8):
        mask = np.zeros(self.case.volume.plane_shape, dtype=bool)
        mask[start : start + 9, 5:17] = True
        return mask

    def draw(self, value=1, start=8):
        """A stroke that must not be lost."""
        self.module.draw(value, self.mask(start))
        self.expect()

    def expect(self):
        """What is drawn now on the open slice must still be there later."""
        index = self.session.task.slice.index
        self.expected[self.session.task.slice] = planesOf(self.case, index)

    def commits(self):
        """What is stored, from the disk."""
        return {s: (a.labels.tobytes(), a.committed_at) for s, a in self.study.annotations().items()}

    def close(self):
        self.module.loaded.close()
        self.host._loaded.remove(self.module.loaded)
        self.host.settle()

    def reload(self):
        self.close()
        self.open()

    def hold(self):
        """Keep a job running until the test ends it."""
        self.held = HeldClient()
        self.monkeypatch.setattr(self.module.work.client, "submit", self.held.submit)
        self.answers = {
            "describe": {"missing": [], "device": "cpu"},
            "strategies": {"strategies": []},
            "learners": {"learners": [], "chosen": {"name": "unet", "options": {}}, "trained": None},
            "curve": {"curve": []},
            "suggest": {"requests": self.study.requests.read(1).to_json(), "thumbnails": [""] * REQUESTS},
        }
        self.module.work.readCurve()
        self.module.work.suggest(3)
        self.settle()
        assert self.module.work.isRunning("suggest")
        assert self.module.ui.suggestButton.text == "Stop"

    def answer(self):
        self.held.answerAll(self.answers)
        self.settle()
        assert not self.module.work.running


def planesOf(case, index):
    """What is drawn, by segment id; in the user's own segments, by name."""
    segmentation = case.segmentationNode.GetSegmentation()
    names = {name: segmentation.GetSegment(name).GetName() for name in segmentation.GetSegmentIDs()}
    planes = segmentPlanes(case.segmentationNode, case.volumeNode, case.volume.axis, index)
    return {name if name.startswith("Segment_") else names[name]: plane.copy() for name, plane in planes.items()}


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def ownedNodes():
    return [
        node.GetName()
        for node in slicer.util.getNodesByClass("vtkMRMLNode")
        if node.GetAttribute(OWNER) or node.GetAttribute("ActiveSegmentation")
    ]


def observers(thing):
    """Number of observers of a VTK object."""
    last = thing.AddObserver("NoEvent", lambda *args: None)
    thing.RemoveObserver(last)
    return sum(thing.GetCommand(tag) is not None for tag in range(1, last))


def checkStrokes(flow):
    for sliceId, planes in flow.expected.items():
        flow.session.openSlice(sliceId)
        found = planesOf(flow.case, sliceId.index)
        assert same(found, planes), (sliceId, list(found), list(planes))


def predicted(flow):
    plane = np.zeros(flow.case.volume.plane_shape, dtype=bool)
    plane[10:20, 10:25] = True
    return plane
