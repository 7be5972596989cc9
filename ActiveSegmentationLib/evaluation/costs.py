"""Cost of annotations: learning curves over time, and how many annotated foreground pixels a strategy needs."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import OptimizeWarning, curve_fit

from ActiveSegmentationLib.evaluation.curves import Curve, cohorts_of, learning_curves
from ActiveSegmentationLib.evaluation.results import ResultRow

SCRIBBLE_SPEED = 15.0
"""Times that scribbling a slice is faster than drawing its masks (Vepa 2024, after Valvano 2021)."""


@dataclass(frozen=True)
class CostModel:
    """What annotating a slice costs.

    Attributes:
        mask: Seconds for the masks of a slice; 0 if only the proportion is known.
        scribble: Seconds for the scribbles of a slice, or 0 likewise.
    """

    mask: float = 0.0
    scribble: float = 0.0

    @property
    def measured(self) -> bool:
        """Whether costs are seconds; otherwise they are shares of the cost of masks."""
        return self.mask > 0 or self.scribble > 0

    def of_slice(self, annotation: str) -> float:
        """Cost of a slice: seconds if they are known, otherwise the share of the cost of its masks.

        If one of the two is not known, scribbles take a fifteenth of the time of masks (``SCRIBBLE_SPEED``).

        Args:
            annotation: "mask" or "scribble".
        """
        mask = self.mask or self.scribble * SCRIBBLE_SPEED or 1.0
        scribble = self.scribble or mask / SCRIBBLE_SPEED
        return {"mask": mask, "scribble": scribble}[annotation]


@dataclass(frozen=True)
class CostCurve:
    """A learning curve over the cost of annotations.

    Attributes:
        curve: The learning curve.
        cost: (b,) float, at each budget: hours if the seconds are known, otherwise percent of the time for masks of
            the whole pool (Vepa 2024, Figure 2).
    """

    curve: Curve
    cost: np.ndarray


def cost_curves(rows: Iterable[ResultRow], annotations: Mapping[str, str], model: CostModel) -> list[CostCurve]:
    """The learning curves of all cohorts and strategies over the cost of annotations.

    Args:
        rows: Result rows.
        annotations: "mask" or "scribble" for each name of a cohort.
        model: Costs of a slice.
    """
    rows = list(rows)
    found = []
    for cohort in cohorts_of(rows):
        price = model.of_slice(annotations[cohort])
        for curve in learning_curves(rows, cohort=cohort):
            cost = curve.annotated * price / 3600 if model.measured else curve.percent * price
            found.append(CostCurve(curve, np.asarray(cost, dtype=np.float64)))
    return found


@dataclass(frozen=True)
class ForegroundEfficiency:
    """How fast a strategy turns annotated foreground into Dice; larger is better.

    Attributes:
        cohort: Name of the cohort.
        strategy: Name of the strategy.
        beta: Rate of the fitted curve, per percent of the pool's foreground pixels; NaN if it could not be fitted.
        error: Standard error of the rate.
        ceiling: Dice of the upper bound, which the curve approaches.
    """

    cohort: str
    strategy: str
    beta: float
    error: float
    ceiling: float


def foreground_rate(percent: np.ndarray, dice: np.ndarray, *, start: float, ceiling: float) -> tuple[float, float]:
    """Rate of ``dice = ceiling - (ceiling - start) exp(-rate (percent - first))`` by least squares (nnActive 2025).

    Args:
        percent: (n,) percent of the pool's foreground pixels annotated; ``first`` is the smallest.
        dice: (n,) mean 3D Dice.
        start: Mean Dice of all strategies at their first budget.
        ceiling: Dice of a model trained on the whole pool.

    Returns:
        The rate and its standard error; both NaN with fewer than three points, or if the start is not below the
        ceiling.
    """
    x, y = np.asarray(percent, dtype=np.float64), np.asarray(dice, dtype=np.float64)
    known = ~(np.isnan(x) | np.isnan(y))
    x, y = x[known], y[known]
    if len(x) < 3 or not start < ceiling:
        return float("nan"), float("nan")
    first, span = x.min(), max(np.ptp(x), 1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)  # an error that cannot be estimated comes back as infinite
        (rate,), covariance = curve_fit(
            lambda at, rate: ceiling - (ceiling - start) * np.exp(-rate * (at - first)), x, y, p0=[1 / span]
        )
    error = float(np.sqrt(covariance[0, 0]))
    return float(rate), error if np.isfinite(error) else float("nan")
