"""``study.json`` and ``cohort.json``: the settings of a study, its version, and where its images are."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.cohort import AnnotationKind, Cohort
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import read_json, write_json
from ActiveSegmentationLib.common.parsing import parsing, require_types
from ActiveSegmentationLib.study.labels import LabelSet
from ActiveSegmentationLib.study.names import check_volume_ids

SCHEMA = 1
"""Version of ``study.json`` that this program writes."""

STUDY_FILE = "study.json"
COHORT_FILE = "cohort.json"

StudySettings = dict[str, Any]
"""Settings of a study: JSON values in sections ("stack", "training", ...), one for each package that reads them."""


@dataclass(frozen=True)
class StudyRecord:
    """The content of ``study.json``.

    Attributes:
        id: UUID of the study.
        created: Time in ISO 8601, UTC.
        labels: The label set.
        annotation: Masks or scribbles.
        cohort_root: Path of the cohort's root relative to the study folder, with "/" between parts; absolute only
            where the two lie on different drives.
        settings: Settings in sections.
        excluded: Reason for each excluded volume.
    """

    id: str
    created: str
    labels: LabelSet
    annotation: AnnotationKind
    cohort_root: str
    settings: StudySettings = field(default_factory=dict)
    excluded: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The file's content."""
        value = {
            "schema": SCHEMA,
            "id": self.id,
            "created": self.created,
            "labels": self.labels.to_json(),
            "annotation": str(self.annotation),
            "axis_policy": "volume",
            "cohort": {"file": COHORT_FILE, "root": self.cohort_root},
            "settings": self.settings,
            "excluded": dict(self.excluded),
        }
        return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")

    @classmethod
    def from_json(cls, value: Mapping[str, Any], path: Path) -> StudyRecord:
        """Inverse of ``to_bytes``, of the current version.

        Raises:
            BadInput: If something is missing or malformed.
        """
        with parsing(path, "The file is damaged.", "Restore the file from a backup."):
            found = cls(
                id=value["id"],
                created=value["created"],
                labels=LabelSet.from_json(value["labels"]),
                annotation=AnnotationKind(value["annotation"]),
                cohort_root=value["cohort"]["root"],
                settings=value["settings"],
                excluded=dict(value["excluded"]),
            )
            require_types(found, {"id": str, "created": str, "cohort_root": str})
            return found


def _from_0(value: dict[str, Any]) -> dict[str, Any]:
    """Version 0 had no excluded volumes and no settings, and named the cohort's root as a plain text."""
    return {
        **value,
        "cohort": {"file": COHORT_FILE, "root": value["cohort"]},
        "settings": value.get("settings", {}),
        "axis_policy": "volume",
        "excluded": {},
    }


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {0: _from_0}
"""For each older version, what turns its ``study.json`` into that of the next version."""


def migrated(value: dict[str, Any], path: Path) -> dict[str, Any]:
    """The content of ``study.json`` in the current version.

    Raises:
        BadInput: If it is of a newer version, or not a study.
    """
    version = value.get("schema") if isinstance(value, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise BadInput("The file is not that of a study.", where=path, advice="Restore it from a backup.")
    if version > SCHEMA:
        advice = "Update ActiveSegmentation to open it."
        raise BadInput(f"The study was made by a newer version (schema {version}).", where=path, advice=advice)
    value = copy.deepcopy(value)
    with parsing(path, "The file is damaged.", "Restore the file from a backup."):
        for number in range(version, SCHEMA):
            value = {**MIGRATIONS[number](value), "schema": number + 1}
    return value


def read_study(folder: Path) -> StudyRecord:
    """The content of a study's ``study.json``; an older version is migrated and its file kept.

    Raises:
        BadInput: If the folder holds no study, the file is damaged, or of a newer version.
    """
    path = folder / STUDY_FILE
    if not path.is_file():
        advice = "Check the path, or create a study there with the command new."
        raise BadInput("There is no study in this folder.", where=folder, advice=advice)
    value = read_json(path)
    current = migrated(value, path)
    record = StudyRecord.from_json(current, path)
    if current != value:
        write_json(folder / f"study.schema-{value['schema']}.json", value)
        write_json(path, current)
    return record


def read_cohort(folder: Path, record: StudyRecord) -> Cohort:
    """The cohort of a study.

    Raises:
        BadInput: If its description is damaged, or its images are not where they were.
    """
    path = folder / COHORT_FILE
    root = Path(os.path.normpath(folder.resolve() / record.cohort_root))
    with parsing(path, "The file is damaged.", "Restore the file from a backup."):
        cohort = Cohort.from_json(read_json(path), root)
    check_volume_ids(volume.id for volume in cohort.volumes)
    if not root.exists():
        advice = f"Move them back, or set their new location: activesegmentation relocate {folder} COHORT"
        raise BadInput(f"The images of study '{folder.name}' are missing.", where=root, advice=advice)
    return cohort


def relative_root(root: Path, folder: Path) -> str:
    """How a study in ``folder`` refers to the cohort at ``root``."""
    try:
        return Path(os.path.relpath(root.resolve(), folder.resolve())).as_posix()
    except ValueError:  # on Windows no path leads from one drive to another
        return root.resolve().as_posix()


def missing_images(cohort: Cohort) -> list[str]:
    """Paths of image files of the cohort that are not there, of the first channel of every volume."""
    sources = [volume.channels[0] for volume in cohort.volumes if volume.channels]
    paths = [path for source in sources for path in source.paths[:1]]
    return [path for path in paths if not cohort.path(path).exists()]


def relocated(folder: Path, record: StudyRecord, root: Path) -> StudyRecord:
    """The record with the cohort's new root.

    Raises:
        BadInput: If images are missing there.
    """
    if not root.exists():
        raise BadInput("There is no such file or folder.", where=root, advice="Check the path.")
    moved = replace(record, cohort_root=relative_root(root, folder))
    missing = missing_images(read_cohort(folder, moved))
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        advice = "Name the folder that the cohort was indexed from."
        raise BadInput(f"This is not the study's cohort: {missing[0]}{more} is missing.", where=root, advice=advice)
    return moved
