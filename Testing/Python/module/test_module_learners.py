"""Learners in the panel: which can be chosen, with which options, and the whole flow with two of them."""

from __future__ import annotations

import json

import example_learner
import numpy as np
import pytest

from ActiveSegmentationLib.cohort import AnnotationKind, read_labels, slices_first

from .flow_events import otherStudy
from .flow_steps import suggested
from .test_module_strategies import canBeChosen, known

CURVE = [{"round": 1, "annotated": 1, "unseen": None, "reference": None, "scored on": None}]
INSTALL = "Not installed: nnunetv2. Install it: python -m pip install nnunetv2"
OPTIONS = {
    "width": {"default": 16, "meaning": "Channels of the finest level."},
    "mirror": {"default": False, "meaning": "Whether to mirror."},
}


def described(name, reason="", options=None, exports=("monai-bundle", "safetensors")):
    about = {"name": name, "summary": f"This is {name}.", "unavailable_reason": reason, "options": options or {}}
    return about | {"exports": list(exports)}


EPOCHS = "20 epochs (times through the annotated slices)."


def chosen(name, minutes=0.0, epochs=0.0, steps=150, **options):
    return {"name": name, "options": options, "minutes": minutes, "epochs": epochs, "steps": steps}


@pytest.fixture
def choosing(flow):
    """A study and what the worker says of three learners."""
    suggested(flow)
    flow.hold()
    learners = [described("unet"), described("wide", "", OPTIONS), described("nnunet-2d", INSTALL)]
    flow.answers["learners"] = {"learners": learners, "chosen": chosen("unet"), "trained": None}
    flow.module.work.readLearners()
    flow.answer()
    flow.module.unfold(flow.module.ui.learnerComboBox)
    return flow


def pick(flow, row):
    """Choose a learner as a user does."""
    box = flow.module.ui.learnerComboBox
    box.setCurrentIndex(row)
    box.activated.emit(row)
    flow.settle()


def asked(flow):
    """The newest job that changes the learner."""
    job = flow.held.of("choose_learner")[-1]
    return job.options["learner"], job.options["options"]


def refuse(flow, message):
    """End the job as the worker does if the learner does not take an option."""
    from ActiveSegmentationLib.worker.client import WorkerError

    job = flow.held.of("choose_learner")[-1]
    job.active = False
    job.failed.emit(WorkerError("bad input", message))
    flow.settle()


def cell(flow, row, column=1):
    return flow.module.ui.learnerOptionsTable.item(row, column)


def test_learners_are_listed_and_those_without_their_package_are_grey(choosing):
    import qt

    box, ui = choosing.module.ui.learnerComboBox, choosing.module.ui
    assert [box.itemText(row) for row in range(box.count)] == ["unet", "wide", "nnunet-2d"]
    assert [canBeChosen(box, row) for row in range(3)] == [True, True, False]
    assert box.itemData(0, qt.Qt.ToolTipRole) == "This is unet."
    assert box.itemData(2, qt.Qt.ToolTipRole) == INSTALL
    assert (box.currentIndex, ui.learnerLabel.text) == (0, "This is unet.")
    assert not ui.learnerOptionsTable.isVisibleTo(ui.trainAdvancedCollapsibleButton)


def test_another_learner_is_asked_for_at_once_and_strategies_are_judged_anew(choosing):
    ui = choosing.module.ui
    pick(choosing, 1)
    assert asked(choosing) == ("wide", {})
    assert (ui.learnerComboBox.currentIndex, ui.learnerLabel.text) == (1, "This is wide.")
    choosing.answers["choose_learner"] = {"chosen": chosen("wide")}
    choosing.answers["strategies"] = {"strategies": [known("recommended"), known("badge", "Needs gradients.")]}
    choosing.answer()
    assert choosing.module.work.learner == "wide"
    assert not canBeChosen(ui.strategyComboBox, 1)
    pick(choosing, 1)  # nothing changes
    assert not choosing.held.of("choose_learner")


def test_options_are_shown_with_their_meaning_and_changed_in_the_table(choosing):
    table = choosing.module.ui.learnerOptionsTable
    pick(choosing, 1)
    choosing.answers["choose_learner"] = {"chosen": chosen("wide")}
    choosing.answer()
    assert table.isVisibleTo(choosing.module.ui.trainAdvancedCollapsibleButton)
    assert [(cell(choosing, row, 0).text(), cell(choosing, row).text()) for row in range(table.rowCount)] == [
        ("width", "16"),
        ("mirror", "no"),
    ]
    assert cell(choosing, 0).toolTip() == "Channels of the finest level. Usual value: 16."
    cell(choosing, 1).setText("yes")
    choosing.settle()
    assert asked(choosing) == ("wide", {"mirror": "yes"})
    choosing.answers["choose_learner"] = {"chosen": chosen("wide", mirror=True)}
    choosing.answer()
    assert cell(choosing, 1).text() == "yes"
    cell(choosing, 0).setText(" 32 ")
    choosing.settle()
    assert asked(choosing) == ("wide", {"width": "32", "mirror": "yes"})
    choosing.answers["choose_learner"] = {"chosen": chosen("wide", width=32, mirror=True)}
    choosing.answer()
    cell(choosing, 1).setText("")  # the usual one again
    choosing.settle()
    assert asked(choosing) == ("wide", {"width": "32"})


