"""Expected annotation time in the choice."""

from __future__ import annotations

import numpy as np
import pytest
from acquisition_fakes import FakeStack, fake_model, fake_pool

from ActiveSegmentationLib.acquisition import PoolStatistics, create_strategy
from ActiveSegmentationLib.acquisition.wrappers import expected_seconds
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.loop import choose_slices


def outline_of(pool):
    shares = pool.scores(create_strategy("per-second").score_specs[-1])
    return np.sqrt(shares[:, 1:].astype(float)).sum(axis=1)


def test_seconds_are_fitted_to_what_people_took():
    stack = FakeStack()
    annotated = [SliceId("volume00", i) for i in range(10)]
    free = fake_pool(stack, model=fake_model(), annotated=annotated)
    outline = outline_of(free)
    took = {slice_id: 12.0 + 40.0 * outline[free.ids.index(slice_id)] for slice_id in annotated}
    pool = fake_pool(stack, model=fake_model(), annotated=annotated, statistics=PoolStatistics(seconds=took))
    seconds, measured = expected_seconds(pool)
    assert measured
    np.testing.assert_allclose(seconds, 12.0 + 40.0 * outline, rtol=1e-6)


@pytest.mark.parametrize("timed", [0, 4])
def test_few_timed_slices_give_parts_of_a_usual_slice(timed):
    annotated = [SliceId("volume00", i) for i in range(timed)]
    pool = fake_pool(
        model=fake_model(), annotated=annotated, statistics=PoolStatistics(seconds=dict.fromkeys(annotated, 9.0))
    )
    parts, measured = expected_seconds(pool)
    assert not measured
    assert parts.mean() == pytest.approx(1.0)
    assert parts.min() >= 0.5


def test_time_counts_as_much_as_its_weight_says():
    pool = fake_pool(model=fake_model())
    plain = create_strategy("entropy").score(pool)
    for weight in (0.0, 1.0, 2.0):
        found = create_strategy(f"per-second:entropy/weight={weight:g}").score(pool)
        np.testing.assert_allclose(found, plain / expected_seconds(pool)[0] ** weight, rtol=1e-6)


def test_the_dearest_slices_come_later_than_without_time():
    pool = fake_pool(model=fake_model())
    seconds = expected_seconds(pool)[0]

    def mean_cost(name):
        choices = choose_slices(create_strategy(name), pool, 15, np.random.default_rng(0))
        return np.mean([seconds[pool.ids.index(choice.slice)] for choice in choices])

    assert mean_cost("per-second:entropy/weight=5") < mean_cost("entropy")
