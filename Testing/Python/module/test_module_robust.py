"""What a person, the scene and the disk can do to the module at every step: nothing is lost, nothing is left behind."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
import slicer
import vtk

from ActiveSegmentationLib.cohort import SliceId, write_phantom
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.scene import segmentId
from ActiveSegmentationLib.scene.activity import ActivityTimer
from ActiveSegmentationLib.scene.ownership import OWNER
from ActiveSegmentationLib.scene.session import Session
from ActiveSegmentationLib.scene.strokes import segmentPlanes, writeSegmentPlanes
from ActiveSegmentationLib.study import Request, RequestList

from . import module_helpers
from .held_client import HeldClient
from .module_helpers import ROOT, OpenModule

SIZE, SLICES, REQUESTS = (40, 40), 5, 4
MODEL = "model-1"


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory):
    """Folders of two small cohorts; tests must not change them."""
    root = tmp_path_factory.mktemp("cohorts")
    for name in ("one", "two"):
        write_phantom(root / name, patients=2, slices=SLICES, size=SIZE, scribbles=False)
    return root


@pytest.fixture
def views(host, monkeypatch):
    """One slice view for all modules of a test."""
    shared = module_helpers.HostViews()
    monkeypatch.setattr(module_helpers, "HostViews", lambda: shared)
    yield shared
    shared.view.close()


@pytest.fixture
def flow(host, views, monkeypatch, cohorts, tmp_path):
    """The module and a way to drive it."""
    return Flow(host, monkeypatch, cohorts, tmp_path)


class Flow:
    """A module, two studies, and what must not be lost in the first."""

    def __init__(self, host, monkeypatch, cohorts, tmp_path):
        self.host, self.monkeypatch, self.cohorts, self.tmp = host, monkeypatch, cohorts, tmp_path
        self.folder = tmp_path / "study"
        self.expected = {}
        self.held = None
        self.open()

    def open(self):
        """Open the module; what it would show after a moment is shown at once, which saves half of the time."""
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

    def createStudy(self, cohort="one", folder=None):
        return self.module.logic.createStudy(folder or self.folder, self.cohorts / cohort)

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
        """What is drawn now on the open slice must be there later too."""
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
        """Let a job be under way for as long as the test likes."""
        self.held = HeldClient()
        self.monkeypatch.setattr(self.module.work.client, "submit", self.held.submit)
        self.answers = {
            "describe": {"missing": [], "device": "cpu"},
            "strategies": {"strategies": []},
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
    """What is drawn, by segment id, and that in segments of one's own by name."""
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


# The steps of the flow, each on top of the one before


def noStudy(flow):
    pass


def studyOpen(flow):
    flow.createStudy()


def suggested(flow):
    studyOpen(flow)
    flow.suggest()


def sliceOpen(flow):
    """One slice is committed, the next is open."""
    suggested(flow)
    flow.session.openRequest(1)
    flow.module.draw(2, flow.mask())
    flow.module.click("commitButton")
    assert flow.session.task.row.number == 2


def strokesDrawn(flow):
    """Two slices have strokes that nobody committed; one of them is open."""
    sliceOpen(flow)
    flow.session.openSlice(flow.case.sliceId(4))
    flow.draw(3)
    flow.session.openRequest(2)
    flow.draw(1)
    flow.draw(2, 20)


def committed(flow):
    strokesDrawn(flow)
    sliceId = flow.session.task.slice
    flow.session.annotating.commit()
    flow.expected[sliceId] = planesOf(flow.case, sliceId.index)


def opinionShown(flow):
    strokesDrawn(flow)
    giveReview(flow)
    flow.session.overlays.showPrediction(True)
    flow.session.overlays.showUncertainty(0.5)


def workerBusy(flow):
    strokesDrawn(flow)
    flow.hold()


STEPS = (noStudy, studyOpen, suggested, sliceOpen, strokesDrawn, committed, opinionShown, workerBusy)


def giveReview(flow):
    """What the worker answers of the open volume."""
    import SimpleITK

    volume = flow.case.volume
    paths = {}
    for name, value in (("labels", 2), ("uncertainty", 0.7)):
        array = np.zeros(volume.geometry.array_shape, np.uint8 if name == "labels" else np.float32)
        array[:, 10:20, 10:25] = value
        image = SimpleITK.GetImageFromArray(array)
        image.SetSpacing(volume.geometry.spacing)
        image.SetOrigin(volume.geometry.origin)
        image.SetDirection(volume.geometry.direction)
        paths[name] = str(flow.tmp / f"{name}.nii.gz")
        SimpleITK.WriteImage(image, paths[name])
    review = {"volume": volume.id, "model": MODEL, "doubt": 0.5, "slice_doubt": [0.5] * SLICES, **paths}
    flow.session.overlays.setReviews([review])


# What happens then


