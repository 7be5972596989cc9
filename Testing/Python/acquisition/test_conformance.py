"""What every strategy must do, whatever it is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from acquisition_fakes import FakeStack, fake_pool, random_features

from ActiveSegmentationLib.acquisition import Constraints, check_choices, create_strategy, strategy_names
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.seeds import generator

NAMES = [*strategy_names(), "coreset:pixels", "coreset:learned", "strided:3"]


def choose(name, pool, budget, seed=0):
    choices = create_strategy(name).select(pool, budget, generator(seed, "test"))
    check_choices(choices, pool, budget)
    return choices


def slices(choices):
    return [choice.slice for choice in choices]


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.mark.parametrize("budget", [1, 7, 59])
def test_right_count_without_duplicates(name, budget):
    chosen = slices(choose(name, fake_pool(), budget))
    assert len(chosen) == len(set(chosen)) == budget


def test_budget_larger_than_the_pool_takes_all(name):
    assert len(choose(name, fake_pool(), 1000)) == 60


def test_pool_of_one(name):
    assert slices(choose(name, fake_pool(FakeStack(1, 1)), 3)) == [SliceId("volume00", 0)]


def test_never_an_annotated_skipped_or_blank_slice(name):
    annotated = [SliceId("volume00", i) for i in range(10)]
    skipped = [SliceId("volume01", i) for i in range(9)]
    pool = fake_pool(FakeStack(blank=(25, 26)), annotated=annotated, skipped=skipped)
    chosen = set(slices(choose(name, pool, 1000)))
    assert not chosen & {*annotated, *skipped, SliceId("volume02", 5), SliceId("volume02", 6)}
    assert len(chosen) == 60 - 19 - 2


def test_blank_slices_on_request(name):
    pool = fake_pool(FakeStack(blank=(25,)), constraints=Constraints(blank=True))
    assert SliceId("volume02", 5) in slices(choose(name, pool, 60))


def test_caps_and_gap_hold(name):
    constraints = Constraints(max_per_volume=2, max_per_patient=3, min_gap=4)
    annotated = [SliceId("volume03", 5)]
    pool = fake_pool(annotated=annotated, constraints=constraints)
    chosen = slices(choose(name, pool, 60))
    for volume in {s.volume for s in chosen}:
        indices = sorted(s.index for s in [*chosen, *annotated] if s.volume == volume)
        assert len([s for s in chosen if s.volume == volume]) <= 2
        assert all(b - a >= 4 for a, b in itertools.pairwise(indices))
    for patient in range(3):
        assert 1 <= len([s for s in chosen if int(s.volume[-2:]) // 2 == patient]) <= 3


def test_same_seed_same_choices_and_pool_order_does_not_matter(name):
    stack = FakeStack()
    features = random_features(stack)
    annotated = [SliceId("volume02", 2)]
    rows = np.arange(len(stack))
    shuffled = np.random.default_rng(3).permutation(rows)
    first = choose(name, fake_pool(stack, features=features, annotated=annotated), 12)
    again = choose(name, fake_pool(stack, features=features, annotated=annotated), 12)
    other = choose(name, fake_pool(stack, features=features, annotated=annotated, rows=shuffled), 12)
    assert first == again == other


def test_identical_slices_and_constant_features(name):
    stack = FakeStack()
    pool = fake_pool(stack, features=np.ones((len(stack), 4), dtype=np.float32))
    assert len(choose(name, pool, 15)) == 15


def test_works_from_zero_annotations_and_gives_reasons(name):
    embedders = {kind: lambda rows: np.eye(60, dtype=np.float32)[rows] for kind in ("pixels", "learned")}
    choices = choose(name, fake_pool(embedders=embedders), 5)
    assert all(choice.reason.endswith(".") and len(choice.reason) > 10 for choice in choices)


def test_slices_outside_the_pool_are_never_chosen(name):
    pool = fake_pool(rows=np.arange(20, 40))
    assert {s.volume for s in slices(choose(name, pool, 60))} == {"volume02", "volume03"}
