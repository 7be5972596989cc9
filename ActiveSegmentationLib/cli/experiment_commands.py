"""Commands that compare strategies: benchmark, demo."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from pathlib import Path

from ActiveSegmentationLib.cli import options as shared
from ActiveSegmentationLib.cli.next_steps import command
from ActiveSegmentationLib.cohort import Cohort, Role
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.progress import TqdmProgress
from ActiveSegmentationLib.experiment import BenchmarkOptions, Outcome, check_request, run_benchmark, run_demo

Commands = argparse._SubParsersAction

DEMO_TIME = "about 3 minutes on 2 processor cores"


def add_commands(commands: Commands) -> None:
    """Add the commands of this file to the parser."""
    text = "compare strategies by simulated annotation of a cohort with reference labels"
    parser = commands.add_parser("benchmark", help=text, description=text[0].upper() + text[1:] + ".")
    add_benchmark_options(parser)
    shared.add_json(parser)
    parser.set_defaults(run=_benchmark)

    text = f"run the whole loop on a generated cohort and write a report ({DEMO_TIME})"
    parser = commands.add_parser("demo", help=text, description=text[0].upper() + text[1:] + ".")
    parser.add_argument("--out", type=Path, default=Path("demo-output"), metavar="DIR")
    shared.add_device(parser)
    shared.add_json(parser)
    parser.set_defaults(run=_demo)


def add_benchmark_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``benchmark``; other front ends of the same experiment use them too."""
    parser.add_argument("--cohort", type=Path, required=True, metavar="C", help="folder, table or file of the cohort")
    parser.add_argument("--strategies", required=True, metavar="A,B", help="names, separated by commas")
    parser.add_argument("--rounds", required=True, metavar="2%,3%", help="cumulative budgets, in percent or slices")
    parser.add_argument("--seeds", default="0", metavar="0,1", help="seeds, separated by commas")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    text = "strategy of the first round, the same slices for all strategies of a seed; 'own' lets each choose"
    parser.add_argument("--initial", default="random", metavar="S", help=text)
    text = "seed of the first round's slices in every run; default: the seed of the run"
    parser.add_argument("--initial-seed", type=shared.natural, metavar="K", help=text)
    text = "seed of every training of a model; default: the seed of the run"
    parser.add_argument("--training-seed", type=shared.natural, metavar="K", help=text)
    text = "CSV table with the columns seed, volume and slice (counted from 1): the first round's slices of each seed"
    parser.add_argument("--initial-sets", type=Path, metavar="FILE", help=text)
    parser.add_argument("--metrics", default="dice,hd95", metavar="A,B", help="dice, dice2d, hd95, msd")
    shared.add_absent(parser)
    parser.add_argument(
        "--labels", metavar="1=NAME,2=NAME", help="label values and names; default: those of the cohort"
    )
    parser.add_argument("--workers", type=shared.positive, default=1, metavar="N", help="runs at a time")
    shared.annotation_kind(parser, required=False)
    shared.add_cohort(parser)
    shared.add_split(parser)
    shared.add_unit(parser)
    text = "first and last slice with structures are marked in every volume, as two clicks of a person would"
    parser.add_argument("--marks", action="store_true", help=text)
    shared.add_constraints(parser)
    shared.add_settings(parser)
    shared.add_device(parser)


def benchmark_options(options: argparse.Namespace, progress: TqdmProgress) -> BenchmarkOptions:
    """What the parsed options ask for.

    Raises:
        BadInput: If the cohort or an option cannot be used.
    """
    strategies, metrics = shared.words_of(options.strategies, "strategies"), shared.words_of(options.metrics, "metrics")
    initial = "" if options.initial == "own" else options.initial
    if options.initial_sets is not None and options.initial_seed is not None:
        advice = "Leave one of them out."
        raise BadInput("--initial-sets says which slices, --initial-seed draws them.", where="seeds", advice=advice)
    check_request(strategies, initial, metrics, options.rounds)
    return BenchmarkOptions(
        seeds=tuple(_seed(word) for word in shared.words_of(options.seeds, "seeds")),
        cohort=_scorable(shared.read_cohort(options, options.cohort, progress), options.split, progress),
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
        settings=shared.settings_of(options),
        workers=options.workers,
        device=options.device,
        command=" ".join(["activesegmentation", *sys.argv[1:]]),
    )


def _scorable(cohort: Cohort, split: Path | None, progress: TqdmProgress) -> Cohort:
    """Leave out a layout's own test part where none of it has masks, so that patients of the pool are held back."""
    own = [volume for volume in cohort.volumes if volume.role == Role.TEST]
    if split is not None or not own or any(volume.mask is not None for volume in own):
        return cohort
    progress.message(f"The {len(own)} test volumes of the layout have no masks and are left out.")
    return cohort.with_volumes(tuple(volume for volume in cohort.volumes if volume.role != Role.TEST))


def _seed(word: str) -> int:
    if not word.isdecimal():
        raise BadInput(f"'{word}' is not a whole number.", where="seeds", advice="Write for example 0,1,2.")
    return int(word)


def _benchmark(options: argparse.Namespace) -> str:
    with closing(shared.progress_of(options)) as progress:
        outcome = run_benchmark(benchmark_options(options, progress), progress)
    _tell(outcome, options)
    return f"open {outcome.report} in a browser; more --seeds or --strategies join what is finished."


def _demo(options: argparse.Namespace) -> str:
    with closing(shared.progress_of(options)) as progress:
        outcome = run_demo(options.out, device=options.device, progress=progress)
    _tell(outcome, options)
    return f"open {outcome.report} in a browser; {command('index', 'FOLDER')} shows what your own images hold."


def _tell(outcome: Outcome, options: argparse.Namespace) -> None:
    if options.json:
        shared.print_json(outcome.to_json())
    else:
        print(outcome.table)
        print(f"Report: {outcome.report}")