def clearScene(flow):
    slicer.mrmlScene.Clear(0)


def reloadModule(flow):
    flow.reload()


def otherStudy(flow):
    flow.createStudy("two", flow.tmp / "other")


def closeStudy(flow):
    flow.session.closeStudy()


def removeVolume(flow):
    slicer.mrmlScene.RemoveNode(flow.case.volumeNode)
    assert flow.case is None


def removeSegmentation(flow):
    slicer.mrmlScene.RemoveNode(flow.case.segmentationNode)
    assert flow.case is None


def rename(flow):
    node = flow.case.segmentationNode
    node.SetName("my drawing")
    for name in node.GetSegmentation().GetSegmentIDs():
        node.GetSegmentation().GetSegment(name).SetName("vessel")
    flow.case.volumeNode.SetName("my image")


def addSegment(flow):
    """A segment of one's own, with a stroke: it stops the commit, and is no reason to lose anything."""
    segmentation = flow.case.segmentationNode.GetSegmentation()
    name = segmentation.AddEmptySegment("", "tumour")
    index = flow.session.task.slice.index
    flow.module.editor.stroke.paint(name, flow.case.volume.axis, index, flow.mask(30))
    with pytest.raises(BadInput, match="not in the label set"):
        flow.session.annotating.commit()
    flow.expect()


def removeSegment(flow):
    flow.case.segmentationNode.GetSegmentation().RemoveSegment(segmentId(2))
    flow.module.settle()
    with pytest.raises(BadInput, match=r"removed|Nothing is drawn"):
        flow.session.annotating.commit()


def moveVolume(flow):
    transform(flow.case.volumeNode)
    refusesToCommit(flow, "transform|Nothing is drawn")


def moveSegmentation(flow):
    transform(flow.case.segmentationNode)
    refusesToCommit(flow, "transform|Nothing is drawn")


def moveBoth(flow):
    transform(flow.case.volumeNode, flow.case.segmentationNode)
    refusesToCommit(flow, "transform|Nothing is drawn")


def hardenVolume(flow):
    node = flow.case.volumeNode
    transform(node)
    node.HardenTransform()
    refusesToCommit(flow, "another grid|Nothing is drawn")


def transform(*nodes):
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(2, 3, 7.0)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "registration")
    node.SetMatrixTransformToParent(matrix)
    for moved in nodes:
        moved.SetAndObserveTransformNodeID(node.GetID())


def refusesToCommit(flow, words):
    with pytest.raises(BadInput, match=words) as told:
        flow.session.annotating.commit()
    assert told.value.advice


def changeAnnotator(flow):
    flow.module.ui.annotatorLineEdit.text = "somebody else"
    flow.module.ui.annotatorLineEdit.editingFinished.emit()
    flow.module.settle()
    assert flow.session.annotator == "somebody else"
    flow.module.ui.annotatorLineEdit.text = "annotator"
    flow.module.ui.annotatorLineEdit.editingFinished.emit()


def deleteImages(flow):
    """All images of the cohort are gone for a while."""
    moved = flow.tmp / "gone"
    root = flow.study.cohort.root
    shutil.move(root, moved)
    try:
        with pytest.raises(BadInput, match=str(root)):
            flow.session.openSlice(SliceId(flow.study.cohort.volumes[1].id, 0))
        flow.module.settle()
        assert "No slice is open" in flow.module.ui.taskLabel.toolTip
    finally:
        shutil.move(moved, root)


def changeImage(flow):
    """An image was replaced by one of another size."""
    import SimpleITK

    volume = flow.study.cohort.volumes[1]
    path = flow.study.cohort.path(volume.channels[0].paths[0])
    kept = path.read_bytes()
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.zeros((3, 7, 9), np.int16)), str(path))
    try:
        with pytest.raises(BadInput, match=path.name):
            flow.session.openSlice(SliceId(volume.id, 0))
        flow.module.settle()
    finally:
        path.write_bytes(kept)


def saveAndLoad(flow):
    """The scene is saved, and takes the place of itself."""
    path = flow.tmp / "saved.mrml"
    slicer.mrmlScene.Commit(str(path))
    slicer.mrmlScene.SetURL(str(path))
    slicer.mrmlScene.Connect()


def saveAndImport(flow):
    """A saved scene is loaded into the same, as ``slicer.util.loadScene`` does."""
    path = flow.tmp / "saved.mrml"
    slicer.mrmlScene.Commit(str(path))
    slicer.mrmlScene.SetURL(str(path))
    slicer.mrmlScene.Import()


def removeSliceNode(flow):
    slicer.mrmlScene.RemoveNode(flow.module.views.view.sliceNode)


def removeOpinion(flow):
    for node in (flow.session.display._prediction, flow.session.display._uncertainty):
        slicer.mrmlScene.RemoveNode(node)
    flow.module.settle()
    assert not flow.module.ui.uncertaintyCheckBox.checked
    assert not flow.module.ui.showPredictionCheckBox.checked


