"""Segments of segmentations saved by 3D Slicer: their names and values, unified over a cohort."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.cohort.types import Cohort, LabelSource, Problem
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.labels import BACKGROUND, IGNORE_LABEL

BACKGROUND_SEGMENT = "Background"
"""Name and id of the segment of drawn background."""

UNLABELLED_SEGMENT_ID = "Undecided"
"""Id of the segment of unlabelled pixels in masks, and its name in files; unchanged since the first version."""

UNLABELLED_SEGMENT_NAME = "Unlabelled"
"""Name of that segment in Slicer's scene, and so in segmentations that users save from there."""

_RESERVED = {
    BACKGROUND_SEGMENT.casefold(): BACKGROUND,
    UNLABELLED_SEGMENT_ID.casefold(): IGNORE_LABEL,
    UNLABELLED_SEGMENT_NAME.casefold(): IGNORE_LABEL,
}


def meaning_of_names(names: Mapping[str, int]) -> dict[str, int]:
    """Label value of each segment name, compared without case: of labels, drawn background and unlabelled pixels.

    Args:
        names: Value of each label by its name in lower case. A label of an older study may be called "unlabelled".
    """
    return _RESERVED | {name: value for name, value in names.items() if name not in RESERVED_NAMES}


RESERVED_NAMES = (BACKGROUND_SEGMENT.casefold(), UNLABELLED_SEGMENT_ID.casefold())
"""Names, in lower case, that no label can have."""

TOO_MANY_NAMES = "The segments of the cohort have more than 254 names; there is no label value left for this file's."
ONE_NAME = "Give a structure the same name in every file."
"""Message and advice where no value is left."""

_AGAIN = "Save the segmentation again in Slicer."
_NRRD = (".nrrd", ".nhdr")


@dataclass(frozen=True)
class Segment:
    """One segment: its name and its value in the label map."""

    name: str
    value: int

    @property
    def key(self) -> str:
        """The name for comparisons."""
        return self.name.strip().casefold()


def segments_in(metadata: Mapping[str, str], path: Path) -> list[Segment]:
    """Segments that the header of an NRRD file describes, in the order of their numbers; none for other files.

    Raises:
        BadInput: If a value is not one of a label map, or two segments share one.
    """
    numbers = sorted({int(match[1]) for key in metadata if (match := re.fullmatch(r"Segment(\d+)_(Name|ID)", key))})
    found: list[Segment] = []
    for number in numbers:
        name = metadata.get(f"Segment{number}_Name") or metadata[f"Segment{number}_ID"]
        text = metadata.get(f"Segment{number}_LabelValue", "1").strip()
        if not text.isdecimal() or not 0 < int(text) <= IGNORE_LABEL:
            raise BadInput(f"Segment '{name}' has the value '{text}', not 1 to 255.", where=path, advice=_AGAIN)
        other = next((segment for segment in found if segment.value == int(text)), None)
        if other is not None:
            message = f"The segments '{other.name}' and '{name}' share the value {text}."
            raise BadInput(message, where=path, advice=_AGAIN)
        found.append(Segment(name, int(text)))
    return found


def read_segments_of(path: Path) -> list[Segment]:
    """Segments that a file's header describes; none if it is not an NRRD file or describes none.

    Raises:
        BadInput: If the file cannot be read, or its segments contradict each other.
    """
    if not path.name.lower().endswith(_NRRD):
        return []
    from ActiveSegmentationLib.cohort.headers import open_header

    return segments_in(segment_fields(open_header(path)), path)


def segment_fields(image: Any) -> dict[str, str]:
    """Metadata of a SimpleITK image or reader about segments, decoded as UTF-8 or else Latin-1."""
    keys = [key for key in image.GetMetaDataKeys() if re.fullmatch(r"Segment\d+_\w+", key, re.ASCII)]
    stored = {key: image.GetMetaData(key).encode("utf-8", "surrogateescape") for key in keys}
    fields = {}
    for key, value in stored.items():
        try:
            fields[key] = value.decode("utf-8")
        except UnicodeDecodeError:
            fields[key] = value.decode("latin-1")
    return fields


def match_segments(cohort: Cohort) -> Cohort:
    """Unify the meaning of values in a cohort whose masks are segmentations with named segments.

    Slicer numbers the segments of each file by their order, so a value can mean a different structure in every file.
    Files are matched by the names of their segments: to the names that the layout knows, or to those of the first file.
    A name that the layout does not know leaves its file's values as they are.
    """
    tables, problems = _tables(cohort)
    if not tables and not problems:
        return cohort
    refused = {problem.where for problem in problems if problem.severity == "error"}
    known = {name.strip().casefold(): value for value, name in cohort.labels.items()}
    names = dict(cohort.labels) or _names_of(tables.values())
    wanted = known or {name.strip().casefold(): value for value, name in names.items()}
    if not known:
        lost = [name for name, table in tables.items() if any(s.key not in meaning_of_names(wanted) for s in table)]
        problems += tuple(Problem(name, TOO_MANY_NAMES, ONE_NAME) for name in lost)
        refused.update(lost)
    volumes = []
    for volume in cohort.volumes:
        mask = volume.mask
        if volume.id in tables and mask is not None:
            mask = _matched(mask, tables[volume.id], wanted)
        volumes.append(replace(volume, mask=None if volume.id in refused else mask))
    return replace(cohort, volumes=tuple(volumes), labels=names, problems=cohort.problems + problems)


def _tables(cohort: Cohort) -> tuple[dict[str, list[Segment]], tuple[Problem, ...]]:
    """Segments of the masks of each volume, where they have different names."""
    tables: dict[str, list[Segment]] = {}
    problems = []
    for volume in cohort.volumes:
        if volume.mask is None or volume.mask.source.kind != "file":
            continue
        name = volume.mask.source.paths[0]
        try:
            segments = read_segments_of(cohort.path(name))
        except BadInput as error:
            problems.append(Problem(volume.id, f"{name}: {error.message}", error.advice))
            continue
        if len({segment.key for segment in segments}) < len(segments):
            advice = "Give every segment a name of its own."
            message = f"{name}: Segments share a name; the values of this file are taken as they are."
            problems.append(Problem(volume.id, message, advice, "warning"))
        elif segments:
            tables[volume.id] = segments
    return tables, tuple(problems)


def _names_of(tables: Iterable[Sequence[Segment]]) -> dict[int, str]:
    """A value for each name: the one of the first file that has it, or the smallest free one where that is taken.

    Names for which no value is left are left out.
    """
    names: dict[int, str] = {}
    keys: set[str] = set(_RESERVED)
    for segment in (segment for table in tables for segment in table):
        if segment.key in keys:
            continue
        keys.add(segment.key)
        values = (segment.value, *range(1, IGNORE_LABEL))
        free = next((n for n in values if n < IGNORE_LABEL and n not in names), None)
        if free is not None:
            names[free] = segment.name.strip()
    return names


def _matched(mask: LabelSource, segments: Sequence[Segment], wanted: Mapping[str, int]) -> LabelSource:
    """How a file's values are to be read so that each segment has the value of its name."""
    meaning = meaning_of_names(wanted)
    if any(segment.key not in meaning for segment in segments):
        return mask
    pairs = tuple(
        (segment.value, meaning[segment.key]) for segment in segments if segment.value != meaning[segment.key]
    )
    return replace(mask, values=mask.values + pairs)
