import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import trapezoid
from scipy.stats import t as student_t
from scipy.stats import ttest_1samp

from ActiveSegmentationLib.evaluation import (
    area_under_learning_curve,
    bootstrap_standard_error,
    clustered_mean,
    mean_without_nan,
    paired_area_difference,
    paired_difference,
    wins_ties_losses,
)

budget_lists = st.lists(st.integers(1, 10_000), min_size=1, max_size=8, unique=True).map(sorted)


@settings(max_examples=50, deadline=None)
@given(budget_lists, st.floats(-10, 10))
def test_the_area_of_a_constant_curve_is_its_height(budgets, height):
    assert area_under_learning_curve(budgets, np.full(len(budgets), height)) == pytest.approx(height, abs=1e-9)


def test_the_area_is_the_trapezoid_rule_for_unequal_steps():
    assert area_under_learning_curve([10, 20, 50], np.array([0.2, 0.6, 0.8])) == pytest.approx(
        (10 * 0.4 + 30 * 0.7) / 40
    )
    curves = np.random.default_rng(0).random((2, 3, 4))
    budgets = np.array([5, 7, 20, 21])
    literal = [[trapezoid(c, budgets) / 16 for c in plane] for plane in curves]
    np.testing.assert_allclose(area_under_learning_curve(budgets, curves), literal)


@pytest.mark.parametrize(("budgets", "scores"), [([2, 1], [0, 0]), ([1, 1], [0, 0]), ([], []), ([1, 2], [0])])
def test_areas_of_nonsense_are_refused(budgets, scores):
    with pytest.raises(ValueError, match="budget"):
        area_under_learning_curve(budgets, np.array(scores, float))


def test_means_without_nan():
    values = np.array([[1.0, np.nan, 3.0], [np.nan] * 3])
    np.testing.assert_equal(mean_without_nan(values, axis=1), [2, np.nan])
    assert mean_without_nan(values) == 2


def literal_standard_error(scores, resamples, rng):
    means = []
    for _ in range(resamples):
        drawn = rng.integers(0, scores.shape[1], scores.shape[1])
        means.append(np.mean([np.mean(scores[:, volume]) for volume in drawn]))
    return np.std(means, ddof=1)


def test_the_standard_error_agrees_with_the_literal_bootstrap_and_with_theory():
    scores = np.random.default_rng(1).normal(0.8, 0.05, (3, 40))
    ours = bootstrap_standard_error(scores, resamples=4000)
    literal = literal_standard_error(scores, 4000, np.random.default_rng(2))
    assert ours == pytest.approx(literal, rel=0.08)
    assert ours == pytest.approx(scores.mean(axis=0).std() / np.sqrt(40), rel=0.08)


def test_the_standard_error_is_seeded_and_leaves_nan_out():
    scores = np.random.default_rng(1).random((3, 10))
    assert bootstrap_standard_error(scores, seed=4) == bootstrap_standard_error(scores, seed=4)
    assert bootstrap_standard_error(scores, seed=4) != bootstrap_standard_error(scores, seed=5)
    more = np.concatenate([scores, np.full((3, 2), np.nan)], axis=1)
    assert bootstrap_standard_error(more) == bootstrap_standard_error(scores)
    assert np.isnan(bootstrap_standard_error(scores[:, :1]))
    assert bootstrap_standard_error(np.full((2, 5), 0.5)) == pytest.approx(0, abs=1e-12)


def literal_interval(first, second):
    """Of complete data: variances of the mean over seeds and over volumes, less what both hold, by loops."""
    d = first - second
    seeds, volumes = d.shape
    of_seeds = np.var([np.mean(d[s]) for s in range(seeds)], ddof=1) / seeds
    of_volumes = np.var([np.mean(d[:, v]) for v in range(volumes)], ddof=1) / volumes
    of_cells = np.var(d, ddof=1) / d.size
    error = np.sqrt(max(of_seeds, of_volumes, of_seeds + of_volumes - of_cells))
    reach = student_t.ppf(0.975, min(seeds, volumes) - 1) * error
    return np.mean(d) - reach, np.mean(d) + reach


@pytest.mark.parametrize("shape", [(2, 9), (4, 12), (7, 3)])
def test_the_paired_interval_is_the_literal_one(shape):
    rng = np.random.default_rng(3)
    second = rng.normal(0.7, 0.1, shape)
    first = second + rng.normal(0.02, 0.02, shape) + rng.normal(0, 0.01, (shape[0], 1))
    found = paired_difference(first, second)
    assert found.mean == pytest.approx(np.mean(first - second))
    assert (found.low, found.high) == pytest.approx(literal_interval(first, second))
    assert (found.seeds, found.volumes) == shape


