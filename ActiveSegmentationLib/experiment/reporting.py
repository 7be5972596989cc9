"""Results of a finished comparison: learning curve, report with pictures, and a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.cohort import BACKGROUND, IGNORE_LABEL, AnnotationKind, Role, SliceId
from ActiveSegmentationLib.common.files import hash_json, read_fields, write_bytes
from ActiveSegmentationLib.evaluation import (
    CostModel,
    Picture,
    PredictionView,
    Report,
    RequestRow,
    ResultRow,
    SliceView,
    SummaryRow,
    format_text,
    headline,
    learning_curve,
    prediction_gallery,
    showcase_volumes,
    slice_picture,
    summary,
    summary_table,
    write_report,
)
from ActiveSegmentationLib.experiment.benchmark import Benchmark
from ActiveSegmentationLib.experiment.measurements import Findings, findings_of, measurement_tables
from ActiveSegmentationLib.experiment.pictures import agreement_views, cluster_maps, write_figures
from ActiveSegmentationLib.segmentation import load_ensemble, predict_volume

PICTURES_PER_ROUND = 12
"""Number of requested slices of each round in the report; more would make the file too large to send."""


@dataclass(frozen=True)
class Outcome:
    """Results of a comparison.

    Attributes:
        table: Result table and headline as plain text.
        report: The HTML report.
        rows: Rows of the table as numbers.
        headline: The result in sentences.
    """

    table: str
    report: Path
    rows: tuple[SummaryRow, ...] = ()
    headline: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Paths, numbers and sentences as JSON values; null where a number is not defined."""
        folder = self.report.parent
        names = ("results.csv", "requests.csv", "timings.csv", "learning_curve.png", self.report.name)
        rows = [
            {
                name: None if isinstance(value, float) and np.isnan(value) else value
                for name, value in asdict(row).items()
            }
            for row in self.rows
        ]
        files = [str(folder / name) for name in names]
        return {"report": str(self.report), "files": files, "headline": list(self.headline), "rows": rows}


def write_outcome(
    benchmark: Benchmark, *, command: str = "", costs: CostModel | None = None, found: Findings | None = None
) -> Outcome:
    """Write ``learning_curve.png``, the folder ``figures`` and ``report.html`` of a finished benchmark.

    Args:
        benchmark: The benchmark.
        command: The command as it was typed.
        costs: Seconds for annotating a slice. Default: not known.
        found: What it found, with pictures. Default: it is read from the benchmark.
    """
    results, requests, _ = benchmark.results()
    found, costs = found or with_pictures(findings_of(benchmark), benchmark), costs or CostModel()
    write_bytes(benchmark.out / "learning_curve.png", learning_curve(results))
    report = benchmark.out / "report.html"
    content = Report(
        title=f"Comparison of strategies on {benchmark.plan.design.cohort}",
        results=results,
        requests=requests,
        request_pictures=_request_pictures(benchmark, requests),
        predictions=_predictions(benchmark, results),
        settings=read_fields(benchmark.out / "benchmark.json"),
        commands=[command] if command else [],
        notes=_notes(benchmark),
        tables=measurement_tables(found, costs),
        figures=write_figures(benchmark.out / "figures", found, costs),
    )
    write_report(report, content)
    rows, sentences = summary(results), headline(results)
    text = format_text(summary_table(rows))
    return Outcome("\n".join([text, "", *sentences]), report, tuple(rows), tuple(sentences))


def with_pictures(found: Findings, benchmark: Benchmark) -> Findings:
    """What was found, with maps of slices and predictions of test planes if the benchmark has diagnostics."""
    if not benchmark.plan.design.diagnostics:
        return found
    return replace(found, maps=cluster_maps(benchmark), agreements=agreement_views(benchmark))


