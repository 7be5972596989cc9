"""Run a benchmark from its options, as the command line and scripts do."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.acquisition import Constraints, Situation, create_strategy
from ActiveSegmentationLib.cohort import (
    AnnotationKind,
    Cohort,
    Role,
    SliceId,
    SliceStack,
    build_stack,
    parts_to_prepare,
    remove_parts,
    with_roles,
)
from ActiveSegmentationLib.common.defaults import DEFAULT_STRATEGY
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.progress import Progress, or_silent
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.evaluation import AbsentRule, CostModel, check_metrics
from ActiveSegmentationLib.experiment.annotators import OracleAnnotator
from ActiveSegmentationLib.experiment.benchmark import AnnotatorFactory, Benchmark, Plan
from ActiveSegmentationLib.experiment.design import Design, Scored
from ActiveSegmentationLib.experiment.initial_sets import read_initial_sets
from ActiveSegmentationLib.experiment.jobs import StackJob
from ActiveSegmentationLib.experiment.protocol import check_rounds, parse_rounds
from ActiveSegmentationLib.experiment.reporting import Outcome, write_outcome
from ActiveSegmentationLib.experiment.sweep import execute_benchmarks
from ActiveSegmentationLib.experiment.workers import Execute, Workers, opened
from ActiveSegmentationLib.loop import (
    LoopSettings,
    model_abilities,
    report_left_out,
    require_usable,
    require_validation,
    resolve_device,
)
from ActiveSegmentationLib.segmentation import TrainingSettings, check_learner
from ActiveSegmentationLib.study import LabelSet, check_reference, label_set_for

TEST_SHARE = 0.25
"""Share of the patients that are held back for testing where no split is given."""


@dataclass(frozen=True)
class BenchmarkOptions:
    """Options of a benchmark.

    Attributes:
        cohort: The cohort, its volumes with their roles.
        name: Name of the cohort in result files.
        strategies: Names of the strategies.
        rounds: Cumulative budgets, "2%,3%" or "10,20".
        seeds: Seeds.
        out: Folder of the results.
        initial: Strategy of the first round for all; "" lets each strategy select its own slices.
        metrics: Names of the evaluation metrics.
        absent: Dice of a class that neither the reference nor the prediction has, see ``volume_metrics``.
        labels: "1=NAME,2=NAME", or None for the cohort's own.
        annotation: "mask" or "scribble".
        constraints: Limits on every choice.
        unit: "slice", or "volume" to request whole volumes.
        marks: Whether strategies know the extent of the structures (first and last slice that show one) in every volume
            of the pool, taken from the reference masks.
        initial_seed: Seed of the first round's slices for all runs. Default: each run's own.
        training_seed: Seed of all trainings of models. Default: each run's own.
        initial_sets: The slices of the first round for each seed, or a table with them, see ``read_initial_sets``.
            Default: ``initial`` selects them.
        scored: Which model of a round is scored, the "ensemble" or its "best" member on the validation volumes.
        diagnostics: Whether rounds measure the uncertainty of their batches and keep predictions of a few planes.
        upper_bound: Whether a model is also trained on the whole pool for every seed.
        costs: Seconds for annotating a slice, for the time axis.
        settings: Settings of the loop.
        workers: Who computes, and how many runs at a time.
        track: Where finished rounds are shown too: "tensorboard" (files in the folders of the results) or "mlflow" (the
            server or database of MLFLOW_TRACKING_URI). Default: nowhere.
        device: "auto" or a PyTorch device.
        command: The command as it was typed, for the report.
        stacks: Folder of prepared slices, which several benchmarks may share. Default: in ``out``.
    """

    cohort: Cohort
    name: str
    strategies: tuple[str, ...]
    rounds: str
    seeds: tuple[int, ...]
    out: Path
    initial: str = "random"
    metrics: tuple[str, ...] = ("dice", "hd95")
    absent: AbsentRule = "nan"
    labels: str | None = None
    annotation: str = "mask"
    constraints: Constraints = field(default_factory=Constraints)
    unit: str = "slice"
    marks: bool = False
    initial_seed: int | None = None
    training_seed: int | None = None
    initial_sets: Path | Mapping[int, tuple[SliceId, ...]] | None = None
    scored: Scored = "ensemble"
    diagnostics: bool = False
    upper_bound: bool = False
    costs: CostModel = field(default_factory=CostModel)
    settings: LoopSettings = field(default_factory=LoopSettings)
    workers: Workers = field(default_factory=Workers)
    track: str = ""
    device: str = "auto"
    command: str = ""
    stacks: Path | None = None


def check_request(strategies: Sequence[str], initial: str, metrics: Sequence[str], rounds: str) -> None:
    """Check options that do not depend on the cohort, so that mistakes are reported before any work.

    Args:
        strategies: Names of the strategies.
        initial: Strategy of the first round; "" lets each strategy select its own slices.
        metrics: Names of the evaluation metrics.
        rounds: Cumulative budgets.

    Raises:
        BadInput: If there is no such strategy or metric, or the rounds are malformed.
    """
    for name in (*strategies, *filter(None, [initial])):
        create_strategy(name)
    check_metrics(metrics)
    check_rounds(rounds)


def run_benchmark(
    options: BenchmarkOptions,
    progress: Progress | None = None,
    *,
    annotator: AnnotatorFactory = OracleAnnotator,
) -> Outcome:
    """Run a benchmark, or resume an interrupted one, and write its tables, curve and report.

    Args:
        options: Options of the benchmark.
        progress: Progress reporter. Default: reports nothing.
        annotator: Makes the annotator from the stack and the kind of annotation. Default: an oracle.

    Raises:
        BadInput: If the options do not fit the cohort.

    Example:
        >>> names, out = ("recommended", "random"), Path("results")
        >>> outcome = run_benchmark(BenchmarkOptions(cohort, "acdc", names, rounds="2%,4%", seeds=(0, 1), out=out))
        >>> print(outcome.table)
    """
    progress = or_silent(progress)
    _check_options(options)
    with opened(options.workers, progress) as execute:
        benchmark = make_benchmark(options, progress, annotator=annotator, execute=execute)
        execute_benchmarks([benchmark], options.workers, execute, progress, track=options.track)
    return write_outcome(benchmark, command=options.command, costs=options.costs)


def make_benchmark(
    options: BenchmarkOptions,
    progress: Progress | None = None,
    *,
    annotator: AnnotatorFactory = OracleAnnotator,
    execute: Execute | None = None,
) -> Benchmark:
    """A benchmark that is ready to be executed: its options are checked and its slices prepared.

    Args:
        options: Options of the benchmark.
        progress: Progress reporter. Default: reports nothing.
        annotator: Makes the annotator, see ``run_benchmark``.
        execute: Computes jobs; where ``options.workers`` are on other computers, they prepare the slices of a large
            cohort. Default: this process does.

    Raises:
        BadInput: If the options do not fit the cohort.
    """
    progress = or_silent(progress)
    _check_options(options)
    # a worker of a cluster may have another device than this computer
    device = options.device if options.workers.remote else resolve_device(options.device)
    cohort = with_test_part(options.cohort, progress)
    require_validation(options.settings.training, cohort)
    rounds = parse_rounds(options.rounds, sum(v.slice_count for v in cohort.volumes if v.role == Role.POOL))
    initial_sets = _initial_sets(options, cohort, rounds[0])
    labels = label_set_for(cohort, options.labels, progress)
    cohort = cohort.with_labels(labels.names)
    stacks = options.stacks or options.out / "cache" / "stacks"
    stack = _prepared(cohort, options, stacks, execute, progress)
    _check_labels(cohort, stack, labels, options)
    design = Design(
        cohort=options.name,
        rows=_rows_by_role(cohort, stack, progress),
        labels=labels,
        annotation=AnnotationKind(options.annotation),
        rounds=tuple(rounds),
        initial="" if initial_sets is not None else options.initial,
        initial_sets=initial_sets,
        **{name: getattr(options, name) for name in SHARED_OPTIONS},
    )
    _check_scored(options, design)
    plan = Plan(design, options.strategies, options.seeds, options.upper_bound)
    return Benchmark(options.out, plan, stack, device=device, annotator=annotator)


def _check_options(options: BenchmarkOptions) -> None:
    """What can be refused before anything is read."""
    check_request(options.strategies, options.initial, options.metrics, options.rounds)
    check_learner(options.settings.training, options.annotation)
    for name in (*options.strategies, *filter(None, [options.initial])):
        require_usable(name, _situation(options))


def _prepared(
    cohort: Cohort, options: BenchmarkOptions, stacks: Path, execute: Execute | None, progress: Progress
) -> SliceStack:
    """The slice stack; workers on other computers prepare parts of it, as threads do on this one."""
    settings = options.settings.stack
    if execute is None or not options.workers.remote:
        return build_stack(cohort, settings, stacks, progress=progress)
    parts = parts_to_prepare(cohort, settings, stacks)
    execute([StackJob(part) for part in parts], "Parts of the slices", progress)
    stack = build_stack(cohort, settings, stacks, progress=progress, parts=[part.folder for part in parts])
    remove_parts(parts)
    return stack


SHARED_OPTIONS = (
    *("constraints", "settings", "metrics", "absent", "unit", "marks"),
    *("initial_seed", "training_seed", "scored", "diagnostics"),
)
"""Options that are fields of the design too."""


def _check_scored(options: BenchmarkOptions, design: Design) -> None:
    if options.scored == "best" and not len(design.rows[Role.VALIDATION]):
        advice = "Name validation volumes in the split, or score the ensemble."
        raise BadInput("There is no validation volume to find the best model on.", where="scored", advice=advice)


def _rows_by_role(cohort: Cohort, stack: SliceStack, progress: Progress) -> dict[Role, np.ndarray]:
    """Rows of the stack by role; of the test volumes only those that can be scored."""
    volumes = {role: [v.id for v in cohort.volumes if v.role == role] for role in Role}
    volumes[Role.TEST] = _scorable(volumes[Role.TEST], stack, progress)
    return {role: stack.rows_of(found) for role, found in volumes.items()}


def _initial_sets(options: BenchmarkOptions, cohort: Cohort, count: int) -> dict[int, tuple[SliceId, ...]] | None:
    if not isinstance(options.initial_sets, Path):
        return None if options.initial_sets is None else dict(options.initial_sets)
    pool = {volume.id: volume.slice_count for volume in cohort.volumes if volume.role == Role.POOL}
    return read_initial_sets(options.initial_sets, options.seeds, pool, count)


def _situation(options: BenchmarkOptions) -> Situation:
    """What the experiment has that strategies may need."""
    settings = options.settings
    able = model_abilities(settings.training)
    return Situation(members=settings.ensemble_members, extents=options.marks, experiment=True, **able)


def with_test_part(cohort: Cohort, progress: Progress) -> Cohort:
    """Hold back whole patients of the pool for testing, where no volume has that role; the same for the same cohort."""
    if any(volume.role == Role.TEST for volume in cohort.volumes):
        return cohort
    pool = [volume for volume in cohort.volumes if volume.mask is not None and volume.role == Role.POOL]
    patients = sorted({volume.patient for volume in pool})
    count = round(len(patients) * TEST_SHARE)
    if count < 1 or len(patients) - count < 1:
        advice = "Give more patients with masks, or a --split file."
        raise BadInput(f"{len(patients)} patient(s) are too few to hold some back for testing.", advice=advice)
    chosen = generator(0, "test part").permutation(len(patients))[:count]
    test = tuple(sorted(patients[position] for position in chosen))
    progress.message(f"No test volumes are given: {count} of {len(patients)} patients are held back for testing.")
    return with_roles(cohort, {Role.TEST: test})


def _check_labels(cohort: Cohort, stack: SliceStack, labels: LabelSet, options: BenchmarkOptions) -> None:
    """Refuse missing labels of the pool, and unknown label values in what the runs will read."""
    kind = AnnotationKind(options.annotation)
    oracle = OracleAnnotator(stack, kind)
    lacking = [v.id for v in cohort.volumes if v.role == Role.POOL and not oracle.can_answer(v.id)]
    if lacking:
        named = ", ".join(lacking[:5]) + (" ..." if len(lacking) > 5 else "")
        raise BadInput(
            f"{len(lacking)} volume(s) of the pool have no usable reference labels: {named}.",
            where=cohort.root,
            advice="Repair the label files named above, or leave these volumes out of the split.",
        )
    validates = options.settings.training.select == "best"
    for volume in cohort.volumes:
        used = AnnotationKind.MASK
        if volume.role == Role.POOL and stack.has_truth(volume.id, kind):
            used = kind
        if volume.role != Role.VALIDATION or validates:
            check_reference(cohort, stack, volume, used, labels)


def _scorable(volumes: list[str], stack: SliceStack, progress: Progress) -> list[str]:
    """The test volumes that have reference masks; a message names the others."""
    known = [volume for volume in volumes if stack.has_truth(volume, AnnotationKind.MASK)]
    if not known:
        advice = "Give the cohort test volumes with masks, or repair the label files."
        raise BadInput("No test volume has usable reference masks.", where="evaluation", advice=advice)
    report_left_out([volume for volume in volumes if volume not in known], progress)
    return known


def demo_options(
    cohort: Cohort, out: Path, device: str, seed: int = 0, training: TrainingSettings | None = None
) -> BenchmarkOptions:
    """Options of the demo's benchmark: small enough for a laptop, large enough to show a learning curve.

    Args:
        cohort: The cohort.
        out: Folder of the results.
        device: "auto" or a PyTorch device.
        seed: Seed of the first of two runs.
        training: Settings of the training, of which only the number of steps is changed. Default: the usual ones.
    """
    settings = LoopSettings()
    settings = replace(
        settings,
        stack=replace(settings.stack, spacing=2.25, size=(64, 64)),
        training=(training or settings.training).with_steps(150),
    )
    return BenchmarkOptions(
        cohort=cohort,
        name="phantom",
        strategies=(DEFAULT_STRATEGY, "random"),
        rounds="6,12,18",
        seeds=(seed, seed + 1),
        out=out,
        initial="",
        metrics=("dice",),
        settings=settings,
        workers=Workers(min(2, os.cpu_count() or 1)),
        device=device,
        command="activesegmentation demo",
    )


def run_demo(
    out: Path,
    *,
    device: str = "auto",
    seed: int = 0,
    training: TrainingSettings | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Write the phantom cohort, read it, compare two strategies on it, and write the report.

    Args:
        out: Folder of the cohort and the results.
        device: "auto" or a PyTorch device.
        seed: Seed of the cohort and of the first of two runs.
        training: Settings of the training, with another number of steps. Default: the usual ones.
        progress: Progress reporter. Default: reports nothing.
    """
    from ActiveSegmentationLib.cohort import discover, write_phantom

    folder = out / "phantom"
    write_phantom(folder, seed=seed, progress=progress)
    cohort = discover(folder, progress=progress)
    return run_benchmark(demo_options(cohort, out / "benchmark", device, seed, training), progress)
