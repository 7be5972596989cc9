"""PROMISE12 (Litjens et al. 2014): CaseNN.mhd with CaseNN_segmentation.mhd."""

from __future__ import annotations

import re
from pathlib import Path

from ActiveSegmentationLib.cohort.assembly import Candidate, Draft, file_source
from ActiveSegmentationLib.cohort.layouts.base import Layout
from ActiveSegmentationLib.cohort.types import LabelSource
from ActiveSegmentationLib.cohort.walking import volume_files

_CASE = re.compile(r"(Case\d+)\.mhd", re.IGNORECASE)


def _recognises(path: Path) -> bool:
    return path.is_dir() and any(_CASE.fullmatch(file.name) for file in path.rglob("*.mhd"))


def _read(path: Path) -> Draft:
    candidates = []
    for file in volume_files(path):
        match = _CASE.fullmatch(file.name)
        if match is None:
            continue
        label = file.with_name(f"{match[1]}_segmentation.mhd")
        mask = LabelSource(file_source(label)) if label.is_file() else None
        candidates.append(Candidate(match[1], match[1], (file_source(file),), mask))
    return Draft(candidates, {1: "prostate"})


LAYOUT = Layout("promise12", "PROMISE12: CaseNN.mhd with CaseNN_segmentation.mhd.", _recognises, _read)
