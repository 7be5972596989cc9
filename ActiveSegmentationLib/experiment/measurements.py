"""Measurements of an experiment beyond its scores: batches, efficiency, uncertainty, and how alike slices are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from ActiveSegmentationLib.cohort import AnnotationKind, Role
from ActiveSegmentationLib.evaluation import (
    UPPER_BOUND,
    AgreementView,
    BatchFacts,
    ClusterMap,
    CostModel,
    Deviations,
    ForegroundEfficiency,
    RequestRow,
    ResultRow,
    Table,
    batch_facts,
    batch_table,
    cohorts_of,
    correlation_table,
    cost_curves,
    cost_table,
    deviation_table,
    efficiency_table,
    foreground_rate,
    group_deviations,
    learning_curves,
    mean_over_seeds,
    mean_without_nan,
    upper_bounds,
)
from ActiveSegmentationLib.experiment.benchmark import Benchmark

Row = TypeVar("Row", ResultRow, RequestRow, BatchFacts)

Correlation = tuple[str, str, int, float]
"""Cohort, strategy, round, and the correlation of uncertainty with errors."""


@dataclass(frozen=True)
class Findings:
    """Everything that one or several benchmarks found.

    Attributes:
        results: Result rows.
        requests: Request rows.
        facts: Facts about every requested batch.
        correlations: Correlations of uncertainty with errors, one for each run and round.
        deviations: How alike slices are, by cohort.
        annotations: "mask" or "scribble" for each name of a cohort.
        maps: Slices of the pool as points, one for each learned embedding.
        agreements: Predictions of a few test planes.
    """

    results: tuple[ResultRow, ...] = ()
    requests: tuple[RequestRow, ...] = ()
    facts: tuple[BatchFacts, ...] = ()
    correlations: tuple[Correlation, ...] = ()
    deviations: tuple[tuple[str, Deviations], ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    maps: tuple[ClusterMap, ...] = ()
    agreements: tuple[AgreementView, ...] = ()

    def renamed(self, cohort: str, first_seed: int) -> Findings:
        """The same with another name of the cohort, and ``first_seed`` added to every seed."""

        def own(row: Row) -> Row:
            return replace(row, cohort=cohort, seed=row.seed + first_seed)

        return Findings(
            tuple(map(own, self.results)),
            tuple(map(own, self.requests)),
            tuple(map(own, self.facts)),
            tuple((cohort, *rest) for _, *rest in self.correlations),  # type: ignore[misc]
            tuple((cohort, found) for _, found in self.deviations),
            dict.fromkeys([cohort], next(iter(self.annotations.values()))) if self.annotations else {},
            tuple(replace(each, name=f"{cohort}: {each.name}") for each in self.maps),
            tuple(replace(each, title=f"{cohort}: {each.title}") for each in self.agreements),
        )

    def __add__(self, other: Findings) -> Findings:
        """Both together; of a cohort that both have, the deviations of the first are kept."""
        known = {name for name, _ in self.deviations}
        return Findings(
            self.results + other.results,
            self.requests + other.requests,
            self.facts + other.facts,
            self.correlations + other.correlations,
            self.deviations + tuple(pair for pair in other.deviations if pair[0] not in known),
            {**self.annotations, **other.annotations},
            self.maps + other.maps,
            self.agreements + other.agreements,
        )


def findings_of(benchmark: Benchmark) -> Findings:
    """Everything that a benchmark has found so far."""
    results, requests, _ = benchmark.results()
    design = benchmark.plan.design
    return Findings(
        tuple(results),
        tuple(requests),
        tuple(facts_about_batches(benchmark, requests)),
        tuple(correlations(benchmark)),
        ((design.cohort, deviations(benchmark)),) if design.diagnostics else (),
        {design.cohort: str(design.annotation)},
    )


def measurement_tables(found: Findings, costs: CostModel) -> list[Table]:
    """The tables of everything that was measured, those without any row left out.

    Args:
        found: What was found.
        costs: Seconds for annotating a slice. Without them, a table over time is shown only where masks and scribbles
            are compared.
    """
    tables = [batch_table(found.facts), efficiency_table(efficiencies(found.results, found.facts))]
    if costs.measured or len(set(found.annotations.values())) > 1:
        curves = cost_curves(found.results, found.annotations, costs)
        tables.append(cost_table(curves, "hours" if costs.measured else "% of the time for all masks"))
    tables.append(correlation_table(_mean_correlations(found.correlations)))
    tables.append(deviation_table(found.deviations))
    return [table for table in tables if table.rows]


def facts_about_batches(benchmark: Benchmark, requests: Sequence[RequestRow]) -> list[BatchFacts]:
    """Facts about every requested batch, from the reference masks of the pool and the diagnostics of the rounds."""
    uncertainty = {
        (strategy, seed, each["round"]): each["batch uncertainty"]
        for strategy, seed in benchmark.plan.pairs()
        for each in benchmark.run(strategy, seed).diagnostics()
        if "batch uncertainty" in each
    }
    return batch_facts(requests, _foreground_pixels(benchmark), uncertainty)


def _foreground_pixels(benchmark: Benchmark) -> dict[tuple[str, int], np.ndarray] | None:
    """Pixels of each foreground class in every slice of the pool; None if a volume has no reference mask."""
    stack, labels = benchmark.stack, benchmark.plan.design.labels
    slices = stack.slice_ids(benchmark.plan.design.rows[Role.POOL])
    found: dict[tuple[str, int], np.ndarray] = {}
    for volume in sorted({slice_id.volume for slice_id in slices}):
        masks = stack.truth(volume, AnnotationKind.MASK)
        if masks is None:
            return None
        for index, plane in enumerate(labels.to_classes(masks)):
            found[volume, index] = np.bincount(plane.ravel(), minlength=256)[1 : labels.classes]
    return {(slice_id.volume, slice_id.index): found[slice_id.volume, slice_id.index] for slice_id in slices}


def efficiencies(results: Sequence[ResultRow], facts: Sequence[BatchFacts]) -> list[ForegroundEfficiency]:
    """Foreground efficiency of every strategy, fitted to its mean curve, where a cohort has an upper bound."""
    percents = mean_over_seeds(facts, "foreground_percent")
    found = []
    for cohort in cohorts_of(results):
        own = [row for row in results if row.cohort == cohort]
        curves, bounds = learning_curves(own), list(upper_bounds(own).values())
        if not curves or not bounds:
            continue
        ceiling = float(mean_without_nan(np.array(bounds)))
        start = float(mean_without_nan(np.array([curve.mean[curve.present][0] for curve in curves])))
        round_of = {row.annotated_slices: row.round for row in own if row.strategy != UPPER_BOUND}
        for curve in curves:
            keys = [(cohort, curve.strategy, round_of[int(count)]) for count in curve.annotated]
            percent = np.array([percents.get(key, np.nan) for key in keys])
            beta, error = foreground_rate(percent, curve.mean, start=start, ceiling=ceiling)
            found.append(ForegroundEfficiency(cohort, curve.strategy, beta, error, ceiling))
    return found


def correlations(benchmark: Benchmark) -> list[Correlation]:
    """Correlation of uncertainty with errors after each round of each run that measured it."""
    return [
        (benchmark.plan.design.cohort, strategy, each["round"], each["correlation"])
        for strategy, seed in benchmark.plan.pairs()
        for each in benchmark.run(strategy, seed).diagnostics()
        if "correlation" in each
    ]


def _mean_correlations(found: Sequence[Correlation]) -> list[Correlation]:
    values: dict[tuple[str, str, int], list[float]] = {}
    for *key, value in found:
        values.setdefault(tuple(key), []).append(value)  # type: ignore[arg-type]
    return [(*key, float(np.mean(each))) for key, each in sorted(values.items())]


def deviations(benchmark: Benchmark) -> Deviations:
    """How different the slices of the pool are within groups, with each volume's values scaled to 0..1."""
    stack, rows = benchmark.stack, benchmark.plan.design.rows[Role.POOL]
    images = np.asarray(stack.images[rows], dtype=np.float32).reshape(len(rows), -1)
    slices = stack.slice_ids(rows)
    volumes = np.array([slice_id.volume for slice_id in slices])
    for volume in np.unique(volumes):
        own = images[volumes == volume]
        low, high = float(own.min()), float(own.max())
        images[volumes == volume] = (own - low) / max(high - low, 1e-9)
    patients = [stack.volume(volume).patient for volume in volumes]
    return group_deviations(images, patients, volumes.tolist(), [slice_id.index for slice_id in slices])
