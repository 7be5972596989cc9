"""PROMISE12 (Litjens et al. 2014): CaseNN.mhd with CaseNN_segmentation.mhd."""

from __future__ import annotations

import re
from pathlib import Path

from ActiveSegmentationLib.cohort.assembly import Candidate, Draft, file_source
from ActiveSegmentationLib.cohort.layouts.base import Layout
from ActiveSegmentationLib.cohort.roles import role_of_folders
from ActiveSegmentationLib.cohort.types import LabelSource, Problem
from ActiveSegmentationLib.cohort.walking import volume_files

_CASE = re.compile(r"(Case\d+)(_segmentation)?\.mhd", re.IGNORECASE)


def _recognises(path: Path) -> bool:
    matches = (_CASE.fullmatch(file.name) for file in volume_files(path)) if path.is_dir() else ()
    return any(match is not None and match[2] for match in matches)  # other cohorts have cases as well


def _read(path: Path) -> Draft:
    """Every case with its segmentation; a folder called test gives the role."""
    draft = Draft([], {1: "prostate"})
    found = [(file, match) for file in volume_files(path) if (match := _CASE.fullmatch(file.name))]
    labels = {(file.parent, match[1].lower()): file for file, match in found if match[2]}
    for file, match in found:
        if match[2]:
            continue
        label = labels.pop((file.parent, match[1].lower()), None)
        mask = LabelSource(file_source(label)) if label is not None else None
        role = role_of_folders(file.relative_to(path).parts[:-1])
        draft.candidates.append(Candidate(match[1], match[1], (file_source(file),), mask, role=role))
    for label in labels.values():
        where = label.relative_to(path).as_posix()
        draft.problems.append(Problem(where, "The label file does not belong to an image.", "Restore the image."))
    return draft


LAYOUT = Layout("promise12", "PROMISE12: CaseNN.mhd with CaseNN_segmentation.mhd.", _recognises, _read)