def literal_interval_of_patients(first, second, patients):
    """Sums of deviations of every seed, every patient and every (seed, patient), squared, by loops."""
    d = first - second
    deviations = d - d.mean()
    people = sorted(set(patients))
    of = {person: [place for place, name in enumerate(patients) if name == person] for person in people}

    def variance(sums):
        return sum(each**2 for each in sums) / d.size**2 * len(sums) / (len(sums) - 1)

    of_seeds = variance([deviations[s].sum() for s in range(len(d))])
    of_people = variance([deviations[:, of[person]].sum() for person in people])
    of_cells = variance([deviations[s, of[person]].sum() for s in range(len(d)) for person in people])
    reach = student_t.ppf(0.975, min(len(d), len(people)) - 1)
    reach *= np.sqrt(max(of_seeds, of_people, of_seeds + of_people - of_cells))
    return d.mean() - reach, d.mean() + reach


def test_volumes_of_a_patient_count_as_one_draw():
    rng = np.random.default_rng(3)
    patients = ["a", "b", "a", "c", "b", "a"]
    second = rng.normal(0.7, 0.1, (4, 6))
    first = second + rng.normal(0.02, 0.02, (4, 6))
    found = paired_difference(first, second, patients=patients)
    assert (found.low, found.high) == pytest.approx(literal_interval_of_patients(first, second, patients))
    assert (found.seeds, found.volumes, found.patients) == (4, 6, 3)
    assert found.mean == pytest.approx(np.mean(first - second))  # as in the tables, a mean over volumes
    alone = paired_difference(first, second, patients=list("uvwxyz"))
    assert (alone.low, alone.high) == pytest.approx(literal_interval(first, second))
    with pytest.raises(ValueError, match="6 volumes"):
        paired_difference(first, second, patients=["a"])


def test_the_same_scores_twice_add_no_evidence():
    rng = np.random.default_rng(4)
    first, second = rng.random((2, 5, 8))
    twice = [np.repeat(scores, 2, axis=1) for scores in (first, second)]
    once, both = paired_difference(first, second), paired_difference(*twice, patients=list("aabbccddeeffgghh"))
    assert (both.low, both.high) == pytest.approx((once.low, once.high))
    error = bootstrap_standard_error(twice[0], groups=list("aabbccddeeffgghh"), resamples=500)
    assert error == pytest.approx(bootstrap_standard_error(first, resamples=500))
    assert error > 1.2 * bootstrap_standard_error(twice[0], resamples=500)


def test_the_standard_error_over_patients_agrees_with_a_literal_bootstrap():
    rng = np.random.default_rng(5)
    scores, patients = rng.random((2, 7)), list("aaabbcd")
    volumes, means = scores.mean(axis=0), []
    for _ in range(4000):
        drawn = rng.choice(list("abcd"), 4)
        means.append(np.mean([volumes[n] for person in drawn for n in range(7) if patients[n] == person]))
    ours = bootstrap_standard_error(scores, groups=patients, resamples=4000)
    assert ours == pytest.approx(np.std(means, ddof=1), rel=0.08)


def test_one_volume_gives_the_t_interval_over_seeds():
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 6, 1))
    expected = ttest_1samp((first - second).ravel(), 0).confidence_interval(0.95)
    found = paired_difference(first, second)
    assert (found.low, found.high) == pytest.approx(tuple(expected))


def test_one_seed_is_no_evidence():
    found = paired_difference(np.full((1, 30), 0.9), np.full((1, 30), 0.1))
    assert found.mean == pytest.approx(0.8)
    assert np.isnan(found.low)
    assert (found.verdict, found.too_few_seeds) == (0, True)


def test_missing_scores_are_left_out():
    rng = np.random.default_rng(1)
    second = rng.random((4, 12))
    first = second + rng.normal(0.02, 0.02, second.shape)
    whole = paired_difference(first, second)
    first[1, 3] = second[0, 0] = np.nan
    found = paired_difference(first, second)
    assert found.mean == pytest.approx(np.nanmean(first - second))
    assert (found.seeds, found.volumes) == (4, 12)
    assert found.high - found.low == pytest.approx(whole.high - whole.low, rel=0.25)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("suits", [0.0, 0.03])
def test_equal_strategies_are_called_different_in_five_percent_at_most(seeds, suits):
    rng = np.random.default_rng(seeds)
    wrong, repeats = 0, 600
    for _ in range(repeats):
        runs, own = rng.normal(0, 0.02, (2, seeds, 1)), rng.normal(0, suits, (2, 1, 20))
        first, second = 0.7 + runs + own + rng.normal(0, 0.03, (2, seeds, 20))
        wrong += paired_difference(first, second).verdict != 0
    assert wrong / repeats < 0.05 + 3 * np.sqrt(0.05 * 0.95 / repeats)


