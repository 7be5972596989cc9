"""Statistics of the papers against values by hand and literal versions."""

import itertools

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from ActiveSegmentationLib.evaluation import (
    UPPER_BOUND,
    CostModel,
    RequestRow,
    ResultRow,
    batch_facts,
    batch_table,
    class_entropy,
    comparisons,
    correlation,
    cost_curves,
    foreground_rate,
    format_text,
    gap_table,
    gaps,
    group_deviations,
    learning_curves,
    mean_pairwise_deviation,
    pairwise_penalties,
    penalty_matrix,
    penalty_table,
    permutation_p_value,
    summary,
    upper_bounds,
)


def result(strategy, seed, slices, value, *, volume="v", cohort="c"):
    return ResultRow(cohort, strategy, seed, slices // 10, slices, slices / 2, "p", volume, "LV", "dice", value)


def test_the_permutation_test_tries_every_exchange():
    first, second = np.array([0.9, 0.8, 0.75, 0.6]), np.array([0.7, 0.75, 0.7, 0.65])
    differences = first - second
    means = [np.mean(differences * signs) for signs in itertools.product((1, -1), repeat=4)]
    literal = np.mean([abs(mean) >= abs(differences.mean()) - 1e-12 for mean in means])
    assert permutation_p_value(first, second) == pytest.approx(literal)
    assert permutation_p_value(first, first) == 1
    assert np.isnan(permutation_p_value(first[:1], second[:1]))
    with pytest.raises(ValueError, match="one shape"):
        permutation_p_value(first, second[:3])


def test_the_permutation_test_keeps_its_level_and_finds_differences():
    rng = np.random.default_rng(0)
    wrong = [permutation_p_value(*rng.normal(0, 1, (2, 30))) < 0.05 for _ in range(25)]
    assert np.mean(wrong) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 25)
    base = rng.normal(0, 1, 30)
    assert permutation_p_value(base + rng.normal(0.5, 0.2, 30), base) < 0.001


def literal_penalties(scores, alpha):
    strategies, _, budgets = scores.shape
    matrix = np.zeros((strategies, strategies))
    for a, b in itertools.permutations(range(strategies), 2):
        for budget in range(budgets):
            found = ttest_1samp(scores[a, :, budget] - scores[b, :, budget], 0)
            matrix[a, b] += (found.pvalue < alpha and found.statistic > 0) / budgets
    return matrix


def test_penalties_are_those_of_paired_t_tests():
    scores = np.random.default_rng(1).normal(0, 0.03, (4, 5, 6)) + 0.02 * np.arange(4)[:, None, None]
    found = pairwise_penalties(scores, alpha=0.1)
    np.testing.assert_allclose(found, literal_penalties(scores, 0.1))
    assert 0 < found.max() <= 1
    assert not (np.minimum(found, found.T) > 1 - 1 / 6).any()  # a strategy cannot beat and lose at the same budget
    scores[0, 0] = np.nan  # one seed less for every pair with the first strategy
    np.testing.assert_allclose(pairwise_penalties(scores)[0, 1:], literal_penalties(scores[:, 1:], 0.05)[0, 1:])
    assert not pairwise_penalties(scores[:, 1:2]).any()  # one seed shows nothing


def test_the_penalty_matrix_sums_over_cohorts():
    rows = [
        result(strategy, seed, slices, 0.5 + gain + 0.01 * seed + 0.001 * (seed * slices % 7), cohort=cohort)
        for cohort in ("a", "b")
        for strategy, gain in (("good", 0.2), ("bad", 0.0))
        for seed in (0, 1, 2)
        for slices in (10, 20)
    ]
    matrix = penalty_matrix(rows)
    assert matrix.strategies == ("bad", "good")
    np.testing.assert_array_equal(matrix.penalties, [[0, 0], [2, 0]])
    np.testing.assert_array_equal(matrix.phi, [1, 0])
    assert "loses (Φ)  1.00  0.00" in format_text(penalty_table(matrix))
    assert penalty_matrix([row for row in rows if row.strategy == "good"]) is None


def test_the_gap_is_taken_seed_by_seed_and_the_upper_bound_is_not_a_strategy():
    rows = [result("s", seed, slices, value) for seed, slices, value in [(0, 10, 0.5), (1, 10, 0.7), (0, 20, 0.8)]]
    rows += [result(UPPER_BOUND, 0, 200, 0.9), result(UPPER_BOUND, 1, 200, 0.8)]
    assert upper_bounds(rows) == {0: 0.9, 1: 0.8}
    first, second = gaps(rows)
    assert (first.annotated_slices, first.seeds, second.annotated_slices, second.seeds) == (10, 2, 20, 1)
    assert (first.mean, first.sd, second.mean) == pytest.approx((0.25, np.std([0.4, 0.1], ddof=1), 0.1))
    assert [curve.strategy for curve in learning_curves(rows)] == ["s"]
    assert {row.strategy for row in summary(rows)} == {"s"}
    assert comparisons(rows) == []
    assert "25.0 %" in format_text(gap_table(gaps(rows)))
    assert gaps(rows[:3]) == []


