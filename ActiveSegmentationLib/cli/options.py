"""Options that several commands share, and what they mean."""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from ActiveSegmentationLib.acquisition import UNITS, Constraints
from ActiveSegmentationLib.cohort import (
    AXIS_CHOICES,
    LAYOUTS,
    STACK_PRESETS,
    AnnotationKind,
    Cohort,
    Role,
    StackSettings,
    discover,
    grouped_problems,
    read_split,
    split_text,
    with_roles,
)
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.progress import TqdmProgress
from ActiveSegmentationLib.embedding import EMBEDDING_PRESETS
from ActiveSegmentationLib.evaluation import AbsentRule
from ActiveSegmentationLib.loop import LoopSettings
from ActiveSegmentationLib.segmentation import TRAINING_PRESETS


def positive(text: str) -> int:
    """A whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def natural(text: str) -> int:
    """A whole number of at least 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def plane_size(text: str) -> tuple[int, int]:
    """Rows and columns written as ROWSxCOLUMNS."""
    match = re.fullmatch(r"(\d+)[xX](\d+)", text)
    if not match or min(int(part) for part in match.groups()) < 16:
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form ROWSxCOLUMNS with at least 16 of each")
    return int(match[1]), int(match[2])


def slice_axis(text: str) -> int | str:
    """An image axis as a number, or the name of a plane."""
    return int(text) if text.isdigit() else text.lower()


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json`` and ``--quiet``."""
    text = "answer in JSON on stdout; slices count from 0 in it, and from 1 everywhere else"
    parser.add_argument("--json", action="store_true", help=text)
    text = "neither progress bars nor a word on what to do next; warnings and errors are still told"
    parser.add_argument("--quiet", action="store_true", help=text)


def progress_of(options: argparse.Namespace) -> TqdmProgress:
    """Progress on stderr, as the options want it."""
    return TqdmProgress(bars=not options.quiet)


def add_absent(parser: argparse.ArgumentParser) -> None:
    """Add ``--absent``."""
    text = (
        "Dice of a class that neither reference nor prediction has, in a volume or for dice2d in a slice: left out of "
        "the mean (nan), 1 (as Gaillochet 2023 count) or 0 (as the program of Vepa 2024 does)"
    )
    parser.add_argument("--absent", choices=get_args(AbsentRule), default="nan", help=text)


def words_of(text: str, where: str) -> tuple[str, ...]:
    """Words separated by commas.

    Raises:
        BadInput: If there is none, or one comes twice.
    """
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    if not words or len(set(words)) < len(words):
        advice = "Give each once, separated by commas."
        raise BadInput(f"'{text}' is empty or names something twice.", where=where, advice=advice)
    return words


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda, cuda:1 ...")


def add_cohort(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how a cohort is read."""
    parser.add_argument("--layout", choices=sorted(LAYOUTS), help="layout of the cohort; default: detected")
    text = "slice axis: axial, coronal, sagittal, 0 to 2 (0 = first image axis), or own: each volume's own acquisition"
    parser.add_argument("--axis", type=slice_axis, choices=AXIS_CHOICES, help=text)
    parser.add_argument("--pattern", help="regular expression over file names with the group (?P<patient>...)")


def add_split(parser: argparse.ArgumentParser) -> None:
    """Add ``--split``."""
    text = "JSON file with the lists train, val and test of patients or volumes"
    parser.add_argument("--split", type=Path, metavar="FILE", help=text)


def add_constraints(parser: argparse.ArgumentParser) -> None:
    """Add the limits on a choice."""
    group = parser.add_argument_group("limits on the choice")
    group.add_argument("--max-per-volume", type=positive, metavar="M", help="most slices of one volume in a round")
    group.add_argument("--max-per-patient", type=positive, metavar="M", help="most slices of one patient in a round")
    group.add_argument(
        "--min-gap", type=natural, default=0, metavar="G", help="least distance between slices of a volume"
    )
    group.add_argument("--include-blank", action="store_true", help="allow slices without image content")


def add_unit(parser: argparse.ArgumentParser) -> None:
    """Add ``--unit``."""
    text = "ask for single slices, or for whole volumes by the mean over their slices"
    parser.add_argument("--unit", choices=UNITS, default=UNITS[0], help=text)


