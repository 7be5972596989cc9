"""Series of a folder: groups instances, removes copies, and builds volumes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ActiveSegmentationLib.cohort.assembly import Candidate
from ActiveSegmentationLib.cohort.dicom.fit import Fit
from ActiveSegmentationLib.cohort.dicom.instances import Instance
from ActiveSegmentationLib.cohort.dicom.pixels import same_picture
from ActiveSegmentationLib.cohort.dicom.stacks import Stack, sort_series, unevenness
from ActiveSegmentationLib.cohort.headers import Header
from ActiveSegmentationLib.cohort.naming import safe_id
from ActiveSegmentationLib.cohort.types import Geometry, Problem, Source
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, hash_bytes

_SIZES = "Sizes in mm and scores in mm mean nothing for it."


@dataclass
class Series:
    """The images of one series of one patient.

    Attributes:
        patient: Name of the patient.
        name: Unique name of the series.
        uid: Series instance UID; empty if it is missing.
        instances: The files.
    """

    patient: str
    name: str
    uid: str
    instances: list[Instance] = field(default_factory=list)


@dataclass
class Outcome:
    """The result of reading a series.

    Attributes:
        stacks: The volumes.
        errors: Why images cannot be used: (file or None, message, advice).
        warnings: What was left out, split or is suspicious: (message, advice).
    """

    stacks: list[Stack] = field(default_factory=list)
    errors: list[tuple[Path | None, str, str]] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)


def volumes_of(series: Series) -> Outcome:
    """Sort the images of a series into volumes; damaged files are skipped and reported."""
    found = Outcome()
    once = _without_copies([one for one in series.instances if one.kind == "image"], found)
    broken = [instance for instance in once if instance.problem]
    planes = [plane for instance in once if not instance.problem for plane in instance.planes]
    placed = [plane for plane in planes if plane.position]
    if placed:
        result = sort_series(placed, same_picture)
        found.stacks = result.stacks
        found.errors += [(None, fault.message, fault.advice) for fault in result.refusals]
        found.warnings += result.notes
    if broken:
        _tell_broken(found, broken, len(once))
    if found.stacks:
        found.warnings += _oddities(once)
    return found


def series_candidates(root: Path, series: Series) -> tuple[list[Candidate], list[Problem]]:
    """The volumes of a series, and problems of the rest."""
    found = volumes_of(series)
    where = safe_id(series.name)
    problems = [Problem(where, f"{_prefix(root, path)}{message}", advice) for path, message, advice in found.errors]
    if len(found.stacks) != 1:  # otherwise they are reported for the volume
        problems += [Problem(where, message, advice, "warning") for message, advice in found.warnings]
    candidates = []
    for stack in found.stacks:
        warnings = [*(found.warnings if len(found.stacks) == 1 else []), *stack_warnings(stack)]
        name = "_".join(part for part in (series.name, stack.mark) if part)
        candidates.append(_candidate(series.patient, name, stack, tuple(warnings)))
    return candidates, problems


def only_volume(root: Path, series: Series) -> Candidate:
    """The one volume of a series.

    Raises:
        BadInput: If its images do not form a volume, or form several.
    """
    candidates, problems = series_candidates(root, series)
    if len(candidates) == 1:
        return candidates[0]
    if problems:
        raise BadInput(problems[0].message, where=series.name, advice=problems[0].advice)
    raise BadInput(
        "The images do not form a stack of slices.", where=series.name, advice="Check the files of the series."
    )


def _candidate(patient: str, name: str, stack: Stack, warnings: tuple[tuple[str, str], ...]) -> Candidate:
    planes = stack.fit.planes
    frames = tuple(plane.frame or 0 for plane in planes) if any(plane.frame is not None for plane in planes) else ()
    source = Source("series", tuple(str(plane.path) for plane in planes), frames)
    return Candidate(patient, name, (source,), headers=(header_of(stack),), warnings=warnings)


def header_of(stack: Stack) -> Header:
    """The combined header of a volume's files."""
    size, components = stack.fit.geometry.size, stack.fit.planes[0].components
    return Header(stack.fit.geometry, components, 4 * components * size[0] * size[1] * size[2])


