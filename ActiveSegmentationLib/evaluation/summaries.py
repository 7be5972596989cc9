"""Summaries of result rows: rows of tables, comparisons of strategies, and the headline in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ActiveSegmentationLib.evaluation.curves import Curve, cohorts_of, format_percent, learning_curves
from ActiveSegmentationLib.evaluation.paired_tests import curve_p_value
from ActiveSegmentationLib.evaluation.results import ResultRow
from ActiveSegmentationLib.evaluation.statistics import (
    Difference,
    area_under_learning_curve,
    paired_area_difference,
    paired_difference,
    wins_ties_losses,
)


@dataclass(frozen=True)
class SummaryRow:
    """One strategy at one budget.

    Attributes:
        cohort: Name of the cohort.
        strategy: Name of the strategy.
        annotated_slices: Number of annotated slices.
        percent: The same in percent of the pool.
        dice: Mean 3D Dice over classes, seeds and volumes, 0..1.
        sd: Standard deviation over seeds; NaN with one seed.
        two_se: Twice the bootstrap standard error over test patients; NaN with one patient.
        hd95: Mean 95th percentile Hausdorff distance in mm where it is defined; NaN if it was not computed.
        missed: Share of the classes present that were not predicted at all, 0..1; NaN if it was not computed.
        seeds: Seeds with results.
        volumes: Test volumes with results.
        left_out: Number of Dice values that are not defined (class in neither reference nor prediction).
        area: Area under the strategy's learning curve, 0..1; the same at all its budgets.
    """

    cohort: str
    strategy: str
    annotated_slices: int
    percent: float
    dice: float
    sd: float
    two_se: float
    hd95: float
    missed: float
    seeds: int
    volumes: int
    left_out: int
    area: float


@dataclass(frozen=True)
class Comparison:
    """Two strategies on one cohort, by 3D Dice.

    Attributes:
        cohort: Name of the cohort.
        first: Name of the first strategy.
        second: Name of the second.
        area: Difference of the areas under the learning curves over the budgets both have, with a 95 % interval.
        joint: The same with a simultaneous interval, which holds for all pairs of the cohort together in 95 %.
        pairs: Number of these pairs.
        wins: Budgets at which the first is better (interval above 0).
        ties: Budgets at which the difference is not significant.
        losses: Budgets at which the first is worse.
        curves: Both learning curves.
    """

    cohort: str
    first: str
    second: str
    area: Difference
    joint: Difference
    pairs: int
    wins: int
    ties: int
    losses: int
    curves: tuple[Curve, Curve] = field(repr=False, compare=False)

    @property
    def p_value(self) -> float:
        """P-value of a paired permutation test over seeds and budgets, see ``curve_p_value``."""
        return curve_p_value(*self.curves)


@dataclass(frozen=True)
class BestAtBudget:
    """The best strategy at one budget, compared to the runner-up.

    Attributes:
        cohort: Name of the cohort.
        annotated_slices: Number of annotated slices.
        percent: The same in percent of the pool.
        best: Name of the strategy with the best mean 3D Dice.
        dice: That Dice.
        runner_up: Name of the next; "" if there is only one.
        difference: Best minus runner-up; None if there is only one.
    """

    cohort: str
    annotated_slices: int
    percent: float
    best: str
    dice: float
    runner_up: str
    difference: Difference | None


def summary(rows: Iterable[ResultRow]) -> list[SummaryRow]:
    """One row for every cohort, strategy and budget, in this order."""
    rows = list(rows)
    table = []
    for cohort in cohorts_of(rows):
        own = [row for row in rows if row.cohort == cohort]
        distances = {curve.strategy: curve for curve in learning_curves(own, "hd95")}
        misses = {curve.strategy: curve for curve in learning_curves(own, "missed")}
        left_out = _count_left_out(own)
        for curve in learning_curves(own, "dice"):
            hd95, missed = _at_budgets(distances, curve), _at_budgets(misses, curve)
            sd, error, mean, area = curve.sd_over_seeds, curve.standard_error, curve.mean, curve.area
            for place in np.flatnonzero(curve.present):
                known = ~np.isnan(curve.scores[..., place])
                annotated = int(curve.annotated[place])
                table.append(
                    SummaryRow(
                        cohort=cohort,
                        strategy=curve.strategy,
                        annotated_slices=annotated,
                        percent=float(curve.percent[place]),
                        dice=float(mean[place]),
                        sd=float(sd[place]),
                        two_se=float(2 * error[place]),
                        hd95=hd95.get(annotated, math.nan),
                        missed=missed.get(annotated, math.nan),
                        seeds=int(known.any(axis=1).sum()),
                        volumes=int(known.any(axis=0).sum()),
                        left_out=left_out.get((curve.strategy, annotated), 0),
                        area=area,
                    )
                )
    return table


def _at_budgets(curves: dict[str, Curve], curve: Curve) -> dict[int, float]:
    other = curves.get(curve.strategy)
    return {} if other is None else dict(zip(other.annotated.tolist(), other.mean.tolist(), strict=True))


def _count_left_out(rows: Iterable[ResultRow]) -> dict[tuple[str, int], int]:
    counts: dict[tuple[str, int], int] = {}
    for row in rows:
        if row.metric == "dice" and math.isnan(row.value):
            key = (row.strategy, row.annotated_slices)
            counts[key] = counts.get(key, 0) + 1
    return counts


LEVEL = 0.95
"""Coverage of every interval in tables and sentences."""


def comparisons(rows: Iterable[ResultRow]) -> list[Comparison]:
    """Every pair of strategies of a cohort, the one with the larger area first, over the budgets that both have."""
    rows = list(rows)
    found = []
    for cohort in cohorts_of(rows):
        curves = _ranked(learning_curves(rows, cohort=cohort))
        pairs = [(a, b) for n, a in enumerate(curves) for b in curves[n + 1 :] if (a.present & b.present).any()]
        found += [_compared(first, second, len(pairs)) for first, second in pairs]
    return found


def _compared(first: Curve, second: Curve, pairs: int) -> Comparison:
    """Compare two curves; ``pairs`` is the number of comparisons that are made together (Bonferroni correction)."""
    both = first.present & second.present
    a, b = first.scores[..., both], second.scores[..., both]
    area, joint = (
        paired_area_difference(first.annotated[both], a, b, patients=first.patients, level=level)
        for level in (LEVEL, 1 - (1 - LEVEL) / pairs)
    )
    counts = wins_ties_losses(a, b, patients=first.patients)
    return Comparison(first.cohort, first.strategy, second.strategy, area, joint, pairs, *counts, (first, second))


def best_at_budgets(rows: Iterable[ResultRow]) -> list[BestAtBudget]:
    """The best strategy at every budget of every cohort, compared to the runner-up."""
    rows = list(rows)
    found = []
    for cohort in cohorts_of(rows):
        curves = learning_curves(rows, cohort=cohort)
        for place in range(len(curves[0].annotated) if curves else 0):
            ranked = sorted((c for c in curves if c.present[place]), key=lambda c: -c.mean[place])
            if not ranked:
                continue
            best, second = ranked[0], ranked[1] if len(ranked) > 1 else None
            difference = None
            if second is not None:
                pair = best.scores[..., place], second.scores[..., place]
                difference = paired_difference(*pair, patients=best.patients)
            found.append(
                BestAtBudget(
                    cohort=cohort,
                    annotated_slices=int(best.annotated[place]),
                    percent=float(best.percent[place]),
                    best=best.strategy,
                    dice=float(best.mean[place]),
                    runner_up=second.strategy if second else "",
                    difference=difference,
                )
            )
    return found


def headline(rows: Iterable[ResultRow]) -> list[str]:
    """The result in a few sentences per cohort: the best strategy, by how much, and whether that is significant.

    Example:
        >>> print(*headline(read_results_csv(Path("results.csv"))))
    """
    rows = list(rows)
    pairs = comparisons(rows)
    sentences = []
    for cohort in cohorts_of(rows):
        curves = learning_curves(rows, cohort=cohort)
        if not curves:
            sentences.append(f"{cohort}: there is no 3D Dice to compare.")
            continue
        best = _ranked(curves)[0]
        result = _result(best, _common_budgets(curves, best))
        if len(curves) == 1:
            sentences.append(f"{cohort}: {best.strategy}, the only strategy, reaches {result}.")
            continue
        sentences.append(f"{cohort}: {best.strategy} has the highest score, {result}.")
        own = [pair for pair in pairs if pair.cohort == cohort and best.strategy in (pair.first, pair.second)]
        sentences += _against_others(own, best)
    return sentences


def _common_budgets(curves: Sequence[Curve], curve: Curve) -> np.ndarray:
    """(b,) bool: the budgets that all curves have, or those of ``curve`` if there is no such budget."""
    common = np.logical_and.reduce([other.present for other in curves])
    return common if common.any() else curve.present


def _area(curve: Curve, budgets: np.ndarray) -> float:
    return float(area_under_learning_curve(curve.annotated[budgets], curve.mean[budgets]))


def _ranked(curves: Sequence[Curve]) -> list[Curve]:
    """The curves by their areas over the common budgets, largest first."""
    return sorted(curves, key=lambda curve: (-_area(curve, _common_budgets(curves, curve)), curve.strategy))


def _result(curve: Curve, budgets: np.ndarray) -> str:
    annotated, percent = curve.annotated[budgets], curve.percent[budgets]
    score = f"a mean 3D Dice of {_area(curve, budgets):.3f}"
    if len(annotated) == 1:
        return f"{score} with {annotated[0]} annotated slices ({format_percent(percent[0])} % of the pool)"
    return (
        f"{score} over the learning curve from {annotated[0]} to {annotated[-1]} annotated slices "
        f"({format_percent(percent[0])} to {format_percent(percent[-1])} % of the pool)"
    )


def _against_others(pairs: Sequence[Comparison], best: Curve) -> list[str]:
    """The best strategy compared to each other one, as sentences, by simultaneous intervals."""
    groups: dict[str, list[str]] = {words: [] for words in _VERDICTS.values()}
    for pair in pairs:
        sign, other = (1, pair.second) if pair.first == best.strategy else (-1, pair.first)
        found = pair.joint
        words = _VERDICTS["few" if found.too_few_seeds else sign * found.verdict]
        groups[words].append(f"{other} ({sign * found.mean:+.3f}{_interval(found, sign)})")
    sentences = [f"{words} {_list(names)}." for words, names in groups.items() if names]
    if pairs and pairs[0].pairs > 1:
        sentences.append(f"The intervals hold for all {pairs[0].pairs} pairs of strategies together.")
    return sentences


_VERDICTS: dict[int | str, str] = {
    1: "It is better than",
    0: "It is not significantly different from",
    "few": "There are too few seeds to compare it with",
    -1: "On the budgets that both have, it is worse than",
}
"""Words for the comparison of the best strategy with another one, by its verdict."""


def _interval(found: Difference, sign: int) -> str:
    if math.isnan(found.low):
        return f", {found.seeds} seed"
    low, high = sorted((sign * found.low, sign * found.high))
    return f", {found.seeds} seeds, 95 % interval {low:+.3f} to {high:+.3f}"


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
