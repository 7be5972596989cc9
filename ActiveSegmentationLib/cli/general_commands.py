"""Commands that work without a study: doctor, index, strategies."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from ActiveSegmentationLib.acquisition import strategies
from ActiveSegmentationLib.cli import options as shared
from ActiveSegmentationLib.cli.next_steps import command
from ActiveSegmentationLib.cohort import (
    Cohort,
    Role,
    describe_axes,
    describe_turns,
    discover,
    grouped_problems,
    plane_name,
    read_split,
    repeated,
    split_text,
    with_roles,
)
from ActiveSegmentationLib.common.errors import BadInput, JobFailed
from ActiveSegmentationLib.common.text import counted
from ActiveSegmentationLib.loop import StudyLoop, describe_device, resolve_device, versions
from ActiveSegmentationLib.study import Study

Commands = argparse._SubParsersAction


def add_commands(commands: Commands) -> None:
    """Add the commands of this file to the parser."""
    text = "show what is installed, which device computes and what is missing"
    parser = commands.add_parser("doctor", help=text, description=text[0].upper() + text[1:] + ".")
    shared.add_device(parser)
    shared.add_json(parser)
    parser.set_defaults(run=_doctor)

    text = "show what a cohort holds and every problem in it; no image pixel is read"
    parser = commands.add_parser("index", help=text, description=text[0].upper() + text[1:] + ".")
    parser.add_argument("cohort", type=Path, metavar="COHORT", help="folder, CSV/TSV table or image file")
    shared.add_cohort(parser)
    shared.add_split(parser)
    shared.add_json(parser)
    parser.set_defaults(run=_index)

    text = "list the ways of choosing slices, and with a study which of them it can use now"
    parser = commands.add_parser("strategies", help=text, description=text[0].upper() + text[1:] + ".")
    parser.add_argument("study", type=Path, nargs="?", metavar="STUDY", help="folder of a study")
    shared.add_json(parser)
    parser.set_defaults(run=_strategies)


def _doctor(options: argparse.Namespace) -> str:
    found = versions()
    missing = sorted(name for name, version in found.items() if version is None)
    device = None if "torch" in missing else describe_device(resolve_device(options.device))
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    answer = {
        "versions": found,
        "missing": missing,
        "device": device,
        "processors": os.cpu_count(),
        "free disk (GB)": round(free, 1),
        "executable": sys.executable,
    }
    if options.json:
        shared.print_json(answer)
    else:
        for name, version in found.items():
            print(f"{name:20} {version or 'MISSING'}")
        print(f"{'device':20} {device or 'unknown without torch'}")
        print(f"{'processors':20} {answer['processors']}")
        print(f"{'free disk here':20} {free:.1f} GB")
    if missing:
        advice = f"Install with: {sys.executable} -m pip install {' '.join(missing)}"
        raise JobFailed(f"Not installed: {', '.join(missing)}.", where="doctor", advice=advice)
    return f"{command('index', 'FOLDER')} shows what your images hold."


def _index(options: argparse.Namespace) -> str:
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
        print(f"{cohort.root}: layout {cohort.layout}, {found}.")
        for line in [*describe_axes(cohort), describe_turns(cohort)]:
            if line is not None:
                print(f"{line}.")
        _print_volumes(cohort, options.split)
    if not cohort.volumes:
        advice = "Repair the files named above, or name the layout with --layout."
        raise BadInput("No volume of the cohort can be used.", where=options.cohort, advice=advice)
    return command("new", "STUDY", "--cohort", options.cohort, *_as_given(options), "--annotation", "mask")


def _as_given(options: argparse.Namespace) -> list[str]:
    """The options that say how the cohort is read, as they were given."""
    names = ("layout", "axis", "pattern", "split")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    return [word for name, value in given.items() for word in (f"--{name}", str(value))]


def _print_volumes(cohort: Cohort, split: Path | None) -> None:
    """A line a volume with its own problems below; problems of many volumes once at the end."""
    single, many = repeated(cohort.problems)
    by_volume: dict[str, list[str]] = {}
    for problem in single:
        text = f"{problem.severity}: {problem.message} {problem.advice}".rstrip()
        by_volume.setdefault(problem.where, []).append(text)
    for volume in cohort.volumes:
        size = " x ".join(str(n) for n in volume.geometry.size)
        spacing = " x ".join(f"{mm:g}" for mm in volume.geometry.spacing)
        labels = ", ".join(kind for kind, known in (("mask", volume.mask), ("scribble", volume.scribble)) if known)
        role = "" if volume.role == Role.POOL else f"  ({volume.role})"
        print(
            f"{volume.patient:15} {volume.id:25} {size:>15} voxels {spacing:>20} mm  {plane_name(volume):8}  "
            f"{volume.slice_count:4} slices  {labels or 'no labels'}{role}"
        )
        for text in by_volume.pop(volume.id, []):
            print(f"{'':15} {text}")
    for where, texts in by_volume.items():
        for text in texts:
            print(f"{where}: {text}")
    for group in many:
        print(group.text())
    if cohort.volumes:
        print(split_text(cohort, split))


def _strategies(options: argparse.Namespace) -> str:
    situation = None if options.study is None else StudyLoop(Study.open(options.study), device="cpu").situation()
    known = strategies(situation)
    next_step = command("suggest", options.study or "STUDY", "--count", "10", "--strategy", "NAME")
    if options.json:
        shared.print_json([info.to_json() for info in known])
        return next_step
    for info in known:
        print(f"{info.name:28} {info.summary}")
        if info.hindrance:
            print(f"{'':28} Not now: {info.hindrance}")
        for name, option in info.options.items():
            print(f"{'':28}   /{name}={option.default}  {option.meaning}")
    return next_step