def test_the_cost_of_scribbles_is_a_fifteenth_or_the_measured_time():
    rows = [result("s", 0, slices, 0.5, cohort=cohort) for cohort in ("masks", "scribbles") for slices in (30, 60)]
    kinds = {"masks": "mask", "scribbles": "scribble"}
    masks, scribbles = cost_curves(rows, kinds, CostModel())
    np.testing.assert_allclose(masks.cost, [15, 30])
    np.testing.assert_allclose(scribbles.cost, [1, 2])
    masks, scribbles = cost_curves(rows, kinds, CostModel(mask=120, scribble=12))
    np.testing.assert_allclose(masks.cost, [1, 2])  # hours
    np.testing.assert_allclose(scribbles.cost, [0.1, 0.2])
    assert CostModel(scribble=4).of_slice("mask") == 60


def test_the_foreground_rate_is_found_again():
    percent = np.array([1.0, 3, 6, 10, 20])
    dice = 0.9 - (0.9 - 0.5) * np.exp(-0.2 * (percent - 1))
    rate, error = foreground_rate(percent, dice, start=0.5, ceiling=0.9)
    assert rate == pytest.approx(0.2, rel=1e-4)
    assert error == pytest.approx(0, abs=1e-4)
    assert np.isnan(foreground_rate(percent, dice, start=0.95, ceiling=0.9)).all()
    assert np.isnan(foreground_rate(percent[:2], dice[:2], start=0.5, ceiling=0.9)).all()


@pytest.mark.parametrize(("pixels", "expected"), [([5, 5], 1), ([7, 0], 0), ([3], 1), ([1, 3], 0.8112781)])
def test_class_entropy(pixels, expected):
    assert class_entropy(np.array(pixels)) == pytest.approx(expected)


def test_without_foreground_there_is_no_class_entropy():
    assert np.isnan(class_entropy(np.zeros(2)))


def test_facts_about_batches():
    def request(number, rank, patient, volume, index):
        return RequestRow("c", "s", 0, number, rank, patient, volume, 2, index, 0.0, "r")

    requests = [
        request(1, 1, "p", "p-a", 3),
        request(1, 2, "p", "p-a", 4),
        request(1, 3, "p", "p-b", 0),
        request(1, 4, "q", "q-a", 4),
        request(2, 1, "q", "q-a", 5),
        request(2, 2, "q", "q-a", 9),
    ]
    pixels = {(volume, n): np.array([0, 0]) for volume in ("p-a", "p-b", "q-a") for n in range(10)}
    pixels |= {("p-a", 3): np.array([10, 0]), ("q-a", 4): np.array([0, 10]), ("q-a", 9): np.array([5, 15])}
    first, second = batch_facts(requests, pixels, {("s", 0, 2): 1.5})
    assert (first.slices, first.patients, first.largest_share) == (4, 2, 0.5)
    assert (first.neighbours, first.foreground, first.class_entropy) == (0.5, 0.5, 1)
    assert (first.foreground_percent, second.foreground_percent) == (50, 100)
    assert (second.neighbours, second.foreground, second.largest_share) == (0.5, 0.5, 1)  # slice 5 is next to 4
    assert np.isnan(first.uncertainty)
    assert second.uncertainty == 1.5
    text = format_text(batch_table([first, second]))
    assert "50.0 %" in text
    unknown = batch_facts(requests)[0]
    assert (unknown.largest_share, np.isnan(unknown.foreground)) == (0.5, True)
    assert "class entropy" not in format_text(batch_table([unknown]))


def test_deviations_within_groups_are_literal_means_over_pairs():
    rng = np.random.default_rng(2)
    images = rng.random((9, 13)).astype(np.float32)
    patients, volumes = list("aaaaaabbb"), ["a1", "a1", "a1", "a2", "a2", "a2", "b1", "b1", "b1"]
    positions = [0, 1, 2, 5, 6, 8, 0, 1, 2]

    def literal(members):
        pairs = itertools.combinations(members, 2)
        return np.mean([np.abs(images[a].astype(float) - images[b]).mean() for a, b in pairs])

    found = group_deviations(images, patients, volumes, positions)
    assert mean_pairwise_deviation(images, at_once=5) == pytest.approx(literal(range(9)))
    assert found.dataset == pytest.approx(literal(range(9)))
    assert found.patient == pytest.approx(np.mean([literal(range(6)), literal(range(6, 9))]))
    assert found.volume == pytest.approx(np.mean([literal(range(s, s + 3)) for s in (0, 3, 6)]))
    steps = [(0, 1), (1, 2), (3, 4), (6, 7), (7, 8)]  # slices 6 and 8 of a2 are not neighbours
    assert found.adjacent == pytest.approx(np.mean([literal(pair) for pair in steps]))
    assert np.isnan(mean_pairwise_deviation(images[:1]))


def test_uncertainty_against_error():
    errors = np.array([1.0, 4, 2, 8])
    assert correlation(2 * errors + 3, errors) == pytest.approx(1)
    assert np.isnan(correlation(np.ones(4), errors))
    assert np.isnan(correlation(errors[:2], errors[:2]))
