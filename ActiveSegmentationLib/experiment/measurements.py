"""Measurements of an experiment beyond its scores: batches, efficiency, uncertainty, and how alike slices are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ActiveSegmentationLib.cohort import AnnotationKind, Role
from ActiveSegmentationLib.evaluation import (
    UPPER_BOUND,
    BatchFacts,
    CostModel,
    Deviations,
    ForegroundEfficiency,
    RequestRow,
    ResultRow,
    Table,
    batch_facts,
    batch_table,
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

Correlation = tuple[str, str, int, float]
"""Cohort, strategy, round, and the correlation of uncertainty with errors."""


def measurement_tables(
    benchmark: Benchmark, results: Sequence[ResultRow], requests: Sequence[RequestRow], costs: CostModel
) -> list[Table]:
    """The tables of everything that was measured, those without any row left out.

    Args:
        benchmark: A finished benchmark.
        results: Its result rows.
        requests: Its request rows.
        costs: Seconds for annotating a slice; without them there is no table over time.
    """
    facts = facts_about_batches(benchmark, requests)
    design, tables = benchmark.plan.design, [batch_table(facts)]
    if benchmark.plan.upper_bound:
        tables.append(efficiency_table(efficiencies(results, facts)))
    if costs.measured:
        tables.append(cost_table(cost_curves(results, {design.cohort: str(design.annotation)}, costs), "hours"))
    if design.diagnostics:
        tables.append(correlation_table(correlations(benchmark)))
        tables.append(deviation_table([(design.cohort, deviations(benchmark))]))
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
    """Foreground efficiency of every strategy of a cohort, fitted to its mean curve."""
    percents = mean_over_seeds(facts, "foreground_percent")
    curves = learning_curves(results)
    if not curves:
        return []
    ceiling = float(mean_without_nan(np.array(list(upper_bounds(results).values()))))
    start = float(mean_without_nan(np.array([curve.mean[curve.present][0] for curve in curves])))
    round_of = {row.annotated_slices: row.round for row in results if row.strategy != UPPER_BOUND}
    found = []
    for curve in curves:
        keys = [(curve.cohort, curve.strategy, round_of[int(count)]) for count in curve.annotated]
        percent = np.array([percents.get(key, np.nan) for key in keys])
        beta, error = foreground_rate(percent, curve.mean, start=start, ceiling=ceiling)
        found.append(ForegroundEfficiency(curve.cohort, curve.strategy, beta, error, ceiling))
    return found


def correlations(benchmark: Benchmark) -> list[Correlation]:
    """Correlation of uncertainty with errors after each round, mean over seeds."""
    values: dict[tuple[str, int], list[float]] = {}
    for strategy, seed in benchmark.plan.pairs():
        for each in benchmark.run(strategy, seed).diagnostics():
            if "correlation" in each:
                values.setdefault((strategy, each["round"]), []).append(each["correlation"])
    cohort = benchmark.plan.design.cohort
    return [(cohort, *key, float(np.mean(found))) for key, found in sorted(values.items())]


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
