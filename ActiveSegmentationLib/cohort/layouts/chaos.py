"""CHAOS (Kavur et al. 2021): DICOM series in DICOM_anon with PNG masks in Ground, CT and MR."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ActiveSegmentationLib.cohort.assembly import Candidate, Draft, slice_position
from ActiveSegmentationLib.cohort.headers import read_tags
from ActiveSegmentationLib.cohort.layouts.base import Layout
from ActiveSegmentationLib.cohort.layouts.dicom import is_dicom
from ActiveSegmentationLib.cohort.naming import natural_key
from ActiveSegmentationLib.cohort.types import LabelSource, Problem, Source
from ActiveSegmentationLib.common.errors import BadInput

CT = ((255, 1),)
MR = ((63, 1), (126, 2), (189, 3), (252, 4))
LABELS = {1: "liver", 2: "right kidney", 3: "left kidney", 4: "spleen"}
"""CT has the liver alone."""


def _series_folders(path: Path) -> list[Path]:
    return sorted((f for f in path.rglob("DICOM_anon") if f.is_dir()), key=lambda f: natural_key(f.as_posix()))


def _recognises(path: Path) -> bool:
    return path.is_dir() and bool(_series_folders(path))


def _read(path: Path) -> Draft:
    """Every series; its PNG masks belong to its files in the order of their names, as the challenge stores them."""
    candidates: list[Candidate] = []
    problems: list[Problem] = []
    modalities = set()
    for folder in _series_folders(path):
        subfolders = [f for f in sorted(folder.iterdir()) if f.is_dir()]  # MR: InPhase and OutPhase share the masks
        for images in subfolders or [folder]:
            name = "_".join(part for part in images.relative_to(path).parts if part != "DICOM_anon")
            try:
                candidate, is_mr = _candidate(images, folder.parent / "Ground", name, path)
            except BadInput as error:
                problems.append(Problem(name, f"{error.where}: {error.message}", error.advice))
                continue
            modalities.add(is_mr)
            candidates.append(candidate)
    return Draft(candidates, dict(LABELS) if True in modalities else {1: "liver"}, problems)


def _candidate(images: Path, ground: Path, name: str, root: Path) -> tuple[Candidate, bool]:
    files = [file for file in images.iterdir() if file.is_file() and not file.name.startswith(".") and is_dicom(file)]
    files.sort(key=lambda file: natural_key(file.name))
    if not files:
        raise BadInput("There is no DICOM file.", where=images, advice="Restore the series.")
    masks = sorted(ground.glob("*.png"), key=lambda file: natural_key(file.name)) if ground.is_dir() else []
    if masks and len(masks) != len(files):
        advice = "Restore the missing files."
        raise BadInput(f"{len(masks)} masks do not go with {len(files)} slices.", where=ground, advice=advice)
    order = _order(files)
    is_mr = read_tags(files[0], ["0008|0060"]).get("0008|0060", "CT") == "MR"
    mask = None
    if masks:
        ordered = Source("frames", tuple(str(masks[n]) for n in order))
        mask = LabelSource(ordered, None, MR if is_mr else CT)
    patient = images.relative_to(root).parts
    case = next((part for part in patient if part.isdecimal()), patient[0])
    source = Source("series", tuple(str(files[n]) for n in order))
    return Candidate(case, name, (source,), mask), is_mr


def _order(files: list[Path]) -> list[int]:
    """Places of the files along the normal of their planes."""
    positions = np.array([slice_position(file) for file in files])
    cosines = read_tags(files[0], ["0020|0037"]).get("0020|0037", "1\\0\\0\\0\\1\\0").split("\\")
    rows, columns = np.array(cosines, dtype=float).reshape(2, 3)
    return [int(n) for n in np.argsort(positions @ np.cross(rows, columns), kind="stable")]


LAYOUT = Layout("chaos", "CHAOS: DICOM_anon series with PNG masks in Ground.", _recognises, _read)
