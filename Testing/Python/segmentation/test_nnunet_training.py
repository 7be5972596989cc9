"""nnU-Net's training in the loop: repeatable, resumable, begun from earlier models, and nothing left behind."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from nnunet_world import LABELS, SMALL, Recorder, examples, make_stack, training

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput, Cancelled
from ActiveSegmentationLib.segmentation import TrainingSettings, TrainingTask, fit, load_model
from ActiveSegmentationLib.segmentation import learners as learners_module

pytest.importorskip("nnunetv2", reason="nnU-Net is not installed (pip install nnunetv2)")

SLICES = [("v0", 1), ("v0", 2), ("v2", 3)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    return make_stack(tmp_path_factory.mktemp("nnunet"))


@pytest.fixture(scope="module")
def task(stack):
    return TrainingTask(stack, examples(stack, SLICES), LABELS.classes, training(), seed=3)


@pytest.fixture(scope="module")
def trained(task, tmp_path_factory):
    return fit(task, folder=tmp_path_factory.mktemp("trained"))


def weights(model) -> dict[str, torch.Tensor]:
    return model.network.state_dict()


def equal(first, second) -> bool:
    one, two = weights(first), weights(second)
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_an_interrupted_training_ends_with_the_same_weights_and_leaves_nothing_behind(task, trained, tmp_path, capfd):
    variables, numbers, state = dict(os.environ), np.random.get_state()[1].copy(), torch.get_rng_state()
    with pytest.raises(Cancelled):
        fit(task, folder=tmp_path, compute=Compute(progress=Recorder(cancel_at=3)), checkpoint_every=2)
    assert (tmp_path / "checkpoint.pt").exists()
    recorder = Recorder()
    resumed = fit(task, folder=tmp_path, compute=Compute(progress=recorder), checkpoint_every=2)
    assert [done for stage, done in recorder.seen if stage == "Training"] == [3, 4]
    assert equal(resumed, trained)
    names = [
        "dataset.json",
        "dataset_fingerprint.json",
        "history.json",
        "model.json",
        "model.safetensors",
        "plans.json",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert dict(os.environ) == variables
    assert np.array_equal(np.random.get_state()[1], numbers)
    assert torch.equal(torch.get_rng_state(), state)
    assert capfd.readouterr().out == ""
    history = json.loads((tmp_path / "history.json").read_text())
    assert len(history["loss"]) == history["epochs"] == 2
    assert history["steps"] == 4


def test_weights_depend_on_the_seed_and_not_on_the_processes_that_prepare_batches(task, trained, tmp_path):
    helped = replace(task, settings=training(workers=2))
    assert equal(fit(helped, folder=tmp_path / "helped"), trained)
    assert not equal(fit(replace(task, seed=4), folder=tmp_path / "other"), trained)


def test_saved_and_read_back(trained, task, tmp_path, stack):
    trained.save(tmp_path)
    again = load_model(tmp_path)
    assert (again.key, again.record, again.settings) == (trained.key, trained.record, trained.settings)
    rows = np.array([0, 12])
    for one, two in zip(
        trained.iterate_probabilities(stack, rows), again.iterate_probabilities(stack, rows), strict=True
    ):
        assert np.array_equal(one[1], two[1])
    assert trained.record["examples"] == 3
    plans = json.loads((tmp_path / "plans.json").read_text())
    plans["configurations"]["2d"]["architecture"]["network_class_name"] = "subprocess.run"
    (tmp_path / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(BadInput, match="a network that nnU-Net does not have"):
        load_model(tmp_path)


def test_a_step_is_that_of_nnunets_own_trainer(task, tmp_path):
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from ActiveSegmentationLib.segmentation.nnunet.learner import Nnunet2d, _prepared

    def begin(folder):
        plan = Nnunet2d.plan(task, work=folder, compute=Compute())
        return Nnunet2d._training(task, plan, _prepared(task, plan, folder, Compute(), ""), Compute(), folder)

    ours, theirs = begin(tmp_path / "ours"), begin(tmp_path / "theirs")
    ours.step(0)
    images, targets = theirs._batches[0]
    theirs._trainer.lr_scheduler.step(0)
    from ActiveSegmentationLib.common.seeds import torch_seed

    torch.manual_seed(torch_seed(task.seed, "dropout", 0))
    theirs.network.train()
    nnUNetTrainer.train_step(theirs._trainer, {"data": images, "target": targets})
    for name, value in theirs.network.state_dict().items():
        assert torch.equal(value, ours.network.state_dict()[name]), name
    assert targets[0].shape == (2, 1, *images.shape[2:])
    assert set(torch.unique(targets[0]).tolist()) <= {0.0, 1.0, 2.0, 3.0}


def test_a_warm_start_takes_over_the_weights_where_the_network_is_the_same(task, trained, tmp_path):
    more = examples(task.stack, [*SLICES, ("v0", 3)])
    slow = replace(task, examples=more, settings=training(warm_start=True, learning_rate=1e-12), initial=trained)
    model = fit(slow, folder=tmp_path / "same")
    for name, value in weights(trained).items():
        torch.testing.assert_close(weights(model)[name], value)
    assert model.record["begun with"].startswith("model ")
    recorder = Recorder()
    other = replace(slow, settings=training(warm_start=True, architecture="residual"))
    model = fit(other, folder=tmp_path / "new", compute=Compute(progress=recorder))
    assert "random weights" in model.record["begun with"]
    assert any("ResidualEncoderUNet" in text and "plan=kept" in text for text in recorder.messages)
    kept = replace(slow, settings=training(warm_start=True, architecture="residual", plan="kept", dropout=0.2))
    model = fit(kept, folder=tmp_path / "kept")
    assert model.plan.architecture == trained.plan.architecture
    assert model.record["begun with"].startswith("model ")
    assert {layer.p for layer in model.network.modules() if isinstance(layer, torch.nn.Dropout)} == {0.2}


@pytest.mark.parametrize("scribbles", [False, True])
def test_unlabelled_pixels_have_the_ignore_label(stack, scribbles):
    from ActiveSegmentationLib.segmentation.nnunet.cases import annotated_volumes, cases, describe, planned_volumes
    from ActiveSegmentationLib.segmentation.nnunet.options import NnunetOptions

    chosen = examples(stack, SLICES, scribbles=scribbles)
    task = TrainingTask(stack, chosen, 3, training(), seed=0)
    options, volumes = NnunetOptions(), annotated_volumes(task)
    found = {case.name: case for case in cases(task, volumes, Compute().progress, "")}
    assert list(found) == ["v0", "v2"]
    labels = found["v0"].labels[0]
    assert (labels[[0, 3, 4]] == 3).all()
    assert (labels[1] == np.where(chosen.acquired[0] == 255, 3, chosen.acquired[0])).all()
    assert found["v2"].spacing == pytest.approx((5, 0.8, 0.8))
    wanted = {"background": 0, "class 1": 1, "class 2": 2, "ignore": 3}
    assert describe(task, volumes, options)["labels"] == wanted
    whole = replace(task, examples=examples(stack, [("v0", index) for index in range(5)]))
    assert "ignore" not in describe(whole, annotated_volumes(whole), options)["labels"]
    everything = planned_volumes(whole, NnunetOptions(plan="cohort"))
    assert {name: len(numbers) for name, numbers in everything.items()} == {"v0": 5, "v1": 0, "v2": 0}
    assert describe(whole, everything, options)["labels"] == wanted
    assert describe(whole, everything, options)["numTraining"] == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (TrainingSettings(learner="nnunet-2d", features=(8, 8), dropout=(0, 0), decoder_dropout=(0,)), "features"),
        (TrainingSettings(learner="nnunet-2d", batch_size=4), "batch_size.*the learner's options"),
        (TrainingSettings(learner="nnunet-2d", options={"iterations": 0}), "'iterations' must be at least 1"),
        (TrainingSettings(learner="nnunet-2d", options={"levels": 3}), "Unknown settings: levels"),
        (TrainingSettings(learner="nnunet-2d", select="best"), "select"),
        (TrainingSettings(learner="nnunet-3d", loss_head=True), "head that predicts its loss"),
    ],
)
def test_settings_that_nnunet_does_not_use_are_refused_by_name(settings, message):
    with pytest.raises(BadInput, match=message):
        learners_module.learner_class(settings.learner).check(settings)


def test_prepared_labels_alone_are_refused(stack):
    chosen = replace(examples(stack, SLICES), acquired=())
    with pytest.raises(BadInput, match="as they were acquired"):
        fit(TrainingTask(stack, chosen, 3, training(), seed=0), folder=stack.folder / "no")


def test_dropout_is_an_option_that_strategies_ask_for():
    lacking = learners_module.lacking
    assert "dropout" in lacking(TrainingSettings(learner="nnunet-2d"))
    assert "dropout" not in lacking(TrainingSettings(learner="nnunet-2d", options={"dropout": 0.01}))
    for name in ("nnunet-2d", "nnunet-3d"):
        settings = TrainingSettings(learner=name, options=SMALL)
        learner = learners_module.learner_class(name)
        assert lacking(settings) == frozenset(learners_module.CAPABILITIES) - learner.capabilities(settings)
