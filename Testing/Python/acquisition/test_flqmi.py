"""FLQMI: gains, bounds and the stochastic variant, against the formula written out."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import pytest

from ActiveSegmentationLib.acquisition import Allowance, Constraints
from ActiveSegmentationLib.acquisition.base import greedy
from ActiveSegmentationLib.acquisition.flqmi import Dense, FlqmiSettings, FlqmiState, Similarities, flqmi


def allowance(count: int, allowed=None, **limits) -> Allowance:
    mask = np.ones(count, dtype=bool) if allowed is None else np.isin(np.arange(count), allowed)
    zeros = np.zeros(count, dtype=int)
    return Allowance(Constraints(**limits), zeros, zeros, np.arange(count), mask, np.zeros(count, dtype=bool))


def literal(similarities, chosen, weights, eta):
    """Equation 1, term by term; similarities below 0 count as 0."""
    total = 0.0
    for query in range(similarities.shape[1]):
        total += weights[query] * max([0.0, *(similarities[j, query] for j in chosen)])
    for j in chosen:
        total += eta * max([0.0, *similarities[j]])
    return total


class Pick(NamedTuple):
    position: int
    gain: float
    share: float


def flqmi_greedy(similarities, allowance, budget, *, rng=None, **options) -> list[Pick]:
    state = FlqmiState(similarities, FlqmiSettings(budget, **options), lambda share, first: str(share), rng)
    return [Pick(position, gain, float(share)) for position, gain, share in greedy(state, allowance, budget)]


def picks_of(similarities, budget, **options):
    return flqmi_greedy(Dense(similarities), allowance(len(similarities)), budget, **options)


@pytest.mark.parametrize("eta", [0.0, 1.0, 10.0])
@pytest.mark.parametrize("seed", range(5))
def test_every_gain_is_the_largest_difference_of_the_formula(eta, seed):
    rng = np.random.default_rng(seed)
    similarities = rng.normal(size=(30, 9)).astype(np.float32)
    weights = rng.integers(1, 5, 9)
    chosen: list[int] = []
    for pick in picks_of(similarities, 12, weights=weights, eta=eta):
        before = literal(similarities, chosen, weights, eta)
        rest = [j for j in range(30) if j not in chosen]
        gains = [literal(similarities, [*chosen, j], weights, eta) - before for j in rest]
        assert pick.gain == pytest.approx(max(gains), rel=1e-5)
        assert gains[rest.index(pick.position)] == pytest.approx(max(gains), rel=1e-5)
        chosen.append(pick.position)
    assert flqmi(similarities, np.array(chosen), weights=weights, eta=eta) == pytest.approx(
        literal(similarities, chosen, weights, eta)
    )


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(20))
def test_at_least_1_minus_1_over_e_of_the_best_of_all_subsets(eta, seed):
    similarities = np.random.default_rng(seed).normal(size=(8, 4)).astype(np.float32)
    weights = np.ones(4)
    top = max(literal(similarities, c, weights, eta) for c in itertools.combinations(range(8), 3))
    found = [pick.position for pick in picks_of(similarities, 3, eta=eta)]
    value = literal(similarities, found, weights, eta)
    assert value >= (1 - 1 / np.e) * top
    assert value <= top * (1 + 1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_the_best_subset_where_the_objective_is_modular(seed):
    """Each point is like one query of its own: nothing that is picked takes from the gain of another."""
    rng = np.random.default_rng(seed)
    similarities = np.diag(rng.uniform(0.1, 1, 8)).astype(np.float32)
    found = [pick.position for pick in picks_of(similarities, 3)]
    best = max(itertools.combinations(range(8), 3), key=lambda c: literal(similarities, c, np.ones(8), 1.0))
    assert set(found) == set(best)


def test_gains_diminish_and_are_never_negative():
    rng = np.random.default_rng(0)
    similarities = rng.normal(size=(40, 15)).astype(np.float32)
    gains = [pick.gain for pick in picks_of(similarities, 40)]
    assert all(a >= b - 1e-9 for a, b in itertools.pairwise(gains))
    assert gains[-1] >= 0
    for _ in range(20):  # diminishing returns of the set function itself
        order = rng.permutation(40)
        small, large, new = order[:5], order[:12], order[20:21]
        gain_small = flqmi(similarities, np.append(small, new)) - flqmi(similarities, small)
        gain_large = flqmi(similarities, np.append(large, new)) - flqmi(similarities, large)
        assert gain_small >= gain_large - 1e-9


def test_weights_are_multiplicities():
    similarities = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    counts = np.array([1, 3, 1, 2, 1, 4])
    once = picks_of(similarities, 8, weights=counts, eta=0.5)
    written_out = picks_of(np.repeat(similarities, counts, axis=1), 8, eta=0.5)
    assert [p.position for p in once] == [p.position for p in written_out]
    assert [p.gain for p in once] == pytest.approx([p.gain for p in written_out], rel=1e-6)
    assert [p.share for p in once] == pytest.approx([p.share for p in written_out])


def test_ties_go_to_the_lowest_position_and_shares_are_of_the_query_set():
    similarities = np.array([[0, 0.5], [1, 0], [1, 0], [-3, -1]], dtype=np.float32)
    first, second, third, fourth = picks_of(similarities, 4, eta=0.0, weights=np.array([3, 1]))
    assert [first.position, second.position, third.position, fourth.position] == [1, 0, 2, 3]
    assert [first.share, second.share, third.share, fourth.share] == [0.75, 0.25, 0, 0]
    assert [first.gain, second.gain, third.gain, fourth.gain] == [3, 0.5, 0, 0]


def test_the_allowance_holds_after_every_pick():
    similarities = np.ones((9, 3), dtype=np.float32)
    gap = allowance(9, allowed=[1, 2, 3, 6, 7], min_gap=3)
    assert [pick.position for pick in flqmi_greedy(Dense(similarities), gap, 9)] == [1, 6]
    assert flqmi_greedy(Dense(similarities), allowance(9, allowed=[]), 2) == []


def test_the_stochastic_choice_follows_its_seed_and_is_nearly_as_good():
    similarities = np.random.default_rng(0).uniform(size=(400, 30)).astype(np.float32)
    exact = [pick.position for pick in picks_of(similarities, 10)]
    runs = [
        [pick.position for pick in picks_of(similarities, 10, epsilon=0.1, rng=np.random.default_rng(seed))]
        for seed in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]
    assert all(flqmi(similarities, run) >= 0.9 * flqmi(similarities, exact) for run in runs)
    with pytest.raises(ValueError, match="generator"):
        picks_of(similarities, 10, epsilon=0.1)


def test_blocks_and_products_on_demand_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(50, 7)).astype(np.float32)
    queries = np.array([3, 8, 21, 40])
    held = flqmi_greedy(Similarities(points, queries), allowance(50), 10)
    monkeypatch.setattr("ActiveSegmentationLib.acquisition.flqmi.BLOCK", 12)
    monkeypatch.setattr("ActiveSegmentationLib.acquisition.flqmi.HELD", 1)
    computed = flqmi_greedy(Similarities(points, queries), allowance(50), 10, epsilon=0.0)
    assert [p.position for p in held] == [p.position for p in computed]
    assert [p.gain for p in held] == pytest.approx([p.gain for p in computed], rel=1e-5)
    dense = flqmi_greedy(Dense(points @ points[queries].T), allowance(50), 10, epsilon=0.0)
    assert [p.position for p in held] == [p.position for p in dense]


def test_large_pools_are_maximised_stochastically_by_themselves(monkeypatch):
    monkeypatch.setattr("ActiveSegmentationLib.acquisition.flqmi.EXACT_ROWS", 10)
    with pytest.raises(ValueError, match="generator"):
        picks_of(np.ones((11, 2), dtype=np.float32), 2)
    assert len(picks_of(np.ones((11, 2), dtype=np.float32), 2, rng=np.random.default_rng(0))) == 2
