"""Turns of patients and volumes, and positions that are spread evenly."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from acquisition_fakes import FakeStack, fake_model, fake_pool

from ActiveSegmentationLib.acquisition import Constraints, create_strategy
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.loop import choose_slices


def chosen(name, pool, budget, seed=0):
    choices = choose_slices(create_strategy(name), pool, budget, np.random.default_rng(seed))
    return [choice.slice for choice in choices]


def patient(slice_id):
    return int(slice_id.volume[-2:]) // 2


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("budget", [3, 6, 14, 25])
def test_patients_then_volumes_take_turns(trained, budget):
    pool = fake_pool(model=fake_model() if trained else None)
    found = chosen("balanced", pool, budget)
    for first in range(1, budget + 1):
        patients = Counter(patient(s) for s in found[:first])
        volumes = Counter(s.volume for s in found[:first])
        assert max(patients.values()) - min(patients.get(p, 0) for p in range(3)) <= 1
        for p in range(3):
            both = [volumes.get(f"volume{v:02d}", 0) for v in (2 * p, 2 * p + 1)]
            assert abs(both[0] - both[1]) <= 1


def test_the_least_annotated_patient_comes_first():
    annotated = [SliceId("volume00", 1), SliceId("volume04", 1), SliceId("volume05", 1)]
    found = chosen("balanced", fake_pool(model=fake_model(), annotated=annotated), 3)
    assert patient(found[0]) == 1
    assert found[1].volume in {"volume02", "volume03", "volume01"}


def test_volumes_alone_take_turns_on_request():
    stack = FakeStack(6, 10)
    stack.patient_number = np.zeros(60, dtype=int)
    found = chosen("balanced/balance=volume", fake_pool(stack, model=fake_model()), 12)
    assert set(Counter(s.volume for s in found).values()) == {2}


def test_without_a_window_the_positions_are_those_of_a_regular_grid():
    for seed in range(10):
        found = chosen("balanced/window=0", fake_pool(FakeStack(10, 10), model=fake_model()), 10, seed)
        assert sorted(s.index for s in found) == list(range(10))


def test_trimmed_ends_are_left_out():
    for seed in range(10):
        found = chosen("balanced/trim=0.2", fake_pool(FakeStack(20, 10)), 20, seed)
        assert {s.index for s in found} <= set(range(2, 8))


def test_a_volume_gets_the_place_farthest_from_its_annotated_slices():
    stack = FakeStack(1, 10)
    annotated = [SliceId("volume00", i) for i in (0, 1, 2)]
    found = chosen("balanced", fake_pool(stack, annotated=annotated), 3)
    assert max(s.index for s in found[:1]) >= 7


def test_within_the_window_the_highest_score_wins():
    pool = fake_pool(model=fake_model())
    scores = create_strategy("entropy").score(pool)
    found = chosen("balanced/beta=1e12", pool, 6)
    for slice_id in found:
        members = [p for p, each in enumerate(pool.ids) if each.volume == slice_id.volume]
        assert scores[pool.ids.index(slice_id)] == pytest.approx(max(scores[members]), rel=1e-5)


def test_unsure_volumes_come_first_on_request():
    pool = fake_pool(model=fake_model())
    scores = create_strategy("entropy").score(pool)
    means = {v: scores[pool.volumes == number].mean() for number, v in enumerate(sorted({s.volume for s in pool.ids}))}
    found = chosen("balanced/volumes=unsure/balance=volume", pool, 6)
    assert [s.volume for s in found] == sorted(means, key=means.get, reverse=True)


def test_of_several_balanced_batches_the_most_uncertain_is_taken():
    pool = fake_pool(model=fake_model())
    scores = create_strategy("entropy").score(pool)

    def mean(name, seed):
        return np.mean([scores[pool.ids.index(s)] for s in chosen(name, pool, 6, seed)])

    for seed in range(5):
        found = chosen("balanced/window=0/batches=50", pool, 6, seed)
        assert set(Counter(s.volume for s in found).values()) == {1}
        assert mean("balanced/window=0/batches=50", seed) >= mean("balanced/window=0", seed)


def test_a_batch_that_limits_cut_short_never_wins():
    constraints = Constraints(min_gap=3)
    for seed in range(4):
        counts = {
            name: len(chosen(name, fake_pool(model=fake_model(), constraints=constraints), 20, seed))
            for name in ("balanced/window=0/batches=30", "balanced/window=0/batches=1")
        }
        assert counts["balanced/window=0/batches=30"] >= counts["balanced/window=0/batches=1"]


def test_reasons_say_what_decided():
    pool = fake_pool(model=fake_model())
    reason = choose_slices(create_strategy("recommended"), pool, 3, np.random.default_rng(0))[0].reason
    assert "of 5 such batches the model is least sure of this one" in reason
    assert "of the way through the volume" in reason
    reason = choose_slices(create_strategy("balanced"), pool, 3, np.random.default_rng(0))[0].reason
    assert "% of the other slices" in reason
