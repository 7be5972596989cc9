"""Commands that work without a study: doctor, index, strategies."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ActiveSegmentationLib.cli import options as shared
from ActiveSegmentationLib.cli.command import Options, command, say
from ActiveSegmentationLib.cli.installation import report_of, report_text
from ActiveSegmentationLib.cli.next_steps import command_line
from ActiveSegmentationLib.common.errors import BadInput, JobFailed
from ActiveSegmentationLib.common.text import counted, on_one_line

if TYPE_CHECKING:
    from ActiveSegmentationLib.acquisition import Situation
    from ActiveSegmentationLib.cohort import Cohort


@command("doctor")
@shared.device
def doctor(options: Options) -> str:
    """Show what is installed and what is missing."""
    report = report_of(options.device)
    if options.json:
        shared.print_json(report)
    else:
        say(report_text(report))
    if report["missing"]:
        names = " ".join(report["missing"])
        advice = f"Install with: {report['executable']} -m pip install {names}"
        if "torch" in report["missing"]:
            advice += " (pytorch.org says how to get the smaller build for Linux without CUDA)"
        raise JobFailed(f"Not installed: {', '.join(report['missing'])}.", where="doctor", advice=advice)
    return f"{command_line('index', 'FOLDER')} shows your images."


@command("index")
@click.argument("cohort", type=shared.PATH, metavar="COHORT", help="folder, CSV/TSV table or image file")
@shared.cohort_reading
def index(options: Options) -> str:
    """Show the volumes, labels and problems of a cohort."""
    from ActiveSegmentationLib.cohort import (
        describe_axes,
        describe_turns,
        discover,
        grouped_problems,
        read_split,
        with_roles,
    )

    with closing(shared.progress_of(options)) as progress:
        cohort = discover(
            options.cohort, layout=options.layout, axis=options.axis, pattern=options.pattern, progress=progress
        )
    if options.split is not None:
        cohort = with_roles(cohort, read_split(options.split))
    patients = {volume.patient for volume in cohort.volumes}
    slices = sum(volume.slice_count for volume in cohort.volumes)
    if options.json:
        summary = {"root": str(cohort.root), "patients": len(patients), "slices": slices}
        axes = [asdict(found) | {"text": str(found)} for found in describe_axes(cohort)]
        axes_found = {"axes": axes, "turned": describe_turns(cohort)}
        groups = {"problem_groups": [group.to_json() for group in grouped_problems(cohort.problems)]}
        roles = {"roles": {str(role): count for role, count in shared.roles_of(cohort).items()}}
        shared.print_json(summary | roles | axes_found | cohort.to_json() | groups)
    else:
        counts = ((len(patients), "patient"), (len(cohort.volumes), "volume"), (slices, "slice"))
        found = ", ".join(counted(*count) for count in (*counts, (len(cohort.problems), "problem")))
        say(f"{cohort.root}: layout {cohort.layout}, {found}.")
        for line in [*describe_axes(cohort), describe_turns(cohort)]:
            if line is not None:
                say(f"{line}.")
        _print_volumes(cohort, options.split)
    if not cohort.volumes:
        advice = "Repair the files named above, or name the layout with --layout."
        raise BadInput("No volume of the cohort can be used.", where=options.cohort, advice=advice)
    return command_line("new", "STUDY", "--cohort", options.cohort, *_as_given(options), "--annotation", "mask")


def _as_given(options: Options) -> list[str]:
    """The options about reading the cohort, as they were given."""
    names = ("layout", "axis", "pattern", "split")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    return [word for name, value in given.items() for word in (f"--{name}", str(value))]


def _print_volumes(cohort: Cohort, split: Path | None) -> None:
    """Print a line per volume with its own problems below; problems of many volumes come once, at the end."""
    from ActiveSegmentationLib.cohort import Role, plane_name, repeated, split_text

    single, many = repeated(cohort.problems)
    by_volume: dict[str, list[str]] = {}
    for problem in single:
        text = on_one_line(f"{problem.severity}: {problem.message} {problem.advice}".rstrip())
        by_volume.setdefault(problem.where, []).append(text)
    for volume in cohort.volumes:
        size = " x ".join(str(n) for n in volume.geometry.size)
        spacing = " x ".join(f"{mm:g}" for mm in volume.geometry.spacing)
        labels = ", ".join(kind for kind, known in (("mask", volume.mask), ("scribble", volume.scribble)) if known)
        role = "" if volume.role == Role.POOL else f"  ({volume.role})"
        patient = on_one_line(volume.patient)
        say(
            f"{patient:15} {volume.id:25} {size:>15} voxels {spacing:>20} mm  {plane_name(volume):8}  "
            f"{volume.slice_count:4} slices  {labels or 'no labels'}{role}"
        )
        for text in by_volume.pop(volume.id, []):
            say(f"{'':15} {text}")
    for where, texts in by_volume.items():
        for text in texts:
            say(f"{on_one_line(where)}: {text}")
    for group in many:
        say(on_one_line(group.text()))
    if cohort.volumes:
        say(split_text(cohort, split))


@command("strategies")
@click.argument("study", type=shared.PATH, required=False, metavar="[STUDY]", help="folder of a study")
def strategies(options: Options) -> str:
    """List the strategies."""
    from ActiveSegmentationLib.acquisition import strategies as listed

    known = listed(None if options.study is None else _situation(options.study))
    next_step = command_line("suggest", options.study or "STUDY", "--count", "10", "--strategy", "NAME")
    if options.json:
        shared.print_json([info.to_json() for info in known])
        return next_step
    for info in known:
        say(f"{info.name:28} {info.summary}")
        if info.unavailable_reason:
            say(f"{'':28} Not now: {info.unavailable_reason}")
        for name, option in info.options.items():
            say(f"{'':28}   /{name}={option.default_text}  {option.meaning}")
    return next_step


def _situation(folder: Path) -> Situation:
    from ActiveSegmentationLib.loop import study_situation
    from ActiveSegmentationLib.study import Study

    return study_situation(Study.open(folder))