def constraints_of(options: argparse.Namespace) -> Constraints:
    """The limits that the options ask for."""
    return Constraints(options.max_per_volume, options.max_per_patient, options.min_gap, options.include_blank)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the settings of preparation, learned metric and training."""
    group = parser.add_argument_group("settings")
    group.add_argument("--preset", choices=sorted(STACK_PRESETS), default="auto", help="how slices are prepared")
    group.add_argument("--spacing", type=float, metavar="MM", help="in-plane pixel size; 0 keeps the images' own")
    group.add_argument("--size", type=plane_size, metavar="ROWSxCOLUMNS", help="size of a prepared slice")
    text = "use only the centre of planes that are larger than a prepared slice, rather than whole planes"
    group.add_argument("--crop", action=argparse.BooleanOptionalAction, help=text)
    group.add_argument(
        "--metric", choices=sorted(EMBEDDING_PRESETS), default="auto", help="losses of the learned metric"
    )
    group.add_argument("--metric-steps", type=positive, metavar="N", help="training steps of the learned metric")
    group.add_argument("--training", choices=sorted(TRAINING_PRESETS), default="default", help="how models are trained")
    group.add_argument("--steps", type=positive, metavar="N", help="training steps of each model")
    group.add_argument("--batch-size", type=positive, metavar="N", help="slices in a training step")
    group.add_argument("--models", type=positive, default=1, metavar="N", help="models trained in a round")
    group.add_argument("--warm-start", action="store_true", help="start from the model of the round before")
    group.add_argument("--select", choices=("last", "best"), help="keep the last weights, or the best on validation")


def settings_of(options: argparse.Namespace, *, seed: int = 0) -> LoopSettings:
    """The loop's settings that the options ask for."""
    stack: StackSettings = STACK_PRESETS[options.preset]
    chosen: dict[str, Any] = {}
    if options.spacing is not None:
        chosen["spacing"] = options.spacing
    if options.size is not None:
        chosen["size"] = options.size
    if options.crop is not None:
        chosen["crop"] = options.crop
    embedding = EMBEDDING_PRESETS[options.metric]
    if options.metric_steps is not None:
        embedding = replace(embedding, steps=options.metric_steps)
    training = TRAINING_PRESETS[options.training]
    for name in ("steps", "batch_size", "select"):
        if getattr(options, name) is not None:
            training = replace(training, **{name: getattr(options, name)})
    training = replace(training, warm_start=options.warm_start or training.warm_start)
    return LoopSettings(replace(stack, **chosen), embedding, training, options.models, seed)


def read_cohort(options: argparse.Namespace, path: Path, progress: TqdmProgress) -> Cohort:
    """Discover the cohort, tell its problems on stderr and give its volumes their roles.

    Raises:
        BadInput: If no volume can be used, or the split does not fit.
    """
    cohort = discover(path, layout=options.layout, axis=options.axis, pattern=options.pattern, progress=progress)
    for group in grouped_problems(cohort.problems):
        progress.message(group.text())
    if not cohort.volumes:
        advice = "Repair the files named above, or name the layout with --layout."
        raise BadInput("No volume of the cohort can be used.", where=path, advice=advice)
    if options.split is not None:
        official = {volume.id for volume in cohort.volumes if volume.role != Role.POOL}
        cohort = with_roles(cohort, read_split(options.split))
        taken = [volume.id for volume in cohort.volumes if volume.role == Role.POOL and volume.id in official]
        if taken:
            named = ", ".join(taken[:3]) + (" ..." if len(taken) > 3 else "")
            progress.message(f"warning: the split puts volumes into the pool that the layout holds back: {named}.")
    progress.message(split_text(cohort, options.split))
    return cohort


def roles_of(cohort: Cohort) -> dict[Role, int]:
    """Number of volumes of each role."""
    return {role: sum(volume.role == role for volume in cohort.volumes) for role in Role}


def annotation_kind(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Add ``--annotation``."""
    choices = [str(kind) for kind in AnnotationKind]
    default = None if required else str(AnnotationKind.MASK)
    text = "what an annotator draws: every pixel (mask) or some (scribble)"
    parser.add_argument("--annotation", choices=choices, required=required, default=default, help=text)


def print_json(value: Any) -> None:
    """Print a JSON value on stdout; in ASCII where the stream cannot hold every character."""
    is_unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")
    json.dump(value, sys.stdout, indent=1, ensure_ascii=not is_unicode, allow_nan=False)
    print()
