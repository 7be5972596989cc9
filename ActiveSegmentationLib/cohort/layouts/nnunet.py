"""nnU-Net raw data (Isensee et al. 2021): imagesTr with one file a channel (_0000), labelsTr, dataset.json."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.cohort.assembly import Candidate, Draft, file_source
from ActiveSegmentationLib.cohort.layouts.base import Layout
from ActiveSegmentationLib.cohort.types import LabelSource, Problem
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import read_json


def _description(path: Path) -> dict[str, Any]:
    value = read_json(path / "dataset.json")
    if not isinstance(value, dict):
        raise BadInput("The description is no JSON object.", where=path / "dataset.json", advice="Restore the file.")
    return value


def _recognises(path: Path) -> bool:
    if not (path / "dataset.json").is_file() or not (path / "imagesTr").is_dir():
        return False
    return bool({"channel_names", "file_ending"} & set(_description(path)))


def _read(path: Path) -> Draft:
    """Cases of imagesTr; those without a label file are unlabelled. A label called "ignore" is undecided."""
    description = _description(path)
    ending = str(description.get("file_ending", ".nii.gz"))
    cases: dict[str, list[Path]] = {}
    problems = []
    for file in sorted((path / "imagesTr").iterdir()):
        match = re.fullmatch(rf"(.+)_(\d{{4}}){re.escape(ending)}", file.name)
        if match and not file.name.startswith("."):
            cases.setdefault(match[1], []).append(file)
    wanted = len(description.get("channel_names", description.get("modality", {"0": ""})))
    values = {str(name): value for name, value in description.get("labels", {}).items() if isinstance(value, int)}
    ignore = values.get("ignore")
    candidates = []
    for name, files in cases.items():
        if len(files) != wanted:
            advice = "Restore the missing channel files."
            problems.append(Problem(name, f"{len(files)} of {wanted} channel files are there.", advice))
            continue
        label = path / "labelsTr" / f"{name}{ending}"
        mask = LabelSource(file_source(label), ignore) if label.is_file() else None
        candidates.append(Candidate(name, name, tuple(file_source(file) for file in files), mask))
    labels = {value: name for name, value in values.items() if value > 0 and name != "ignore"}
    return Draft(candidates, labels, problems)


LAYOUT = Layout("nnunet", "nnU-Net raw: imagesTr with _0000 channels, labelsTr, dataset.json.", _recognises, _read)
