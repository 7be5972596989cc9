"""Training: it learns, it repeats itself to the bit, and it survives being stopped anywhere."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput, Cancelled, JobFailed
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.segmentation import SegmentationModel, TrainingSettings, TrainingTask, fit, load_model
from ActiveSegmentationLib.segmentation.network_learner import NetworkLearner
from ActiveSegmentationLib.training import CHECKPOINT


class Recorder(Progress):
    """Counts steps, keeps messages, and cancels after ``limit`` reports."""

    def __init__(self, limit: int | None = None) -> None:
        super().__init__(lambda: limit is not None and len(self.steps) >= limit)
        self.steps: list[int] = []
        self.messages: list[str] = []

    def show(self, stage, done, total, **values):
        self.steps.append(done)

    def message(self, text):
        self.messages.append(text)


def same(a: SegmentationModel, b: SegmentationModel) -> bool:
    left, right = a.network.state_dict(), b.network.state_dict()
    return all(torch.equal(left[name], right[name]) for name in left)


def dice(model: SegmentationModel, stack, rows: np.ndarray) -> float:
    found, truth = model.probabilities(stack, rows).argmax(1), stack.truth[rows]
    overlaps = [2 * ((found == c) & (truth == c)).sum() / ((found == c).sum() + (truth == c).sum()) for c in (1, 2)]
    return float(np.mean(overlaps))


@pytest.mark.parametrize(("dense", "least"), [(True, 0.85), (False, 0.8)])
def test_it_learns_from_masks_and_from_scribbles(stack, tiny, tmp_path, dense, least):
    settings = replace(tiny, steps=80)
    model = fit(TrainingTask(stack, stack.examples(range(12), dense=dense), 3, settings, seed=0), folder=tmp_path)
    assert dice(model, stack, np.arange(12, 24)) > least


def test_the_same_seed_gives_the_same_bits_and_another_does_not(stack, tiny, tmp_path):
    examples = stack.examples([0, 3, 9])
    torch.manual_seed(1)
    a = fit(TrainingTask(stack, examples, 3, tiny, seed=5), folder=tmp_path / "a")
    torch.manual_seed(2)
    before = torch.get_rng_state()
    b = fit(TrainingTask(stack, examples, 3, tiny, seed=5), folder=tmp_path / "b")
    assert torch.equal(before, torch.get_rng_state())
    c = fit(TrainingTask(stack, examples, 3, tiny, seed=6), folder=tmp_path / "c")
    assert same(a, b)
    assert a.key == b.key != c.key
    assert not same(a, c)


@pytest.mark.parametrize("select", ["last", "best"])
def test_a_training_stopped_anywhere_goes_on_to_the_same_bits(stack, tiny, tmp_path, select):
    settings = replace(tiny, select=select, validate_every=3)
    examples, validation = stack.examples([0, 3, 9]), stack.examples([20, 21])
    task = TrainingTask(stack, examples, 3, settings, seed=0, validation=validation)
    whole = fit(task, folder=tmp_path / "whole", checkpoint_every=4)
    for limit, sessions in ((0, 1), (5, 2), (11, 1)):
        folder = tmp_path / str(limit)
        for _ in range(sessions):
            with pytest.raises(Cancelled):
                fit(task, folder=folder, compute=Compute(progress=Recorder(limit)), checkpoint_every=4)
        recorder = Recorder()
        resumed = fit(task, folder=folder, compute=Compute(progress=recorder), checkpoint_every=4)
        assert same(whole, resumed)
        assert recorder.steps[0] == {0: 1, 5: 9, 11: 9}[limit]  # five reports of the second session end at step 9
        assert not (folder / CHECKPOINT).exists()
        histories = [json.loads((tmp_path / name / "history.json").read_text()) for name in ("whole", str(limit))]
        assert histories[0]["loss"] == histories[1]["loss"]
        assert histories[0]["validation"] == histories[1]["validation"]


def test_a_finished_training_is_loaded_and_any_change_trains_anew(stack, tiny, tmp_path):
    examples = stack.examples([0, 3])
    first = fit(TrainingTask(stack, examples, 3, tiny, seed=0), folder=tmp_path)
    again = Recorder()
    assert same(
        first, fit(TrainingTask(stack, examples, 3, tiny, seed=0), folder=tmp_path, compute=Compute(progress=again))
    )
    assert again.steps == []
    for changed, settings, seed in ((stack.examples([0, 4]), tiny, 0), (examples, replace(tiny, steps=11), 0)):
        recorder = Recorder()
        fit(TrainingTask(stack, changed, 3, settings, seed=seed), folder=tmp_path, compute=Compute(progress=recorder))
        assert recorder.steps[-1] == settings.steps


def test_a_checkpoint_of_another_training_or_a_broken_one_is_not_used(stack, tiny, tmp_path):
    examples = stack.examples([0, 3])
    whole = fit(TrainingTask(stack, examples, 3, tiny, seed=0), folder=tmp_path / "whole")
    with pytest.raises(Cancelled):
        fit(
            TrainingTask(stack, examples, 3, tiny, seed=1),
            folder=tmp_path / "b",
            compute=Compute(progress=Recorder(6)),
            checkpoint_every=4,
        )
    assert same(whole, fit(TrainingTask(stack, examples, 3, tiny, seed=0), folder=tmp_path / "b"))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / CHECKPOINT).write_bytes(b"no checkpoint")
    recorder = Recorder()
    assert same(
        whole,
        fit(TrainingTask(stack, examples, 3, tiny, seed=0), folder=tmp_path / "c", compute=Compute(progress=recorder)),
    )
    assert "starts again" in recorder.messages[0]


def test_the_finished_model_can_be_loaded_and_says_how_it_was_made(stack, tiny, tmp_path):
    model = fit(TrainingTask(stack, stack.examples([0, 3]), 3, tiny, seed=7), folder=tmp_path)
    loaded = load_model(tmp_path)
    assert same(model, loaded)
    assert loaded.record["seed"] == 7
    assert loaded.record["examples"] == 2
    assert loaded.record["versions"]["torch"] == torch.__version__
    history = json.loads((tmp_path / "history.json").read_text())
    assert len(history["loss"]) == history["steps"] == tiny.steps


def test_one_example_is_enough_and_missing_classes_are_reported(stack, tiny, tmp_path):
    examples = stack.examples([2])
    examples.labels[examples.labels == 2] = 0
    recorder = Recorder()
    model = fit(TrainingTask(stack, examples, 3, tiny, seed=0), folder=tmp_path, compute=Compute(progress=recorder))
    assert all(torch.isfinite(value).all() for value in model.network.state_dict().values())
    assert len(recorder.messages) == 1
    assert "class 2" in recorder.messages[0]


def test_every_example_comes_up_once_before_any_comes_up_again(stack, tiny, tmp_path):
    settings = replace(tiny, batch_size=3, augment=False)
    rows = np.array([1, 4, 9, 16, 20])
    learner = NetworkLearner(stack, stack.examples(rows), 3, settings, seed=0, device="cpu")
    images = torch.cat([learner.batch(step)[0] for step in range(5)])
    known = stack.batches(rows)
    order = [int(next(i for i in range(5) if torch.equal(image, known[i]))) for image in images]
    assert all(sorted(order[start : start + 5]) == [0, 1, 2, 3, 4] for start in (0, 5, 10))
    assert len({tuple(order[start : start + 5]) for start in (0, 5, 10)}) > 1


def test_masks_and_scribbles_train_together(stack, tiny, tmp_path):
    dense, thin = stack.examples([0, 1, 2]), stack.examples([3, 4, 5], dense=False)
    mixed = replace(
        dense,
        rows=np.concatenate([dense.rows, thin.rows]),
        labels=np.concatenate([dense.labels, thin.labels]),
        dense=np.concatenate([dense.dense, thin.dense]),
    )
    model = fit(TrainingTask(stack, mixed, 3, replace(tiny, steps=60), seed=0), folder=tmp_path)
    assert dice(model, stack, np.arange(12, 24)) > 0.7


def test_the_best_weights_are_those_of_the_best_validation(stack, tiny, tmp_path):
    settings = replace(tiny, select="best", validate_every=2, steps=10)
    validation = stack.examples(range(16, 24))
    model = fit(
        TrainingTask(stack, stack.examples([0, 3]), 3, settings, seed=0, validation=validation), folder=tmp_path
    )
    scores = json.loads((tmp_path / "history.json").read_text())["validation"]
    assert [step for step, _ in scores] == [2, 4, 6, 8, 10]
    assert dice(model, stack, validation.rows) == pytest.approx(max(score for _, score in scores), abs=1e-6)


def test_the_best_weights_need_validation(stack, tiny, tmp_path):
    with pytest.raises(BadInput, match="validation"):
        fit(TrainingTask(stack, stack.examples([0]), 3, replace(tiny, select="best"), seed=0), folder=tmp_path)


def test_a_warm_start_starts_from_the_given_weights(stack, tiny, tmp_path):
    initial = fit(
        TrainingTask(stack, stack.examples(range(6)), 3, replace(tiny, steps=40), seed=0), folder=tmp_path / "initial"
    )
    kept = {name: value.clone() for name, value in initial.network.state_dict().items()}
    examples, short = stack.examples([7]), replace(tiny, steps=1, learning_rate=1e-6)
    cold = fit(TrainingTask(stack, examples, 3, short, seed=1, initial=initial), folder=tmp_path / "cold")
    warm = fit(
        TrainingTask(stack, examples, 3, replace(short, warm_start=True), seed=1, initial=initial),
        folder=tmp_path / "warm",
    )
    rows = np.arange(12, 24)
    assert dice(warm, stack, rows) > dice(cold, stack, rows) + 0.2
    assert all(torch.equal(kept[name], value) for name, value in initial.network.state_dict().items())
    wide = replace(short, warm_start=True, features=(16, 16, 16, 16, 16))
    with pytest.raises(BadInput, match="shape"):
        fit(TrainingTask(stack, examples, 3, wide, seed=1, initial=initial), folder=tmp_path / "wide")


@pytest.mark.parametrize("preset", [{"optimiser": "sgd"}, {"optimiser": "adam", "norm": "batch"}])
def test_other_optimisers_and_norms_resume_too(stack, tiny, tmp_path, preset):
    settings = replace(tiny, **preset)
    whole = fit(TrainingTask(stack, stack.examples([0, 3]), 3, settings, seed=0), folder=tmp_path / "a")
    folder = tmp_path / "b"
    with pytest.raises(Cancelled):
        fit(
            TrainingTask(stack, stack.examples([0, 3]), 3, settings, seed=0),
            folder=folder,
            compute=Compute(progress=Recorder(7)),
            checkpoint_every=3,
        )
    assert same(whole, fit(TrainingTask(stack, stack.examples([0, 3]), 3, settings, seed=0), folder=folder))


def test_a_loss_that_is_not_finite_stops_with_advice(stack, tiny: TrainingSettings, tmp_path):
    settings = replace(tiny, learning_rate=1e30, clip=0.0, optimiser="sgd", warm_up=0.0)
    with pytest.raises(JobFailed, match="learning rate"):
        fit(TrainingTask(stack, stack.examples([0]), 3, settings, seed=0), folder=tmp_path)


def test_nothing_to_learn_from_is_refused(stack, tiny, tmp_path):
    with pytest.raises(BadInput, match="at least one slice"):
        fit(TrainingTask(stack, stack.examples([]), 3, tiny, seed=0), folder=tmp_path)
