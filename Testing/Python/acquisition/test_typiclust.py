from __future__ import annotations

import math

import numpy as np
import pytest
from acquisition_fakes import FakeStack, fake_pool

from ActiveSegmentationLib.acquisition import Constraints, create_strategy
from ActiveSegmentationLib.acquisition.neighbours import k_means, typicality, unit_rows
from ActiveSegmentationLib.acquisition.typiclust import RoundRobin
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.loop import choose_slices


def literal_typicality(points, position, members, neighbours):
    distances = sorted(
        math.sqrt(sum((a - b) ** 2 for a, b in zip(points[position], points[m], strict=True)))
        for m in members
        if m != position
    )
    nearest = distances[: max(1, min(neighbours, len(members) // 2))]
    return 1 / (sum(nearest) / len(nearest) + 1e-5)


@pytest.mark.parametrize("neighbours", [1, 3, 20])
@pytest.mark.parametrize("size", [2, 3, 7, 30])
def test_typicality_equals_its_formula(size, neighbours):
    points = unit_rows(np.random.default_rng(size).normal(size=(40, 3)))
    members = np.sort(np.random.default_rng(0).permutation(40)[:size])
    found = typicality(points, members, members, neighbours)
    expected = [literal_typicality(points.tolist(), m, members.tolist(), neighbours) for m in members]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_copies_and_lonely_points_have_a_finite_typicality():
    points = unit_rows(np.ones((5, 3)))
    np.testing.assert_allclose(typicality(points, np.arange(5), np.arange(5), 20), 1e5)
    np.testing.assert_allclose(typicality(points, np.array([2]), np.array([2]), 20), 1e5)


def test_there_are_no_more_clusters_than_distinct_points():
    points = np.repeat(np.eye(3), 4, axis=0)
    found = k_means(points, 8, generator(0, "test"))
    assert len(set(found)) == 3
    assert [len(set(found[i : i + 4])) for i in (0, 4, 8)] == [1, 1, 1]
    many = np.random.default_rng(0).normal(size=(200, 3))
    found = k_means(many, 120, generator(0, "test"))
    assert sorted(set(found)) == list(range(len(set(found))))
    assert (found == k_means(many, 120, generator(0, "test"))).all()


def groups(sizes, *, spread=0.02):
    """Slices of one volume in tight groups around far-apart directions, group after group; the first is the densest."""
    rng = np.random.default_rng(0)
    rows = []
    for number, size in enumerate(sizes):
        centre = np.zeros(len(sizes))
        centre[number] = 1.0
        rows += [centre + spread * (place + 1) / size * rng.normal(size=len(sizes)) for place in range(size)]
    return np.array(rows, dtype=np.float32)


SIZES = (7, 12, 9, 8)
STARTS = np.cumsum((0, *SIZES))


def group_pool(**options):
    annotated = [SliceId("volume00", index) for index in options.pop("annotated", ())]
    return fake_pool(FakeStack(1, sum(SIZES)), features=groups(SIZES), annotated=annotated, **options)


def groups_of(choices):
    return [int(np.searchsorted(STARTS, choice.slice.index, side="right")) - 1 for choice in choices]


def test_clusters_take_turns_by_fewest_annotated_then_largest():
    annotated = [STARTS[1], STARTS[0], STARTS[0] + 1]
    pool = group_pool(annotated=annotated)
    choices = choose_slices(create_strategy("typiclust/clusters=4"), pool, 8, generator(0, "test"))
    # Counts 2, 1, 0, 0 with sizes 7, 12, 9, 8: first those with none, by size, then those with one, and so on.
    assert groups_of(choices) == [2, 3, 1, 2, 3, 1, 2, 3]


def test_the_most_typical_slice_of_the_cluster_is_picked():
    pool = group_pool()
    points = unit_rows(groups(SIZES)).tolist()
    choices = choose_slices(create_strategy("typiclust/clusters=4/neighbours=3"), pool, 8, generator(0, "test"))
    taken = []
    for choice, group in zip(choices, groups_of(choices), strict=True):
        members = list(range(STARTS[group], STARTS[group + 1]))
        left = [m for m in members if m not in taken]
        taken.append(max(left, key=lambda m: literal_typicality(points, m, members, 3)))
        assert choice.slice.index == taken[-1]


def test_a_cluster_that_may_not_be_picked_from_passes_its_turn():
    closed = [SliceId("volume00", index) for index in range(STARTS[1], STARTS[2])]
    choices = choose_slices(
        create_strategy("typiclust/clusters=4"), group_pool(skipped=closed), 6, generator(0, "test")
    )
    assert groups_of(choices) == [2, 3, 0, 2, 3, 0]


def test_gains_rank_the_next_clusters_too():
    """A combination may look at few candidates only: gains must rank them wherever they are."""
    strategy = create_strategy("typiclust/clusters=4")
    state = strategy.start(group_pool(), 20, generator(0, "test"))
    gains = state.gains()
    best = [gains[STARTS[g] : STARTS[g + 1]].max() for g in range(4)]
    least = [gains[STARTS[g] : STARTS[g + 1]].min() for g in range(4)]
    assert best[1] >= least[1] > best[2] > least[2] > best[3] > least[3] > best[0] > least[0] > 0
    assert "12 similar" in state.take(int(STARTS[1]))
    assert state.gains()[STARTS[2]] > state.gains()[STARTS[1]]


def test_small_clusters_come_last_unless_all_are_small():
    pool = group_pool()
    picks = choose_slices(create_strategy("typiclust/clusters=4/smallest=9"), pool, 22, generator(0, "test"))
    assert set(groups_of(picks)[:21]) == {1, 2}
    assert groups_of(picks)[21] in {0, 3}
    assert "no large cluster" in picks[21].reason
    picks = choose_slices(create_strategy("typiclust/clusters=4/smallest=100"), pool, 4, generator(0, "test"))
    assert groups_of(picks) == [1, 2, 3, 0]


def test_the_number_of_clusters_is_that_of_annotated_and_wanted_slices():
    pool = group_pool(annotated=[0])
    choices = choose_slices(create_strategy("typiclust"), pool, 3, generator(0, "test"))
    assert groups_of(choices) == [1, 2, 3]


def test_limits_hold_while_clusters_take_turns():
    features = np.concatenate([groups((6, 6))] * 3)
    pool = fake_pool(FakeStack(3, 12), features=features, constraints=Constraints(max_per_volume=2))
    choices = choose_slices(create_strategy("typiclust/clusters=2"), pool, 10, generator(0, "test"))
    assert len(choices) == 6
    assert sorted(choice.slice.index < 6 for choice in choices) == [False] * 3 + [True] * 3


def test_gains_of_a_thousand_clusters_stay_above_zero():
    points = unit_rows(np.random.default_rng(0).normal(size=(1001, 3)))
    state = RoundRobin(points, np.minimum(np.arange(1001), 999), 1, 20, "learned")
    assert state.gains().min() > 0