def leaveAndReturn(flow):
    flow.module.loaded.exit()
    flow.host.settle()
    flow.module.loaded.enter()


ALWAYS = (
    clearScene,
    reloadModule,
    otherStudy,
    changeAnnotator,
    saveAndLoad,
    saveAndImport,
    removeSliceNode,
    leaveAndReturn,
)
WITH_STUDY = (closeStudy, deleteImages, changeImage)
WITH_CASE = (
    removeVolume,
    removeSegmentation,
    rename,
    addSegment,
    removeSegment,
    moveVolume,
    moveSegmentation,
    moveBoth,
    hardenVolume,
)


def combinations():
    for step in STEPS:
        for event in ALWAYS:
            yield step, event
        if step is not noStudy:
            yield from ((step, event) for event in WITH_STUDY)
        if STEPS.index(step) >= STEPS.index(sliceOpen):
            yield from ((step, event) for event in WITH_CASE)
    yield opinionShown, removeOpinion


@pytest.mark.parametrize(
    ("step", "event"), [pytest.param(s, e, id=f"{s.__name__}-{e.__name__}") for s, e in combinations()]
)
def test_nothing_is_lost(flow, step, event):
    if event in (deleteImages, changeImage):
        flow.cohorts = shutil.copytree(flow.cohorts, flow.tmp / "cohorts")
    step(flow)
    before = flow.commits() if flow.study is not None else {}
    module = flow.module
    event(flow)
    flow.module.settle()
    flow.module.wiring.update()
    assert not flow.host.errors
    if flow.held is not None and flow.module is module:
        flow.answer()
    if step is noStudy:
        if flow.study is None:
            flow.createStudy()
    elif flow.study is None or flow.study.folder != flow.folder:
        flow.module.logic.openStudy(flow.folder)
    assert flow.commits() == before
    checkStrokes(flow)
    flow.session.cases.close()  # strokes that are still there must come back from their draft as well
    checkStrokes(flow)
    goesOn(flow, before)
    flow.close()
    assert not ownedNodes()
    assert not flow.host.errors


def checkStrokes(flow):
    for sliceId, planes in flow.expected.items():
        flow.session.openSlice(sliceId)
        found = planesOf(flow.case, sliceId.index)
        assert same(found, planes), (sliceId, list(found), list(planes))


def goesOn(flow, before):
    """Another slice of another volume can be opened, drawn on and committed."""
    sliceId = SliceId(flow.study.cohort.volumes[2].id, 0)
    flow.session.openSlice(sliceId)
    flow.module.settle()
    assert flow.module.ui.taskLabel.text == flow.session.describeTask()
    flow.module.draw(1, flow.mask())
    assert flow.module.ui.commitButton.enabled
    flow.module.click("commitButton")
    after = flow.commits()
    assert after.keys() == before.keys() | {sliceId}
    assert {s: after[s] for s in before} == before


# What one can do to the drawing, and take back


@pytest.fixture
def drawing(flow):
    """A slice is open, with strokes."""
    suggested(flow)
    flow.session.openRequest(1)
    flow.module.draw(1, flow.mask())
    return flow


def test_undo_takes_back_the_prediction_in_one_step(drawing):
    giveReview(drawing)
    index = drawing.session.task.slice.index
    before = planesOf(drawing.case, index)
    drawing.session.overlays.startFromPrediction()
    assert same(planesOf(drawing.case, index), {"Segment_2": predicted(drawing)})
    drawing.module.editor.stroke.undo()
    assert same(planesOf(drawing.case, index), before)


def predicted(flow):
    plane = np.zeros(flow.case.volume.plane_shape, dtype=bool)
    plane[10:20, 10:25] = True
    return plane


@pytest.mark.parametrize("stored", [True, False], ids=["committed", "never committed"])
def test_undo_takes_back_a_revert_in_one_step(drawing, stored):
    index = drawing.session.task.slice.index
    shown = {}
    if stored:
        drawing.session.annotating.commit()
        shown = planesOf(drawing.case, index)
    drawing.module.draw(2, drawing.mask(15))
    name = drawing.case.segmentationNode.GetSegmentation().AddEmptySegment("", "own")
    drawing.module.editor.stroke.paint(name, drawing.case.volume.axis, index, drawing.mask(28))
    before = planesOf(drawing.case, index)
    drawing.module.settle()
    drawing.module.click("revertButton")
    assert same(planesOf(drawing.case, index), shown)
    drawing.module.editor.stroke.undo()
    assert same(planesOf(drawing.case, index), before)


