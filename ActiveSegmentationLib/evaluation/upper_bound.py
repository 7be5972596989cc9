"""The upper bound: a model trained on all annotations of the pool, and how far strategies are below it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ActiveSegmentationLib.evaluation.curves import cohorts_of, learning_curves, upper_bounds
from ActiveSegmentationLib.evaluation.results import ResultRow
from ActiveSegmentationLib.evaluation.statistics import mean_without_nan


@dataclass(frozen=True)
class Gap:
    """How far a strategy is below the upper bound at one budget (Ozdemir 2021, Tables 2 and 3).

    Attributes:
        cohort: Name of the cohort.
        strategy: Name of the strategy.
        annotated_slices: Number of annotated slices.
        percent: The same in percent of the pool.
        mean: Mean over seeds of the upper bound's minus the strategy's mean 3D Dice, -1..1.
        sd: Standard deviation (n - 1) over seeds; NaN with one seed.
        seeds: Seeds with both.
    """

    cohort: str
    strategy: str
    annotated_slices: int
    percent: float
    mean: float
    sd: float
    seeds: int


def gaps(rows: Iterable[ResultRow]) -> list[Gap]:
    """The gap of every strategy at every budget, seed by seed against the upper bound of the same seed.

    Args:
        rows: Result rows, among them those of the strategy ``UPPER_BOUND``; without them there are no gaps.
    """
    rows = list(rows)
    found = []
    for cohort in cohorts_of(rows):
        bounds = upper_bounds(rows, cohort=cohort)
        for curve in learning_curves(rows, cohort=cohort):
            ceiling = np.array([bounds.get(seed, np.nan) for seed in curve.seeds])
            below = ceiling[:, None] - mean_without_nan(curve.scores, axis=1)  # (seeds, budgets)
            for place in np.flatnonzero(~np.isnan(below).all(axis=0)):
                known = below[:, place][~np.isnan(below[:, place])]
                found.append(
                    Gap(
                        cohort,
                        curve.strategy,
                        int(curve.annotated[place]),
                        float(curve.percent[place]),
                        float(known.mean()),
                        float(known.std(ddof=1)) if len(known) > 1 else float("nan"),
                        len(known),
                    )
                )
    return found
