"""Builds a cohort from what a layout finds: reads headers in parallel and collects problems."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ActiveSegmentationLib.cohort.axes import with_axes
from ActiveSegmentationLib.cohort.headers import Header, data_files, read_header
from ActiveSegmentationLib.cohort.label_values import refuse_layers
from ActiveSegmentationLib.cohort.naming import natural_key, unique_ids
from ActiveSegmentationLib.cohort.segments import match_segments
from ActiveSegmentationLib.cohort.transforms import Transforms, share_one
from ActiveSegmentationLib.cohort.types import Cohort, Geometry, LabelSource, Problem, Role, Source, Volume
from ActiveSegmentationLib.common.errors import ActiveSegmentationError, BadInput
from ActiveSegmentationLib.common.files import explained, hash_bytes
from ActiveSegmentationLib.common.progress import Progress

SAMPLE = 1 << 16
"""Bytes at the start, the middle and the end of a file that are compared to find copies."""

_AMBIGUOUS = "Check where the image lies, and save it with one transform if programs disagree."


@dataclass(frozen=True)
class Candidate:
    """A volume as a layout sees it, before its header is read.

    Attributes:
        patient: Name of the patient.
        name: Name of the volume; made unique and safe later.
        channels: One source per channel, paths absolute.
        mask: Reference masks, paths absolute.
        scribble: Reference scribbles, paths absolute.
        role: Role of the volume by the layout.
        headers: Header of each channel, None for those that the layout has not read; empty if it has read none.
        warnings: Warnings for the user: (message, advice).
        expected_channels: Number of channels by the layout, or None; a file with several components has as many.
    """

    patient: str
    name: str
    channels: tuple[Source, ...]
    mask: LabelSource | None = None
    scribble: LabelSource | None = None
    role: Role = Role.POOL
    headers: tuple[Header | None, ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()
    expected_channels: int | None = None


@dataclass
class Draft:
    """What a layout found.

    Attributes:
        candidates: The volumes.
        labels: Names of label values, where the layout has them.
        problems: Problems found on the way.
        aside: Files that the layout leaves aside on purpose; other unused files that could be images are reported.
    """

    candidates: list[Candidate]
    labels: dict[int, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    aside: list[Path] = field(default_factory=list)


def file_source(*paths: Path) -> Source:
    """One file, or several frames."""
    return Source("file" if len(paths) == 1 else "frames", tuple(str(path) for path in paths))


def assemble(root: Path, layout: str, draft: Draft, *, axis: int | str | None, progress: Progress) -> Cohort:
    """Read the headers of all candidates and build the cohort.

    Args:
        root: Folder that the paths of the cohort start from.
        layout: Name of the layout.
        draft: What it found.
        axis: One of ``AXIS_CHOICES``. Default: the axis of the cohort, see ``axes``.
        progress: Progress reporter, called after every volume.
    """
    ordered = sorted(draft.candidates, key=lambda c: (natural_key(c.patient), natural_key(c.name)))
    names = unique_ids(candidate.name for candidate in ordered)
    volumes: list[Volume] = []
    problems = list(draft.problems)
    with ThreadPoolExecutor(max_workers=min(8, 2 * (os.cpu_count() or 1))) as readers:
        pending = [readers.submit(_volume, root, c, name) for c, name in zip(ordered, names, strict=True)]
        try:
            for number, future in enumerate(pending):
                volume, own_problems = future.result()
                volumes += [volume] if volume is not None else []
                problems += own_problems
                progress.update("Reading headers", number + 1, len(pending))
        finally:
            readers.shutdown(cancel_futures=True)
    volumes, axis_problems = with_axes(volumes, layout, axis)
    problems += [*axis_problems, *_duplicates(root, volumes), *_in_two_parts(volumes)]
    return match_segments(Cohort(root, layout, tuple(volumes), tuple(problems), dict(draft.labels)))


def _volume(root: Path, candidate: Candidate, name: str) -> tuple[Volume | None, list[Problem]]:
    try:
        for channel in candidate.channels:
            _require_inside(channel, root)
        known = candidate.headers or [None] * len(candidate.channels)
        headers = [had or _header(source) for had, source in zip(known, candidate.channels, strict=True)]
        _require_same_grid(candidate, headers)
        _require_channels(candidate, headers)
    except ActiveSegmentationError as error:
        return None, [_problem(root, name, error)]
    problems = [
        _problem(root, name, BadInput(warning, where=source.paths[0], advice=_AMBIGUOUS), "warning")
        for source, header in zip(candidate.channels, headers, strict=True)
        for warning in header.warnings
    ]
    problems += [Problem(name, message, advice, "warning") for message, advice in candidate.warnings]
    labels, label_problems = _labels(root, candidate, headers[0], name)
    volume = Volume(
        id=name,
        patient=candidate.patient,
        channels=tuple(_relative(source, root) for source in candidate.channels),
        geometry=headers[0].geometry,
        axis=2,  # chosen when all volumes are known
        components=headers[0].components,
        mask=labels["mask"],
        scribble=labels["scribble"],
        role=candidate.role,
        transforms=headers[0].transforms,
    )
    return volume, [*problems, *label_problems]


def _labels(
    root: Path, candidate: Candidate, header: Header, name: str
) -> tuple[dict[str, LabelSource | None], list[Problem]]:
    """The label maps that can be used, by kind, and why others cannot."""
    labels: dict[str, LabelSource | None] = {"mask": None, "scribble": None}
    problems = []
    for kind in labels:
        source: LabelSource | None = getattr(candidate, kind)
        if source is None:
            continue
        try:
            _require_inside(source.source, root)
            _require_label_grid(source, header.geometry, header.transforms)
            labels[kind] = replace(source, source=_relative(source.source, root))
        except ActiveSegmentationError as error:
            problems.append(_problem(root, name, error))
    return labels, problems


def _header(source: Source) -> Header:
    first = read_header(Path(source.paths[0]), channels=source.kind == "channels")
    if source.kind in ("file", "channels"):
        return first
    size = first.geometry.size
    return replace(first, geometry=replace(first.geometry, size=(size[0], size[1], len(source.paths))))


def _require_inside(source: Source, root: Path) -> None:
    """Refuse a header whose pixels are in a file outside of the cohort and of the header's own folder."""
    if source.kind == "series":
        return
    for name in source.paths:
        path = Path(name)
        for file in map(Path, map(os.path.abspath, data_files(path))):
            if not (file.is_relative_to(root) or file.is_relative_to(path.parent)):
                message = f"The header names a file with pixels outside of the cohort: {file}."
                raise BadInput(message, where=path, advice="Copy that file next to the header, and correct the name.")


