"""Folders of DICOM files, in any arrangement: patients and series from the tags."""

from __future__ import annotations

import os
from pathlib import Path

from ActiveSegmentationLib.cohort.assembly import Candidate, Draft
from ActiveSegmentationLib.cohort.headers import read_tags
from ActiveSegmentationLib.cohort.layouts.base import Layout
from ActiveSegmentationLib.cohort.naming import IMAGE_SUFFIXES, is_hidden, natural_key
from ActiveSegmentationLib.cohort.types import Source
from ActiveSegmentationLib.common.files import hash_bytes

_PATIENT, _DESCRIPTION, _NUMBER = "0010|0020", "0008|103e", "0020|0011"
_OTHER = (*IMAGE_SUFFIXES, ".json", ".csv", ".tsv", ".txt", ".png", ".jpg", ".jpeg", ".zip", ".gz", ".cfg")


def is_dicom(path: Path) -> bool:
    """Whether a file has the mark of DICOM."""
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def _recognises(path: Path) -> bool:
    if not path.is_dir():
        return False
    for folder, _, names in os.walk(path):
        files = [Path(folder) / name for name in sorted(names) if not name.lower().endswith(_OTHER)]
        files = [file for file in files if not is_hidden(file, path) and file.name.upper() != "DICOMDIR"]
        if files:
            return any(is_dicom(file) for file in files[:5])
    return False


def _read(path: Path) -> Draft:
    candidates = []
    for folder, _, names in os.walk(path):
        if any(not name.lower().endswith(_OTHER) for name in names):
            candidates += [_candidate(path, files) for files in series_of(Path(folder))]
    return Draft(candidates)


def series_of(folder: Path) -> list[list[Path]]:
    """The files of each DICOM series that lies directly in a folder, in the order of the slices."""
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    found = []
    for series in sorted(reader.GetGDCMSeriesIDs(str(folder))):
        files = reader.GetGDCMSeriesFileNames(str(folder), series)
        found.append([Path(name) for name in files])
    return sorted(found, key=lambda files: natural_key(files[0].name))


def _candidate(root: Path, files: list[Path]) -> Candidate:
    tags = read_tags(files[0], [_PATIENT, _DESCRIPTION, _NUMBER, "0020|000e"])
    patient = tags.get(_PATIENT) or files[0].parent.relative_to(root).as_posix()
    series = tags.get(_DESCRIPTION) or f"series{tags.get(_NUMBER, '')}"
    mark = hash_bytes(tags.get("0020|000e", str(files[0])))[:6]  # the series' own id is too long for a file name
    return Candidate(patient, f"{patient}_{series}_{mark}", (Source("series", tuple(str(file) for file in files)),))


LAYOUT = Layout("dicom", "Folders of DICOM files; patients and series from the tags.", _recognises, _read)
