"""Missing files by the index of a medium (DICOMDIR)."""

from __future__ import annotations

from pathlib import Path

from ActiveSegmentationLib.cohort.dicom.data_sets import read_data_set
from ActiveSegmentationLib.cohort.dicom.series import shown_path
from ActiveSegmentationLib.cohort.dicom.tags import damaged, quiet
from ActiveSegmentationLib.cohort.types import Problem
from ActiveSegmentationLib.cohort.walking import walk


def missing_files(root: Path, directory: Path) -> list[Problem]:
    """A warning where a DICOMDIR names files that are not in the folder: the copy of the medium is incomplete.

    An unreadable DICOMDIR is ignored, because it is not needed. Names are compared without regard to case, because
    systems write them differently when a medium is copied.
    """
    named = _named_files(directory)
    there = {path.relative_to(directory.parent).as_posix().casefold() for path in walk(directory.parent).files}
    missing = [name for name in named if name.casefold() not in there]
    if not missing:
        return []
    message = f"DICOMDIR names {len(named)} files, and {len(missing)} of them are missing (for example {missing[0]})."
    return [Problem(shown_path(root, directory), message, "Copy the whole medium again.", "warning")]


def _named_files(directory: Path) -> list[str]:
    with quiet():
        try:
            records = read_data_set(directory).get("DirectoryRecordSequence") or []
            parts = [record.get("ReferencedFileID") for record in records]
            return ["/".join([part] if isinstance(part, str) else part) for part in parts if part]
        except damaged():
            return []
