"""Offers and automatic steps: next suggestions, volumes that cannot be used, automatic training."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from module.held_client import heldIn

from ActiveSegmentationLib.scene.offers import REQUESTS, SUGGEST


@pytest.fixture
def worker(asked, monkeypatch):
    return heldIn(monkeypatch, asked.work)


def finish(module, worker, name, **answer):
    """End the job of this name."""
    job = next(job for job in worker.jobs if job.name == name and job.active)
    job.active = False
    job.done.emit(answer)
    module.settle()


def shown(module):
    return module.ui.offerFrame.isVisibleTo(module.widget.uiWidget)


def commitAll(module):
    for _ in module.session.requests.rows:
        module.click("nextButton") if module.session.task is None else None
        module.draw(1, np.ones(module.session.case.volume.plane_shape, dtype=bool))
        module.click("commitButton")


def test_training_starts_by_itself_and_the_next_suggestions_are_offered(asked, worker):
    parameters = asked.widget.logic.getParameterNode()
    parameters.autoTrain, parameters.trainAfter, parameters.models = True, 4, 2
    commitAll(asked)
    (training,) = [job for job in worker.jobs if job.name == "train"]
    assert training.options["models"] == 2
    assert "when the training ends" in asked.message
    assert asked.ui.trainButton.text == "Stop"
    assert not shown(asked)
    finish(asked, worker, "train", curve=[{"annotated": 4, "unseen": None, "reference": None}], annotated=4)
    assert shown(asked)
    assert "4 slices" in asked.ui.offerLabel.text
    assert asked.ui.offerButton.text == "Suggest next slices"
    asked.click("offerButton")
    assert worker.jobs[-1].name == "suggest"
    assert not shown(asked)


def test_without_automatic_training_it_is_offered_when_all_is_answered(asked, worker):
    commitAll(asked)
    assert not [job for job in worker.jobs if job.name == "train"]
    last = asked.session.requests.rows[-1].request.slice
    assert asked.message == f"Slice 4 of {last.volume} stored. All requests are answered."
    assert asked.ui.messageButton.text == "Train now"
    asked.click("messageButton")
    assert worker.jobs[-1].name == "train"


def test_when_all_is_answered_and_learned_the_next_are_offered(asked, worker):
    asked.work._study, asked.work._curve = asked.session.study, [{"annotated": 9, "unseen": None, "reference": None}]
    commitAll(asked)
    assert asked.ui.messageButton.text == "Suggest next slices"


def test_what_is_no_longer_so_is_offered_no_longer(asked, worker):
    commitAll(asked)
    assert asked.message.endswith("All requests are answered.")
    asked.session.closeStudy()
    asked.settle()
    assert asked.message == ""
    assert not asked.ui.messageButton.isVisibleTo(asked.widget.uiWidget)


def test_an_offer_can_be_declined(asked, worker):
    asked.work._offer(REQUESTS, "4 slices are requested. Open the first?", asked.session.requests.rows[0].request.slice)
    asked.settle()
    assert asked.ui.offerButton.text == "Open it"
    asked.work._offer(SUGGEST, "Choose the next slices?")
    asked.settle()
    assert "(1 more)" in asked.ui.offerLabel.text
    asked.click("offerDismissButton")
    assert asked.ui.offerLabel.text == "Choose the next slices?"
    asked.click("offerDismissButton")
    assert not shown(asked)
    assert not asked.work.offers


def test_an_offer_is_accepted(asked, worker):
    asked.work._offer(REQUESTS, "4 slices are requested. Open the first?", asked.session.requests.rows[2].request.slice)
    asked.settle()
    asked.click("offerButton")
    assert asked.session.task.row.number == 3


def test_volumes_that_a_job_could_not_use_can_be_left_out(asked, worker):
    names = [volume.id for volume in asked.session.study.cohort.volumes[:2]]
    asked.work.predict()
    problems = [
        {"volume": name, "where": f"{name}.nii.gz", "message": "It ends early.", "advice": ""} for name in names
    ]
    finish(asked, worker, "predict", reviews=[], left_out=problems)
    assert names[0] in asked.ui.offerLabel.text
    assert "It ends early" in asked.ui.offerLabel.text
    asked.click("offerButton")
    assert list(asked.session.study.excluded()) == names[:1]
    assert asked.ui.messageButton.text == "Undo"
    assert names[1] in asked.ui.offerLabel.text
    asked.click("offerDismissButton")
    assert not shown(asked)
    assert list(asked.session.study.excluded()) == names[:1]


def test_a_volume_that_cannot_be_opened_can_be_left_out_at_once(module, cohort, tmp_path):
    from ActiveSegmentationLib.cohort import SliceId
    from ActiveSegmentationLib.study import Request, RequestList

    study = module.logic.createStudy(tmp_path / "study", shutil.copytree(cohort, tmp_path / "cohort"))
    volumes = study.cohort.volumes[:2]
    requests = tuple(Request(SliceId(v.id, 1), v.patient, v.axis, None, "because") for v in volumes)
    study.requests.write(RequestList(study.requests.next_round(), "strided", 0, {}, requests))
    study.cohort.path(volumes[0].channels[0].paths[0]).write_bytes(b"no image")
    module.session.refresh()
    module.settle()
    module.click("nextButton")
    assert volumes[0].id in module.message
    assert module.ui.messageButton.text == "Leave this volume out"
    module.click("messageButton")
    assert list(study.excluded()) == [volumes[0].id]
    module.click("nextButton")
    assert module.session.task.slice.volume == volumes[1].id


def test_a_slice_of_ones_own_choice_is_confirmed_without_any_request(module, cohort, tmp_path):
    from ActiveSegmentationLib.cohort import SliceId

    study = module.logic.createStudy(tmp_path / "study", cohort)
    volume = study.cohort.volumes[0]
    module.session.openSlice(SliceId(volume.id, 2))
    module.settle()
    module.click("emptyButton")
    assert module.message == f"Slice 3 of {volume.id} stored: none of the structures is on it. No slice is requested."
    assert module.ui.messageButton.text == "Train now"


def test_a_volume_that_cannot_be_used_stays_offered_while_others_are_predicted(asked, worker):
    broken, other = (volume.id for volume in asked.session.study.cohort.volumes[:2])
    asked.work.train()
    why = {"where": "", "message": "It ends early.", "advice": ""}
    finish(asked, worker, "train", curve=[], annotated=1, left_out=[{"volume": broken, **why}])
    review = {"volume": other, "model": "m", "doubt": 0.1, "slice_doubt": [0.1]}
    asked.work.predict([other])
    finish(asked, worker, "predict", reviews=[review], left_out=[])
    assert broken in asked.ui.offerLabel.text
    asked.work.predict([broken])
    finish(asked, worker, "predict", reviews=[review | {"volume": broken}], left_out=[])
    assert not shown(asked), "it can be used now"


def test_a_study_that_a_script_opens_is_shown_like_one_opened_in_the_panel(asked, worker):
    folder = asked.session.study.folder
    asked.session.closeStudy()
    asked.ui.openPathLineEdit.currentPath = ""
    asked.logic.openStudy(folder)
    asked.settle()
    assert asked.ui.openPathLineEdit.currentPath == str(folder)
    assert asked.widget.logic.getParameterNode().studyFolder == str(folder)
    assert {job.name for job in worker.jobs} >= {"curve", "strategies", "learners"}
