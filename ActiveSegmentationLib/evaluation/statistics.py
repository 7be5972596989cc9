"""Statistics of scores: standard errors, areas under learning curves, paired comparisons of strategies.

Scores are arrays (seeds, volumes[, budgets]); missing scores are NaN and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student_t

from ActiveSegmentationLib.common.seeds import generator

RESAMPLES = 1000
"""Bootstrap resamples of a standard error, as in Vepa 2024."""

FEW_SEEDS = 5
"""With fewer seeds only large differences are significant; others are reported as having too few seeds."""


@dataclass(frozen=True)
class Difference:
    """Difference of two strategies, the first minus the second, with a t interval over seeds and test patients.

    Attributes:
        mean: Mean difference, in the unit of the scores; NaN if no scores are paired.
        low: Lower end of the interval; NaN with fewer than two seeds, from which no spread can be estimated.
        high: Upper end; NaN likewise.
        seeds: Seeds with paired scores.
        volumes: Test volumes with paired scores.
        patients: Patients of these volumes.
    """

    mean: float
    low: float
    high: float
    seeds: int
    volumes: int
    patients: int

    @property
    def verdict(self) -> int:
        """1 if the whole interval is above 0, -1 if below, 0 if it contains 0."""
        return int(self.low > 0) - int(self.high < 0)

    @property
    def too_few_seeds(self) -> bool:
        """Whether the interval contains 0 and there are few seeds."""
        return self.verdict == 0 and self.seeds < FEW_SEEDS


@dataclass(frozen=True)
class ClusteredMean:
    """A mean of values that are not independent within clusters.

    Attributes:
        mean: Mean of all values, in their unit; NaN if there are none.
        error: Standard error of the mean, from the sums of the clusters; NaN with fewer than two clusters.
        low: Lower end of the t interval with clusters - 1 degrees of freedom; NaN likewise.
        high: Upper end.
        values: Number of values.
        clusters: Number of clusters.
    """

    mean: float
    error: float
    low: float
    high: float
    values: int
    clusters: int


def mean_without_nan(values: np.ndarray, axis: int | tuple[int, ...] | None = None) -> np.ndarray:
    """Mean along ``axis`` of the values that are not NaN; NaN, without a warning, if there are none."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def bootstrap_standard_error(
    scores: np.ndarray, *, groups: Sequence[str] | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> float:
    """Bootstrap standard error of the mean score over test volumes (Vepa 2024, which reports twice this).

    The scores of an item are first averaged over the seeds. Then items are drawn with replacement, and the standard
    deviation of the means of the draws is the standard error (Vepa 2024, Appendix D). With ``groups``, whole groups are
    drawn, because items of one patient do not vary independently; slices of a volume do so even less.

    Args:
        scores: (seeds, items) float; an item is a volume.
        groups: (items,) the group of each item, for example its patient. Default: each item is drawn by itself.
        resamples: Number of draws.
        seed: Seed of the draws.

    Returns:
        The standard error, in the unit of the scores; NaN with fewer than two items or groups.
    """
    items = mean_without_nan(np.asarray(scores, dtype=np.float64), axis=0)
    known = ~np.isnan(items)
    names = np.arange(len(items)) if groups is None else np.asarray(groups)
    found, group = np.unique(names[known], return_inverse=True)
    if len(found) < 2:
        return float("nan")
    sums, sizes = np.bincount(group, weights=items[known]), np.bincount(group)
    weights = _resampling_weights(len(found), resamples, generator(seed, "bootstrap", "volumes"))
    return float(((weights @ sums) / (weights @ sizes)).std(ddof=1))


