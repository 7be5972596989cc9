"""The report of an experiment: one self-contained HTML file for screen, phone, print and dark mode."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.common.files import write_text
from ActiveSegmentationLib.evaluation.curve_figure import learning_curve
from ActiveSegmentationLib.evaluation.curves import learning_curves
from ActiveSegmentationLib.evaluation.paired_tests import penalty_matrix
from ActiveSegmentationLib.evaluation.paper_tables import gap_table, penalty_table
from ActiveSegmentationLib.evaluation.results import RequestRow, ResultRow
from ActiveSegmentationLib.evaluation.statistics import FEW_SEEDS
from ActiveSegmentationLib.evaluation.summaries import best_at_budgets, comparisons, headline, summary
from ActiveSegmentationLib.evaluation.tables import Table, budget_table, class_table, comparison_table, summary_table
from ActiveSegmentationLib.evaluation.upper_bound import gaps

RequestKey = tuple[str, int, int, int]
"""Strategy, seed, round and rank of a request."""

CONVENTIONS = (
    "Dice: 3D, per volume and class, then the mean over classes, volumes and seeds. A class that only the reference or "
    "only the prediction has scores 0, so that an empty prediction is never perfect. A class that neither has is left "
    "out of the mean, and the table counts how often that happened.",
    "HD95 (95th percentile Hausdorff distance, the larger of both directions) and the mean surface distance are in "
    "millimetres and not defined where the reference or the prediction is empty. Such values are left out, and the "
    "next column has the share of classes that were missed.",
    "Bands show one standard deviation over seeds. 2 SE is twice the bootstrap standard error over test patients. "
    "Intervals are 95 % t intervals of paired differences over seeds and test patients, with the smaller number of the "
    "two minus 1 as degrees of freedom. Where such an interval contains 0, the difference is not significant; with "
    f"fewer than {FEW_SEEDS} seeds only large differences are. The sentences above use intervals that hold for all "
    "pairs of strategies together (Bonferroni). The other intervals are not corrected for the number of comparisons, "
    "and the best of many strategies looks a little better than it is.",
    "Unlabelled pixels of the reference are ignored.",
    "Slices are numbered from 1.",
)
"""How to read the numbers in a report."""


@dataclass(frozen=True)
class Picture:
    """A picture of a report.

    Attributes:
        png: PNG bytes.
        alt: What it shows, for people who cannot see it.
        caption: Text below.
    """

    png: bytes
    alt: str
    caption: str = ""

    @property
    def uri(self) -> str:
        """The picture as data URI."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")

    @property
    def least_width(self) -> int:
        """Pixels of the screen below which its letters are too small; narrower screens scroll it sideways."""
        return round(int.from_bytes(self.png[16:20], "big") / 2.2)  # the width in the head of a PNG file


@dataclass(frozen=True)
class Report:
    """Content of a report.

    Attributes:
        title: What was done, a few words.
        results: Result rows.
        requests: Request rows; those of the lowest seed are shown, round by round for every strategy.
        request_pictures: PNG bytes of requested slices, for as many requests as there are.
        predictions: Pictures of predictions.
        settings: Settings, versions, seeds, device: JSON values of any depth.
        commands: Command lines that make the results again.
        notes: Further information for readers: the split, whether validation labels were used and counted, ...
        tables: More tables (timings, ...).
        figures: More figures.
    """

    title: str
    results: Sequence[ResultRow]
    requests: Sequence[RequestRow] = ()
    request_pictures: Mapping[RequestKey, bytes] = field(default_factory=dict)
    predictions: Sequence[Picture] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    commands: Sequence[str] = ()
    notes: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Picture] = ()