def test_overlap_is_refused_and_settled_in_one_step(drawing):
    overlap(drawing)
    index = drawing.session.task.slice.index
    before = planesOf(drawing.case, index)
    drawing.module.click("commitButton")
    assert "overlap" in drawing.module.message
    assert not drawing.study.annotations()
    drawing.module.click("overlapButton")
    assert drawing.case.capture(index)[10, 10] == 3
    drawing.module.editor.stroke.undo()
    assert same(planesOf(drawing.case, index), before)
    drawing.session.annotating.resolveOverlap()
    drawing.settle()
    drawing.module.click("commitButton")
    (stored,) = drawing.study.annotations().values()
    assert np.array_equal(stored.labels == 3, drawing.mask())
    assert not drawing.module.ui.overlapButton.enabled


def overlap(flow):
    """Strokes as with "Modify other segments: allow overlap"."""
    case, index = flow.case, flow.session.task.slice.index
    planes = {"Segment_1": flow.mask(), "Segment_3": flow.mask()}
    writeSegmentPlanes(case.segmentationNode, case.volumeNode, case.volume.axis, index, planes)
    flow.settle()


def test_an_overlap_comes_back_as_a_draft(drawing):
    overlap(drawing)
    sliceId = drawing.session.task.slice
    drawing.session.cases.close()
    drawing.session.openSlice(sliceId)
    assert planesOf(drawing.case, sliceId.index).keys() == {"Segment_1", "Segment_3"}


def test_settling_belongs_to_its_slice(drawing):
    overlap(drawing)
    drawing.module.click("commitButton")
    drawing.module.click("nextButton")
    assert not drawing.module.ui.overlapButton.enabled


def specifyGeometry(node, geometry, resample):
    logic = slicer.vtkSlicerSegmentationGeometryLogic()
    logic.SetInputSegmentationNode(node)
    logic.SetSourceGeometryNode(geometry)
    logic.CalculateOutputGeometry()
    logic.SetReferenceImageGeometryInSegmentationNode()
    if resample:
        logic.ResampleLabelmapsInSegmentationNode()


@pytest.mark.parametrize("resample", [False, True], ids=["meant", "done"])
def test_another_geometry_is_refused_and_the_way_out_works(drawing, resample):
    case, index = drawing.case, drawing.session.task.slice.index
    before = planesOf(case, index)
    other = slicer.util.addVolumeFromArray(np.zeros((3, 11, 13), np.int16), name="other grid")
    other.SetSpacing(1.3, 1.7, 2.9)
    specifyGeometry(case.segmentationNode, other, resample)
    drawing.settle()
    drawing.module.annotate = drawing.module.wiring.annotate
    drawing.module.annotate.autosave()
    drawing.module.annotate._showState()
    drawing.module.click("commitButton")
    assert "another grid" in drawing.module.message
    assert "Specify geometry" in drawing.module.message
    assert not drawing.study.annotations()
    if resample:  # what is drawn may be cut by it, but is still there
        drawing.session.openRequest(1)
        assert drawing.case is case
        return
    specifyGeometry(case.segmentationNode, case.volumeNode, resample)
    assert same(planesOf(case, index), before)
    drawing.module.click("commitButton")
    assert len(drawing.study.annotations()) == 1


def test_what_cannot_be_kept_stays_in_the_scene(drawing):
    """A resampled segmentation fits no slice: going on is possible, and the drawing is the person's own then."""
    node, image = drawing.case.segmentationNode, drawing.case.volumeNode
    node.SetName("precious")
    other = slicer.util.addVolumeFromArray(np.zeros((9, 90, 90), np.int16), name="other grid")
    other.SetSpacing(0.5, 0.5, 5.0)
    specifyGeometry(node, other, True)
    drawing.session.openRequest(3)
    assert drawing.session.task.row.number == 3
    assert "precious" in drawing.module.message
    assert slicer.mrmlScene.IsNodePresent(node)
    assert slicer.mrmlScene.IsNodePresent(image)
    drawing.session.openRequest(1)
    drawing.close()
    assert slicer.mrmlScene.IsNodePresent(node)
    assert not ownedNodes()


def test_empty_commit_and_skip_are_refused_with_words(drawing):
    session = drawing.session
    assert not drawing.module.ui.emptyButton.enabled
    with pytest.raises(BadInput, match="Something is drawn"):
        session.annotating.commit(empty=True)
    session.annotating.revert()
    with pytest.raises(BadInput, match="Nothing is drawn"):
        session.annotating.commit()
    drawing.settle()
    assert not drawing.module.ui.commitButton.enabled
    with pytest.raises(BadInput, match="reason is missing"):
        session.annotating.skip("  ")
    assert [row.status for row in session.requests.rows] == ["open"] * REQUESTS
    drawing.module.ui.reasonComboBox.setCurrentText("blurred")
    drawing.module.click("flagButton")
    assert "⚑" in drawing.module.ui.requestsTable.item(0, 5).text()
    sliceId = session.task.slice
    drawing.module.click("skipButton")
    assert drawing.study.skipped()[sliceId] == "blurred"
    assert "skipped" in drawing.module.ui.requestsTable.item(0, 5).text()
    drawing.module.click("emptyButton")
    assert not drawing.study.annotations()[SliceId(sliceId.volume, 3)].labels.any()


