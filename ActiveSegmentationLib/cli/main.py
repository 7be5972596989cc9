"""The command line: ``python -m ActiveSegmentationLib`` or ``activesegmentation``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from ActiveSegmentationLib import __version__
from ActiveSegmentationLib.cli import experiment_commands, general_commands, study_commands
from ActiveSegmentationLib.common.errors import ActiveSegmentationError
from ActiveSegmentationLib.common.files import explain_os_error

DESCRIPTION = "Which slice should the expert annotate next? Slice-based active learning for 3D segmentation."
EPILOG = "Exit code 0: done; 1: the work failed; 2: the input cannot be used. Progress and messages go to stderr."


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
    options = build_parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe (head, less) has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("cancelled: what was finished is kept; the same command goes on from there.", file=sys.stderr)
        return 130
    except (ActiveSegmentationError, OSError, MemoryError) as error:
        if options.debug:
            raise
        return _report(error)
    return 0


def _report(error: Exception) -> int:
    if isinstance(error, MemoryError):
        print("failed: Out of memory. Use a smaller --size, or close other programs.", file=sys.stderr)
        return 1
    if isinstance(error, OSError):
        error = explain_os_error(error, error.filename)
    assert isinstance(error, ActiveSegmentationError)
    print(f"{error.kind}: {error}", file=sys.stderr)
    return error.exit_code
