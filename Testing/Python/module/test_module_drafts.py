"""Commits, drafts and time: what is stored and restored."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.scene.activity import ActivityTimer
from ActiveSegmentationLib.scene.ownership import OWNER
from ActiveSegmentationLib.scene.session import Session

from .flow import MODEL, REQUESTS, checkStrokes, ownedNodes, planesOf, predicted, same
from .flow_events import transform
from .flow_steps import giveReview


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


def test_remaining_nodes_of_a_volume_go_with_the_study(drawing):
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
    flow.createStudy(annotation="scribble")
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