def test_what_the_worker_refuses_is_reported_and_not_shown_as_if_it_were_used(choosing):
    pick(choosing, 1)
    choosing.answers["choose_learner"] = {"chosen": chosen("wide")}
    choosing.answer()
    cell(choosing, 0).setText("many")
    refuse(choosing, "'width' must be a whole number, not 'many'.")
    assert "'width' must be a whole number" in choosing.module.message
    assert cell(choosing, 0).text() == "16"
    pick(choosing, 0)
    refuse(choosing, "Something is wrong.")
    assert choosing.module.ui.learnerComboBox.currentIndex == 1


def test_a_learner_that_cannot_be_used_cannot_train(choosing):
    ui = choosing.module.ui
    choosing.session.openRequest(1)
    choosing.draw()
    choosing.module.click("commitButton")
    assert ui.trainButton.enabled
    for name, reason in (("nnunet-2d", INSTALL), ("gone", "has no learner called 'gone'")):
        choosing.answers["learners"] = {**choosing.answers["learners"], "chosen": chosen(name)}
        choosing.module.work.readLearners()
        choosing.answer()
        assert ui.learnerComboBox.currentText == name
        assert not ui.trainButton.enabled
        assert reason in ui.trainButton.toolTip
        assert reason in ui.learnerLabel.text


def test_each_study_has_its_own_learner_known_before_any_worker_runs(choosing):
    pick(choosing, 1)
    choosing.answers["choose_learner"] = {"chosen": chosen("wide")}
    choosing.answer()
    otherStudy(choosing)
    choosing.settle()
    assert choosing.module.work.learner == "unet"
    path = choosing.study.folder / "study.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["settings"]["training"] = {"learner": "wide", "options": {"width": 8}}
    path.write_text(json.dumps(record), encoding="utf-8")
    folder = choosing.study.folder
    choosing.session.closeStudy()
    choosing.session.openStudy(folder)
    choosing.settle()
    assert (choosing.module.work.learner, choosing.module.work.learnerOptions) == ("wide", {"width": 8})
    assert cell(choosing, 0).text() == "8"
    choosing.session.closeStudy()
    choosing.settle()
    assert not choosing.module.ui.learnerComboBox.enabled


def test_the_length_of_the_next_training_is_said_before_it_starts(choosing):
    ui, work = choosing.module.ui, choosing.module.work
    assert "The next training takes 150 steps." in ui.trainLabel.text
    pick(choosing, 1)
    assert "The next training" not in ui.trainLabel.text  # unknown until the worker has answered
    work.deviceText = "CPU, 2 threads"
    choosing.answers["choose_learner"] = {"chosen": chosen("wide", steps=30000)}
    choosing.answer()
    assert "takes 30,000 steps. Without a GPU that is long" in ui.trainLabel.text
    ui.stepsSpinBox.value = 200
    choosing.settle()
    assert ui.trainLabel.text.endswith("The next training takes 200 steps.")
    ui.stepsSpinBox.value = 0
    for length, words in (
        ({"minutes": 5.0}, "about 5 minutes."),
        ({"epochs": 20.0}, "20 epochs (times through the annotated slices)."),
    ):
        choosing.answers["learners"] = {**choosing.answers["learners"], "chosen": chosen("wide", **length)}
        work.readLearners()
        choosing.answer()
        assert ui.trainLabel.text.endswith(f"The next training takes {words}")


def test_a_learner_that_the_command_line_chose_is_shown_on_entering_and_on_training(choosing):
    box, wiring = choosing.module.ui.learnerComboBox, choosing.module.widget.wiring
    choosing.answers["learners"] = {**choosing.answers["learners"], "chosen": chosen("wide")}
    wiring.exit()
    wiring.enter()
    choosing.answer()
    assert box.currentText == "wide"
    choosing.session.openRequest(1)
    choosing.draw()
    choosing.module.click("commitButton")
    choosing.answers["learners"] = {**choosing.answers["learners"], "chosen": chosen("unet")}
    choosing.module.click("trainButton")
    assert choosing.held.of("learners")
    choosing.answers["train"] = {"curve": CURVE, "annotated": 1}
    choosing.answer()
    assert box.currentText == "unet"


def test_formats_that_the_model_cannot_be_exported_in_say_why(choosing, tmp_path):
    from ActiveSegmentationLib.panels.reviewPanel import FORMATS

    ui, work = choosing.module.ui, choosing.module.work
    nnunet = described("nnunet-2d", exports=("nnunet", "safetensors"))
    learners = [*choosing.answers["learners"]["learners"][:2], nnunet]
    choosing.answers |= {"curve": {"curve": CURVE}}
    choosing.answers["learners"] = {"learners": learners, "chosen": chosen("unet"), "trained": "nnunet-2d"}
    work.readCurve()
    work.readLearners()
    choosing.answer()
    ui.exportPathLineEdit.currentPath = str(tmp_path)
    for row, name in enumerate(FORMATS):
        ui.exportComboBox.setCurrentIndex(row)
        choosing.settle()
        cannot = name in ("model monai-bundle", "model torchscript")
        assert ("exported as: nnunet, safetensors." in ui.exportButton.toolTip) == cannot
        if cannot:
            assert not ui.exportButton.enabled


