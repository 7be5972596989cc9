"""CHAOS (Kavur et al. 2021): DICOM series in DICOM_anon with PNG masks in Ground, CT and MR."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ActiveSegmentationLib.cohort.assembly import Candidate, Draft
from ActiveSegmentationLib.cohort.dicom.instances import looks_like_dicom, read_instance
from ActiveSegmentationLib.cohort.dicom.series import Series, only_volume
from ActiveSegmentationLib.cohort.layouts.base import Layout
from ActiveSegmentationLib.cohort.naming import natural_key
from ActiveSegmentationLib.cohort.roles import role_of_folders
from ActiveSegmentationLib.cohort.types import LabelSource, Problem, Source
from ActiveSegmentationLib.cohort.walking import walk
from ActiveSegmentationLib.common.errors import BadInput

CT = ((255, 1),)
MR = ((63, 1), (126, 2), (189, 3), (252, 4))
LABELS = {1: "liver", 2: "right kidney", 3: "left kidney", 4: "spleen"}
"""CT has labels of the liver only."""


def _series_folders(path: Path) -> list[Path]:
    found = {folder for file in walk(path).files for folder in file.parents if folder.name == "DICOM_anon"}
    return sorted((f for f in found if path in f.parents), key=lambda f: natural_key(f.as_posix()))


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
    files = [
        file for file in images.iterdir() if file.is_file() and not file.name.startswith(".") and looks_like_dicom(file)
    ]
    files.sort(key=lambda file: natural_key(file.name))
    if not files:
        raise BadInput("There is no DICOM file.", where=images, advice="Restore the series.")
    masks = sorted(ground.glob("*.png"), key=lambda file: natural_key(file.name)) if ground.is_dir() else []
    if masks and len(masks) != len(files):
        advice = "Restore the missing files."
        raise BadInput(f"{len(masks)} masks do not go with {len(files)} slices.", where=ground, advice=advice)
    instances = [found for file in files if (found := read_instance(file)) is not None]
    case = _case(images.relative_to(root))
    role = role_of_folders(images.relative_to(root).parts)
    candidate = replace(only_volume(root, Series(case, name, "", instances)), role=role)
    is_mr = instances[0].modality == "MR"
    if not masks:
        return candidate, is_mr
    mask_of = {str(file): str(mask) for file, mask in zip(files, masks, strict=True)}
    ordered = Source("frames", tuple(mask_of[path] for path in candidate.channels[0].paths))
    return replace(candidate, mask=LabelSource(ordered, None, MR if is_mr else CT)), is_mr


def _case(images: Path) -> str:
    """Patient of a series; CT and MR with the same number are of different patients."""
    parts = images.parts
    case = next((part for part in parts if part.isdecimal()), parts[0])
    modality = next((part for part in parts[: parts.index(case)] if part in ("CT", "MR")), None)
    return f"{modality}_{case}" if modality else case


LAYOUT = Layout("chaos", "CHAOS: DICOM_anon series with PNG masks in Ground.", _recognises, _read)
