from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from acquisition_fakes import FakeStack, fake_pool

from ActiveSegmentationLib.acquisition import (
    Allowance,
    Constraints,
    create_strategy,
    k_center,
)
from ActiveSegmentationLib.acquisition.base import greedy
from ActiveSegmentationLib.acquisition.k_center import Centre, KCenterGains, fitting_device
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.loop import choose_slices


def free(count: int, allowed: np.ndarray | None = None, annotated: np.ndarray | None = None) -> Allowance:
    none = np.zeros(count, dtype=bool)
    annotated = none if annotated is None else annotated
    allowed = ~annotated if allowed is None else allowed & ~annotated
    return Allowance(Constraints(), np.zeros(count, int), np.zeros(count, int), np.arange(count), allowed, annotated)


def k_center_greedy(points: np.ndarray, covered: np.ndarray, allowance: Allowance, budget: int) -> list[Centre]:
    picks: list[Centre] = []

    def tell(centre: Centre) -> str:
        picks.append(centre)
        return ""

    assert len(list(greedy(KCenterGains(points, covered, tell), allowance, budget))) == len(picks)
    return picks


def literal_greedy(points: np.ndarray, covered: list[int], allowed: list[int], budget: int) -> list[int]:
    """argmax over the open points of min over the centres of the distance, one pair at a time; lowest index on ties."""
    centres, open_points, picks = list(covered), [p for p in allowed if p not in covered], []
    while len(picks) < budget and open_points:
        best, best_distance = -1, -1.0
        for p in open_points:
            if centres:
                distance = min(
                    sum((float(a) - float(b)) ** 2 for a, b in zip(points[p], points[c], strict=True)) for c in centres
                )
            else:
                mean = [sum(float(q[d]) for q in points) / len(points) for d in range(points.shape[1])]
                distance = 1e9 - sum((float(a) - m) ** 2 for a, m in zip(points[p], mean, strict=True))
            if distance > best_distance + 1e-9:
                best, best_distance = p, distance
        picks.append(best)
        centres.append(best)
        open_points.remove(best)
    return picks


@pytest.mark.parametrize("seed", range(200))
def test_equals_the_literal_greedy_on_grids_full_of_ties(seed):
    rng = np.random.default_rng(seed)
    count, width = int(rng.integers(2, 25)), int(rng.integers(1, 4))
    points = rng.integers(0, 4, (count, width)).astype(np.float32)
    covered = rng.random(count) < rng.choice([0.0, 0.2])
    allowed = rng.random(count) < 0.8
    budget = int(rng.integers(1, count + 2))
    picks = k_center_greedy(points, covered, free(count, allowed, covered), budget)
    expected = literal_greedy(points, list(np.flatnonzero(covered)), list(np.flatnonzero(allowed)), budget)
    assert [pick.position for pick in picks] == expected


def test_golden_line():
    points = np.array([[0.0], [1.0], [2.0], [10.0]], dtype=np.float32)
    covered = np.array([True, False, False, False])
    picks = k_center_greedy(points, covered, free(4, annotated=covered), 3)
    assert [(pick.position, pick.distance, pick.nearest) for pick in picks] == [(3, 10.0, 0), (2, 2.0, 0), (1, 1.0, 0)]


def test_far_from_the_origin_no_digit_is_lost():
    points = np.array([[0, 0], [3, 0], [0, 2], [2, 2]], dtype=np.float32) + 4096
    covered = np.array([True, False, False, False])
    assert [pick.position for pick in k_center_greedy(points, covered, free(4, annotated=covered), 3)] == [1, 3, 2]


def test_radius_never_grows():
    points = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    radii = [pick.distance for pick in k_center_greedy(points, np.zeros(300, bool), free(300), 100)]
    assert radii[0] == np.inf
    assert all(later <= earlier for earlier, later in itertools.pairwise(radii))


def test_choices_name_the_nearest_slice_and_the_space():
    stack = FakeStack(2, 3)
    features = np.array([[0], [1], [2], [10], [11], [12]], dtype=np.float32)
    pool = fake_pool(stack, features=features, annotated=[SliceId("volume00", 0)])
    choice = choose_slices(create_strategy("coreset"), pool, 1, np.random.default_rng(0))[0]
    assert choice.slice == SliceId("volume01", 2)
    assert choice.score == 12.0
    assert "volume00, slice 1" in choice.reason
    assert "model" in choice.reason


def test_coreset_says_so_when_pixels_stand_in():
    stack = FakeStack()
    pool = fake_pool(stack, embedders={"pixels": lambda rows: rows[:, None].astype(np.float32)})
    assert "pixels" in choose_slices(create_strategy("coreset"), pool, 2, np.random.default_rng(0))[1].reason


def test_nan_is_refused_and_the_slice_named():
    stack = FakeStack()
    features = np.zeros((len(stack), 2), dtype=np.float32)
    features[12, 1] = np.nan
    with pytest.raises(BadInput, match="volume01"):
        choose_slices(create_strategy("coreset"), fake_pool(stack, features=features), 1, np.random.default_rng(0))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_strategies_compute_on_the_device_of_the_pool(monkeypatch, device):
    stack, used = FakeStack(), []

    def fitting(device, features):
        used.append(device)
        return fitting_device(device, features)

    expected = choose_slices(create_strategy("coreset"), fake_pool(stack), 20, np.random.default_rng(0))
    monkeypatch.setattr(k_center, "fitting_device", fitting)
    choices = choose_slices(create_strategy("coreset"), fake_pool(stack, device=device), 20, np.random.default_rng(0))
    assert used == [device]
    assert [choice.slice for choice in choices] == [choice.slice for choice in expected]


def test_a_gpu_is_used_only_where_the_points_fit(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3200, 10**9))
    assert fitting_device("cuda:1", np.zeros((10, 10), np.float32)) == "cuda:1"
    assert fitting_device("cuda:1", np.zeros((10, 11), np.float32)) == "cpu"
    assert fitting_device("cpu", np.zeros((1, 1), np.float32)) == "cpu"
