"""Two Slicers work on one study under the same name: no commit silently replaces the other's, and versions are kept."""

from __future__ import annotations

import numpy as np
import pytest

from ActiveSegmentationLib.cohort import AnnotationKind, SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.study import ChangedMeanwhile, Draft, SliceAnnotation, Study

from .slice_contract import rectangle, undoEditor
from .views_contract import OneView, openCohort


@pytest.fixture
def session(module, tmp_path):
    views = OneView()
    logic = openCohort(module.loaded.python, tmp_path, views, undoEditor())
    yield logic.session
    logic.close()
    views.close()


def elsewhere(session, index, value, annotator="annotator"):
    """Another Slicer commits a slice; its label values."""
    volume = session.study.cohort.volumes[1]
    plane = np.zeros(volume.plane_shape, np.uint8)
    plane[1:4, 2:6] = value
    other = Study.open(session.study.folder)
    sliceId = SliceId(volume.id, index)
    other.commit([SliceAnnotation(sliceId, plane, AnnotationKind.MASK, annotator, None, 2.0, "")])
    return plane


def openAndDraw(session, index=2):
    volume = session.study.cohort.volumes[1]
    session.openSlice(SliceId(volume.id, index))
    session.editor.stroke.paint("Segment_1", volume.axis, index, rectangle(volume))
    return session.case.capture(index)


def stored(session, index=2):
    volume = session.study.cohort.volumes[1]
    return Study.open(session.study.folder).annotations(session.annotator)[SliceId(volume.id, index)].labels


@pytest.mark.parametrize("earlier", [False, True])
def test_a_commit_of_another_slicer_is_noticed(session, earlier):
    if earlier:
        openAndDraw(session)
        session.annotating.commit()
        session.editor.stroke.erase("Segment_1", session.case.volume.axis, 2, rectangle(session.case.volume))
        session.editor.stroke.paint("Segment_2", session.case.volume.axis, 2, rectangle(session.case.volume))
        mine = session.case.capture(2)
    else:
        mine = openAndDraw(session)
    theirs = elsewhere(session, 2, 2)
    with pytest.raises(ChangedMeanwhile, match="another Slicer") as refusal:
        session.annotating.commit()
    assert "slice 3" in refusal.value.where
    assert np.array_equal(stored(session), theirs)
    assert np.array_equal(session.case.capture(2), mine)
    session.annotating.commit()
    assert np.array_equal(stored(session), mine)
    versions = session.annotating.versions()
    assert len(versions) == 2 + earlier
    session.annotating.showVersion(versions[1])
    assert np.array_equal(session.case.capture(2), theirs)
    session.editor.stroke.undo()
    assert np.array_equal(session.case.capture(2), mine)
    session.annotating.showVersion(versions[0])
    assert not session.drafts.isDirty


def test_revert_shows_what_the_other_has_committed(session):
    openAndDraw(session)
    theirs = elsewhere(session, 2, 2)
    with pytest.raises(ChangedMeanwhile):
        session.annotating.commit()
    session.annotating.revert()
    assert np.array_equal(session.case.capture(2), theirs)
    session.editor.stroke.paint("Segment_1", session.case.volume.axis, 2, rectangle(session.case.volume))
    session.annotating.commit()


def test_a_slice_that_is_opened_again_shows_the_newest_commit(session):
    openAndDraw(session, 1)
    session.annotating.commit()
    theirs = elsewhere(session, 3, 2)
    session.openSlice(session.case.sliceId(3))
    assert np.array_equal(session.case.capture(3), theirs)
    assert not session.drafts.isDirty
    mine = openAndDraw(session, 4)
    session.openSlice(session.case.sliceId(1))
    elsewhere(session, 4, 2)
    session.openSlice(session.case.sliceId(4))
    assert np.array_equal(session.case.capture(4), mine), "own strokes stay"


def test_other_names_do_not_interfere(session):
    mine = openAndDraw(session)
    elsewhere(session, 2, 2, annotator="another annotator")
    session.annotating.commit()
    assert np.array_equal(stored(session), mine)
    assert len(session.annotating.versions()) == 1


def test_a_damaged_version_costs_nothing_else(session):
    mine = openAndDraw(session)
    session.annotating.commit()
    session.editor.stroke.paint("Segment_2", session.case.volume.axis, 2, rectangle(session.case.volume))
    session.annotating.commit()
    first = session.annotating.versions()[1]
    (path,) = session.study.folder.rglob("*.versions/*.npz")
    kept = path.read_bytes()
    path.write_bytes(kept[: len(kept) // 2])
    before = session.case.capture(2)
    with pytest.raises(BadInput, match="damaged"):
        session.annotating.showVersion(first)
    assert np.array_equal(session.case.capture(2), before)
    path.write_bytes(kept)
    session.annotating.showVersion(first)
    assert np.array_equal(session.case.capture(2), mine)
    assert list(session.study.audit.verify()) == []


def strokesElsewhere(session, index, corner):
    """Another Slicer keeps its own strokes on a slice, under the same name."""
    volume = session.study.cohort.volumes[1]
    plane = np.zeros(volume.plane_shape, bool)
    plane[corner, corner] = True
    other = Study.open(session.study.folder)
    other.drafts.save(Draft(SliceId(volume.id, index), AnnotationKind.MASK, {"Segment_2": plane}), session.annotator)
    return other, plane


def kept(session, name):
    """The draft of slice 3 under a name, as another process reads it."""
    drafts = Study.open(session.study.folder).drafts.all(name)
    return {segment: plane.tolist() for draft in drafts.values() for segment, plane in draft.planes.items()}


def test_strokes_of_another_slicer_are_not_replaced(session):
    errors = []
    session.failed.connect(errors.append)
    openAndDraw(session)
    session.drafts.save()
    assert not errors
    other, theirs = strokesElsewhere(session, 2, 5)
    assert list(kept(session, "annotator 2")) == ["Segment_2"], "the second one keeps its own under another name"
    assert list(kept(session, "annotator")) == ["Segment_1"]
    other.drafts.discard(session.task.slice, "annotator")
    assert not kept(session, "annotator 2")
    assert kept(session, "annotator")

    mine = session.study.drafts.all("annotator")[session.task.slice]
    other.drafts.all("annotator")  # now it has read it and continues with it
    other.drafts.save(Draft(session.task.slice, AnnotationKind.MASK, {"Segment_2": theirs}), "annotator")
    for _ in range(3):
        session.editor.stroke.undo()
        session.editor.stroke.redo()
        session.drafts.save()
    assert kept(session, "annotator") == {"Segment_2": theirs.tolist()}
    assert kept(session, "annotator 2") == {"Segment_1": mine.planes["Segment_1"].tolist()}
    assert not kept(session, "annotator 3")
    assert len(errors) == 1
    assert "annotator 2" in str(errors[0])
    session.annotating.commit()
    assert kept(session, "annotator") == {"Segment_2": theirs.tolist()}, "a commit keeps the other's strokes"
    assert not kept(session, "annotator 2")


def test_a_long_name_finds_another_one_too(session):
    session.setAnnotator("ä" * 60)
    openAndDraw(session)
    session.failed.connect(lambda error: None)
    strokesElsewhere(session, 2, 5)
    session.cases.close()
    volume = session.study.cohort.volumes[1]
    assert len(list((session.study.folder / "drafts").glob(f"*/{volume.id}/2.npz"))) == 2