def area_under_learning_curve(budgets: Sequence[float] | np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Area under a learning curve by the trapezoid rule, with the budgets rescaled to 0..1.

    A constant curve of height c has area c for any budgets; a curve with one point has the height of the point.

    Args:
        budgets: (n,) strictly increasing numbers of annotated slices (or percentages).
        scores: (..., n) float.

    Returns:
        (...) areas in the unit of the scores; NaN if a score is NaN.

    Raises:
        ValueError: If the budgets do not increase or do not fit the scores.
    """
    x = np.asarray(budgets, dtype=np.float64)
    y = np.asarray(scores, dtype=np.float64)
    if x.ndim != 1 or len(x) == 0 or y.shape[-1:] != x.shape:
        raise ValueError(f"One score for each of at least one budget is needed, not {y.shape} for {x.shape}.")
    if len(x) == 1:
        return y[..., 0]
    steps = np.diff(x)
    if not (steps > 0).all():
        raise ValueError("The budgets must increase strictly.")
    return ((y[..., 1:] + y[..., :-1]) / 2) @ (steps / steps.sum())


def paired_difference(
    first: np.ndarray, second: np.ndarray, *, patients: Sequence[str] | None = None, level: float = 0.95
) -> Difference:
    """Mean difference of paired scores with a t interval over seeds and test patients.

    - Effects that both strategies share (an easy volume, a lucky initial set) cancel in the differences.
    - The variance of the mean difference over seeds and that over patients are both estimated from the sums of the
      clusters; the noise of single runs on single patients is in both and is subtracted once.
    - The volumes of one patient count as one draw, because their scores go up and down together.
    - The degrees of freedom are the smaller number of clusters minus 1, so that two seeds need a difference of almost
      thirteen standard errors.

    ``Testing/Benchmarks/simulate_intervals.py`` shows that this interval keeps its level with few seeds, where a
    bootstrap does not.

    Args:
        first: (seeds, volumes) float.
        second: (seeds, volumes) float, of the same seeds and volumes.
        patients: (volumes,) patient of each volume. Default: each volume is of another patient.
        level: Coverage of the interval.

    Raises:
        ValueError: If the shapes differ.
    """
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(f"Two arrays of one shape (seeds, volumes) are needed, not {first.shape} and {second.shape}.")
    differences = np.asarray(first, dtype=np.float64) - second
    known = ~np.isnan(differences)
    names = np.arange(first.shape[1]) if patients is None else np.asarray(patients)
    if names.shape != first.shape[1:]:
        raise ValueError(f"One patient for each of {first.shape[1]} volumes is needed, not {names.shape}.")
    names = names[known.any(axis=0)]
    differences, known = (a[known.any(axis=1)][:, known.any(axis=0)] for a in (differences, known))
    if differences.size == 0:
        return Difference(float("nan"), float("nan"), float("nan"), 0, 0, 0)
    mean = float(differences[known].mean())
    seeds, volumes = differences.shape
    people, patient = np.unique(names, return_inverse=True)
    freedom = (seeds if len(people) == 1 else min(seeds, len(people))) - 1
    reach = float("nan")
    if seeds > 1:
        of_patient = np.eye(len(people))[patient]
        deviations = np.where(known, differences - mean, 0.0) @ of_patient
        variance = _two_way_variance(deviations, known.astype(np.int64) @ of_patient)
        reach = float(student_t.ppf((1 + level) / 2, freedom) * np.sqrt(variance))
    return Difference(mean, mean - reach, mean + reach, seeds, volumes, len(people))


def _two_way_variance(sums: np.ndarray, counts: np.ndarray) -> float:
    """Variance of a mean of values in (seeds, patients) cells, from each cell's sum of deviations and its count."""
    count = int(counts.sum())
    of_seeds, of_patients = (_cluster_variance(sums.sum(axis=axis), count) for axis in (1, 0))
    of_cells = _cluster_variance(sums[counts > 0], count)
    return max(of_seeds, of_patients, of_seeds + of_patients - of_cells)


def _cluster_variance(sums: np.ndarray, count: int) -> float:
    """Variance of a mean of ``count`` values from the sums of their deviations in each cluster; 0 with one cluster."""
    clusters = len(sums)
    return float((sums**2).sum()) / count**2 * clusters / (clusters - 1) if clusters > 1 else 0.0


def clustered_mean(
    values: Sequence[float] | np.ndarray, clusters: Sequence[str | int], *, level: float = 0.95
) -> ClusteredMean:
    """Mean of values with a standard error that counts clusters instead of values.

    Differences of runs on the same patients, or in the same setting, are correlated, so that many of them hold little
    more information than one. Each cluster counts as one draw.

    Args:
        values: (n,) float; NaN is left out.
        clusters: (n,) name of the cluster of each value, for example its cohort.
        level: Coverage of the interval.

    Raises:
        ValueError: If the lengths differ.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or len(numbers) != len(clusters):
        raise ValueError(f"One cluster per value is needed, not {len(clusters)} for {numbers.shape}.")
    known = ~np.isnan(numbers)
    _, place = np.unique(np.asarray(clusters)[known], return_inverse=True)
    numbers = numbers[known]
    count = int(place.max()) + 1 if len(place) else 0
    mean = float(numbers.mean()) if count else float("nan")
    error = reach = float("nan")
    if count > 1:
        sums = np.bincount(place, weights=numbers - mean)
        error = float(np.sqrt(_cluster_variance(sums, len(numbers))))
        reach = float(student_t.ppf((1 + level) / 2, count - 1)) * error
    return ClusteredMean(mean, error, mean - reach, mean + reach, len(numbers), count)


def paired_area_difference(
    budgets: Sequence[float] | np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    *,
    patients: Sequence[str] | None = None,
    level: float = 0.95,
) -> Difference:
    """``paired_difference`` of the areas under the learning curves.

    The area is linear in the scores, so that it is computed for each seed and volume first. A seed and volume with a
    missing score at any budget are left out.

    Args:
        budgets: (n,) strictly increasing.
        first: (seeds, volumes, n) float.
        second: (seeds, volumes, n) float.
        patients: (volumes,) patient of each volume. Default: each volume is of another patient.
        level: Coverage of the interval.
    """
    areas = (area_under_learning_curve(budgets, first), area_under_learning_curve(budgets, second))
    return paired_difference(*areas, patients=patients, level=level)


def wins_ties_losses(
    first: np.ndarray, second: np.ndarray, *, patients: Sequence[str] | None = None, level: float = 0.95
) -> tuple[int, int, int]:
    """Number of budgets at which the first strategy is better, not significantly different, and worse.

    Args:
        first: (seeds, volumes, budgets) float.
        second: (seeds, volumes, budgets) float.
        patients: (volumes,) patient of each volume. Default: each volume is of another patient.
        level: Coverage of the interval of ``paired_difference``, which must exclude 0 for a win or a loss.

    Returns:
        Wins, ties and losses; they add up to the budgets at which both have scores.
    """
    pairs = zip(np.moveaxis(first, -1, 0), np.moveaxis(second, -1, 0), strict=True)
    found = [paired_difference(a, b, patients=patients, level=level) for a, b in pairs]
    verdicts = [difference.verdict for difference in found if difference.seeds]
    return verdicts.count(1), verdicts.count(0), verdicts.count(-1)


def _resampling_weights(count: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """(resamples, count) shares of each of ``count`` items in draws with replacement; each row sums to 1."""
    return rng.multinomial(count, np.full(count, 1.0 / count), size=resamples) / count