def test_a_committed_slice_comes_back_and_is_committed_again(drawing):
    giveReview(drawing)
    session = drawing.session
    session.overlays.startFromPrediction()
    sliceId = session.annotating.commit()
    for _ in range(2):
        session.cases.close()
        session.openSlice(sliceId)
        assert not session.drafts.isDirty
        assert same(planesOf(drawing.case, sliceId.index), {"Segment_2": predicted(drawing)})
    drawing.module.draw(3, drawing.mask(25))
    session.annotating.commit()
    (annotation,) = drawing.study.annotations().values()
    assert annotation.prelabel == MODEL  # what was a start once is in there still
    (file,) = drawing.study.slice_files()
    assert len(file.slices[sliceId.index].versions) == 1
    assert not drawing.study.drafts.all(session.annotator)


@pytest.mark.filterwarnings("ignore:does not have observer")
def test_drafts_survive_a_killed_process(drawing):
    sliceId = drawing.session.task.slice
    before = planesOf(drawing.case, sliceId.index)
    drawing.session.timer.start(42.0)
    drawing.module.wiring.annotate.autosave()
    drawing.session.scene.close()  # no word to it any more
    drawing.module.editor.setNodes(None, None)
    again = Session()
    again.openStudy(drawing.folder)
    again.openSlice(sliceId)
    assert again.case.restored == (sliceId.index,)
    assert same(planesOf(again.case, sliceId.index), before)
    assert again.timer.seconds == pytest.approx(42.0, abs=2.0)
    again.close()


def test_two_annotators_do_not_see_each_others_strokes(drawing):
    session = drawing.session
    sliceId = session.annotating.commit()
    drawing.module.draw(2, drawing.mask(20))
    session.setAnnotator("Bea")
    session.openSlice(sliceId)
    assert drawing.case.isEmpty(sliceId.index)
    drawing.module.draw(3, drawing.mask(4))
    session.setAnnotator("annotator")
    session.openSlice(sliceId)
    assert planesOf(drawing.case, sliceId.index).keys() == {"Segment_1", "Segment_2"}
    session.setAnnotator("Bea")
    session.openSlice(sliceId)
    assert planesOf(drawing.case, sliceId.index).keys() == {"Segment_3"}


def test_a_name_that_is_none_is_refused(drawing):
    line = drawing.module.ui.annotatorLineEdit
    line.text = "x" * 400
    line.editingFinished.emit()
    assert "too long" in drawing.module.message
    assert line.text == drawing.session.annotator == "annotator"
    assert drawing.session.task is not None


def test_only_active_seconds_count(drawing):
    now = [100.0]
    drawing.session.timer = ActivityTimer(lambda: now[0])
    drawing.session.openRequest(1)
    for pause in (5.0, 20.0, 3600.0, 4.0):  # an hour of lunch
        now[0] += pause
        drawing.module.draw(1, drawing.mask())
    now[0] += 2.0
    sliceId = drawing.session.annotating.commit()
    assert drawing.study.annotations()[sliceId].seconds == pytest.approx(31.0)


def test_seconds_go_on_where_they_stopped(drawing):
    now = [0.0]
    drawing.session.timer = ActivityTimer(lambda: now[0])
    drawing.session.openRequest(1)
    now[0] += 10.0
    drawing.session.openRequest(3)  # another volume
    now[0] += 500.0
    drawing.session.openRequest(1)
    now[0] += 7.0
    sliceId = drawing.session.annotating.commit()
    assert drawing.study.annotations()[sliceId].seconds == pytest.approx(17.0)


def test_a_copy_of_the_drawing_is_the_persons_own(drawing):
    copy = slicer.vtkMRMLSegmentationNode()
    copy.CopyContent(drawing.case.segmentationNode)
    slicer.mrmlScene.AddNode(copy)
    assert copy.GetAttribute(OWNER)
    drawing.session.openRequest(3)
    drawing.session.openRequest(1)
    drawing.close()
    assert slicer.mrmlScene.IsNodePresent(copy)
    assert not ownedNodes()


def test_an_image_that_is_moved_cannot_be_called_empty(drawing):
    drawing.session.annotating.revert()
    transform(drawing.case.volumeNode)
    with pytest.raises(BadInput, match="moved by the transform"):
        drawing.session.annotating.commit(empty=True)
    drawing.session.openRequest(1)
    drawing.session.annotating.commit(empty=True)


