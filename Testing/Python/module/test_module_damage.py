"""Images, studies and predictions that cannot be read."""

from __future__ import annotations

import re
import shutil

import slicer

from .flow import ownedNodes
from .flow_steps import giveReview, suggested, workerBusy


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


def test_a_study_with_a_damaged_annotation_opens_without_it(drawing, tmp_path):
    drawing.session.annotating.commit()
    (file,) = drawing.folder.glob("annotations/**/*.slices.json")
    file.write_text("{", encoding="utf-8")
    drawing.session.closeStudy()
    drawing.openStudy()
    (problem,) = drawing.study.damaged()
    assert file.name in str(problem)
    assert not drawing.study.annotations()
    drawing.session.closeStudy()
    drawing.createStudy("two", tmp_path / "other")
    assert drawing.study is not None


def test_opening_a_damaged_study_says_what_is_damaged_and_repairs_it(drawing):
    drawing.session.annotating.commit()
    committed = len(drawing.study.annotations())
    (file,) = drawing.folder.glob("annotations/**/*.slices.json")
    file.write_text("{", encoding="utf-8")
    drawing.session.closeStudy()
    drawing.module.wiring.study.open(drawing.folder)
    drawing.module.settle()
    assert file.name in drawing.module.message
    assert str(drawing.folder) not in drawing.module.message
    assert "damaged and left out in this study: 1 " in drawing.module.message.lower()
    assert "Set the files of" in drawing.module.ui.messageButton.toolTip
    assert "committed slice" in drawing.module.ui.detailsTextEdit.toPlainText()
    drawing.module.click("messageButton")
    assert "set-aside" in drawing.module.message
    assert "committed slice" in drawing.module.message
    assert len(drawing.study.annotations()) == committed
    assert drawing.study.audit.verify() == []


def test_a_damaged_draft_is_reported_at_opening(drawing):
    drawing.module.wiring.annotate.autosave()
    (draft,) = drawing.folder.glob("drafts/**/*.npz")
    drawing.session.closeStudy()
    draft.write_bytes(b"damaged")
    drawing.module.wiring.study.open(drawing.folder)
    drawing.module.settle()
    assert "draft is damaged" in drawing.module.message
    drawing.module.click("messageButton")
    assert not draft.exists()


def test_a_prediction_that_cannot_be_read_unticks_its_box(drawing):
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


def test_a_job_that_ends_after_its_study_is_gone_is_reported_not_raised(flow):
    workerBusy(flow)
    shutil.rmtree(flow.folder)
    flow.answer()
    assert "no study" in flow.module.message
    assert not flow.host.errors
