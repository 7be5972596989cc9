"""Changes of the drawing, and undoing them: undo, overlaps, another geometry."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from ActiveSegmentationLib.scene.strokes import writeSegmentPlanes

from .flow import ownedNodes, planesOf, predicted, same
from .flow_steps import giveReview


def test_undo_takes_back_the_prediction_in_one_step(drawing):
    giveReview(drawing)
    index = drawing.session.task.slice.index
    before = planesOf(drawing.case, index)
    drawing.session.overlays.startFromPrediction()
    assert same(planesOf(drawing.case, index), {"Segment_2": predicted(drawing)})
    drawing.module.editor.stroke.undo()
    assert same(planesOf(drawing.case, index), before)


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
    """A resampled segmentation fits no slice: work can go on, and the drawing counts as the user's own."""
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
