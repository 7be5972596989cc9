"""Strategies that rank by uncertainty, against literal versions of their formulas."""

from __future__ import annotations

import copy
import functools

import numpy as np
import pytest
import torch
from acquisition_fakes import FakeStack, fake_model, fake_pool

from ActiveSegmentationLib.acquisition import Situation, create_strategy
from ActiveSegmentationLib.acquisition.ranking import percentile_text
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.loop import choose_slices
from ActiveSegmentationLib.uncertainty import Deterministic, Dropout, EnsembleSampler


@functools.cache
def sharp_model():
    """The fake model with larger logits: what it predicts differs more from slice to slice."""
    model = copy.deepcopy(fake_model())
    with torch.no_grad():
        for network in model.networks():
            network.net.final_conv.weight *= 30
    return model


def h(p: np.ndarray, axis: int) -> np.ndarray:
    return -np.sum(np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0), axis=axis)


def drawn(stack, sampler) -> np.ndarray:
    """All draws (T, n, C, H, W) of the fake model, float64; one batch, as the strategies make one of so few slices."""
    images = stack.batches(np.arange(len(stack)))
    return torch.stack(list(sampler.draws(sharp_model(), images, 0))).double().numpy()


def bald(p):
    return (h(p.mean(0), 1) - h(p, 2).mean(0)).mean((1, 2))


def sorted_margin(p):
    two = np.sort(p[0], axis=1)[:, ::-1]
    return 1 - (two[:, 0] - two[:, 1]).mean((1, 2))


def variance_ratio(p):
    votes = p.argmax(2)
    modal = np.max([(votes == c).sum(0) for c in range(p.shape[2])], axis=0)
    return (1 - modal / len(p)).mean((1, 2))