def test_what_somebody_left_of_a_volume_goes_with_the_study(drawing):
    image = drawing.case.volumeNode
    slicer.mrmlScene.RemoveNode(drawing.case.segmentationNode)
    assert slicer.mrmlScene.IsNodePresent(image)
    drawing.session.openRequest(3)
    drawing.settle()
    assert not slicer.mrmlScene.IsNodePresent(image)
    image = drawing.case.volumeNode
    slicer.mrmlScene.RemoveNode(drawing.case.segmentationNode)
    drawing.session.closeStudy()
    assert not slicer.mrmlScene.IsNodePresent(image)


def test_the_background_of_scribbles_comes_back_too(flow):
    flow.module.logic.createStudy(flow.folder, flow.cohorts / "one", annotation="scribble")
    flow.suggest()
    flow.session.openRequest(1)
    flow.draw(1)
    flow.draw(0, 22)
    flow.case.segmentationNode.GetSegmentation().RemoveSegment("Background")
    with pytest.raises(BadInput, match="removed: 'Background'"):
        flow.session.annotating.commit()
    checkStrokes(flow)
    sliceId = flow.session.annotating.commit()
    assert set(np.unique(flow.study.annotations()[sliceId].labels)) == {0, 1, 255}


def test_next_goes_past_an_image_that_cannot_be_read(flow, tmp_path):
    flow.cohorts = shutil.copytree(flow.cohorts, tmp_path / "cohorts")
    suggested(flow)
    volume = flow.study.cohort.volumes[0]
    flow.study.cohort.path(volume.channels[0].paths[0]).unlink()
    for _ in range(2):
        flow.module.click("nextButton")
        assert flow.session.task is None
        assert volume.id in flow.module.message
    flow.module.click("nextButton")
    assert flow.session.task.row.number == 3


def test_a_lost_study_folder_costs_the_strokes_nothing(drawing):
    """The drawing stays in the scene, nothing is written where the folder was, and the module closes."""
    node = drawing.case.segmentationNode
    shutil.rmtree(drawing.folder)
    drawing.module.wiring.annotate.autosave()
    assert "no study" in drawing.module.message
    for name in ("commitButton", "flagButton", "skipButton", "revertButton", "nextButton"):
        drawing.module.ui.reasonComboBox.setCurrentText("blurred")
        if getattr(drawing.module.ui, name).enabled:
            drawing.module.click(name)
    drawing.module.click("closeStudyButton")
    assert drawing.study is None
    assert "left in the scene" in drawing.module.message or not slicer.mrmlScene.IsNodePresent(node)
    assert slicer.mrmlScene.IsNodePresent(node)
    assert not drawing.folder.exists()
    drawing.close()
    assert not ownedNodes()


def test_a_damaged_study_is_refused_whole(drawing, tmp_path):
    drawing.session.annotating.commit()
    (file,) = drawing.folder.glob("annotations/**/*.slices.json")
    file.write_text("{", encoding="utf-8")
    drawing.session.closeStudy()
    with pytest.raises(BadInput, match="damaged"):
        drawing.session.openStudy(drawing.folder)
    assert drawing.study is None
    drawing.createStudy("two", tmp_path / "other")
    assert drawing.study is not None


def test_an_opinion_that_cannot_be_read_unticks_its_box(drawing):
    giveReview(drawing)
    for path in (drawing.tmp / "labels.nii.gz", drawing.tmp / "uncertainty.nii.gz"):
        path.write_bytes(b"no image")
    drawing.module.work._study, drawing.module.work._curve = drawing.study, [curveEntry()]
    drawing.module.wiring.update()
    for name in ("showPredictionCheckBox", "uncertaintyCheckBox", "predictionButton"):
        drawing.module.click(name)
        assert re.search("readable|cannot be read", drawing.module.message), name
        assert not drawing.module.ui.showPredictionCheckBox.checked
        assert not drawing.module.ui.uncertaintyCheckBox.checked


def curveEntry():
    return {"annotated": 1, "unseen": None, "reference": None}


def test_a_job_that_ends_after_its_study_is_gone_is_told_not_raised(flow):
    workerBusy(flow)
    shutil.rmtree(flow.folder)
    flow.answer()
    assert "no study" in flow.module.message
    assert not flow.host.errors


# Strategies that cannot be used


def known(name, hindrance="", **options):
    options = {option: {"default": 1.0, "meaning": "what it does"} for option in options}
    return {"name": name, "summary": f"This is {name}.", "options": options, "hindrance": hindrance}


@pytest.fixture
def choosing(flow):
    """A study and what the worker says of three strategies."""
    suggested(flow)
    flow.hold()
    strategies = [known("recommended"), known("power", beta=1), known("vote", "Needs two or more models.")]
    flow.answers["strategies"] = {"strategies": strategies}
    flow.answer()
    return flow


def canBeChosen(box, row):
    return bool(int(box.model().flags(box.model().index(row, 0)).value) & 32)


