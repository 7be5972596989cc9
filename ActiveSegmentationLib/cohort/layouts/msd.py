"""Medical Segmentation Decathlon (Antonelli et al. 2022): imagesTr, labelsTr and dataset.json with a list of cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ActiveSegmentationLib.cohort.assembly import Candidate, Draft, file_source
from ActiveSegmentationLib.cohort.layouts.base import Layout
from ActiveSegmentationLib.cohort.naming import stem
from ActiveSegmentationLib.cohort.types import LabelSource, Problem
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import read_json


def _description(path: Path) -> dict[str, Any]:
    value = read_json(path / "dataset.json")
    if not isinstance(value, dict):
        raise BadInput("The description is no JSON object.", where=path / "dataset.json", advice="Restore the file.")
    return value


def _recognises(path: Path) -> bool:
    return (path / "dataset.json").is_file() and isinstance(_description(path).get("training"), list)


def _read(path: Path) -> Draft:
    """Cases of the list "training" with their labels, and those of "test" without, if their files are there.

    Each volume counts as a patient of its own, as the data sets name no patients.
    """
    description = _description(path)
    problems = []
    candidates = []
    for entry in description["training"]:
        pair = entry if isinstance(entry, dict) else {"image": entry}
        image = path / str(pair.get("image", "")).removeprefix("./")
        label = path / str(pair["label"]).removeprefix("./") if pair.get("label") else None
        if label is not None and not label.is_file():
            problems.append(Problem(stem(image), f"{label.name}: There is no such label file.", "Restore the file."))
            label = None
        mask = LabelSource(file_source(label)) if label is not None else None
        candidates.append(Candidate(stem(image), stem(image), (file_source(image),), mask))
    for entry in description.get("test", []):
        image = path / str(entry["image"] if isinstance(entry, dict) else entry).removeprefix("./")
        if image.is_file():
            candidates.append(Candidate(stem(image), stem(image), (file_source(image),)))
    names = description.get("labels", {})
    labels = {int(value): str(name) for value, name in names.items() if str(value).isdecimal() and int(value) > 0}
    return Draft(candidates, labels, problems)


LAYOUT = Layout("msd", "Medical Segmentation Decathlon: imagesTr, labelsTr and dataset.json.", _recognises, _read)
