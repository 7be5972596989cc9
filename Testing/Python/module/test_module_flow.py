"""The whole flow through the panels, on a generated cohort."""

from __future__ import annotations

import numpy as np
import pytest

from ActiveSegmentationLib.cohort import AnnotationKind, read_labels, slices_first, write_phantom
from ActiveSegmentationLib.scene import shownSlice


def truth(session, kind=AnnotationKind.MASK):
    """The reference labels of the slice being annotated."""
    volume = session.case.volume
    labels = slices_first(read_labels(session.study.cohort, volume, kind), volume.axis)
    return labels[session.task.slice.index]


def test_panels_open_without_a_study(module):
    assert not module.ui.suggestButton.enabled
    assert "study" in module.ui.suggestButton.toolTip.lower()
    assert module.message == ""


def test_sample_to_first_commit_in_eight_clicks(module):
    module.click("sampleButton")
    assert module.session.study is not None
    module.click("suggestButton")
    module.finish()
    assert len(module.session.rows) == 10
    assert module.session.task is not None
    module.clicks += 1  # the stroke, with the brush that is chosen already
    module.drawTruth(truth(module.session))
    if module.session.case.isEmpty(module.session.task.slice.index):
        module.click("emptyButton")
    else:
        module.click("commitButton")
    assert module.session.annotatedCount == 1
    assert module.clicks <= 8


def test_whole_loop(module, tmp_path):
    write_phantom(tmp_path / "cohort", patients=3)
    module.click("newStudyButton")
    module.ui.cohortPathLineEdit.currentPath = str(tmp_path / "cohort")
    module.settle()
    module.click("lookButton")
    module.finish()
    assert module.ui.cohortTable.rowCount == 6
    assert module.ui.labelsTable.rowCount == 3
    module.ui.studyPathLineEdit.currentPath = str(tmp_path / "study")
    module.settle()
    module.click("createStudyButton")
    assert module.session.study is not None, module.message
    module.ui.countSpinBox.value = 4
    module.settle()
    module.click("suggestButton")
    module.finish()
    assert len(module.session.rows) == 4
    for _ in range(4):
        task = module.session.task
        view = module.views.view
        assert shownSlice(view.sliceNode, module.session.case.volume.geometry, 2) == task.slice.index
        assert module.session.display.text.startswith(f"Request {task.row.number} of 4")
        plane = truth(module.session)
        module.drawTruth(plane)
        module.click("commitButton" if plane.any() else "emptyButton")
        assert np.array_equal(module.session.study.annotations()[task.slice].labels, plane)
    assert "All requests are answered" in module.message
    module.ui.stepsSpinBox.value = 20
    module.settle()
    module.click("trainButton")
    module.finish()
    assert module.work.curve[-1]["annotated"] == 4, module.message
    module.click("predictButton")
    module.finish()
    assert module.ui.reviewTable.rowCount == 6
    module.click("suggestButton")
    module.finish()
    assert module.session.round == 2
    module.click("uncertaintyCheckBox")
    module.finish()
    assert module.session.display.uncertaintyShown, module.message
    module.click("showPredictionCheckBox")
    assert module.session.display.predictionShown, module.message
    module.click("predictionButton")
    index = module.session.task.slice.index
    assert module.session.case.prelabel(index) == module.session.review()["model"]
    module.ui.exportPathLineEdit.currentPath = str(tmp_path / "out")
    module.settle()
    module.click("exportButton")
    module.finish()
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == 6, module.message
    module.click("mapButton")
    module.finish()
    assert len(module.work.sliceMap["places"]) == sum(v.slice_count for v in module.session.study.cohort.volumes)
    module.click("curveButton")


@pytest.mark.parametrize("kind", ["scribble"])
def test_scribbles(module, tmp_path, kind):
    write_phantom(tmp_path / "cohort", patients=2)
    module.logic.createStudy(tmp_path / "study", tmp_path / "cohort", annotation=kind)
    module.logic.suggest(2)
    module.logic.openRequest(1)
    module.settle()
    assert "undecided" in module.ui.hintLabel.text
    plane = truth(module.session, AnnotationKind.SCRIBBLE)
    module.drawTruth(plane)
    sliceId = module.session.task.slice
    module.click("commitButton")
    assert np.array_equal(module.session.study.annotations()[sliceId].labels, plane)
