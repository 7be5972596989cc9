"""Options that several commands share."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from ActiveSegmentationLib.cli.command import Options, option, together
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.progress import TqdmProgress
from ActiveSegmentationLib.common.text import printable_json

if TYPE_CHECKING:
    from ActiveSegmentationLib.acquisition import Constraints
    from ActiveSegmentationLib.cohort import Cohort, Role
    from ActiveSegmentationLib.segmentation import CleanUp

POSITIVE = click.IntRange(min=1)
NATURAL = click.IntRange(min=0)
PATH = click.Path(path_type=Path)


class LateChoice(click.Choice):
    """One of several words, which are looked up when they are needed, so that other commands import nothing for them.

    Args:
        find: Gives the words.
    """

    def __init__(self, find: Callable[[], Iterable[str]]) -> None:
        self._find = find
        self.case_sensitive = True

    @cached_property
    def choices(self) -> tuple[str, ...]:  # type: ignore[override]
        """The words."""
        return tuple(str(word) for word in self._find())


class PlaneSize(click.ParamType):
    """Rows and columns written as ROWSxCOLUMNS."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Rows and columns as two whole numbers."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d+)[xX](\d+)", value)
        if not match or min(int(part) for part in match.groups()) < 16:
            self.fail(f"'{value}' is not of the form ROWSxCOLUMNS with at least 16 of each", param, ctx)
        return int(match[1]), int(match[2])


class SliceAxis(click.ParamType):
    """An image axis as a number, or the name of a plane."""

    name = "axis"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The axis as a whole number, or the plane in lower case."""
        from ActiveSegmentationLib.cohort import AXIS_CHOICES

        text = str(value)
        axis = int(text) if text.isdigit() else text.lower()
        if axis not in AXIS_CHOICES:
            self.fail(f"'{value}' is not one of {', '.join(map(str, AXIS_CHOICES))}", param, ctx)
        return axis


def _layouts() -> Iterable[str]:
    from ActiveSegmentationLib.cohort import LAYOUTS

    return sorted(LAYOUTS)


def _units() -> Iterable[str]:
    from ActiveSegmentationLib.acquisition import UNITS

    return UNITS


def _absent_rules() -> Iterable[str]:
    from ActiveSegmentationLib.evaluation import AbsentRule

    return get_args(AbsentRule)


def _annotation_kinds() -> Iterable[str]:
    from ActiveSegmentationLib.cohort import AnnotationKind

    return AnnotationKind


study = click.argument("study", type=PATH, metavar="STUDY", help="folder of the study")

absent = option(
    "--absent",
    type=LateChoice(_absent_rules),
    default="nan",
    help="Dice of a class that is in neither reference nor prediction of a volume (dice2d: of a slice): left out of "
    "the mean (nan), 1 (as in Gaillochet 2023) or 0 (as in the code of Vepa 2024)",
)

clean_up = together(
    option("--largest-part", is_flag=True, help="keep only the largest connected part of each structure"),
    option(
        "--fill-holes",
        type=click.Choice(("no", "2d", "3d")),
        default="no",
        help="add enclosed background to the structure around it: 2d within a slice, 3d only if enclosed on all sides",
    ),
)
"""Options about changes of predicted label maps."""

device = option("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda, cuda:1, mps ...")

label_names = option(
    "--labels", metavar="1=NAME,2=NAME", show_default="those of the cohort", help="label values and names"
)

cohort_path = option("--cohort", type=PATH, required=True, metavar="C", help="folder, table or file of the cohort")

cohort_reading = together(
    option("--layout", type=LateChoice(_layouts), show_default="detected", help="layout of the cohort"),
    option(
        "--axis",
        type=SliceAxis(),
        show_default="that of the acquisition",
        help="slice axis: axial, coronal, sagittal, 0 to 2 (0 = first image axis), or own: each volume's own",
    ),
    option("--pattern", help="regular expression for file names with the group (?P<patient>...)"),
    option("--split", type=PATH, metavar="FILE", help="JSON file with the lists train, val and test"),
)
"""Options about reading a cohort. The lists of ``--split`` name patients or volumes."""

limits = together(
    option(
        "--max-per-volume",
        type=POSITIVE,
        metavar="M",
        section="Limits on the choice",
        help="maximum number of slices of one volume in a round",
    ),
    option(
        "--max-per-patient",
        type=POSITIVE,
        metavar="M",
        section="Limits on the choice",
        help="maximum number of slices of one patient in a round",
    ),
    option(
        "--min-gap",
        type=NATURAL,
        default=0,
        metavar="G",
        section="Limits on the choice",
        help="minimum distance between two slices of a volume",
    ),
    option("--include-blank", is_flag=True, section="Limits on the choice", help="allow slices without image content"),
)

unit = option(
    "--unit",
    type=LateChoice(_units),
    default="slice",
    help="request single slices, or whole volumes by the mean score of their slices",
)


def annotation_kind(**settings: Any) -> Callable[[Any], Any]:
    """The option ``--annotation``, required or with a default."""
    text = "what annotators draw: every pixel (mask) or a few strokes (scribble)"
    return option("--annotation", type=LateChoice(_annotation_kinds), help=text, **settings)


def progress_of(options: Options) -> TqdmProgress:
    """A progress reporter on stderr; without bars for ``--quiet``."""
    return TqdmProgress(bars=not options.quiet)


def words_of(text: str, where: str) -> tuple[str, ...]:
    """Words separated by commas.

    Raises:
        BadInput: If the text is empty, or a word is given twice.
    """
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    if not words or len(set(words)) < len(words):
        advice = "Give each once, separated by commas."
        raise BadInput(f"'{text}' is empty or names something twice.", where=where, advice=advice)
    return words


def constraints_of(options: Options) -> Constraints:
    """The limits on the choice."""
    from ActiveSegmentationLib.acquisition import Constraints

    return Constraints(options.max_per_volume, options.max_per_patient, options.min_gap, options.include_blank)


def read_cohort(options: Options, path: Path, progress: TqdmProgress) -> Cohort:
    """Discover the cohort, show its problems on stderr and assign roles to its volumes.

    Raises:
        BadInput: If no volume can be used, or the split does not fit.
    """
    from ActiveSegmentationLib.cohort import Role, discover, grouped_problems, read_split, split_text, with_roles

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
            progress.message(
                f"warning: the split uses volumes as pool that the layout reserves for validation or test: {named}."
            )
    progress.message(split_text(cohort, options.split))
    return cohort


def roles_of(cohort: Cohort) -> dict[Role, int]:
    """Number of volumes of each role."""
    from ActiveSegmentationLib.cohort import Role

    return {role: sum(volume.role == role for volume in cohort.volumes) for role in Role}


def print_json(value: Any) -> None:
    """Print a JSON value on stdout; control characters are escaped, and all others that the stream cannot encode."""
    is_unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")
    print(printable_json(json.dumps(value, indent=1, ensure_ascii=not is_unicode, allow_nan=False)))


def clean_up_of(options: Options) -> CleanUp:
    """What the options of ``clean_up`` ask for."""
    from ActiveSegmentationLib.segmentation import CleanUp

    return CleanUp(largest=options.largest_part, holes=options.fill_holes)
