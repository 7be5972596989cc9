"""The views on the real cohorts: whole slices, sensible brushes, strokes stored where they were drawn."""

from __future__ import annotations

import numpy as np
import pytest

from ActiveSegmentationLib.cohort import AnnotationKind, read_labels, slices_first

from .slice_contract import refusedOffSlice, scroll, undoEditor
from .views_contract import OneView, brushEditor, requireFilled, volumeSlice

COHORTS = ("hippocampus", "acdc", "mouse-brain")
VOLUMES = 4


@pytest.fixture(params=COHORTS)
def real(module, real_data, tmp_path, request):
    if not (real_data / request.param).is_dir():
        pytest.skip(f"there is no cohort {request.param}")

    class RealEditor(type(undoEditor()), type(brushEditor())):
        """Strokes with undo, and a brush."""

    views = OneView((700, 480))
    logic = module.loaded.python.ActiveSegmentationLogic(views, RealEditor())
    logic.createStudy(tmp_path / "study", real_data / request.param)
    yield logic.session
    logic.close()
    views.close()


def some(session):
    """A few volumes of a study, from its beginning to its end."""
    volumes = session.study.cohort.volumes
    return [volumes[number] for number in np.linspace(0, len(volumes) - 1, VOLUMES).astype(int)]


def test_every_volume_fills_the_view(real):
    node = real.display.views.annotationView().sliceNode
    volumes = some(real)
    for volume in (*volumes, *reversed(volumes[:-1])):
        middle = volume.slice_count // 2
        real.openSlice(volumeSlice(volume, middle))
        requireFilled(real, middle)
        before = node.GetFieldOfView()
        node.SetFieldOfView(before[0] / 3, before[1] / 3, before[2])
        real.openSlice(volumeSlice(volume, middle + 1))
        assert np.allclose(node.GetFieldOfView()[:2], np.array(before[:2]) / 3)


def test_what_is_drawn_is_stored_and_nothing_off_the_slice(real):
    for volume in some(real):
        truth = read_labels(real.study.cohort, volume, AnnotationKind.MASK)
        planes = slices_first(truth, volume.axis)
        index = int(planes.any(axis=(1, 2)).argmax())
        real.openSlice(volumeSlice(volume, index))
        for value in real.study.labels.values:
            if (planes[index] == value).any():
                real.editor.stroke.paint(f"Segment_{value}", volume.axis, index, planes[index] == value)
        scroll(real, index + 1)
        refusedOffSlice(real.annotating.commit, f"You are on slice {index + 2}")
        real.view.goBack()
        sliceId = real.annotating.commit()
        real.editor.stroke.undo()
        stored = real.study.annotations(volume=volume.id)[sliceId].labels
        assert np.array_equal(stored, planes[index])
        assert np.array_equal(real.case.capture(index), planes[index])
