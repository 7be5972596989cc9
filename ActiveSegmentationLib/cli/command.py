"""The base of all commands: options as one value, help in sections, values from a file, advice on what to do next."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, NoReturn

import click

from ActiveSegmentationLib.cli.config_file import config_option
from ActiveSegmentationLib.common.text import printable

PROGRAM = "activesegmentation"
SETTINGS = {"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 120}

SUMMARIES = {
    "doctor": "show what is installed, which device computes and what is missing",
    "index": "show what a cohort holds and every problem in it; no image pixel is read",
    "strategies": "list the strategies, and with a study which of them it can use now",
    "learners": "list the learners, what their models cannot do, and which package is missing",
    "new": "make a study of a cohort",
    "suggest": "choose the slices to annotate next",
    "annotate": "import annotations from label maps or from reference labels",
    "train": "train on everything annotated so far",
    "predict": "write one label map per volume, in the volume's geometry",
    "evaluate": "score the latest model against the cohort's reference masks",
    "export": "export the annotations to formats of other tools",
    "export-model": "export the latest model: as a MONAI bundle, TorchScript, our own files, or nnU-Net's folder",
    "status": "show what is annotated, open, skipped and trained",
    "settings": "show how a study trains its models, or change it from now on",
    "skip": "record that a slice cannot be judged; it is not requested again",
    "mark": "record between which slices of a volume the structures lie",
    "exclude": "exclude volumes from everything, or include them again",
    "relocate": "tell a study where its images are now",
    "audit": "check that the record of all commits is complete and unchanged",
    "repair": "say how damaged files of a study can be repaired, or repair them; copies are kept",
    "clear-cache": "delete what can be computed again (prepared slices, learned metric) from the disk",
    "benchmark": "compare strategies by simulated annotation of a cohort with reference labels",
    "experiment": "run experiments of the papers, or your own, from protocol files: list, show, run",
    "demo": "run the whole loop on a generated cohort and write a report (about 3 minutes on 2 processor cores)",
}
"""Every command with what it does, in the order of the help."""

Options = SimpleNamespace
"""The values of a command's options, by name."""


class Help(click.HelpFormatter):
    """Help with bold headings and coloured names if the terminal supports them."""

    def write_heading(self, heading: str) -> None:
        """Write the heading of a section."""
        super().write_heading(click.style(heading, bold=True))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write names and what they mean in two columns."""
        super().write_dl([(click.style(name, fg="cyan"), text) for name, text in rows], col_max, col_spacing)


class Context(click.Context):
    """Context of one call, with our help."""

    formatter_class = Help


class Option(click.Option):
    """An option that may belong to a section of the help.

    Args:
        section: Heading of the section.
    """

    def __init__(self, *arguments: Any, section: str = "Options", **settings: Any) -> None:
        self.section = section
        super().__init__(*arguments, **settings)


class Command(click.Command):
    """A command whose function takes the options as one value and returns what to do next."""

    context_class = Context

    def invoke(self, context: click.Context) -> None:
        """Run the command; the advice goes to stderr."""
        options = Options(**context.params)
        assert self.callback is not None
        next_step = self.callback(options)
        sys.stdout.flush()
        if next_step and not (options.json or options.quiet):
            tell("Next", next_step, "green")

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help of the options, section by section."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(context):
            record = parameter.get_help_record(context)
            if record is not None and isinstance(parameter, click.Option):
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(record)
        for heading, rows in sorted(sections.items(), key=lambda item: item[0] != "Options"):
            with formatter.section(heading):
                formatter.write_dl(rows)


def command(name: str, summary: str = "") -> Callable[[Callable[[Options], str]], Command]:
    """Make a command of a function that takes its options and returns advice on the next step ("" for none).

    Every command has ``--json``, ``--quiet`` and ``--config``.

    Args:
        name: One of ``SUMMARIES``.
        summary: What it does. Default: that of ``SUMMARIES``.
    """
    summary = summary or SUMMARIES[name]
    common = (
        option("--json", is_flag=True, help="print JSON to stdout; slices count from 0 in JSON, otherwise from 1"),
        option("--quiet", is_flag=True, help="no progress bars and no advice; warnings and errors are still shown"),
        config_option,
    )

    def decorate(function: Callable[[Options], str]) -> Command:
        decorated: Any = together(*common)(function)
        made = click.command(name, cls=Command, context_settings=SETTINGS)(decorated)
        made.help = summary[0].upper() + summary[1:] + "."
        made.params = made.params[len(common) :] + made.params[: len(common)]  # ours last in the help
        return made

    return decorate


def option(*names: str, **settings: Any) -> Callable[[Any], Any]:
    """``click.option``, with ``section`` for the heading in the help."""
    return click.option(*names, cls=Option, **settings)


def together(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options as one decorator, in the order of the help."""

    def decorate(function: Any) -> Any:
        for one in reversed(decorators):
            function = one(function)
        return function

    return decorate


def use_colours() -> bool | None:
    """False if NO_COLOR is set (https://no-color.org); None lets the stream decide."""
    return False if os.environ.get("NO_COLOR") else None


def say(text: str) -> None:
    """Print text to standard output; control characters of names in it are shown as codes."""
    print(printable(text))


def tell(kind: str, text: str, colour: str) -> None:
    """Show "kind: text" on standard error, with the kind in colour."""
    click.echo(f"{click.style(f'{kind}:', fg=colour, bold=True)} {printable(text)}", err=True, color=use_colours())


def usage_error(text: str) -> NoReturn:
    """Reject options that cannot be combined, with exit code 2."""
    raise click.UsageError(text, ctx=click.get_current_context())