def _notes(benchmark: Benchmark) -> list[str]:
    design = benchmark.plan.design
    volumes = {role: len(np.unique(benchmark.stack.volume_number[design.rows[role]])) for role in Role}
    first = f"chosen by {design.initial}, the same for every strategy of a seed" if design.initial else "its own choice"
    first = "given, the same for every strategy of a seed" if design.initial_sets is not None else first
    if design.initial_seed is not None and design.initial_sets is None:
        first += f", drawn with the seed {design.initial_seed} in every run"
    sessions = read_fields(benchmark.out / "benchmark.json", "sessions")["sessions"]
    kinds = {hash_json([session["versions"], session["device"]]) for session in sessions}
    return [
        f"Annotations are {design.annotation}s by a simulated annotator; the pool has {len(design.rows[Role.POOL])} "
        f"slices of {volumes[Role.POOL]} volumes, scores are on {volumes[Role.TEST]} test volumes.",
        f"The slices of the first round are {first}.",
        "Learned metrics and autoencoders are trained once for each seed, without labels, on the pool."
        if benchmark.learned_kinds()
        else "No learned metric was used.",
        "Choices and learned networks follow the seed of the run; trainings of models follow "
        + ("it too." if design.training_seed is None else f"the seed {design.training_seed}."),
        f"{len(sessions)} sessions on different devices or with different versions computed these rounds; timings.csv "
        "has the device and versions of each round."
        if len(kinds) > 1
        else "All rounds were computed on the same kind of device with the same versions.",
        f"The {design.settings.training.select} weights of each training are used; validation labels are "
        + ("used to pick them and are not counted as annotated." if _validates(benchmark) else "not used."),
    ]


def _validates(benchmark: Benchmark) -> bool:
    return benchmark.plan.design.settings.training.select == "best"


def _request_pictures(benchmark: Benchmark, requests: Sequence[RequestRow]) -> dict[tuple[str, int, int, int], bytes]:
    oracle = benchmark.oracle()
    seed = min(benchmark.plan.seeds)
    shown = [row for row in requests if row.seed == seed and row.rank <= PICTURES_PER_ROUND]
    pictures = {}
    for row in shown:
        slice_id = SliceId(row.volume, row.slice)
        view = _slice_view(benchmark, slice_id, oracle.labels(slice_id))
        pictures[row.strategy, row.seed, row.round, row.rank] = slice_picture(view)
    return pictures


def _slice_view(benchmark: Benchmark, slice_id: SliceId, labels: np.ndarray) -> SliceView:
    if benchmark.plan.design.annotation == AnnotationKind.MASK:
        return SliceView(_pixels(benchmark, slice_id), _without_border(benchmark, labels, slice_id.volume))
    return SliceView(_pixels(benchmark, slice_id), benchmark.stack.to_overview(labels, slice_id.volume))


def _without_border(benchmark: Benchmark, labels: np.ndarray, volume_id: str) -> np.ndarray:
    """Labels on the grid, with background instead of the ignore label outside the image."""
    on_grid = benchmark.stack.to_overview(labels, volume_id)
    on_grid[on_grid == IGNORE_LABEL] = BACKGROUND
    return on_grid


def _pixels(benchmark: Benchmark, slice_id: SliceId) -> np.ndarray:
    return np.asarray(benchmark.stack.images[benchmark.stack.row(slice_id), 0], dtype=np.float32)


def _predictions(benchmark: Benchmark, results: Sequence[ResultRow]) -> list[Picture]:
    """Best, median and worst test volume of the first strategy's last model, by Dice."""
    strategy, seed = benchmark.plan.strategies[0], min(benchmark.plan.seeds)
    last = max(row.round for row in results)
    own = [row for row in results if (row.strategy, row.seed, row.round) == (strategy, seed, last)]
    chosen = showcase_volumes(own)
    if not chosen:
        return []
    model = load_ensemble(benchmark.run(strategy, seed).model_folder())
    views = []
    for word, volume_id, score in chosen:
        truth = benchmark.stack.truth(volume_id, AnnotationKind.MASK)
        assert truth is not None  # it was scored
        predicted = predict_volume(
            model, benchmark.stack, volume_id, keep_probabilities=False, compute=benchmark.compute()
        )
        labels = benchmark.plan.design.labels.to_values(predicted.labels)
        index = int(((truth != BACKGROUND) & (truth != IGNORE_LABEL)).sum(axis=(1, 2)).argmax())
        pixels = _pixels(benchmark, SliceId(volume_id, index))
        reference, prediction = (_without_border(benchmark, array[index], volume_id) for array in (truth, labels))
        views.append(PredictionView(pixels, reference, prediction, title=f"{word}: {volume_id}\nDice {score:.3f}"))
    names = {label.value: label.name for label in benchmark.plan.design.labels.labels}
    alt = "Image, reference and prediction of the best, the median and the worst test volume"
    caption = f"{strategy}, seed {seed}, after the last round; the slice with most foreground of each volume."
    return [Picture(prediction_gallery(views, names=names), alt, caption)]
