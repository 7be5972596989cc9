"""Stochastic batches, power and ClaSP PE: properties that hold for all scores."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pytest
from acquisition_fakes import CLASSES, FakeStack, fake_model, fake_pool
from scipy import stats

from ActiveSegmentationLib.acquisition import (
    ClaspPe,
    Constraints,
    Option,
    Pool,
    ScoreStrategy,
    check_choices,
    create_strategy,
    registry,
)
from ActiveSegmentationLib.acquisition.round_inputs import ScoreSpec
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.loop import choose_slices


@dataclass(frozen=True)
class Given(ScoreStrategy):
    """Scores that a test sets."""

    name = "given"
    summary = "Scores of a test."
    embeddings = ("pixels",)
    scores = np.zeros(0)

    shift: Annotated[int, Option("added to all")] = 0

    def not_ready_reason(self, pool: Pool) -> str:
        return ""

    def score(self, pool: Pool) -> np.ndarray:
        return self.scores + self.shift

    def reason(self, pool: Pool, position: int, score: float) -> str:
        return "Given by the test."


@pytest.fixture(autouse=True)
def _given(monkeypatch):
    monkeypatch.setitem(registry.BUILT_IN, "given", Given)


def pool_of(scores, volumes: int | None = None, **options) -> Pool:
    Given.scores = np.asarray(scores, dtype=np.float64)
    volumes = volumes or len(scores)
    return fake_pool(FakeStack(volumes, len(scores) // volumes), **options)


def positions(name, pool, budget, seed=0):
    choices = choose_slices(create_strategy(name), pool, budget, generator(seed, "wrapper"))
    check_choices(choices, pool, budget)
    return [pool.ids.index(choice.slice) for choice in choices]


# Stochastic batches


@pytest.mark.parametrize("name", ["stochastic-batches:given", "stochastic-batches:given/batches=1"])
def test_one_batch_is_a_uniform_random_one(name):
    """Golden test 2: whatever the scores 1..N, every pair of six is as likely as any other."""
    budget = 4 if "/" not in name else 2  # floor(6 / 4) = 1
    pool = pool_of(np.arange(1, 7))
    counts = Counter(frozenset(positions(name, pool, budget, seed)) for seed in range(1500))
    expected = list(itertools.combinations(range(6), budget))
    assert len(counts) == len(expected) == 15
    assert stats.chisquare([counts[frozenset(batch)] for batch in expected]).pvalue > 1e-3


@pytest.mark.parametrize("reduce", ["mean", "max", "sum"])
def test_the_batch_with_the_largest_reduced_score_is_taken_whole(reduce):
    scores = generator(3).normal(size=23)
    pool = pool_of(scores)
    for seed in range(20):
        chosen = positions(f"stochastic-batches:given/reduce={reduce}", pool, 5, seed)
        order = generator(seed, "wrapper").permutation(23)
        chunks = [order[i : i + 5] for i in range(0, 20, 5)]  # the three left over are not a batch
        value = {"mean": np.mean, "max": np.max, "sum": np.sum}[reduce]
        assert set(chosen) == set(max(chunks, key=lambda chunk: value(scores[chunk])))
        assert [scores[p] for p in chosen] == sorted(scores[chosen], reverse=True)


def test_batches_of_one_take_the_highest_score():
    scores = generator(4).permutation(30)
    assert positions("stochastic-batches:given", pool_of(scores), 1) == [int(scores.argmax())]


def test_of_equal_batches_the_first_counts():
    pool = pool_of(np.ones(12))
    assert set(positions("stochastic-batches:given", pool, 3)) == set(generator(0, "wrapper").permutation(12)[:3])


def test_more_batches_press_harder():
    scores = generator(5).normal(size=60)
    pool = pool_of(scores)

    def reached(batches):
        name = f"stochastic-batches:given/batches={batches}"
        return np.mean([scores[positions(name, pool, 6, seed)].mean() for seed in range(30)])

    assert reached(1) < reached(10) < reached(300) < np.sort(scores)[-6:].mean()


@pytest.mark.parametrize("name", ["stochastic-batches:given", "stochastic-batches:given/batches=7"])
def test_every_batch_keeps_to_the_limits(name):
    scores = generator(6).normal(size=60)
    limits = Constraints(max_per_volume=2, max_per_patient=3, min_gap=3)
    pool = pool_of(scores, 6, constraints=limits)
    for seed in range(20):
        assert len(positions(name, pool, 6, seed)) == 6
    tight = pool_of(scores, 6, constraints=Constraints(max_per_volume=1))
    chosen = positions(name, tight, 6)
    assert sorted(tight.volumes[chosen]) == [0, 1, 2, 3, 4, 5]


# Power


def test_a_large_beta_takes_the_highest():
    scores = generator(7).random(40)
    pool = pool_of(scores)
    expected = np.argsort(-scores)[:9].tolist()
    for name in ("power:given/beta=1e9", "power:given/beta=1e9/rank=yes"):
        assert positions(name, pool, 9) == expected


def test_the_first_pick_is_drawn_in_proportion_to_the_power():
    scores = np.array([1.0, 2.0, 3.0, 4.0])
    pool = pool_of(scores)
    for beta in (1.0, 2.0):
        counts = np.bincount([positions(f"power:given/beta={beta}", pool, 1, s)[0] for s in range(2000)], minlength=4)
        assert stats.chisquare(counts, 2000 * scores**beta / (scores**beta).sum()).pvalue > 1e-3


def test_ranks_alone_count_for_soft_rank():
    scores = np.array([-5.0, 100.0, 0.0])
    pool = pool_of(scores)
    counts = np.bincount([positions("power:given/rank=yes", pool, 1, seed)[0] for seed in range(2000)], minlength=3)
    chance = np.array([1 / 3, 1, 1 / 2])
    assert stats.chisquare(counts, 2000 * chance / chance.sum()).pvalue > 1e-3


def test_a_tiny_beta_is_random_and_zero_scores_have_a_logarithm():
    pool = pool_of(np.array([0.0, 0.0, 1.0]))
    counts = np.bincount([positions("power:given/beta=1e-6", pool, 1, seed)[0] for seed in range(900)], minlength=3)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_negative_scores_are_refused_with_advice():
    with pytest.raises(BadInput, match="negative") as error:
        positions("power:given", pool_of(np.array([-1.0, 2.0])), 1)
    assert "rank=yes" in error.value.advice


# ClaSP PE


@pytest.mark.parametrize(("budget", "expected"), [(1, {1: 0, 2: 1}), (10, {1: 3, 2: 4}), (25, {1: 8, 2: 8})])
def test_classes_get_equal_parts(budget, expected):
    pool = fake_pool(FakeStack(8, 10), model=fake_model(), strategy=create_strategy("clasp-pe"))
    reasons = [c.reason for c in choose_slices(create_strategy("clasp-pe"), pool, budget, generator(0))]
    counts = sorted(sum(f"class {of_class}" in reason for reason in reasons) for of_class in range(1, CLASSES))
    assert counts == sorted(expected.values())
    assert sum(counts) == round(0.66 * budget)
    assert len(reasons) == budget


def test_what_is_left_goes_to_classes_at_random():
    pool = fake_pool(FakeStack(4, 10), model=fake_model(), strategy=create_strategy("clasp-pe"))
    first = [choose_slices(create_strategy("clasp-pe"), pool, 1, generator(seed))[0].reason for seed in range(200)]
    of_one = sum("class 1" in reason for reason in first)
    assert stats.binomtest(of_one, 200).pvalue > 1e-3


def test_beta_rises_from_1_to_100():
    """The second round is the first that has a model."""
    expected = [1, 1, 100**0.25, 10, 100**0.75, 100, 100]
    assert [create_strategy("clasp-pe/rounds=6").beta(number) for number in range(1, 8)] == pytest.approx(expected)
    usual = create_strategy("clasp-pe")
    assert [usual.beta(number, 6) for number in range(1, 8)] == pytest.approx(expected)
    assert [usual.beta(number, 3) for number in (2, 3)] == pytest.approx([1, 100])
    assert [usual.beta(number) for number in (2, 6, 10, 11)] == pytest.approx([1, 10, 100, 100])
    assert [usual.beta(2, planned) for planned in (1, 2)] == [1, 1]
    assert create_strategy("clasp-pe/rounds=6").beta(6, 99) == 100


def test_late_rounds_take_the_highest_of_every_class(monkeypatch):
    pool = fake_pool(FakeStack(4, 10), model=fake_model(), strategy=create_strategy("clasp-pe"), number=10)
    strategy = create_strategy("clasp-pe")
    monkeypatch.setattr(ClaspPe, "beta", lambda self, number, planned: 1e9)
    by_class = pool.scores(ScoreSpec(strategy.score_specs[1].sampler, "class-entropy"))
    choices = strategy.select(pool, 12, generator(0))
    taken = np.zeros(len(pool), dtype=bool)
    for of_class in dict.fromkeys(int(c.reason.split("class ")[1][0]) for c in choices if "class " in c.reason):
        own = [c for c in choices if f"class {of_class}" in c.reason]
        best = sorted(np.flatnonzero(~taken), key=lambda p: -by_class[p, of_class])[: len(own)]
        assert min(by_class[best, of_class]) == pytest.approx(min(c.score for c in own), rel=1e-5)
        taken[[pool.ids.index(c.slice) for c in own]] = True


# All wrappers


@pytest.mark.parametrize("wrapper", ["stochastic-batches", "power", "clasp-pe"])
def test_what_is_wrapped_is_passed_on(wrapper):
    strategy = create_strategy(f"{wrapper}:bald/passes=3/aggregate=top")
    inner = create_strategy("bald/passes=3/aggregate=top")
    assert strategy.score_specs[0] == inner.score_specs[0]
    assert strategy.needs == inner.needs == {"dropout"}
    assert create_strategy(wrapper).score_specs[0] == create_strategy("entropy").score_specs[0]
    with pytest.raises(BadInput, match="no option 'x'"):
        create_strategy(f"{wrapper}:entropy/x=1")
    with pytest.raises(BadInput):
        create_strategy(f"{wrapper}:random")
    with pytest.raises(BadInput, match="no strategy called"):
        create_strategy(f"{wrapper}:nonsense")


def test_scores_that_need_no_model_can_be_wrapped():
    scores = generator(8).random(20)
    assert positions("power:given/beta=1e9/shift=1", pool_of(scores), 3) == np.argsort(-scores)[:3].tolist()
    assert create_strategy("power:given").embeddings == ("pixels",)
    assert isinstance(create_strategy("given"), ScoreStrategy)
    assert not isinstance(create_strategy("random"), ScoreStrategy)


def test_options_go_to_the_one_that_knows_them():
    strategy = create_strategy("power:bald/beta=3/passes=5")
    assert (strategy.beta, strategy.rank) == (3.0, False)
    assert strategy.wrapped.passes == 5
