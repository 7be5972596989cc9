"""Counts of a study: what is annotated, skipped and open, and how long it took."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.study.slice_records import SliceFile

if TYPE_CHECKING:
    from ActiveSegmentationLib.study.study import Study


def study_status(study: Study) -> dict[str, Any]:
    """The result of ``Study.status``."""
    excluded = study.excluded()
    volumes = [volume for volume in study.cohort.volumes if volume.id not in excluded]
    files = list(study.slice_files())
    skipped = study.skipped()
    damaged = [str(problem) for problem in study.damaged()]
    annotated = {SliceId(file.volume, index) for file in files for index in file.committed()}
    rounds = []
    for number in study.requests.rounds():
        with _noting(damaged):
            rounds.append(_round(study, number, annotated, set(skipped)))
    extents: dict[str, list[int]] = {}
    with _noting(damaged):
        extents = {volume: list(both) for volume, both in study.extents.all().items()}
    return {
        "volumes": len(volumes),
        "slices": sum(volume.slice_count for volume in volumes),
        "excluded": dict(sorted(excluded.items())),
        "annotation": str(study.annotation),
        "annotated": len(annotated),
        "skipped": len(skipped),
        "flagged": len(study.flagged()),
        "open": rounds[-1]["open"] if rounds else 0,
        "seconds": _seconds(files),
        "rounds": rounds,
        "patients": _patients(study, files, annotated, skipped),
        "annotators": _annotators(files),
        "extents": extents,
        "damaged": damaged,
    }


@contextlib.contextmanager
def _noting(damaged: list[str]) -> Iterator[None]:
    """Within this block a file that cannot be read is noted and does not stop the rest."""
    try:
        yield
    except BadInput as problem:
        damaged.append(str(problem))


def _round(study: Study, number: int, annotated: set[SliceId], skipped: set[SliceId]) -> dict[str, Any]:
    requests = study.requests.read(number)
    is_open = {request.slice for request in study.open_requests(number)}
    answered = {request.slice for request in requests.requests} - is_open
    return {
        "round": number,
        "strategy": requests.strategy,
        "requested": requests.count,
        "committed": len(answered & annotated),
        "skipped": len(answered & skipped),
        "open": len(is_open),
    }


def _seconds(files: list[SliceFile]) -> dict[str, float]:
    """Seconds by kind of annotation, including earlier versions."""
    total: dict[str, float] = defaultdict(float)
    for file in files:
        for record in file.slices.values():
            for version in (*record.versions, *([record.committed] if record.committed else [])):
                total[version.kind] += version.seconds
    return {kind: round(seconds, 3) for kind, seconds in sorted(total.items())}


def _patients(
    study: Study, files: list[SliceFile], annotated: set[SliceId], skipped: dict[SliceId, str]
) -> dict[str, dict[str, Any]]:
    patient_of = {volume.id: volume.patient for volume in study.cohort.volumes}
    patients: dict[str, dict[str, Any]] = {}
    for volume in sorted({slice_id.volume for slice_id in (*annotated, *skipped)}):
        own = [file for file in files if file.volume == volume]
        row = patients.setdefault(patient_of[volume], {"annotated": 0, "skipped": 0, "seconds": 0.0})
        row["annotated"] += sum(slice_id.volume == volume for slice_id in annotated)
        row["skipped"] += sum(slice_id.volume == volume for slice_id in skipped)
        row["seconds"] = round(row["seconds"] + sum(_seconds(own).values()), 3)
    return patients


def _annotators(files: list[SliceFile]) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for name in sorted({file.annotator for file in files}):
        own = [file for file in files if file.annotator == name]
        committed = sum(len(file.committed()) for file in own)
        rows[name] = {"annotated": committed, "seconds": round(sum(_seconds(own).values()), 3)}
    return rows
