"""Ensembles: members of their own, finished one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput, Cancelled
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.segmentation import (
    Ensemble,
    SegmentationModel,
    TrainingTask,
    fit_ensemble,
    is_trained,
    load_ensemble,
)


class Counter(Progress):
    def __init__(self, limit: int | None = None) -> None:
        super().__init__(lambda: limit is not None and self.count >= limit)
        self.count = 0
        self.stages: list[str] = []

    def show(self, stage, done, total, **values):
        self.count += 1
        if stage not in self.stages:
            self.stages.append(stage)


def same(a: SegmentationModel, b: SegmentationModel) -> bool:
    left, right = a.network.state_dict(), b.network.state_dict()
    return all(torch.equal(left[name], right[name]) for name in left)


def test_members_differ_and_do_not_depend_on_their_number(stack, tiny, tmp_path):
    examples = stack.examples([0, 3, 9])
    one = fit_ensemble(TrainingTask(stack, examples, 3, tiny, seed=0), 1, folder=tmp_path / "one")
    counter = Counter()
    two = fit_ensemble(
        TrainingTask(stack, examples, 3, tiny, seed=0), 2, folder=tmp_path / "two", compute=Compute(progress=counter)
    )
    assert counter.stages == ["Training model 1 of 2", "Training model 2 of 2"]
    assert same(one.members[0], two.members[0])
    assert not same(two.members[0], two.members[1])
    rows = np.arange(4)
    mean = sum(member.probabilities(stack, rows) for member in two.members) / 2
    assert two.probabilities(stack, rows) == pytest.approx(mean, abs=1e-6)
    loaded = load_ensemble(tmp_path / "two")
    assert loaded.key == two.key != one.key
    assert np.array_equal(loaded.probabilities(stack, rows), two.probabilities(stack, rows))


def test_an_interrupted_ensemble_goes_on_where_it_stopped(stack, tiny, tmp_path):
    examples = stack.examples([0, 3])
    whole = fit_ensemble(TrainingTask(stack, examples, 3, tiny, seed=0), 2, folder=tmp_path / "a")
    with pytest.raises(Cancelled):
        fit_ensemble(
            TrainingTask(stack, examples, 3, tiny, seed=0),
            2,
            folder=tmp_path / "b",
            compute=Compute(progress=Counter(15)),
        )
    assert not is_trained(tmp_path / "b")
    counter = Counter()
    resumed = fit_ensemble(
        TrainingTask(stack, examples, 3, tiny, seed=0), 2, folder=tmp_path / "b", compute=Compute(progress=counter)
    )
    assert counter.count == tiny.steps  # the first member was finished
    assert all(same(a, b) for a, b in zip(whole.members, resumed.members, strict=True))
    assert is_trained(tmp_path / "b")


def test_a_kill_while_training_anew_leaves_the_older_model_in_use(stack, tiny, tmp_path):
    older = fit_ensemble(TrainingTask(stack, stack.examples([0, 3]), 3, tiny, seed=0), 2, folder=tmp_path / "a")
    later = fit_ensemble(TrainingTask(stack, stack.examples([1]), 3, tiny, seed=0), 2, folder=tmp_path / "whole")
    before = {path.name for path in (tmp_path / "a").iterdir()}
    with pytest.raises(Cancelled):  # in the middle of the second model
        fit_ensemble(
            TrainingTask(stack, stack.examples([1]), 3, tiny, seed=0),
            2,
            folder=tmp_path / "a",
            compute=Compute(progress=Counter(15)),
        )
    assert is_trained(tmp_path / "a")
    loaded = load_ensemble(tmp_path / "a")
    assert loaded.key == older.key
    assert all(same(a, b) for a, b in zip(loaded.members, older.members, strict=True))
    counter = Counter()
    resumed = fit_ensemble(
        TrainingTask(stack, stack.examples([1]), 3, tiny, seed=0),
        2,
        folder=tmp_path / "a",
        compute=Compute(progress=counter),
    )
    assert counter.count == tiny.steps  # the first model was finished
    assert load_ensemble(tmp_path / "a").key == resumed.key == later.key
    assert all(same(a, b) for a, b in zip(load_ensemble(tmp_path / "a").members, later.members, strict=True))
    after = {path.name for path in (tmp_path / "a").iterdir()}
    assert after == {path.name for path in (tmp_path / "whole").iterdir()}
    assert after & before == {"ensemble.json"}


def test_models_may_be_added_without_training_the_others_again(stack, tiny, tmp_path):
    examples = stack.examples([0, 3])
    fit_ensemble(TrainingTask(stack, examples, 3, tiny, seed=0), 1, folder=tmp_path)
    counter = Counter()
    fit_ensemble(TrainingTask(stack, examples, 3, tiny, seed=0), 2, folder=tmp_path, compute=Compute(progress=counter))
    assert counter.count == tiny.steps
    assert len(load_ensemble(tmp_path).members) == 2


def test_an_ensemble_in_numbered_folders_is_still_read(stack, tiny, tmp_path):
    made = fit_ensemble(TrainingTask(stack, stack.examples([0, 3]), 3, tiny, seed=0), 2, folder=tmp_path)
    for number, member in enumerate(made.members):
        (tmp_path / f"member-{member.key[:16]}").rename(tmp_path / f"member-{number}")
    assert load_ensemble(tmp_path).key == made.key
    (tmp_path / "member-1" / "model.json").unlink()
    assert not is_trained(tmp_path)
    with pytest.raises(BadInput, match="Train first"):
        load_ensemble(tmp_path)


def test_warm_members_start_from_the_earlier_ones(stack, tiny, tmp_path):
    first = fit_ensemble(TrainingTask(stack, stack.examples([0]), 3, tiny, seed=0), 1, folder=tmp_path / "a")
    warm = replace(tiny, warm_start=True, steps=1, learning_rate=1e-9)
    second = fit_ensemble(
        TrainingTask(stack, stack.examples([1]), 3, warm, seed=0), 2, folder=tmp_path / "b", initial=first
    )
    start = first.members[0].network.state_dict()
    for member in second.members:
        assert all(torch.allclose(p, start[name], atol=1e-6) for name, p in member.network.named_parameters())


def test_features_of_all_members_count_alike(stack, tiny, tmp_path):
    rows = np.arange(12)
    two = fit_ensemble(TrainingTask(stack, stack.examples([0, 3]), 3, tiny, seed=0), 2, folder=tmp_path)
    parts = [member.features(stack, rows) for member in two.members]
    assert np.array_equal(Ensemble((two.members[0],)).features(stack, rows), parts[0])
    features = two.features(stack, rows)
    assert features.dtype == np.float32
    assert features.shape == (12, parts[0].shape[1] + parts[1].shape[1])
    expected = [np.linalg.norm(part[0] - part, axis=1) ** 2 / part.var(axis=0).sum() for part in parts]
    assert np.linalg.norm(features[0] - features, axis=1) ** 2 == pytest.approx(sum(expected), rel=1e-3, abs=1e-4)
    assert two.features(stack, np.arange(0)).shape == (0, features.shape[1])


def test_no_member_is_refused(stack, tiny, tmp_path):
    with pytest.raises(BadInput, match="at least one model"):
        fit_ensemble(TrainingTask(stack, stack.examples([0]), 3, tiny, seed=0), 0, folder=tmp_path)
    assert not is_trained(tmp_path)