def _require_same_grid(candidate: Candidate, headers: Sequence[Header]) -> None:
    for source, header in zip(candidate.channels[1:], headers[1:], strict=True):
        difference = header.geometry.difference(headers[0].geometry)
        if difference is None and header.components != headers[0].components:
            difference = f"{header.components} components against {headers[0].components}"
        if difference is not None:
            advice = "Resample all channels to one grid."
            raise BadInput(
                f"The channel's grid differs from the first: {difference}.", where=source.paths[0], advice=advice
            )


def _require_channels(candidate: Candidate, headers: Sequence[Header]) -> None:
    found, wanted = sum(header.components for header in headers), candidate.expected_channels
    if wanted is not None and found != wanted:
        advice = "Restore the missing channel files, or correct channel_names (or modality) in dataset.json."
        where = candidate.channels[0].paths[0]
        raise BadInput(f"{found} of {wanted} channels are there.", where=where, advice=advice)


def _require_label_grid(labels: LabelSource, geometry: Geometry, transforms: Transforms | None) -> None:
    if labels.source.kind == "segmentation":
        return  # compared with the grid by the layout
    if labels.source.kind == "structures":
        for path in labels.source.paths:
            _require_label_grid(LabelSource(file_source(Path(path))), geometry, transforms)
        return
    header = _header(labels.source)
    if labels.source.kind == "file":
        refuse_layers(header.components, Path(labels.source.paths[0]))
    found = header.geometry
    if labels.source.kind == "frames":
        found = replace(geometry, size=found.size)
    difference = found.difference(geometry)
    if found.size == geometry.size and share_one(header.transforms, transforms):
        return
    if difference is not None:
        advice = "Resample the labels to the image's grid; the volume is used without them."
        message = f"The labels do not fit the image: {difference}."
        raise BadInput(message, where=labels.source.paths[0], advice=advice)


def _relative(source: Source, root: Path) -> Source:
    paths = [Path(path) for path in source.paths]
    names = (path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path) for path in paths)
    return replace(source, paths=tuple(names))


def _problem(
    root: Path, name: str, error: ActiveSegmentationError, severity: Literal["error", "warning"] = "error"
) -> Problem:
    where = Path(error.where) if error.where else root
    shown = where.relative_to(root).as_posix() if where.is_relative_to(root) else str(where)
    return Problem(name, f"{shown}: {error.message}", error.advice, severity)


def _duplicates(root: Path, volumes: Sequence[Volume]) -> list[Problem]:
    """Volumes whose image files are copies of each other; only files of equal size are compared."""
    by_size: dict[int, list[Volume]] = {}
    problems = []
    for volume in volumes:
        try:
            by_size.setdefault(sum(map(_size, _files_of(root, volume))), []).append(volume)
        except ActiveSegmentationError as error:
            problems.append(_problem(root, volume.id, error))
    first_of: dict[str, str] = {}
    for alike in by_size.values():
        for volume in alike if len(alike) > 1 else []:
            paths = dict.fromkeys(_files_of(root, volume))
            frames = [str(frame) for source in volume.channels for frame in source.frames]
            try:
                known = first_of.setdefault(hash_bytes(*map(_sample, paths), *frames), volume.id)
            except ActiveSegmentationError as error:
                problems.append(_problem(root, volume.id, error))
                continue
            if known != volume.id:
                advice = "Leave one of them out, or its slices are requested twice."
                problems.append(Problem(volume.id, f"The image is a copy of {known}.", advice, "warning"))
    return problems


def _files_of(root: Path, volume: Volume) -> list[Path]:
    named = [root / path for source in volume.channels for path in source.paths]
    return [file for path in named for file in (path, *data_files(path))]


def _in_two_parts(volumes: Sequence[Volume]) -> list[Problem]:
    """Patients with volumes in several parts of the layout, such as training and test."""
    roles: dict[str, set[Role]] = {}
    for volume in volumes:
        roles.setdefault(volume.patient, set()).add(volume.role)
    advice = (
        "If it is the same patient, scores are too good: put all volumes into one part. If not, rename one of them."
    )
    return [
        Problem(patient, f"The name of the patient is in several parts: {', '.join(sorted(found))}.", advice, "warning")
        for patient, found in roles.items()
        if len(found) > 1
    ]


def _size(path: Path) -> int:
    with explained(path):
        return path.stat().st_size


def _sample(path: Path) -> bytes:
    size = _size(path)
    with explained(path), open(path, "rb") as file:
        parts = []
        for start in sorted({0, max(0, math.floor(size / 2)), max(0, size - SAMPLE)}):
            file.seek(start)
            parts.append(file.read(SAMPLE))
    return b"".join(parts)
