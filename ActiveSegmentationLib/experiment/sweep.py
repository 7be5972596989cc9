"""Computes benchmarks: their learned networks, then the first rounds that runs share, then all runs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from ActiveSegmentationLib.common.progress import Progress, or_silent
from ActiveSegmentationLib.common.text import counted
from ActiveSegmentationLib.experiment.benchmark import Benchmark
from ActiveSegmentationLib.experiment.tracking import tracked
from ActiveSegmentationLib.experiment.workers import Execute, Workers


def execute_benchmarks(
    benchmarks: Sequence[Benchmark],
    workers: Workers,
    execute: Execute,
    progress: Progress | None = None,
    *,
    track: str = "",
) -> None:
    """Compute the remaining rounds of benchmarks, and write their tables; the runs of all are one set of jobs.

    Args:
        benchmarks: The benchmarks, each in a folder of its own.
        workers: Who computes.
        execute: Computes jobs, as ``workers.opened`` gives it.
        progress: Progress reporter. Default: reports nothing.
        track: Where finished rounds are shown, see ``tracking.TRACKERS``. Default: nowhere.

    Raises:
        BadInput: If a folder holds an experiment of another design, another process works in it, or the package for
            ``track`` is missing.
        JobFailed: If a job fails, or the values of ``track`` are not taken.
    """
    progress = or_silent(progress)
    with ExitStack() as closing:
        for benchmark in benchmarks:
            closing.enter_context(benchmark.in_use())
            benchmark.report_duration(workers, progress)
        closing.enter_context(tracked(benchmarks, track, progress))
        execute([job for each in benchmarks for job in each.networks()], "Learned networks", progress)
        execute([job for each in benchmarks for job in each.embedding_parts()], "Embeddings", progress)
        if not workers.alone:  # so that no worker waits for the first round of another
            execute([job for each in benchmarks for job in each.first_rounds()], "First rounds", progress)
        runs = [run for each in benchmarks for run in each.pending_runs()]
        execute(runs, f"Rounds of {counted(len(runs), 'run')}", progress)
        for benchmark in benchmarks:
            benchmark.write_tables()