def test_a_strategy_that_cannot_be_used_cannot_be_chosen_or_asked(choosing):
    import qt

    ui = choosing.module.ui
    box = ui.strategyComboBox
    assert [canBeChosen(box, row) for row in range(3)] == [True, True, False]
    assert box.itemData(2, qt.Qt.ToolTipRole) == "Needs two or more models."
    assert ui.suggestButton.enabled
    choosing.module.widget.logic.getParameterNode().strategy = "vote:hard"  # as a scene may bring it
    choosing.module.wiring.update()
    assert box.currentIndex == 2
    assert "Cannot be used now: Needs two or more models. This is vote." in ui.strategyLabel.text
    assert not ui.suggestButton.enabled
    assert ui.suggestButton.toolTip == "Needs two or more models."
    jobs = len(choosing.held.jobs)
    choosing.module.wiring.suggest.act(choosing.module.wiring.suggest.suggest)()
    assert "Needs two or more models" in choosing.module.message
    assert len(choosing.held.jobs) == jobs


def test_what_hinders_one_study_hinders_no_other(choosing):
    otherStudy(choosing)
    choosing.settle()
    assert canBeChosen(choosing.module.ui.strategyComboBox, 2)
    choosing.answers["strategies"] = {"strategies": [known("recommended"), known("vote")]}
    choosing.module.work.readStrategies()
    choosing.answer()
    assert choosing.module.ui.strategyComboBox.count == 2


def test_strategies_are_judged_anew_when_the_first_mark_comes_or_the_last_goes(choosing):
    def asked():
        return [job.name for job in choosing.held.jobs].count("strategies")

    choosing.session.openRequest(1)
    choosing.module.settle()
    vote, before = choosing.answers["strategies"]["strategies"][2], asked()
    for name, hindrance, more in (
        ("firstSliceButton", "", 1),
        ("lastSliceButton", "", 1),  # the study has a mark already
        ("clearExtentButton", "Needs marks.", 2),
    ):
        vote["hindrance"] = hindrance
        choosing.module.click(name)
        assert asked() == before + more, name
        choosing.answer()
        assert canBeChosen(choosing.module.ui.strategyComboBox, 2) == (not hindrance), name


def test_marks_start_no_worker_that_nobody_asked(flow):
    suggested(flow)
    flow.session.openRequest(1)
    flow.module.settle()
    flow.module.click("firstSliceButton")
    assert flow.module.work.client.state == "stopped"
    assert not flow.module.work.running


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("", "power"),
        ("entropy", "power:entropy"),
        (" entropy/beta=5 ", "power:entropy/beta=5"),
        ("beta=5", "power/beta=5"),
        ("/beta=5", "power/beta=5"),
        ("nt-xent=1+volume=0.5", "power:nt-xent=1+volume=0.5"),
    ],
)
def test_argument_and_options_of_a_strategy_can_be_written(choosing, text, asked):
    ui = choosing.module.ui
    ui.strategyComboBox.setCurrentIndex(1)
    assert ui.strategyLabel.text == "This is power. Options: beta."
    assert "beta=1.0: what it does" in ui.strategyOptionsLineEdit.toolTip
    ui.strategyOptionsLineEdit.text = text
    choosing.settle()
    assert ui.strategyOptionsLineEdit.text == text
    choosing.module.click("suggestButton")
    assert choosing.held.jobs[-1].options["strategy"] == asked
    choosing.answer()
    ui.strategyComboBox.setCurrentIndex(0)
    assert ui.strategyOptionsLineEdit.text == ""


def test_options_come_with_the_scene(choosing):
    ui = choosing.module.ui
    for strategy, row, text in (("power:entropy/beta=5", 1, "entropy/beta=5"), ("power/beta=5", 1, "/beta=5")):
        choosing.module.widget.logic.getParameterNode().strategy = strategy
        choosing.module.wiring.update()
        assert (ui.strategyComboBox.currentIndex, ui.strategyOptionsLineEdit.text) == (row, text)
        assert choosing.module.widget.logic.getParameterNode().strategy == strategy


# What is left of the module when it is closed


def counts(flow):
    scene = slicer.mrmlScene
    view = flow.module.views.view
    watched = (scene, view.sliceNode, view.compositeNode, slicer.app.applicationLogic())
    actors = view.renderer.GetActors2D().GetNumberOfItems()
    return scene.GetNumberOfNodes(), actors, [observers(thing) for thing in watched]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_closing_leaves_nothing_behind(flow, step):
    found = []
    for number in range(5 if step in (noStudy, opinionShown) else 2):
        flow.folder = flow.tmp / f"study{number}"
        flow.expected = {}
        step(flow)
        wiring, client = flow.module.wiring, flow.module.work.client
        segmentation = flow.case.segmentationNode.GetSegmentation() if flow.case is not None else None
        flow.close()
        timers = (wiring._timer, wiring.annotate._autosave, wiring.annotate._tick, client._watch)
        assert not any(timer.isActive() for timer in timers)
        assert flow.module.editor.nodes == (None, None)
        assert not ownedNodes()
        assert slicer.mrmlScene.GetFirstNodeByName("ActiveSegmentation uncertainty") is None
        if segmentation is not None:
            assert not any(segmentation.HasObserver(event) for event in module_session().EDITS)
        found.append(counts(flow))
        flow.open()
    assert all(count == found[0] for count in found), found