FORMULAS = {
    "entropy": (Deterministic(), lambda p: h(p[0], 1).mean((1, 2))),
    "margin": (Deterministic(), sorted_margin),
    "least-confidence": (Deterministic(), lambda p: (1 - p[0].max(1)).mean((1, 2))),
    "bald": (Dropout(10), bald),
    "bald/passes=4/p=0.3": (Dropout(4, 0.3), bald),
    "dropout-jsd": (Dropout(8), bald),
    "dropout-jsd/formula=plus": (Dropout(8), lambda p: ((h(p.mean(0), 1) + h(p, 2).mean(0)) / 2).mean((1, 2))),
    "dropout-entropy": (Dropout(10), lambda p: h(p.mean(0), 1).mean((1, 2))),
    "dropout-variance": (Dropout(17), lambda p: p.var(0, ddof=1)[:, 1:].mean((2, 3)).mean(1)),
    "mean-std": (Dropout(10, 0.1), lambda p: p.std(0, ddof=1).mean((1, 2, 3))),
    "mean-std/statistic=var": (Dropout(10, 0.1), lambda p: p.var(0, ddof=1).mean((1, 2, 3))),
    "variance-ratio": (EnsembleSampler(), variance_ratio),
    "ensemble-entropy": (EnsembleSampler(), lambda p: h(p.mean(0), 1).mean((1, 2))),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_scores_follow_the_formula_and_the_highest_are_taken(name):
    sampler, formula = FORMULAS[name]
    stack, strategy = FakeStack(3, 8), create_strategy(name)
    pool = fake_pool(stack, model=sharp_model(), strategy=strategy)
    expected = formula(drawn(stack, sampler))
    assert np.ptp(expected) > 0
    assert strategy.score(pool) == pytest.approx(expected, rel=1e-4, abs=1e-7)
    choices = strategy.select(pool, 5, generator(0))
    scores = strategy.score(pool)
    assert [c.slice for c in choices] == [pool.ids[i] for i in np.argsort(-scores, kind="stable")[:5]]
    assert [c.score for c in choices] == sorted((float(s) for s in scores), reverse=True)[:5]


def test_bald_and_divergence_are_one_code_path():
    stack = FakeStack(2, 6)
    pool = fake_pool(stack, model=fake_model())
    bald_scores = create_strategy("bald/passes=8").score(pool)
    assert np.array_equal(bald_scores, create_strategy("dropout-jsd").score(pool))


def test_one_sweep_feeds_all_scores(monkeypatch):
    model, calls = fake_model(), []
    for member in model.members:
        original = type(member).predict
    monkeypatch.setattr(type(member), "predict", lambda self, images: calls.append(1) or original(self, images))
    stack = FakeStack(2, 6)
    strategy = create_strategy("clasp-pe:bald/passes=3")
    pool = fake_pool(stack, model=model, strategy=strategy)
    assert len(strategy.score_specs) == 2
    strategy.select(pool, 4, generator(0))
    strategy.select(pool, 4, generator(1))
    assert len(calls) == 3 * len(model.members)  # one batch holds all slices


@pytest.mark.parametrize("name", [n for n in FORMULAS if "/" not in n])
def test_aggregates_change_the_score_only(name):
    strategy = create_strategy(f"{name}/aggregate=top")
    plain = create_strategy(name)
    assert strategy.spec.sampler == plain.spec.sampler
    assert strategy.spec.name == f"{plain.spec.name}:top"


@pytest.mark.parametrize(
    "wrong", ["entropy:x", "entropy/aggregate=none", "bald/passes=1", "bald/p=2", "tta-jsd/rotation=91", "margin/p=0.1"]
)
def test_wrong_names_are_refused_in_words(wrong):
    with pytest.raises(BadInput) as error:
        create_strategy(wrong)
    assert error.value.advice.endswith(".")


def test_what_they_need_is_named():
    nothing = Situation(members=1, dropout=False)
    for name in ("bald", "dropout-jsd", "dropout-entropy", "dropout-variance", "mean-std", "power:bald"):
        assert "dropout" in create_strategy(name).unavailable_reason(nothing)
    for name in ("variance-ratio", "ensemble-entropy", "stochastic-batches:variance-ratio", "clasp-pe:variance-ratio"):
        assert "models" in create_strategy(name).unavailable_reason(nothing)
    for name in ("entropy", "margin", "least-confidence", "tta-jsd", "clasp-pe"):
        assert create_strategy(name).unavailable_reason(nothing) == ""


def test_percentiles_in_words():
    assert percentile_text(np.array([1.0, 2, 3, 4, 5]), 4) == "100 % of the other slices"
    assert percentile_text(np.array([1.0, 2, 3, 4, 5]), 1) == "25 % of the other slices"
    assert "only one" in percentile_text(np.array([1.0]), 0)


def test_learning_loss_ranks_by_the_head_and_says_what_is_missing():
    stack = FakeStack(3, 8)
    pool = fake_pool(stack, model=fake_model())
    strategy = create_strategy("learning-loss")
    assert strategy.loss_head
    assert create_strategy("power:learning-loss/rank=yes").loss_head
    expected = fake_model().predicted_losses(stack, np.arange(len(stack)))
    assert np.array_equal(strategy.score(pool), expected)
    chosen = strategy.select(pool, 3, generator(0))
    assert [c.slice for c in chosen] == [pool.ids[i] for i in np.argsort(-expected)[:3]]


def test_learning_loss_needs_a_head():
    from dataclasses import replace

    from ActiveSegmentationLib.segmentation import Ensemble, SegmentationModel
    from ActiveSegmentationLib.segmentation.network import build_network

    settings = replace(fake_model().members[0].settings, loss_head=False)
    bare = Ensemble((SegmentationModel(build_network(1, 3, settings, seed=0), 1, 3, settings, "bare"),))
    choices = choose_slices(create_strategy("learning-loss"), fake_pool(model=bare), 3, generator(0))
    assert all("has no head" in choice.reason for choice in choices)
    with pytest.raises(BadInput, match="no head") as error:
        create_strategy("learning-loss").score(fake_pool(model=bare))
    assert "loss_head" in error.value.advice


def test_the_words_of_options_are_those_that_the_program_knows():
    from ActiveSegmentationLib.acquisition.options import settings_of
    from ActiveSegmentationLib.acquisition.wrappers import REDUCTIONS, StochasticBatches
    from ActiveSegmentationLib.uncertainty import AGGREGATES

    assert set(settings_of(type(create_strategy("entropy")))["aggregate"].choices) == set(AGGREGATES)
    assert set(settings_of(StochasticBatches)["reduce"].choices) == set(REDUCTIONS)
