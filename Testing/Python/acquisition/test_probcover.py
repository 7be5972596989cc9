from __future__ import annotations

import numpy as np
import pytest
from acquisition_fakes import FakeStack, fake_pool

from ActiveSegmentationLib.acquisition import create_strategy
from ActiveSegmentationLib.acquisition.neighbours import unit_rows
from ActiveSegmentationLib.acquisition.probcover import BallGains, pure_radius
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.loop import choose_slices


def literal_purity(points, kinds, radius):
    pure = 0
    for i in range(len(points)):
        inside = [j for j in range(len(points)) if np.linalg.norm(points[i] - points[j]) < radius]
        pure += all(kinds[j] == kinds[i] for j in inside)
    return pure / len(points)


@pytest.mark.parametrize("purity", [0.0, 0.5, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_radius_is_the_largest_that_is_pure_enough(seed, purity):
    rng = np.random.default_rng(seed)
    points = unit_rows(rng.normal(size=(40, 2)))
    kinds = rng.integers(0, 2, 40)
    radius = pure_radius(points, kinds, purity)
    assert literal_purity(points, kinds, radius - 1e-9) >= purity
    assert radius == 2.0 or purity == 0.0 or literal_purity(points, kinds, radius + 1e-9) < purity


def test_slices_of_one_kind_have_the_largest_radius():
    assert pure_radius(unit_rows(np.ones((4, 2))), np.zeros(4, int), 0.95) == 2.0


@pytest.mark.parametrize("seed", range(5))
def test_gains_equal_brute_force(seed):
    """Whole numbers of the gains are the slices newly covered, whatever is annotated and picked."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(60, 3)).astype(np.float32)
    points = unit_rows(features)
    annotated = [SliceId("volume02", 3), SliceId("volume04", 9)] if seed % 2 else []
    pool = fake_pool(features=features, annotated=annotated)
    radius = 0.5
    state = BallGains(pool, points, radius, "learned")
    centres = [pool.ids.index(slice_id) for slice_id in annotated]
    for _ in range(8):
        near = [[np.linalg.norm(points[i] - points[j]) < radius or i == j for j in range(60)] for i in range(60)]
        covered = [any(near[c][j] for c in centres) for j in range(60)]
        newly = [sum(near[i][j] and not covered[j] for j in range(60)) for i in range(60)]
        away = [min((np.linalg.norm(points[i] - points[c]) for c in centres), default=0.0) for i in range(60)]
        np.testing.assert_allclose(state.gains(), np.array(newly) + np.array(away) / 3, atol=1e-9)
        centres.append(int(np.argmax(state.gains())))
        state.take(centres[-1])


def test_the_largest_group_first_then_the_rest_and_then_the_farthest():
    angles = np.array([0.0, 0.01, 0.02, 0.03, 0.8, 0.81, 0.82, 1.5])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    pool = fake_pool(FakeStack(1, 8), features=features)
    choices = choose_slices(create_strategy("probcover/clusters=3"), pool, 5, generator(0, "test"))
    assert [choice.slice.index for choice in choices[:3]] == [0, 6, 7]  # of equals the farthest from those picked
    assert [int(choice.score) for choice in choices] == [4, 3, 1, 0, 0]
    assert choices[0].reason.startswith("Represents 4 slices")
    assert choices[2].reason.startswith("Unlike all annotated")
    assert "volume00" in choices[3].reason
    assert choices[3].slice.index == 3  # the farthest of those left


def test_annotated_slices_cover():
    angles = np.array([0.0, 0.01, 0.02, 0.03, 0.8, 0.81, 0.82, 1.5])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    pool = fake_pool(FakeStack(1, 8), features=features, annotated=[SliceId("volume00", 2)])
    choices = choose_slices(create_strategy("probcover/clusters=3"), pool, 1, generator(0, "test"))
    assert choices[0].slice.index == 6  # equal coverage as its neighbours, but farther from what is annotated


def test_identical_slices():
    pool = fake_pool(features=np.ones((60, 3), np.float32), annotated=[SliceId("volume00", 2)])
    choices = choose_slices(create_strategy("probcover"), pool, 3, generator(0, "test"))
    assert [choice.slice.index for choice in choices] == [0, 1, 3]
    assert [choice.score for choice in choices] == [0.0, 0.0, 0.0]
