"""Runs a protocol: every arm as benchmarks, and one table and report of them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ActiveSegmentationLib.common.durability import sweep
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, read_fields, write_bytes, write_json
from ActiveSegmentationLib.common.progress import Progress, or_silent
from ActiveSegmentationLib.common.text import counted
from ActiveSegmentationLib.evaluation import (
    Report,
    format_text,
    headline,
    learning_curve,
    summary,
    summary_table,
    write_report,
    write_requests_csv,
    write_results_csv,
)
from ActiveSegmentationLib.experiment.annotators import OracleAnnotator
from ActiveSegmentationLib.experiment.benchmark import AnnotatorFactory, Benchmark
from ActiveSegmentationLib.experiment.measurements import Findings, findings_of, measurement_tables
from ActiveSegmentationLib.experiment.pictures import write_figures
from ActiveSegmentationLib.experiment.protocol_arms import (
    ExperimentOptions,
    Part,
    chosen_arms,
    parts_of,
    require_learners,
)
from ActiveSegmentationLib.experiment.protocol_text import difference_lines
from ActiveSegmentationLib.experiment.reporting import Outcome, with_pictures, write_outcome
from ActiveSegmentationLib.experiment.service import BenchmarkOptions, check_request, make_benchmark
from ActiveSegmentationLib.experiment.sweep import execute_benchmarks
from ActiveSegmentationLib.experiment.workers import Execute, opened
from ActiveSegmentationLib.loop import versions

RECORD = "experiment.json"
"""File in the folder of the results that says which protocol made them."""


def run_experiment(
    options: ExperimentOptions,
    progress: Progress | None = None,
    *,
    annotator_of: Callable[[BenchmarkOptions], AnnotatorFactory] | None = None,
) -> Outcome:
    """Run a protocol, or resume an interrupted run, and write its tables, figures and report.

    Every part (an arm, and within it every repetition) is a benchmark in a folder of its own under ``arms``, with a
    report of its own. The tables and the report in ``out`` are about all of them: arms are listed as cohorts of their
    own, repetitions of an arm as further seeds.

    Args:
        options: How the protocol is run.
        progress: Progress reporter. Default: reports nothing.
        annotator_of: What makes the annotators of a part. Default: oracles that answer from the reference labels.

    Raises:
        BadInput: If a learner is missing, a setting cannot be used, the cohort does not fit, or the folder holds the
            results of another protocol or scale.
    """
    progress = or_silent(progress)
    arms = chosen_arms(options)
    require_learners(options.protocol, arms)
    for arm in arms.values():
        check_request(arm.strategies, "" if arm.initial == "own" else arm.initial, arm.metrics, _rounds(arm.rounds))
    _record_protocol(options)
    parts = [part for name, arm in arms.items() for part in parts_of(options, name, arm, progress)]
    found = Findings()
    with opened(options.workers, progress) as execute:
        for together in [[part] for part in parts] if options.workers.alone else [parts]:
            benchmarks = [_benchmark(part, parts, annotator_of, execute, progress) for part in together]
            execute_benchmarks(benchmarks, options.workers, execute, progress, track=options.track)
            for part, benchmark in zip(together, benchmarks, strict=True):
                own = with_pictures(findings_of(benchmark), benchmark)
                write_outcome(benchmark, command=options.command, costs=options.costs, found=own)
                if _first_seed(part, parts) > 0:  # the pictures of one repetition are enough
                    own = replace(own, maps=(), agreements=())
                found += own.renamed(_label(options, part, len(arms)), _first_seed(part, parts))
    return _write(options, found)


def _benchmark(
    part: Part,
    parts: list[Part],
    annotator_of: Callable[[BenchmarkOptions], AnnotatorFactory] | None,
    execute: Execute,
    progress: Progress,
) -> Benchmark:
    if len(parts) > 1:
        words = f"{part.arm}, {part.name}" if part.name else part.arm
        progress.message(f"Part {parts.index(part) + 1} of {counted(len(parts), 'part')}: {words}.")
    annotator = OracleAnnotator if annotator_of is None else annotator_of(part.options)
    return make_benchmark(part.options, progress, annotator=annotator, execute=execute)


def _rounds(rounds: tuple[int | str, ...]) -> str:
    return ",".join(map(str, rounds))


def _label(options: ExperimentOptions, part: Part, arms: int) -> str:
    """Name of the cohort in tables over all arms."""
    return options.name if arms == 1 else f"{options.name}, {part.arm}"


def _first_seed(part: Part, parts: list[Part]) -> int:
    """What is added to the seeds of a part, so that the repetitions of an arm do not share any."""
    before = parts.index(part) - parts.index(next(each for each in parts if each.arm == part.arm))
    return before * (max(part.options.seeds) + 1)


def _record_protocol(options: ExperimentOptions) -> None:
    """Record which protocol the folder belongs to; refuse another one."""
    path = options.out / RECORD
    about = {"protocol": options.protocol.name, "key": options.protocol.key, "scale": options.scale}
    if path.is_file():
        known = read_fields(path)
        changed = [name for name in about if known.get(name) != about[name]]
        if changed:
            what = "another version of this protocol" if changed == ["key"] else f"another {changed[0]}"
            advice = "Choose another --out, or use the protocol and the scale of the first call."
            raise BadInput(f"This folder holds the results of {what}.", where=options.out, advice=advice)
        return
    with explained(options.out):
        options.out.mkdir(parents=True, exist_ok=True)
        sweep(options.out)
    write_json(path, {**about, "content": options.protocol.content.to_json(), "versions": versions()})


def _write(options: ExperimentOptions, found: Findings) -> Outcome:
    out, protocol = options.out, options.protocol
    write_results_csv(out / "results.csv", found.results)
    write_requests_csv(out / "requests.csv", found.requests)
    write_bytes(out / "learning_curve.png", learning_curve(found.results))
    report = out / "report.html"
    content = Report(
        title=f"{protocol.content.title}: {options.name}",
        results=found.results,
        requests=found.requests,
        settings=_settings(options),
        commands=[options.command] if options.command else [],
        notes=_notes(options),
        tables=measurement_tables(found, options.costs),
        figures=write_figures(out / "figures", found, options.costs),
    )
    write_report(report, content)
    rows, sentences = summary(found.results), headline(found.results)
    text = format_text(summary_table(rows))
    return Outcome("\n".join([text, "", *sentences]), report, tuple(rows), tuple(sentences))


def _settings(options: ExperimentOptions) -> dict[str, Any]:
    arms = {name: arm.to_json() for name, arm in chosen_arms(options).items()}
    return {"protocol": options.protocol.content.to_json(), "arms at this scale": arms, "versions": versions()}


def _notes(options: ExperimentOptions) -> list[str]:
    content = options.protocol.content
    scale = options.protocol.scale(options.scale)
    return [
        f"Protocol {options.protocol.name}, scale {options.scale}. {scale.about}",
        *([f"It follows {content.source}."] if content.source else []),
        *([content.about] if content.about else []),
        *(f"Differs from the source: {text}" for text in content.differences),
        *(f"Differs at this scale: {line}" for line in difference_lines(options.protocol, options.scale)),
        "Repetitions of an arm (hold-outs, folds, seeds of the first slices) are listed as further seeds.",
    ]
