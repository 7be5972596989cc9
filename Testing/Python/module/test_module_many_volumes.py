"""With many volumes, work on one reads and lists no file of the others."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from ActiveSegmentationLib.cohort import AnnotationKind, SliceId
from ActiveSegmentationLib.study import Request, RequestList, SliceAnnotation

from .slice_contract import rectangle, undoEditor
from .views_contract import OneView

VOLUMES = 24
touched = []
watching = []
FILES = ("open", "os.listdir", "os.scandir")


def _watch(event, arguments):
    if watching and event in FILES and isinstance(arguments[0], str | bytes | os.PathLike):
        touched.append(os.fsdecode(arguments[0]))


sys.addaudithook(_watch)


def filesOf(act, folder):
    """Paths within a folder that are opened or listed by an action."""
    touched.clear()
    watching.append(True)
    try:
        act()
        return [path for path in touched if path.startswith(str(folder))]
    finally:
        watching.clear()


@pytest.fixture
def many(module, tmp_path):
    import SimpleITK

    (tmp_path / "cohort").mkdir()
    for number in range(VOLUMES):
        image = SimpleITK.GetImageFromArray(np.full((3, 12, 10), number, np.int16))
        image.SetSpacing((1.0, 1.0, 3.0))
        SimpleITK.WriteImage(image, str(tmp_path / "cohort" / f"v{number:02}.nrrd"))
    views = OneView()
    logic = module.loaded.python.ActiveSegmentationLogic(views, undoEditor())
    study = logic.createStudy(tmp_path / "study", tmp_path / "cohort", labels="1=one,2=two")
    requests = [Request(SliceId(volume.id, 1), volume.patient, 2, None, "because") for volume in study.cohort.volumes]
    study.requests.write(RequestList(1, "strided", 0, {}, tuple(requests)))
    logic.session.refresh()
    yield logic.session
    logic.close()
    views.close()


def commitOn(session, number):
    volume = session.study.cohort.volumes[number]
    session.openSlice(SliceId(volume.id, 1))
    session.editor.stroke.paint("Segment_1", volume.axis, 1, rectangle(volume))
    session.annotating.commit()


def skipAndFlag(session, number):
    session.openSlice(SliceId(session.study.cohort.volumes[number].id, 2))
    session.annotating.flag("look")
    session.annotating.skip("blurred")
    session.openSlice(SliceId(session.study.cohort.volumes[number].id, 0))
    session.annotating.revert()
    session.drafts.save()


@pytest.mark.parametrize("act", [commitOn, skipAndFlag])
def test_files_that_are_read_do_not_grow_with_the_volumes(many, act):
    before = len(filesOf(lambda: act(many, 0), many.study.folder))
    plane = np.zeros((12, 10), np.uint8)
    plane[2:5, 2:5] = 1
    others = [volume.id for volume in many.study.cohort.volumes[2:]]
    many.study.commit(
        [SliceAnnotation(SliceId(name, 1), plane, AnnotationKind.MASK, "annotator", 1, 1.0, "") for name in others]
    )
    many.refresh()
    found = filesOf(lambda: act(many, 1), many.study.folder)
    assert not [path for path in found if any(f"{os.sep}{name}{os.sep}" in path for name in others)]
    assert len(found) < before + 8
    assert many.requests.annotatedCount == len(others) + (2 if act is commitOn else 0)


def test_a_refresh_reads_again_what_has_changed_only(many):
    for number in range(4):
        commitOn(many, number)
    many.refresh()
    again = filesOf(many.refresh, many.study.folder)
    assert not [path for path in again if path.endswith(".slices.json")]
    many.study.flag(SliceId(many.study.cohort.volumes[2].id, 1), "annotator", "look")
    many.study.flag(SliceId(many.study.cohort.volumes[3].id, 1), "annotator", "look")
    again = [path for path in filesOf(many.refresh, many.study.folder) if path.endswith(".slices.json")]
    assert len(again) == 2
    assert [row.flagged for row in many.requests.rows[:5]] == [False, False, True, True, False]
    assert [row.status for row in many.requests.rows[:5]] == ["committed"] * 4 + ["open"]


def test_rows_agree_with_the_study(many):
    """Compared with the study's own slow answers, after commits, skips, flags and exclusions."""
    commitOn(many, 0)
    skipAndFlag(many, 1)
    many.openSlice(SliceId(many.study.cohort.volumes[5].id, 1))
    many.annotating.skip("no")
    many.excludeVolume(many.study.cohort.volumes[3].id, "broken")
    for name in (many.study.cohort.volumes[3].id, many.study.cohort.volumes[4].id):
        many.excludeVolume(name, "broken")
    many.includeVolume(many.study.cohort.volumes[4].id)
    open_ = {request.slice for request in many.study.open_requests(1)}
    flagged = many.study.flagged()
    for row in many.requests.rows:
        assert (row.status == "open") == (row.request.slice in open_), row
        assert row.flagged == (row.request.slice in flagged)
    assert set(many.requests.annotated()) == set(many.study.annotations())
