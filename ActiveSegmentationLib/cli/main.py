"""The command line: ``python -m ActiveSegmentationLib`` or ``activesegmentation``."""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence
from itertools import takewhile

import click

from ActiveSegmentationLib import __version__
from ActiveSegmentationLib.cli.command import PROGRAM, SETTINGS, SUMMARIES, Context, tell, use_colours
from ActiveSegmentationLib.common.errors import ActiveSegmentationError, JobFailed
from ActiveSegmentationLib.common.files import explain_os_error
from ActiveSegmentationLib.common.memory import is_out_of_memory

DESCRIPTION = "Which slice should the expert annotate next? Slice-based active learning for 3D segmentation."
EPILOG = (
    "Exit code 0: done; 1: failed; 2: the input cannot be used; 130: interrupted (Ctrl-C), finished work "
    "is kept. Progress, messages and advice go to stderr."
)

GENERAL = ("doctor", "index", "strategies")
LEARNERS = ("learners", "settings")
EXPERIMENTS = ("benchmark", "demo")
PROTOCOLS = ("experiment",)
LOOP = ("new", "suggest", "annotate", "train", "predict", "evaluate", "export-model")


class Program(click.Group):
    """All commands; the module of a command is imported when the command is used."""

    context_class = Context

    def list_commands(self, context: click.Context) -> list[str]:
        """Names of the commands, in the order of the help."""
        return list(SUMMARIES)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of this name, None if there is none."""
        if name not in SUMMARIES:
            return None
        module = importlib.import_module(f"ActiveSegmentationLib.cli.{_module_of(name)}")
        return getattr(module, name.replace("-", "_"))

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands with their summaries."""
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))


def _module_of(name: str) -> str:
    groups = {
        "general_commands": GENERAL,
        "learner_commands": LEARNERS,
        "experiment_commands": EXPERIMENTS,
        "protocol_commands": PROTOCOLS,
        "study_commands": LOOP,
    }
    return next((module for module, names in groups.items() if name in names), "record_commands")


@click.group(cls=Program, context_settings=SETTINGS, help=DESCRIPTION, epilog=EPILOG)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="show the Python traceback of an error")
def program(debug: bool) -> None:
    """Take the options before the command; ``main`` looks for ``--debug`` itself."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The command's words; default: ``sys.argv[1:]``.

    Returns:
        The exit code.
    """
    _accept_any_character()
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        return program.main(words, PROGRAM, standalone_mode=False, color=use_colours()) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:  # the reader of a pipe (head, less) has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except click.Abort:  # click's name for Ctrl-C
        print("cancelled: finished work is kept; run the same command to continue.", file=sys.stderr)
        return 130
    except Exception as error:  # show one line, and the traceback with --debug only
        if "--debug" in takewhile(lambda word: word.startswith("-"), words):
            raise
        return _report(error)


def _accept_any_character() -> None:
    """Show characters that a console or a redirected stream lacks as codes such as \\u60a3, without an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # tests replace the streams
            stream.reconfigure(errors="backslashreplace")


def _report(error: Exception) -> int:
    explained = _explained(error)
    if explained is None:
        text = f"{type(error).__name__}: {error}".partition("\n")[0]
        tell("Unexpected error", f"{text}; run again with --debug (before the command) to see the details.", "red")
        return 1
    tell(explained.kind, str(explained), "red")
    return explained.exit_code


def _explained(error: Exception) -> ActiveSegmentationError | None:
    """The error with a message for people, or None if it is an unexpected one."""
    if isinstance(error, ActiveSegmentationError):
        return error
    if isinstance(error, OSError):
        return explain_os_error(error, error.filename)
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        advice = f"The command '{PROGRAM} doctor' says what is missing and how to install it."
        return JobFailed(f"The Python package '{package}' is not installed.", advice=advice)
    if is_out_of_memory(error):
        advice = "Close other programs, try --device cpu, or use a smaller --size or --batch-size in a new study."
        return JobFailed("Out of memory.", advice=advice)
    return None
