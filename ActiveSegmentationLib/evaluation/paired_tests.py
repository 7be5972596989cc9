"""Tests of the papers on paired scores: permutation test, pairwise penalty matrix.

They are for comparisons with published tables. The verdicts of ``benchmark`` use the intervals of ``statistics``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import permutation_test
from scipy.stats import t as student_t

from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.evaluation.curves import Curve, cohorts_of, learning_curves
from ActiveSegmentationLib.evaluation.results import ResultRow
from ActiveSegmentationLib.evaluation.statistics import mean_without_nan

PERMUTATIONS = 9999
"""Random sign changes of a permutation test where there are too many to try all."""

ALPHA = 0.05
"""Level of the tests of the pairwise penalty matrix."""


@dataclass(frozen=True)
class PenaltyMatrix:
    """How often each strategy beats each other one significantly, summed over settings.

    Attributes:
        strategies: Names, (n).
        settings: Names of the settings, (s); a setting is a cohort.
        penalties: (n, n) float, 0..s: share of the budgets at which the strategy of the row beats that of the column,
            summed over the settings.
        phi: (n,) mean of each column, how often a strategy loses: lower is better.
    """

    strategies: tuple[str, ...]
    settings: tuple[str, ...]
    penalties: np.ndarray
    phi: np.ndarray


def permutation_p_value(first: np.ndarray, second: np.ndarray, *, seed: int = 0) -> float:
    """Two-sided p-value of a paired permutation test on the mean difference (Gaillochet 2023, Tables 1, 3 and 4).

    Under the null hypothesis the two scores of a pair could be exchanged. All exchanges are tried if there are fewer
    than ``PERMUTATIONS``, otherwise as many random ones.

    Args:
        first: Scores of any shape.
        second: The paired scores, of the same shape. A pair with a NaN is left out.
        seed: Seed of random exchanges.

    Returns:
        The p-value, 0..1; NaN with fewer than two pairs.

    Raises:
        ValueError: If the shapes differ.
    """
    if np.shape(first) != np.shape(second):
        raise ValueError(f"Paired scores of one shape are needed, not {np.shape(first)} and {np.shape(second)}.")
    pairs = np.stack([np.ravel(first), np.ravel(second)]).astype(np.float64)
    pairs = pairs[:, ~np.isnan(pairs).any(axis=0)]
    if pairs.shape[1] < 2:
        return float("nan")
    found = permutation_test(
        tuple(pairs),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        random_state=generator(seed, "permutation test"),
    )
    return float(found.pvalue)


def curve_p_value(first: Curve, second: Curve) -> float:
    """``permutation_p_value`` of two learning curves, with every seed and budget as a pair.

    Budgets of one seed are not independent, so that this p-value is too small; it is for comparisons with Gaillochet
    2023, which averages over initial sets and rounds. Budgets at which both strategies share all slices change nothing.
    """
    return permutation_p_value(*(mean_without_nan(curve.scores, axis=1) for curve in (first, second)))


def pairwise_penalties(scores: np.ndarray, *, alpha: float = ALPHA) -> np.ndarray:
    """Penalties of one setting (Foellmer 2024, Figure 2 D; Ji 2023; nnActive).

    At every budget the differences of two strategies between seeds get a two-sided paired t-test; a significant win of
    a over b adds 1 / budgets to the cell in row a and column b. With two to five seeds the test is weak.

    Args:
        scores: (strategies, seeds, budgets) float; the seeds are paired between strategies. Of each pair of strategies,
            only seeds and budgets without NaN count.
        alpha: Level of the test. With one seed there is no test and no win.

    Returns:
        (strategies, strategies) float, 0..1, rows win against columns.

    Raises:
        ValueError: If the scores are not three-dimensional.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 3:
        raise ValueError(f"Scores (strategies, seeds, budgets) are needed, not {scores.shape}.")
    differences = scores[:, None] - scores[None]  # (a, b, seeds, budgets)
    count = (~np.isnan(differences)).sum(axis=2)
    mean = mean_without_nan(differences, axis=2)
    squares = mean_without_nan((differences - mean[:, :, None]) ** 2, axis=2) * count
    freedom = np.maximum(count - 1, 1)
    error = np.sqrt(squares / freedom / np.maximum(count, 1))
    wins = (count > 1) & (mean > student_t.ppf(1 - alpha / 2, freedom) * error)
    return wins.sum(axis=2) / np.maximum((count > 0).sum(axis=2), 1)


def penalty_matrix(rows: Iterable[ResultRow], *, alpha: float = ALPHA) -> PenaltyMatrix | None:
    """The pairwise penalty matrix by 3D Dice over all cohorts of the rows.

    Args:
        rows: Result rows; a seed's score is its mean over the test volumes.
        alpha: Level of the tests.

    Returns:
        None if there are fewer than two strategies.
    """
    rows = list(rows)
    cohorts = {cohort: learning_curves(rows, cohort=cohort) for cohort in cohorts_of(rows)}
    names = sorted({curve.strategy for curves in cohorts.values() for curve in curves})
    if len(names) < 2:
        return None
    total = sum(pairwise_penalties(_seed_scores(curves, names), alpha=alpha) for curves in cohorts.values() if curves)
    penalties = np.asarray(total)
    return PenaltyMatrix(tuple(names), tuple(cohorts), penalties, penalties.mean(axis=0))


def _seed_scores(curves: Sequence[Curve], names: Sequence[str]) -> np.ndarray:
    """(strategies, seeds, budgets) means over volumes; NaN for strategies without a curve."""
    scores = np.full((len(names), len(curves[0].seeds), len(curves[0].annotated)), np.nan)
    for curve in curves:
        scores[names.index(curve.strategy)] = mean_without_nan(curve.scores, axis=1)
    return scores
