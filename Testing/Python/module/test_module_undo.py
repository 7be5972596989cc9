"""What is out of view is neither undone nor stored, whichever volume, slice or layout was seen before."""

from __future__ import annotations

import operator

import numpy as np
import pytest

from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import BadInput

from .slice_contract import rectangle, scroll, undoEditor
from .views_contract import OneView, openCohort


@pytest.fixture
def session(module, tmp_path):
    views = OneView()
    logic = openCohort(module.loaded.python, tmp_path, views, undoEditor())
    yield logic.session
    logic.close()
    views.close()


def test_undo_ends_also_on_the_slice_number_that_an_earlier_volume_was_left_at(session):
    first, second = session.study.cohort.volumes[1], session.study.cohort.volumes[3]
    session.openSlice(SliceId(first.id, 2))
    scroll(session, 3)
    session.openSlice(SliceId(second.id, 1))
    session.editor.stroke.paint("Segment_1", second.axis, 1, rectangle(second))
    scroll(session, 3)
    session.editor.stroke.undo()
    session.view.goBack()
    assert np.array_equal(session.case.capture(1) == 1, rectangle(second))


def test_a_slice_that_cannot_be_opened_leaves_the_open_one_as_it_was(session, monkeypatch):
    volume = session.study.cohort.volumes[1]
    session.openSlice(SliceId(volume.id, 2))

    def gone(*_, **__):
        raise BadInput("There is no such file or folder.")

    monkeypatch.setattr(session.study, "slice_files", gone)
    with pytest.raises(BadInput, match="no such file"):
        session.openSlice(SliceId(volume.id, 3))
    assert session.task.slice.index == 2
    assert session.view.isOnSlice
    assert session.timer._last is not None, "the time is still counted"


@pytest.mark.parametrize("act", ["annotating.commit", "view.annotateShown", "annotating.revert"])
def test_nothing_is_stored_while_the_layout_has_no_slice_view(session, monkeypatch, act):
    volume = session.study.cohort.volumes[1]
    session.openSlice(SliceId(volume.id, 2))
    session.editor.stroke.paint("Segment_1", volume.axis, 2, rectangle(volume))
    with monkeypatch.context() as layout:
        layout.setattr(session.display.views, "annotationView", lambda: None)
        assert not session.view.isOnSlice
        assert "no slice view" in session.view.offSliceText()
        with pytest.raises(BadInput):
            operator.attrgetter(act)(session)()
        session.openSlice(SliceId(volume.id, 3))
        assert not session.view.isOnSlice
    assert not session.study.annotations()
    assert not session.view.isOnSlice
    session.view.goBack()
    assert session.view.isOnSlice
    session.openSlice(SliceId(volume.id, 2))
    session.annotating.commit()
    assert len(session.study.annotations()) == 1
