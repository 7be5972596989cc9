"""The command line: ``python -m ActiveSegmentationLib`` or ``activesegmentation``."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from ActiveSegmentationLib import __version__
from ActiveSegmentationLib.cli import experiment_commands, general_commands, study_commands
from ActiveSegmentationLib.common.errors import ActiveSegmentationError, JobFailed
from ActiveSegmentationLib.common.files import explain_os_error
from ActiveSegmentationLib.common.memory import is_out_of_memory

DESCRIPTION = "Which slice should the expert annotate next? Slice-based active learning for 3D segmentation."
EPILOG = (
    "Exit code 0: done; 1: the work failed; 2: the input cannot be used; 130: interrupted (Ctrl-C), what was finished "
    "is kept. Progress, messages and what to do next go to stderr."
)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(prog="activesegmentation", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the Python traceback of an error")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (general_commands, study_commands, experiment_commands):
        module.add_commands(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The command's words, ``sys.argv[1:]`` unless given.

    Returns:
        The exit code.
    """
    _accept_any_character()
    options = build_parser().parse_args(arguments)
    try:
        next_step = options.run(options)
        sys.stdout.flush()
        if next_step and not (options.json or options.quiet):
            print(f"Next: {next_step}", file=sys.stderr)
    except BrokenPipeError:  # the reader of a pipe (head, less) has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("cancelled: what was finished is kept; the same command goes on from there.", file=sys.stderr)
        return 130
    except Exception as error:  # a person gets one line, and the traceback with --debug
        if options.debug:
            raise
        return _report(error)
    return 0


def _accept_any_character() -> None:
    """Let names that a console or a redirected stream cannot show appear as codes such as \\u60a3, not as an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # tests put other streams there
            stream.reconfigure(errors="backslashreplace")


def _report(error: Exception) -> int:
    explained = _explained(error)
    if explained is None:
        text = f"{type(error).__name__}: {error}".partition("\n")[0]
        advice = "run again with --debug (before the command) to see the details."
        print(f"Unexpected error: {text}; {advice}", file=sys.stderr)
        return 1
    print(f"{explained.kind}: {explained}", file=sys.stderr)
    return explained.exit_code


def _explained(error: Exception) -> ActiveSegmentationError | None:
    """The error in words for a person, or None where nobody foresaw it."""
    if isinstance(error, ActiveSegmentationError):
        return error
    if isinstance(error, OSError):
        return explain_os_error(error, error.filename)
    if is_out_of_memory(error):
        advice = "Close other programs, try --device cpu, or use a smaller --size or --batch-size in a new study."
        return JobFailed("Out of memory.", advice=advice)
    return None