def picture_candidates(root: Path, series: Sequence[Series]) -> tuple[list[Candidate], list[Problem]]:
    """Single pictures without a position in the patient (radiographs, photographs): each is a volume of one slice."""
    candidates, problems = [], []
    for one in series:
        planes = [
            plane
            for instance in one.instances
            if instance.kind == "image" and not instance.problem
            for plane in instance.planes
        ]
        pictures = [plane for plane in planes if not plane.position]
        if len(pictures) < len(planes):
            if pictures:
                message = f"{len(pictures)} of {len(planes)} images have no position and are left out."
                problems.append(Problem(safe_id(one.name), message, "Check that they are not slices.", "warning"))
            continue
        for number, plane in enumerate(pictures):
            rows, columns = plane.shape
            down, across = plane.spacing or (1.0, 1.0)
            geometry = Geometry((columns, rows, 1), (across, down, 1.0))
            mark = f"{number + 1:0{len(str(len(pictures)))}d}" if len(pictures) > 1 else ""
            odd = _oddities([instance for instance in one.instances if instance.path == plane.path])
            odd += [] if plane.spacing else [("The pixel size is missing; 1 mm is assumed.", _SIZES)]
            name = "_".join(part for part in (one.name, mark) if part)
            candidates.append(_candidate(one.patient, name, Stack(Fit((plane,), geometry, 0.0)), tuple(odd)))
    return candidates, problems


def shown_path(root: Path, path: Path) -> str:
    """A path for messages: relative to the folder if it is there, and always valid text."""
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _prefix(root: Path, path: Path | None) -> str:
    return f"{shown_path(root, path)}: " if path is not None else ""


def stack_warnings(stack: Stack) -> list[tuple[str, str]]:
    """Warnings on one volume."""
    notes = unevenness(stack)
    return [] if notes is None else [notes]


def _without_copies(instances: Sequence[Instance], found: Outcome) -> list[Instance]:
    """The files without copies, which have the same SOP instance UID and position."""
    kept: dict[tuple, Instance] = {}
    copies = 0
    for instance in instances:
        places = tuple((plane.position, plane.shape) for plane in instance.planes)
        key = (instance.uid, places) if instance.uid else (str(instance.path),)
        known = kept.setdefault(key, instance)
        if known is instance:
            continue
        if instance.problem or _same_pixels(known, instance):
            copies += 1
        else:
            kept[(*key, str(instance.path))] = instance
    if copies:
        found.warnings.append(
            (f"{copies} of {len(instances)} files are copies of others; each image is used once.", "")
        )
    return list(kept.values())


def _same_pixels(one: Instance, other: Instance) -> bool:
    try:
        with explained(other.path):
            if one.path.read_bytes() == other.path.read_bytes():
                return True
    except BadInput:
        return False
    return all(same_picture(a, b) for a, b in zip(one.planes, other.planes, strict=True))


def _tell_broken(found: Outcome, broken: list[Instance], count: int) -> None:
    """One problem for all files with the same fault; an error if the rest of the series cannot be used without them."""
    for kind, number in Counter(_fault_of(instance) for instance in broken).items():
        first = next(instance for instance in broken if _fault_of(instance) == kind)
        message = first.problem
        share = "" if number == count else f" ({number} of {count} files)"
        if found.stacks:
            text = f"{first.path.name}: {message} It is left out{share}."
            found.warnings.append((text, "Check that the volume is complete without it."))
        else:
            found.errors.insert(0, (first.path, f"{message}{share}", first.advice))


def _fault_of(instance: Instance) -> str:
    """The fault of a file, without its value."""
    return (instance.problem or "").partition(": '")[0]


def _oddities(instances: Sequence[Instance]) -> list[tuple[str, str]]:
    notes = []
    if any(instance.photometric == "MONOCHROME1" for instance in instances):
        advice = "Invert it if other images of this kind in the cohort are bright where this one is dark."
        notes.append(("High values are dark in this image (MONOCHROME1); the values are used as stored.", advice))
    flat = sum(instance.flat_rescale for instance in instances)
    if flat:
        advice = "Check these slices, or exclude the volume."
        notes.append((f"The rescale slope of {flat} file(s) is 0, so all pixels of their slices are equal.", advice))
    return notes


def mark_of(text: str) -> str:
    """Six hexadecimal digits for a text that is too long for a file name."""
    return hash_bytes(text)[:6]
