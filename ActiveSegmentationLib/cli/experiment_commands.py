"""Commands that compare strategies: benchmark, demo."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ActiveSegmentationLib.cli import options as shared
from ActiveSegmentationLib.cli import settings_options
from ActiveSegmentationLib.cli.command import PROGRAM, Options, command, option, say, together
from ActiveSegmentationLib.cli.next_steps import command_line
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.progress import TqdmProgress

if TYPE_CHECKING:
    from ActiveSegmentationLib.cohort import Cohort
    from ActiveSegmentationLib.evaluation import CostModel
    from ActiveSegmentationLib.experiment import BenchmarkOptions, Outcome, Workers


time_from = option(
    "--time-from",
    type=shared.PATH,
    metavar="STUDY",
    help="study whose annotations say how many seconds a slice takes, for tables and figures over time",
)


workers = together(
    option("--workers", type=shared.POSITIVE, default=1, metavar="N", help="runs at a time"),
    option(
        "--scheduler",
        metavar="tcp://HOST:PORT",
        help="compute on the workers of this Dask scheduler, as many as it has",
    ),
    option(
        "--cluster",
        metavar="QUEUE",
        help="compute on --workers workers that this job queue starts: slurm, pbs, sge, lsf, htcondor, moab or oar",
    ),
)


track = option(
    "--track",
    type=click.Choice(("tensorboard", "mlflow")),
    help="also show finished rounds in TensorBoard (files in --out) or MLflow (server in MLFLOW_TRACKING_URI)",
)


def track_of(options: Options) -> str:
    """Where finished rounds are shown; "" for nowhere.

    Raises:
        BadInput: If a package is missing, before the cohort is read.
    """
    from ActiveSegmentationLib.experiment import require_tracker

    require_tracker(options.track or "")
    return options.track or ""


def workers_of(options: Options) -> Workers:
    """Who computes.

    Raises:
        BadInput: If the options do not go together.
    """
    from ActiveSegmentationLib.experiment import Workers

    return Workers(options.workers, options.scheduler or "", options.cluster or "")


@command("benchmark")
@shared.cohort_path
@option("--strategies", required=True, metavar="A,B", help="names, separated by commas")
@option("--rounds", required=True, metavar="2%,3%", help="cumulative budgets, in percent or slices")
@option("--seeds", default="0", metavar="0,1", help="seeds, separated by commas")
@option("--out", type=shared.PATH, required=True, metavar="DIR", help="folder of the results")
@option(
    "--initial",
    default="random",
    metavar="S",
    help="strategy of the first round, whose slices all strategies of a seed share; 'own' lets each strategy choose",
)
@option(
    "--initial-seed",
    type=shared.NATURAL,
    metavar="K",
    show_default="the seed of the run",
    help="seed of the first round's slices in every run",
)
@option(
    "--training-seed",
    type=shared.NATURAL,
    metavar="K",
    show_default="the seed of the run",
    help="seed of every training of a model",
)
@option(
    "--initial-sets",
    type=shared.PATH,
    metavar="FILE",
    help="CSV table with the columns seed, volume and slice (counted from 1): the first round's slices of each seed",
)
@option(
    "--upper-bound", is_flag=True, help="train a model on the whole pool for every seed too, and show the gap to it"
)
@option(
    "--scored",
    type=click.Choice(("ensemble", "best")),
    default="ensemble",
    help="score the mean of the --models of a round, or the best of them on the validation volumes",
)
@option(
    "--diagnostics",
    is_flag=True,
    help="measure in every round how unsure the model is of the requested slices and how well that predicts its errors",
)
@time_from
@option("--metrics", default="dice,hd95", metavar="A,B", help="dice, dice2d, hd95, msd")
@shared.absent
@shared.label_names
@workers
@track
@shared.annotation_kind(default="mask")
@shared.cohort_reading
@shared.unit
@option(
    "--marks",
    is_flag=True,
    help="let strategies know the first and the last slice with structures of every volume, as from two clicks",
)
@shared.limits
@settings_options.settings
@shared.device
def benchmark(options: Options) -> str:
    """Compare strategies by simulated annotation."""
    from ActiveSegmentationLib.experiment import run_benchmark

    with closing(shared.progress_of(options)) as progress:
        outcome = run_benchmark(benchmark_options(options, progress), progress)
    show_outcome(outcome, options)
    return f"open {outcome.report} in a browser; more --seeds or --strategies are added to the finished runs."


@command("demo")
@option("--out", type=shared.PATH, default="demo-output", metavar="DIR", help="folder of the cohort and the results")
@option("--seed", type=shared.NATURAL, default=0, metavar="K", help="seed of the cohort and of the first of two runs")
@settings_options.learner()
@shared.device
def demo(options: Options) -> str:
    """Run the whole loop on a generated cohort."""
    from ActiveSegmentationLib.experiment import run_demo

    training = settings_options.learner_of(options)
    with closing(shared.progress_of(options)) as progress:
        outcome = run_demo(options.out, device=options.device, seed=options.seed, training=training, progress=progress)
    show_outcome(outcome, options)
    return f"open {outcome.report} in a browser; {command_line('index', 'FOLDER')} shows your own images."


def benchmark_options(options: Options, progress: TqdmProgress) -> BenchmarkOptions:
    """The benchmark that the options describe.

    Raises:
        BadInput: If the cohort or an option cannot be used.
    """
    from ActiveSegmentationLib.experiment import BenchmarkOptions, check_request

    strategies, metrics = shared.words_of(options.strategies, "strategies"), shared.words_of(options.metrics, "metrics")
    initial = "" if options.initial == "own" else options.initial
    if options.initial_sets is not None and options.initial_seed is not None:
        advice = "Leave one of them out."
        raise BadInput(
            "--initial-sets lists the first slices, --initial-seed draws them.", where="seeds", advice=advice
        )
    check_request(strategies, initial, metrics, options.rounds)
    settings, tracked = settings_options.settings_of(options), track_of(options)
    return BenchmarkOptions(
        seeds=tuple(_seed(word) for word in shared.words_of(options.seeds, "seeds")),
        cohort=scorable(shared.read_cohort(options, options.cohort, progress), options.split, progress),
        name=options.cohort.resolve().name,
        strategies=strategies,
        rounds=options.rounds,
        out=options.out,
        initial=initial,
        metrics=metrics,
        absent=options.absent,
        labels=options.labels,
        annotation=options.annotation,
        constraints=shared.constraints_of(options),
        unit=options.unit,
        marks=options.marks,
        initial_seed=options.initial_seed,
        training_seed=options.training_seed,
        initial_sets=options.initial_sets,
        scored=options.scored,
        diagnostics=options.diagnostics,
        upper_bound=options.upper_bound,
        costs=costs_of(options),
        settings=settings,
        workers=workers_of(options),
        track=tracked,
        device=options.device,
        command=" ".join([PROGRAM, *sys.argv[1:]]),
    )


def costs_of(options: Options) -> CostModel:
    """What annotating a slice costs, measured in the study of ``--time-from`` if it is given.

    Raises:
        BadInput: If the folder is not a study, or no annotation of it has a time.
    """
    from ActiveSegmentationLib.evaluation import CostModel
    from ActiveSegmentationLib.experiment import measured_costs

    return CostModel() if options.time_from is None else measured_costs(options.time_from)


def scorable(cohort: Cohort, split: Path | None, progress: TqdmProgress) -> Cohort:
    """The cohort without its layout's own test part if none of that has masks; test patients are then held back."""
    from ActiveSegmentationLib.cohort import Role

    own = [volume for volume in cohort.volumes if volume.role == Role.TEST]
    if split is not None or not own or any(volume.mask is not None for volume in own):
        return cohort
    progress.message(f"The {len(own)} test volumes of the layout have no masks and are left out.")
    return cohort.with_volumes(tuple(volume for volume in cohort.volumes if volume.role != Role.TEST))


def _seed(word: str) -> int:
    if not word.isdecimal():
        raise BadInput(f"'{word}' is not a whole number.", where="seeds", advice="Write for example 0,1,2.")
    return int(word)


def show_outcome(outcome: Outcome, options: Options) -> None:
    """Print the table of a finished benchmark, or its result as JSON."""
    if options.json:
        shared.print_json(outcome.to_json())
    else:
        say(outcome.table)
        say(f"Report: {outcome.report}")
