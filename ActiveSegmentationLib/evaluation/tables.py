"""Tables of results and of comparisons, as plain text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ActiveSegmentationLib.evaluation.curves import cohorts_of, format_percent, learning_curves
from ActiveSegmentationLib.evaluation.results import ResultRow
from ActiveSegmentationLib.evaluation.summaries import BestAtBudget, Comparison, SummaryRow

_NONE = "–"


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        header: Heads of the columns.
        rows: Cells, as many per row as there are heads.
        numeric: Which columns hold numbers and are aligned right.
        caption: What the table shows.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    caption: str = ""


def summary_table(rows: Sequence[SummaryRow]) -> Table:
    """Scores by strategy and budget; columns without any value are left out."""
    columns: list[tuple[str, bool, list[str]]] = [
        ("cohort", False, [row.cohort for row in rows]),
        ("strategy", False, [row.strategy for row in rows]),
        ("slices", True, [str(row.annotated_slices) for row in rows]),
        ("%", True, [format_percent(row.percent) for row in rows]),
        ("Dice", True, [number_text(row.dice, 3) for row in rows]),
        ("SD", True, [number_text(row.sd, 3) for row in rows]),
        ("2 SE", True, [number_text(row.two_se, 3) for row in rows]),
        ("HD95 mm", True, [number_text(row.hd95, 2) for row in rows]),
        ("missed", True, [percent_text(row.missed) for row in rows]),
        ("seeds", True, [str(row.seeds) for row in rows]),
        ("volumes", True, [str(row.volumes) for row in rows]),
        ("left out", True, [str(row.left_out) for row in rows]),
        ("AULC", True, [number_text(row.area, 3) for row in rows]),
    ]
    caption = (
        "Mean 3D Dice after each round. SD: over seeds; 2 SE: twice the bootstrap standard error over test patients; "
        "missed: classes present and not predicted at all; left out: values of classes that neither reference nor "
        "prediction has; AULC: area under the learning curve."
    )
    return make_table(columns, caption)


def comparison_table(rows: Sequence[Comparison]) -> Table:
    """Every pair of strategies: difference of the areas under their learning curves, and wins, ties, losses."""
    columns = [
        ("cohort", False, [row.cohort for row in rows]),
        ("strategy", False, [row.first for row in rows]),
        ("against", False, [row.second for row in rows]),
        ("difference", True, [_signed(row.area.mean) for row in rows]),
        ("95 % interval", True, [_interval(row.area.low, row.area.high) for row in rows]),
        *_joint_column(rows),
        ("seeds", True, [str(row.area.seeds) for row in rows]),
        ("wins", True, [str(row.wins) for row in rows]),
        ("ties", True, [str(row.ties) for row in rows]),
        ("losses", True, [str(row.losses) for row in rows]),
        ("p", True, [number_text(row.p_value, 4) for row in rows]),
    ]
    caption = (
        "Difference of the areas under the learning curves (3D Dice), with paired t intervals over seeds and test "
        "patients, which need two seeds. All pairs: intervals that hold for all pairs together in 95 %; each of the "
        "others misses the truth one time in twenty. Wins, ties and losses: budgets at which the 95 % interval is "
        "above 0, contains 0, and is below 0. p: paired permutation test over seeds and budgets (Gaillochet 2023); "
        "it takes the budgets of a seed for independent, so it is too small."
    )
    return make_table(columns, caption)


def _joint_column(rows: Sequence[Comparison]) -> list[tuple[str, bool, list[str]]]:
    """The intervals for all pairs, if there are several."""
    if all(row.pairs == 1 for row in rows):
        return []
    return [("all pairs", True, [_interval(row.joint.low, row.joint.high) for row in rows])]


def budget_table(rows: Sequence[BestAtBudget]) -> Table:
    """The best strategy at each budget compared to the runner-up, with a verdict in words."""
    columns = [
        ("cohort", False, [row.cohort for row in rows]),
        ("slices", True, [str(row.annotated_slices) for row in rows]),
        ("%", True, [format_percent(row.percent) for row in rows]),
        ("best", False, [row.best for row in rows]),
        ("Dice", True, [number_text(row.dice, 3) for row in rows]),
        ("runner-up", False, [row.runner_up or _NONE for row in rows]),
        ("difference", True, [_signed(row.difference.mean) if row.difference else _NONE for row in rows]),
        (
            "95 % interval",
            True,
            [_interval(row.difference.low, row.difference.high) if row.difference else _NONE for row in rows],
        ),
        ("verdict", False, [_verdict(row) for row in rows]),
    ]
    return make_table(
        columns, "The best strategy at each budget, by mean 3D Dice, and whether the difference is significant."
    )


def class_table(rows: Iterable[ResultRow]) -> Table:
    """3D Dice of every class, by cohort and strategy, at the last budget each strategy has reached."""
    rows = [row for row in rows if row.metric == "dice"]
    classes = sorted({row.class_name for row in rows})
    lines: list[tuple[str, ...]] = []
    for cohort in cohorts_of(rows):
        of_class = {
            name: {c.strategy: c for c in learning_curves([r for r in rows if r.class_name == name], cohort=cohort)}
            for name in classes
        }
        for curve in learning_curves(rows, cohort=cohort):
            last = int(curve.annotated[curve.present][-1])
            found = [of_class[name].get(curve.strategy) for name in classes]
            scores = [math.nan if c is None else dict(zip(c.annotated, c.mean, strict=True))[last] for c in found]
            lines.append((cohort, curve.strategy, str(last), *(number_text(score, 3) for score in scores)))
    heads = ("cohort", "strategy", "slices", *classes)
    columns = [(head, place > 1, [line[place] for line in lines]) for place, head in enumerate(heads)]
    return make_table(columns, "Mean 3D Dice of every class after the last round.")


def format_text(table: Table) -> str:
    """The table with aligned columns, for a terminal; ends with a line break."""
    lines = [table.header, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.header))]
    return "".join(_aligned(line, widths, table.numeric).rstrip() + "\n" for line in lines)


def make_table(columns: Sequence[tuple[str, bool, list[str]]], caption: str) -> Table:
    """A table of the columns, without the first (the cohort's) if it has one value only, and without empty ones.

    Args:
        columns: Head, whether the cells are numbers, and the cells.
        caption: What the table shows.
    """
    shown = [
        column
        for place, column in enumerate(columns)
        if (place > 0 or len(set(column[2])) > 1) and (not column[2] or set(column[2]) - {_NONE})
    ]
    header, numeric, cells = zip(*shown, strict=True)
    return Table(tuple(header), tuple(zip(*cells, strict=True)), tuple(numeric), caption)


def _aligned(line: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    cells = zip(line, widths, numeric, strict=True)
    return "  ".join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells)


def number_text(value: float, digits: int) -> str:
    """The number with so many decimals, or a dash for NaN."""
    return _NONE if math.isnan(value) else f"{value:.{digits}f}"


def _signed(value: float) -> str:
    return _NONE if math.isnan(value) else f"{value:+.3f}"


def percent_text(value: float) -> str:
    """A share as a percentage with one decimal, or a dash for NaN."""
    return _NONE if math.isnan(value) else f"{100 * value:.1f} %"


def _interval(low: float, high: float) -> str:
    return _NONE if math.isnan(low) else f"{low:+.3f} to {high:+.3f}"


def _verdict(row: BestAtBudget) -> str:
    if row.difference is None:
        return "nothing to compare"
    if row.difference.too_few_seeds:
        return "too few seeds"
    return "better" if row.difference.verdict > 0 else "not significant"
