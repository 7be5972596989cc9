"""Result rows as learning curves: arrays of scores by seed, test volume and budget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ActiveSegmentationLib.evaluation.results import ResultRow
from ActiveSegmentationLib.evaluation.statistics import (
    area_under_learning_curve,
    bootstrap_standard_error,
    mean_without_nan,
)

UPPER_BOUND = "upper-bound"
"""Name in result rows of a model trained on the whole pool, which is not a strategy and has no learning curve."""


@dataclass(frozen=True)
class Curve:
    """Scores of one strategy on one cohort; each score is a mean over classes.

    All curves of one call share seeds, volumes and budgets; missing scores are NaN.

    Attributes:
        cohort: Name of the cohort.
        strategy: Name of the strategy.
        metric: Name of the metric.
        seeds: Seeds, (s).
        volumes: Ids of the test volumes, (v).
        patients: Patient of each of these volumes, (v).
        annotated: (b,) int, numbers of annotated slices, increasing.
        percent: (b,) float, the same in percent of the pool.
        scores: (s, v, b) float, mean over the classes where the metric is defined; NaN if there is none.
    """

    cohort: str
    strategy: str
    metric: str
    seeds: tuple[int, ...]
    volumes: tuple[str, ...]
    patients: tuple[str, ...]
    annotated: np.ndarray
    percent: np.ndarray
    scores: np.ndarray

    @property
    def present(self) -> np.ndarray:
        """(b,) bool, at which budgets this strategy has any score."""
        return ~np.isnan(self.scores).all(axis=(0, 1))

    @property
    def mean(self) -> np.ndarray:
        """(b,) mean over volumes of the mean over seeds; NaN if there are no scores."""
        return mean_without_nan(mean_without_nan(self.scores, axis=0), axis=0)

    @property
    def sd_over_seeds(self) -> np.ndarray:
        """(b,) standard deviation (n - 1) over seeds of the mean over volumes; NaN with fewer than two seeds."""
        of_seeds = mean_without_nan(self.scores, axis=1)
        count = (~np.isnan(of_seeds)).sum(axis=0)
        squares = (of_seeds - mean_without_nan(of_seeds, axis=0)) ** 2
        variance = mean_without_nan(squares, axis=0) * count / np.maximum(count - 1, 1)
        return np.where(count > 1, np.sqrt(variance), np.nan)

    @property
    def standard_error(self) -> np.ndarray:
        """(b,) bootstrap standard error over the patients of the test volumes; NaN with fewer than two patients."""
        places = range(len(self.annotated))
        return np.array([bootstrap_standard_error(self.scores[..., b], groups=self.patients) for b in places])

    @property
    def area(self) -> float:
        """Area under the mean curve over this strategy's own budgets, rescaled to 0..1."""
        present = self.present
        return float(area_under_learning_curve(self.annotated[present], self.mean[present]))


def cohorts_of(rows: Iterable[ResultRow]) -> list[str]:
    """Names of the cohorts in the rows, sorted."""
    return sorted({row.cohort for row in rows})


def format_percent(percent: float) -> str:
    """A percentage as text: at most one decimal from 1 on, two digits below."""
    return f"{round(percent, 1):g}" if percent >= 1 else f"{percent:.2g}"


def learning_curves(rows: Iterable[ResultRow], metric: str = "dice", *, cohort: str | None = None) -> list[Curve]:
    """The learning curve of every strategy, sorted by name.

    Args:
        rows: Result rows; those of other metrics and cohorts and of the upper bound are ignored.
        metric: Name of the metric.
        cohort: Name of the cohort. Default: the only one.

    Returns:
        One curve for every strategy that has at least one value that is not NaN.

    Raises:
        ValueError: If no cohort is named and the rows are of several.
    """
    chosen = [
        row for row in rows if row.metric == metric and cohort in (None, row.cohort) and row.strategy != UPPER_BOUND
    ]
    if len(cohorts_of(chosen)) > 1:
        raise ValueError(f"The rows are of several cohorts ({', '.join(cohorts_of(chosen))}): name one.")
    seeds = sorted({row.seed for row in chosen})
    patients = {row.volume: row.patient for row in chosen}
    volumes = sorted(patients)
    percent = {row.annotated_slices: row.percent for row in chosen}
    budgets = sorted(percent)
    curves = []
    for strategy in sorted({row.strategy for row in chosen}):
        scores = _scores([row for row in chosen if row.strategy == strategy], seeds, volumes, budgets)
        if np.isnan(scores).all():
            continue
        curves.append(
            Curve(
                chosen[0].cohort,
                strategy,
                metric,
                tuple(seeds),
                tuple(volumes),
                tuple(patients[volume] for volume in volumes),
                np.array(budgets, dtype=np.int64),
                np.array([percent[budget] for budget in budgets]),
                scores,
            )
        )
    return curves


def upper_bounds(rows: Iterable[ResultRow], metric: str = "dice", *, cohort: str | None = None) -> dict[int, float]:
    """Score of the model trained on the whole pool by seed, the mean over volumes of the mean over classes.

    Args:
        rows: Result rows; those of other metrics and cohorts are ignored.
        metric: Name of the metric.
        cohort: Name of the cohort. Default: all.
    """
    values: dict[int, dict[str, list[float]]] = {}
    for row in rows:
        if row.strategy == UPPER_BOUND and row.metric == metric and cohort in (None, row.cohort):
            values.setdefault(row.seed, {}).setdefault(row.volume, []).append(row.value)
    means = {seed: [mean_without_nan(np.array(own)) for own in of.values()] for seed, of in values.items()}
    return {seed: float(mean_without_nan(np.array(own))) for seed, own in means.items()}


def _scores(
    rows: Sequence[ResultRow], seeds: Sequence[int], volumes: Sequence[str], budgets: Sequence[int]
) -> np.ndarray:
    places = [{name: place for place, name in enumerate(names)} for names in (seeds, volumes, budgets)]
    shape = tuple(len(names) for names in places)
    total, count = np.zeros(shape), np.zeros(shape, dtype=np.int64)
    index = np.array(
        [(places[0][row.seed], places[1][row.volume], places[2][row.annotated_slices]) for row in rows], dtype=np.int64
    ).reshape(-1, 3)
    values = np.array([row.value for row in rows], dtype=np.float64)
    known = ~np.isnan(values)
    np.add.at(total, tuple(index[known].T), values[known])
    np.add.at(count, tuple(index[known].T), 1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def showcase_volumes(rows: Iterable[ResultRow], *, metric: str = "dice") -> list[tuple[str, str, float]]:
    """The best, the median and the worst volume, by the mean over all rows.

    Args:
        rows: Result rows, usually of one strategy and seed after the last round.
        metric: Name of the metric, higher is better.

    Returns:
        ("best" | "median" | "worst", volume id, score): three, or fewer if there are fewer volumes.
    """
    values: dict[str, list[float]] = {}
    for row in rows:
        if row.metric == metric and not np.isnan(row.value):
            values.setdefault(row.volume, []).append(row.value)
    means = [(float(np.mean(scores)), volume) for volume, scores in values.items()]
    ranked = sorted(means, key=lambda pair: (-pair[0], pair[1]))
    places = {"best": 0, "median": len(ranked) // 2, "worst": len(ranked) - 1}
    seen: set[int] = set()
    chosen = []
    for name, place in places.items():
        if 0 <= place < len(ranked) and place not in seen:
            seen.add(place)
            chosen.append((name, ranked[place][1], ranked[place][0]))
    return chosen