def test_two_volumes_a_patient_keep_the_level_only_with_the_patient_as_the_draw():
    rng = np.random.default_rng(6)
    wrong, repeats = {"patients": 0, "volumes": 0}, 400
    patients = [f"p{n // 2}" for n in range(20)]
    for _ in range(repeats):
        own = np.repeat(rng.normal(0, 0.06, (2, 1, 10)), 2, axis=2)
        first, second = 0.7 + own + rng.normal(0, 0.01, (2, 12, 20))
        wrong["patients"] += paired_difference(first, second, patients=patients).verdict != 0
        wrong["volumes"] += paired_difference(first, second).verdict != 0
    assert wrong["patients"] / repeats < 0.05 + 3 * np.sqrt(0.05 * 0.95 / repeats)
    assert wrong["volumes"] / repeats > 0.12


def test_a_large_difference_is_still_found_with_five_seeds():
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(50):
        runs = rng.normal(0, 0.02, (2, 5, 1)) + np.array([0.06, 0.0])[:, None, None]
        found += paired_difference(*(0.7 + runs + rng.normal(0, 0.03, (2, 5, 20)))).verdict == 1
    assert found >= 35


def test_clusters_count_instead_of_values():
    means = np.array([0.02, -0.01, 0.03])
    values, clusters = np.repeat(means, 7), np.repeat(["a", "b", "c"], 7)
    found = clustered_mean(values, clusters.tolist())
    expected = ttest_1samp(means, 0).confidence_interval(0.95)
    assert found.error == pytest.approx(np.std(means, ddof=1) / np.sqrt(3))
    assert (found.low, found.high) == pytest.approx(tuple(expected))
    assert (found.values, found.clusters) == (21, 3)
    alone = clustered_mean([0.1, 0.2, np.nan], ["a", "a", "b"])
    assert (alone.values, alone.clusters) == (2, 1)
    assert np.isnan(alone.error)
    assert np.isnan(clustered_mean([], []).mean)
    with pytest.raises(ValueError, match="cluster"):
        clustered_mean([1.0], [])


def test_a_common_difficulty_cancels_and_the_verdict_follows_the_interval():
    rng = np.random.default_rng(0)
    base = rng.normal(0.5, 0.3, (3, 20))
    better = paired_difference(base + 0.01 + rng.normal(0, 0.001, base.shape), base)
    assert better.verdict == 1
    assert not better.too_few_seeds
    assert better.low == pytest.approx(0.01, abs=0.002)
    assert paired_difference(base, base + 0.01).verdict == -1
    assert paired_difference(base, base).verdict == 0
    assert paired_difference(base + rng.normal(0, 0.1, base.shape), base).verdict == 0


def test_nothing_in_common_gives_no_difference():
    nothing = np.full((2, 3), np.nan)
    found = paired_difference(nothing, np.zeros((2, 3)))
    assert np.isnan(found.mean)
    assert (found.seeds, found.volumes, found.verdict) == (0, 0, 0)
    with pytest.raises(ValueError, match="one shape"):
        paired_difference(np.zeros((2, 3)), np.zeros((3, 2)))


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(5)), st.permutations(range(3)))
def test_the_order_of_volumes_and_seeds_does_not_change_the_means(volumes, seeds):
    scores = np.random.default_rng(0).random((2, 3, 5, 4))
    turned = scores[:, list(seeds)][:, :, list(volumes)]
    budgets = [1, 2, 4, 8]
    one, other = paired_area_difference(budgets, *scores), paired_area_difference(budgets, *turned)
    assert one.mean == pytest.approx(other.mean)


def test_the_area_difference_is_the_difference_of_the_areas():
    scores = np.random.default_rng(0).random((2, 3, 5, 4))
    budgets = [1, 2, 4, 8]
    areas = area_under_learning_curve(budgets, scores.mean(axis=(1, 2)))
    assert paired_area_difference(budgets, *scores).mean == pytest.approx(areas[0] - areas[1])


def test_wins_ties_and_losses():
    base = np.random.default_rng(0).normal(0.5, 0.2, (3, 15, 4))
    other = base + np.array([0.1, 0.0, -0.1, 0.1])
    assert wins_ties_losses(other, base) == (2, 1, 1)
    assert wins_ties_losses(base, other) == (1, 1, 2)
    other[..., 3] = np.nan
    assert wins_ties_losses(other, base) == (1, 1, 1)