def module_session():
    from ActiveSegmentationLib.scene import studySession

    return studySession


def test_leaving_the_module_lets_go_of_the_parameters(drawing):
    node = slicer.mrmlScene.GetSingletonNode("ActiveSegmentation", "vtkMRMLScriptedModuleNode")
    shown = observers(node)
    drawing.module.loaded.exit()
    drawing.session.changed.emit()
    drawing.settle()
    left = observers(node)
    assert left < shown
    slicer.mrmlScene.Clear(0)
    drawing.settle()
    drawing.module.loaded.enter()
    drawing.settle()
    node = slicer.mrmlScene.GetSingletonNode("ActiveSegmentation", "vtkMRMLScriptedModuleNode")
    assert observers(node) == shown


def test_a_busy_worker_is_gone_with_the_module(flow):
    flow.module.work.index(flow.cohorts / "one", lambda cohort, labels: None)
    client = flow.module.work.client
    assert flow.host.waitFor(lambda: client.pid, 30)
    pid = client.pid
    flow.module.work.index(flow.cohorts / "two", lambda cohort, labels: None)
    flow.close()
    assert client.state == "stopped"
    assert not client.busy
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_shortcuts_are_given_back(host):
    import qt

    from ActiveSegmentationLib.panels.shortcuts import Shortcuts

    window = qt.QMainWindow()
    pressed = []
    shortcuts = Shortcuts(window, {"Ctrl+Return": lambda *args: pressed.append(1), "N": lambda *args: None})
    shortcuts.setEnabled(True)
    assert len(window.findChildren(qt.QShortcut)) == 2
    shortcuts.remove()
    host.settle()
    assert not window.findChildren(qt.QShortcut)


def test_settings_of_another_version_do_not_matter(host, views, monkeypatch):
    import qt

    qt.QSettings().setValue("ActiveSegmentation/Device", "abacus")
    module = OpenModule(host, monkeypatch)
    assert module.ui.deviceComboBox.currentIndex == 0
    assert module.work.device == "auto"
    assert not host.errors


# What Slicer lacks


def test_without_torch_the_first_computation_tells_how_to_install(drawing, monkeypatch):
    from ActiveSegmentationLib.panels import dependencies

    class Absent:
        PackageNotFoundError = metadata.PackageNotFoundError

        @staticmethod
        def version(name):
            raise Absent.PackageNotFoundError(name)

    monkeypatch.setattr(dependencies, "metadata", Absent)
    drawing.reload()
    assert drawing.module.message == ""
    drawing.module.logic.openStudy(drawing.folder)
    drawing.settle()
    assert drawing.module.message == ""
    drawing.module.click("suggestButton")
    assert "PyTorch" in drawing.module.message
    assert "Extensions Manager" in drawing.module.message
    assert not drawing.module.work.running
    drawing.session.openRequest(2)
    drawing.module.draw(1, drawing.mask())
    drawing.module.click("commitButton")  # annotating needs none of it
    assert len(drawing.study.annotations()) == 1


def test_loading_the_module_imports_nothing_heavy():
    code = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "Testing" / "Python")!r}]
from host.host import start
host = start()
from ActiveSegmentationLib.panels import wiring
from module.module_helpers import MODULE, HostEditor, HostViews
views, wiring.SegmentEditor = HostViews(), lambda widget: HostEditor()
wiring.SlicerViews = lambda: views
loaded = host.loadModule(MODULE)
loaded.enter()
host.settle(0.1)
assert not host.errors
print("heavy:", sorted(set(sys.modules) & {{"torch", "sklearn", "monai"}}))
host.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert "heavy: []" in done.stdout, done.stdout + done.stderr


def test_a_display_node_that_a_copy_shares_stays(host, tmp_path):
    from ActiveSegmentationLib.scene.ownership import removeNodes

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "image")
    node.CreateDefaultDisplayNodes()
    copy = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "copy")
    copy.SetAndObserveDisplayNodeID(node.GetDisplayNode().GetID())
    display = node.GetDisplayNode()
    removeNodes([node])
    assert slicer.mrmlScene.IsNodePresent(display)
    removeNodes([copy])
    assert not slicer.mrmlScene.IsNodePresent(display)
