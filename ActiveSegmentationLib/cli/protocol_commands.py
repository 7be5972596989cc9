"""Commands that run the papers' experiments, or a person's own: experiment list, show, run."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from ActiveSegmentationLib.cli import options as shared
from ActiveSegmentationLib.cli.command import PROGRAM, SETTINGS, SUMMARIES, Context, Help, Options, command, option, say
from ActiveSegmentationLib.cli.experiment_commands import (
    costs_of,
    scorable,
    show_outcome,
    time_from,
    track,
    track_of,
    workers,
    workers_of,
)
from ActiveSegmentationLib.cli.next_steps import command_line
from ActiveSegmentationLib.common.progress import TqdmProgress

if TYPE_CHECKING:
    from ActiveSegmentationLib.experiment import ExperimentOptions

COMMANDS = {
    "list": "list the protocols: what they compare, and what is missing to run them",
    "show": "show a protocol: every field of every arm, its value and what it means",
    "run": "run a protocol on a cohort, or resume an interrupted run",
}
"""The commands of ``experiment`` with what they do."""


class ExperimentGroup(click.Group):
    """The commands of ``experiment``, in their own order."""

    context_class = Context

    def list_commands(self, context: click.Context) -> list[str]:
        """Names of the commands."""
        return list(COMMANDS)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands with their summaries."""
        assert isinstance(formatter, Help)
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group("experiment", cls=ExperimentGroup, context_settings=SETTINGS)
def experiment() -> None:
    """Hold the commands below."""


experiment.help = SUMMARIES["experiment"][0].upper() + SUMMARIES["experiment"][1:] + "."


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from ActiveSegmentationLib.experiment import protocol_names

    return [name for name in protocol_names() if name.startswith(incomplete)]


name_of_protocol = click.argument("name", metavar="NAME", shell_complete=_complete)


def scale(**default: str) -> Any:
    """The option ``--scale``."""
    text = "how large: tiny (a check), small (a laptop), medium (a day or more), or paper: the file as it is"
    return option("--scale", metavar="S", help=text, **default)


@command("list", COMMANDS["list"])
def list_protocols(options: Options) -> str:
    """List the protocols."""
    from ActiveSegmentationLib.experiment import find_protocol, list_rows, list_text, protocol_names

    rows = list_rows([find_protocol(name) for name in protocol_names()])
    if options.json:
        shared.print_json(rows)
    else:
        say(list_text(rows))
    return (
        f"{command_line('experiment', 'show', 'NAME')} explains one; NAME may also be the path of your own .toml file."
    )


@command("show", COMMANDS["show"])
@name_of_protocol
@scale(default="paper")
def show_protocol(options: Options) -> str:
    """Show a protocol."""
    from ActiveSegmentationLib.experiment import find_protocol, show_json, show_text

    protocol = find_protocol(options.name)
    if options.json:
        shared.print_json(show_json(protocol, options.scale))
    else:
        say(show_text(protocol, options.scale))
    return command_line(
        "experiment", "run", options.name, "--cohort", "C", "--out", "DIR", "--scale", protocol.usual_scale
    )


@command("run", COMMANDS["run"])
@name_of_protocol
@shared.cohort_path
@scale(show_default="small where the file has it, otherwise paper")
@option("--out", type=shared.PATH, required=True, metavar="DIR", help="folder of the results")
@option("--arms", metavar="A,B", show_default="all of the scale", help="arms to run, separated by commas")
@option(
    "--initial-sets",
    type=shared.PATH,
    metavar="FILE",
    help="CSV table with the columns seed, volume and slice (counted from 1): the first round's slices of each seed",
)
@time_from
@shared.label_names
@workers
@track
@shared.cohort_reading
@shared.device
def run_protocol(options: Options) -> str:
    """Run a protocol."""
    from ActiveSegmentationLib.experiment import run_experiment

    with closing(shared.progress_of(options)) as progress:
        outcome = run_experiment(experiment_options(options, progress), progress)
    show_outcome(outcome, options)
    return f"open {outcome.report} in a browser; every arm has a report of its own under {options.out / 'arms'}."


def experiment_options(options: Options, progress: TqdmProgress) -> ExperimentOptions:
    """How the protocol is run.

    Raises:
        BadInput: If the protocol, the cohort or an option cannot be used.
    """
    from ActiveSegmentationLib.experiment import ExperimentOptions, chosen_arms, find_protocol, require_learners

    protocol = find_protocol(options.name)
    arms = () if options.arms is None else shared.words_of(options.arms, "arms")
    out = options.out
    scale = options.scale or protocol.usual_scale
    about = {"protocol": protocol, "scale": scale, "name": options.cohort.resolve().name, "arms": arms}
    empty: Any = None
    # a wrong arm or a missing learner is reported before the cohort is read, which takes minutes on large ones
    require_learners(protocol, chosen_arms(ExperimentOptions(**about, cohort=empty, out=out)))
    tracked = track_of(options)
    cohort = scorable(shared.read_cohort(options, options.cohort, progress), options.split, progress)
    return ExperimentOptions(
        **about,
        cohort=cohort,
        out=out,
        labels=options.labels,
        initial_sets=options.initial_sets,
        costs=costs_of(options),
        workers=workers_of(options),
        track=tracked,
        device=options.device,
        command=" ".join([PROGRAM, *sys.argv[1:]]),
    )


for made in (list_protocols, show_protocol, run_protocol):
    experiment.add_command(made)
