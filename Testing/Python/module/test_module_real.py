"""The flow on a real cohort, by masks and by scribbles."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from ActiveSegmentationLib.cohort import AnnotationKind, read_labels, slices_first

pytestmark = pytest.mark.slow

KINDS = ("mask", "scribble")


@pytest.mark.parametrize("kind", KINDS)
def test_acdc(module, real_data, tmp_path, kind):
    session, ui = module.session, module.ui
    module.click("newStudyButton")
    ui.cohortPathLineEdit.currentPath = str(real_data / "acdc")
    module.settle()
    module.click("lookButton")
    module.finish()
    assert ui.cohortTable.rowCount == 80
    ui.kindComboBox.setCurrentIndex(KINDS.index(kind))
    ui.studyPathLineEdit.currentPath = str(tmp_path / "study")
    module.settle()
    module.click("createStudyButton")
    ui.countSpinBox.value = 6
    module.settle()
    answered = {}
    for round in (1, 2):
        module.click("suggestButton")
        module.finish()
        assert (session.requests.round, len(session.requests.rows)) == (round, 6), module.message
        for _ in range(6):
            volume, task = session.case.volume, session.task
            labels = slices_first(read_labels(session.study.cohort, volume, AnnotationKind(kind)), volume.axis)
            plane = labels[task.slice.index]
            module.drawTruth(plane)
            drawn = plane.any() if kind == "mask" else (plane != 255).any()
            module.click("commitButton" if drawn else "emptyButton")
            answered[task.slice] = plane if drawn else np.zeros_like(plane)
        ui.stepsSpinBox.value = 8
        module.settle()
        module.click("trainButton")
        module.finish(900)
        assert module.work.curve[-1]["annotated"] == 6 * round, module.message
    for sliceId, plane in answered.items():
        assert np.array_equal(session.study.annotations()[sliceId].labels, plane), sliceId
    assert module.work.curve[0]["unseen"] is not None
    module.logic.openRequest(1)
    module.click("showPredictionCheckBox")
    module.finish()
    names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")]
    assert f"{session.case.volume.id} prediction" in names
    for number, name in enumerate(("predictions", "nifti", "nnunet", "csv")):
        ui.exportComboBox.setCurrentIndex({"predictions": 0, "nifti": 3, "nnunet": 5, "csv": 6}[name])
        ui.exportPathLineEdit.currentPath = str(tmp_path / f"out{number}")
        module.settle()
        module.click("exportButton")
        module.finish(900)
        assert any((tmp_path / f"out{number}").rglob("*.*")), module.message