def write_report(path: Path, report: Report) -> None:
    """Write the report of an experiment as one self-contained HTML file, in one atomic step.

    Args:
        path: The HTML file.
        report: The content.

    Raises:
        BadInput: If the folder cannot be written.
        JobFailed: If the disk is full.

    Example:
        >>> rows = read_results_csv(Path("results.csv"))
        >>> write_report(Path("report.html"), Report("Benchmark", rows))
    """
    results, requests = list(report.results), report.requests
    content = {
        "title": report.title,
        "headline": headline(results) if results else ["There are no results yet."],
        "curves": _curves(results),
        "tables": [*_result_tables(results), *report.tables],
        "strategies": _request_groups(requests, report.request_pictures),
        "shown_seed": min((row.seed for row in requests), default=None),
        "seeds": sorted({row.seed for row in requests}),
        "predictions": report.predictions,
        "figures": report.figures,
        "settings": [(name, _text(value)) for name, value in report.settings.items()],
        "commands": report.commands,
        "notes": [*report.notes, *CONVENTIONS],
    }
    write_text(path, _template().render(content))


def _template() -> Any:
    import jinja2

    loader = jinja2.PackageLoader("ActiveSegmentationLib.evaluation", "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("report.html.jinja")


def _curves(results: Sequence[ResultRow]) -> tuple[Picture, Picture] | None:
    """The learning curves for wide and for narrow screens."""
    if not any(row.metric == "dice" and row.value == row.value for row in results):
        return None
    several = len({row.seed for row in results}) > 1
    caption = "Mean 3D Dice on the test volumes by the number of annotated slices."
    caption += " Bands: one standard deviation over seeds." if several else " One seed, so there are no bands."
    alt = "Learning curves. " + " ".join(
        f"{curve.strategy} on {curve.cohort}: from {curve.mean[curve.present][0]:.3f} to "
        f"{curve.mean[curve.present][-1]:.3f}."
        for cohort in sorted({row.cohort for row in results})
        for curve in learning_curves(results, cohort=cohort)
    )
    return Picture(learning_curve(results), alt, caption), Picture(learning_curve(results, narrow=True), alt)


def _result_tables(results: Sequence[ResultRow]) -> list[Table]:
    summaries = summary(results)
    if not summaries:
        return []
    several = len({row.strategy for row in summaries}) > 1
    tables = [budget_table(best_at_budgets(results))] if several else []
    tables.append(summary_table(summaries))
    pairs = comparisons(results)
    if pairs:
        tables.append(comparison_table(pairs))
    tables.append(class_table(results))
    matrix = penalty_matrix(results)
    if matrix is not None and len({row.seed for row in results}) > 1:
        tables.append(penalty_table(matrix))
    below = gaps(results)
    if below:
        tables.append(gap_table(below))
    return tables


def _request_groups(requests: Sequence[RequestRow], pictures: Mapping[RequestKey, bytes]) -> list[dict[str, Any]]:
    """The requests of the lowest seed by strategy and round."""
    lowest = min((row.seed for row in requests), default=None)
    shown = sorted(
        (row for row in requests if row.seed == lowest), key=lambda r: (r.cohort, r.strategy, r.round, r.rank)
    )
    groups = []
    for (cohort, strategy), of_strategy in groupby(shown, key=lambda row: (row.cohort, row.strategy)):
        rounds = [
            {"number": number, "requests": [_request(row, pictures) for row in of_round]}
            for number, of_round in groupby(of_strategy, key=lambda row: row.round)
        ]
        groups.append({"cohort": cohort, "strategy": strategy, "rounds": rounds})
    return groups


def _request(row: RequestRow, pictures: Mapping[RequestKey, bytes]) -> dict[str, Any]:
    png = pictures.get((row.strategy, row.seed, row.round, row.rank))
    alt = f"Slice {row.slice + 1} of {row.volume}, requested in round {row.round} by {row.strategy}"
    return {
        "rank": row.rank,
        "volume": row.volume,
        "patient": row.patient,
        "slice": row.slice + 1,
        "reason": row.reason,
        "picture": None if png is None else Picture(png, alt),
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False, default=str)
