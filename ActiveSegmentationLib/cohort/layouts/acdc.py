"""ACDC (Bernard et al. 2018): patientNNN/patientNNN_frameMM.nii.gz with _gt, and _scribble (Valvano et al. 2021)."""

from __future__ import annotations

import re
from pathlib import Path

from ActiveSegmentationLib.cohort.assembly import Candidate, Draft, file_source
from ActiveSegmentationLib.cohort.layouts.base import Layout, folders
from ActiveSegmentationLib.cohort.roles import role_of_folder, role_of_folders
from ActiveSegmentationLib.cohort.types import LabelSource

LABELS = {1: "RV", 2: "MYO", 3: "LV"}
STORED_IGNORE_LABEL = 4
"""Stored value of unlabelled pixels in scribbles."""

_FRAME = re.compile(r"(patient\d+_frame\d+)\.nii(\.gz)?")


def _patients(path: Path) -> list[Path]:
    """Patient folders; the official release puts them below training and testing, some copies below database too."""
    parts: list[Path] = []
    level = [path]
    for _ in range(2):
        level = [part for parent in level for part in folders(parent) if _is_part(part.name)]
        parts += level
    return [
        folder for parent in (path, *parts) for folder in folders(parent) if re.fullmatch(r"patient\d+", folder.name)
    ]


def _is_part(name: str) -> bool:
    return name.lower() == "database" or role_of_folder(name) is not None


def _recognises(path: Path) -> bool:
    patients = _patients(path)
    return bool(patients) and any(_FRAME.fullmatch(file.name) for file in patients[0].iterdir())


def _read(path: Path) -> Draft:
    """Every frame with its labels; frames in a folder called testing have the role test. Cine files (_4d) are left
    aside."""
    candidates = []
    aside: list[Path] = []
    for folder in _patients(path):
        for file in sorted(folder.iterdir()):
            match = _FRAME.fullmatch(file.name)
            if match is None:
                aside += [file] if "_4d." in file.name else []
                continue
            ending = file.name[len(match[1]) :]
            mask, scribble = (folder / f"{match[1]}{kind}{ending}" for kind in ("_gt", "_scribble"))
            candidates.append(
                Candidate(
                    patient=folder.name,
                    name=match[1],
                    channels=(file_source(file),),
                    mask=LabelSource(file_source(mask)) if mask.is_file() else None,
                    scribble=LabelSource(file_source(scribble), STORED_IGNORE_LABEL) if scribble.is_file() else None,
                    role=role_of_folders(folder.relative_to(path).parts[:-1]),
                )
            )
    return Draft(candidates, dict(LABELS), aside=aside)


LAYOUT = Layout("acdc", "ACDC: patientNNN folders with ED and ES frames, _gt and _scribble files.", _recognises, _read)
