"""BADGE: the first pick, the draws, and what it leaves out."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from acquisition_fakes import FakeStack, fake_model, fake_pool

from ActiveSegmentationLib.acquisition import Constraints, Pool, RoundPlan, Sources, create_strategy
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.loop import choose_slices
from ActiveSegmentationLib.uncertainty.gradients import gradient_embeddings


class GivenPool(Pool):
    """A pool whose gradients are given."""

    gradients: np.ndarray

    def per_item(self, key, compute):
        assert key[0] == "gradients"
        return self.gradients


def given(gradients: list, *, constraints: Constraints | None = None, unit: str = "slice", **options) -> GivenPool:
    stack = FakeStack(1, len(gradients))
    plan = RoundPlan(unit=unit, constraints=constraints or Constraints())
    pool = GivenPool(stack, np.arange(len(stack)), plan=plan, sources=Sources(fake_model()), **options)
    pool.gradients = np.asarray(gradients, dtype=np.float32)
    return pool


def indices(pool, budget, seed=0, name="badge"):
    return [
        choice.slice.index for choice in choose_slices(create_strategy(name), pool, budget, generator(seed, "test"))
    ]


def test_the_longest_gradient_first_and_copies_of_picks_never_before_others():
    pool = given([[1, 0], [0, 5], [0, 5], [1, 0], [0, 0]])
    for seed in range(30):
        picks = indices(pool, 5, seed)
        assert picks[0] == 1
        assert picks[-2:] in ([2, 3], [3, 2], [2, 0], [0, 2])  # the copies are left for last


def test_draws_are_proportional_to_squared_distances():
    pool = given([[10, 0], [9, 0], [8, 0], [7, 0]])
    seconds = Counter(indices(pool, 2, seed)[1] for seed in range(1400))
    for index, expected in ((1, 100), (2, 400), (3, 900)):
        assert abs(seconds[index] - expected) < 4 * np.sqrt(expected)


def test_equal_gradients_are_drawn_evenly_and_the_reason_says_so():
    pool = given([[1, 1]] * 6)
    assert {indices(pool, 2, seed)[1] for seed in range(60)} == {1, 2, 3, 4, 5}
    choices = choose_slices(create_strategy("badge"), pool, 3, generator(0, "test"))
    assert [choice.score for choice in choices] == [pytest.approx(2**0.5), 0, 0]
    assert "at random" in choices[1].reason


def test_the_mask_holds_after_every_pick():
    pool = given([[9, 0], [0, 8], [0, 7], [7, 0], [1, 1], [0, 0]], constraints=Constraints(min_gap=3))
    for seed in range(20):
        picks = indices(pool, 6, seed)
        assert picks[0] == 0
        assert len(picks) == 2
        assert picks[1] >= 3


def test_away_from_what_is_annotated_on_request():
    pool = given([[9, 0], [9, 0], [0, 1]], annotated=[SliceId("volume00", 0)])
    assert indices(pool, 1) == [1]
    assert indices(pool, 1, name="badge/start=annotated") == [2]


def test_gradients_of_a_volume_are_the_means_of_its_slices():
    stack, seen = FakeStack(3, 4), []

    class Watching(Pool):
        def per_item(self, key, compute):
            seen.append(super().per_item(key, compute))
            return seen[-1]

    pool = Watching(stack, np.arange(12), plan=RoundPlan(unit="volume"), sources=Sources(fake_model()))
    indices(pool, 2)
    each = gradient_embeddings(fake_model(), stack, np.arange(12), layer="last", loss="cross-entropy")
    np.testing.assert_allclose(seen[0], each.reshape(3, 4, -1).mean(axis=1), rtol=1e-4, atol=1e-9)


def test_kept_parameters_bound_the_width():
    pool = fake_pool(model=fake_model())
    seen = []
    pool._remember = lambda key, values: seen.append(values.shape) or pool._known.__setitem__(key, values)
    indices(pool, 2, name="badge/parameters=7")
    assert seen == [(60, 7)]
