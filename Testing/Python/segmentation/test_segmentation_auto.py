"""The learner that configures itself, budgets of time, and plans that are kept."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from recorded_progress import RecordedProgress

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation import (
    TRAINING_PRESETS,
    TrainingSettings,
    TrainingTask,
    fit_ensemble,
    learner_class,
    planned_settings,
)
from ActiveSegmentationLib.segmentation import network_learner as network_learner_module
from ActiveSegmentationLib.segmentation.auto_learner import designed, levels_for, reduction_for
from ActiveSegmentationLib.segmentation.plan import PLAN
from ActiveSegmentationLib.segmentation.speed import seconds_per_step, trial_training

AUTO = TRAINING_PRESETS["auto"]


@pytest.fixture
def clock(monkeypatch):
    """A step takes a made-up time, which each measurement changes."""
    taken = iter([0.5, 0.25, 0.125])
    monkeypatch.setattr(network_learner_module, "seconds_per_step", lambda training: next(taken))


@pytest.mark.parametrize(
    ("size", "levels"), [((16, 16), 3), ((56, 40), 4), ((64, 64), 5), ((128, 128), 6), ((512, 512), 6), ((4, 9), 2)]
)
def test_there_are_as_many_levels_as_leave_four_pixels(size, levels):
    assert levels_for(size) == levels


@pytest.mark.parametrize(("size", "reduction"), [((56, 40), 1), ((160, 90), 1), ((256, 256), 2), ((512, 321), 4)])
def test_large_slices_are_seen_at_a_lower_resolution(size, reduction):
    assert reduction_for(size) == reduction


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("grid", [(16, 24), (56, 40), (216, 256), (512, 512)])
def test_the_design_fits_grid_and_device(grid, device):
    found = designed(AUTO, grid, device)
    reduce = reduction_for(grid) if device == "cpu" else 1
    assert (found.learner, found.options) == ("auto", {"design": False, "reduce": reduce})
    assert len(found.features) == len(found.dropout) == levels_for((grid[0] // reduce, grid[1] // reduce))
    assert all(a <= b for a, b in pairwise(found.features))
    assert found.minutes == AUTO.minutes
    assert designed(AUTO, grid, "cuda").features[-1] > designed(AUTO, grid, "cpu").features[-1]


def test_batches_are_smaller_where_slices_are_large():
    assert [designed(AUTO, (side, side), "cuda").batch_size for side in (64, 512, 1024, 4096)] == [16, 8, 2, 2]
    assert [designed(AUTO, (side, side), "cpu").batch_size for side in (56, 100, 256, 600)] == [8, 6, 4, 4]
    assert designed(replace(AUTO, options={"unlabelled": 0.5}), (8, 8), "cpu").options["unlabelled"] == 0.5


def test_what_the_user_asked_for_stays():
    asked = replace(AUTO, learning_rate=0.123, select="best", warm_start=True, loss_head=True)
    found = designed(asked, (56, 40), "cpu")
    assert (found.learning_rate, found.select, found.warm_start, found.loss_head) == (0.123, "best", True, True)


def test_a_plan_is_not_made_again_on_another_device(stack):
    found = designed(AUTO.with_steps(9), stack.grid_shape, "cpu")
    assert learner_class("auto").configure(found, stack, 3, compute=Compute("cuda")) == found


def test_minutes_become_steps_which_are_recorded_and_measured_once_for_all_members(stack, tiny, tmp_path, clock):
    progress = RecordedProgress()
    asked = replace(tiny, minutes=1.0)
    examples = stack.examples([0, 9])
    compute = Compute(progress=progress)
    first = planned_settings(asked, stack, examples, 3, folder=tmp_path, compute=compute)
    again = planned_settings(asked, stack, examples, 3, folder=tmp_path, compute=compute)
    assert first == again
    assert (first.steps, first.minutes) == (120, 0.0)
    assert len(progress.messages) == 1
    assert "120 steps" in progress.messages[0]
    plan = json.loads((tmp_path / PLAN).read_text())
    assert plan["settings"]["steps"] == 120
    assert plan["asked"]["minutes"] == 1.0
    more = planned_settings(asked, stack, stack.examples([0, 9, 10]), 3, folder=tmp_path, compute=compute)
    assert more.steps == 240


def test_the_recorded_steps_give_the_same_weights_in_another_folder(stack, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(network_learner_module, "FEWEST_STEPS", 3)
    monkeypatch.setattr(network_learner_module, "seconds_per_step", lambda training: 1.0)
    examples, asked = stack.examples([0, 9]), replace(tiny, minutes=0.1)
    decided = planned_settings(asked, stack, examples, 3, folder=tmp_path / "a", compute=Compute())
    one = fit_ensemble(TrainingTask(stack, examples, 3, decided, seed=1), 2, folder=tmp_path / "a")
    assert (tmp_path / "a" / PLAN).is_file()
    recorded = TrainingSettings.from_json(one.members[1].describe()["settings"])
    assert recorded.steps == 6
    two = fit_ensemble(TrainingTask(stack, examples, 3, recorded, seed=1), 2, folder=tmp_path / "b")
    for left, right in zip(one.networks(), two.networks(), strict=True):
        assert all(
            torch.equal(a, b) for a, b in zip(left.state_dict().values(), right.state_dict().values(), strict=True)
        )


@pytest.mark.parametrize(("dense", "weight"), [([True, True], 0.0), ([True, False], 1.0)])
def test_unlabelled_slices_are_used_with_scribbles(stack, tiny, tmp_path, dense, weight):
    examples = replace(stack.examples([0, 9]), dense=np.array(dense))
    asked = replace(tiny, learner="auto", options={"design": False})
    decided = planned_settings(asked, stack, examples, 3, folder=tmp_path / "a", compute=Compute())
    assert decided.options == {"design": False, "unlabelled": weight}
    task = TrainingTask(stack, examples, 3, decided, seed=0, unlabelled=np.arange(24))
    assert (task.unlabelled is not None) == (weight > 0)
    chosen = replace(asked, options={"design": False, "unlabelled": 0.5})
    assert planned_settings(chosen, stack, examples, 3, folder=tmp_path / "b", compute=Compute()) == chosen


def test_a_learner_that_decides_nothing_leaves_no_plan(stack, tiny, tmp_path):
    assert planned_settings(tiny, stack, stack.examples([0]), 3, folder=tmp_path, compute=Compute()) == tiny
    assert not (tmp_path / PLAN).exists()


def test_a_damaged_plan_is_named(stack, tiny, tmp_path):
    (tmp_path / PLAN).write_text("[]")
    with pytest.raises(BadInput, match=r"plan\.json"):
        planned_settings(tiny, stack, stack.examples([0]), 3, folder=tmp_path, compute=Compute())


def test_timing_a_step_leaves_the_random_generators_alone(stack, tiny):
    before = torch.get_rng_state()
    training = trial_training(learner_class("unet"), stack, 3, replace(tiny, neighbours=1), device="cpu")
    assert seconds_per_step(training) > 0
    assert torch.equal(before, torch.get_rng_state())


def test_auto_learns_what_it_configures(stack, tmp_path, monkeypatch):
    monkeypatch.setattr(network_learner_module, "seconds_per_step", lambda training: 3.0)
    examples = stack.examples(range(12))
    decided = planned_settings(AUTO, stack, examples, 3, folder=tmp_path, compute=Compute())
    assert decided.features == (16, 16, 32, 64)
    model = fit_ensemble(TrainingTask(stack, examples, 3, decided, seed=0), folder=tmp_path)
    rows = np.arange(12, 24)
    found, truth = model.probabilities(stack, rows).argmax(1), stack.truth[rows]
    assert 2 * ((found == 1) & (truth == 1)).sum() / ((found == 1).sum() + (truth == 1).sum()) > 0.85


def test_minutes_are_replaced_by_steps_and_refused_where_they_cannot_be_counted():
    assert AUTO.with_steps(7).minutes == 0.0
    assert AUTO.with_steps(7).steps == 7

    class Counts(learner_class("unet")):
        counts_minutes = False

    with pytest.raises(BadInput, match="minutes"):
        Counts.check(TrainingSettings(minutes=1.0))