def test_clean_up_is_off_and_goes_with_predictions_and_exports(choosing, tmp_path):
    ui, work = choosing.module.ui, choosing.module.work
    work.predict()
    assert choosing.held.of("predict")[-1].options["clean_up"] == {"largest": False, "holes": "no"}
    ui.largestPartCheckBox.checked = True
    ui.fillHolesComboBox.setCurrentIndex(1)
    choosing.settle()
    work.predict()
    work.export("predictions", tmp_path)
    for job in ("predict", "export"):
        assert choosing.held.of(job)[-1].options["clean_up"] == {"largest": True, "holes": "2d"}


def install(module, folder, monkeypatch):
    """Install the learner of the documentation for the worker."""
    monkeypatch.setenv("PYTHONPATH", str(example_learner.install(folder / "site")))
    module.work.client.setEnvironment(None)


def annotate(module):
    """Commit the reference labels of every request."""
    for _ in range(len(module.session.requests.rows)):
        volume, task = module.session.case.volume, module.session.task
        labels = read_labels(module.session.study.cohort, volume, AnnotationKind.MASK)
        plane = slices_first(labels, volume.axis)[task.slice.index]
        module.drawTruth(plane)
        module.click("commitButton" if plane.any() else "emptyButton")


def choose(module, name):
    """Choose a learner in the panel, and wait until the study has kept it."""
    box = module.ui.learnerComboBox
    module.unfold(box)
    row = next(row for row in range(box.count) if box.itemText(row) == name)
    assert canBeChosen(box, row), name
    box.setCurrentIndex(row)
    box.activated.emit(row)
    module.finish()
    assert module.session.study.settings["training"]["learner"] == name, module.message


def change(module, option, text):
    """Write the value of an option, and wait until the study has kept it."""
    table = module.ui.learnerOptionsTable
    row = next(row for row in range(table.rowCount) if table.item(row, 0).text() == option)
    table.item(row, 1).setText(text)
    module.settle()
    module.finish()
    assert str(module.session.study.settings["training"]["options"][option]) == text, module.message


def export(module, name, out):
    """Export in a format through the panel; returns the folder."""
    from ActiveSegmentationLib.panels.reviewPanel import FORMATS

    module.ui.exportComboBox.setCurrentIndex(FORMATS.index(name))
    module.ui.exportPathLineEdit.currentPath = str(out)
    module.settle()
    module.click("exportButton")
    module.finish()
    return out


@pytest.mark.slow
def test_two_learners_train_predict_and_export_through_the_panel(module, tmp_path, cohorts):
    module.logic.createStudy(tmp_path / "study", cohorts / "one", settings={"stack": {"size": [32, 32]}})
    ui, study = module.ui, module.session.study
    ui.countSpinBox.value = 2
    ui.stepsSpinBox.value = 4
    module.settle()
    for number, name in ((1, "dmpls"), (2, "auto")):
        module.click("suggestButton")
        module.finish()
        choose(module, name)
        if name == "dmpls":
            change(module, "pseudo_weight", "0.3")
        annotate(module)
        module.click("trainButton")
        module.finish()
        assert module.work.curve[-1]["annotated"] == 2 * number, module.message
        (about,) = (json.loads(path.read_text()) for path in study.folder.glob(f"rounds/{number}/model/*/model.json"))
        assert about["settings"]["learner"] == name
        module.click("predictButton")
        module.finish()
        assert ui.reviewTable.rowCount == len(study.cohort.volumes)
        labels = export(module, "predictions", tmp_path / f"out{number}")
        assert len(list(labels.glob("*.nii.gz"))) == len(study.cohort.volumes), module.message
        model = export(module, "model torchscript", tmp_path / f"model{number}")
        described = json.loads((model / "model.json").read_text())
        assert described["classes"]["1"] == study.labels.labels[0].name
        assert (model / "model.ts").is_file()
    (first,) = study.folder.glob("rounds/1/model/*/model.json")
    assert json.loads(first.read_text())["settings"]["options"]["pseudo_weight"] == 0.3
    assert study.audit.verify() == []


def test_a_script_chooses_a_learner(module, tmp_path, cohorts, monkeypatch):
    from ActiveSegmentationLib.common.errors import BadInput

    install(module, tmp_path, monkeypatch)
    with module.withoutWorker():
        module.logic.createStudy(tmp_path / "study", cohorts / "one")
    asked = module.logic.chooseLearner(example_learner.NAME, width=8, dropout=0)
    assert (asked["name"], asked["options"]) == (example_learner.NAME, {"width": 8, "dropout": 0.0})
    assert np.all(list(module.session.study.settings["training"]["options"].values()) == [8, 0.0])
    with pytest.raises(BadInput, match="'width' must be at least 1"):
        module.logic.chooseLearner(example_learner.NAME, width=0)
