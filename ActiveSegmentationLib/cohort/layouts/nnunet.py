"""nnU-Net raw data, versions 1 and 2 (Isensee et al. 2021): one file per channel (_0000), labelsTr, dataset.json."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.cohort.assembly import Candidate, Draft, file_source
from ActiveSegmentationLib.cohort.layouts.base import Layout
from ActiveSegmentationLib.cohort.layouts.description import (
    NAME,
    description_of,
    files_in,
    has_channel_files,
    listed_file,
    number_problem,
    part_folder,
)
from ActiveSegmentationLib.cohort.layouts.label_table import LabelTable, channel_count, label_table
from ActiveSegmentationLib.cohort.types import LabelSource, Problem, Role
from ActiveSegmentationLib.common.errors import BadInput


def _recognises(path: Path) -> bool:
    if not (path / NAME).is_file():
        return False
    description = description_of(path)
    if isinstance(description.get("dataset"), dict):
        return True
    if part_folder(path, "images", Role.POOL) is None:
        return False
    return bool({"channel_names", "file_ending"} & set(description)) or (
        has_channel_files(path) and not _lists_its_files(path, description)
    )


def _lists_its_files(path: Path, description: Mapping[str, Any]) -> bool:
    """Whether the first training entry names an existing file: it does in the Decathlon; version 1 leaves _0000 out."""
    entries = description.get("training")
    first = entries[0] if isinstance(entries, list) and entries else None
    name = first.get("image") if isinstance(first, dict) else first
    return isinstance(name, str) and listed_file(path, name) is not None


def _read(path: Path) -> Draft:
    """Cases of imagesTr (pool), imagesVa (validation) and imagesTs (test), or those that the field "dataset" lists.

    Cases without a label file are unlabelled. Pixels of a label called "ignore" are unlabelled.
    """
    description = description_of(path)
    labels = label_table(description, path / NAME)
    channels = channel_count(description, path / NAME)
    draft = Draft([], labels.names, list(labels.problems))
    listed = description.get("dataset")
    if listed is not None and not isinstance(listed, dict):
        advice = 'Write {"case": {"images": [...], "label": ...}}, or leave the field out.'
        raise BadInput("The field dataset is not an object.", where=path / NAME, advice=advice)
    if listed is not None:
        _read_listed(path, listed, channels, labels, draft)
    ending = _ending(path, description) if part_folder(path, "images", Role.POOL) or listed is None else ".nii.gz"
    for role in Role:
        if role != Role.POOL or listed is None:
            _read_part(path, role, ending, channels, labels, draft)
    known = {problem.where for problem in draft.problems if problem.severity == "error"}
    cases = {c.name for c in draft.candidates if c.role == Role.POOL} | known
    draft.problems += number_problem(description, len(cases))
    return draft


def _ending(path: Path, description: Mapping[str, Any]) -> str:
    """The files' ending: from the description, or (version 1 has none) that of most files with channel numbers."""
    folder = part_folder(path, "images", Role.POOL)
    if folder is None:
        raise BadInput("There is no folder imagesTr.", where=path, advice="Restore it, or name the layout.")
    stated = description.get("file_ending")
    if stated is not None and not isinstance(stated, str):
        advice = 'Write for example "file_ending": ".nii.gz".'
        raise BadInput("The field file_ending is not text.", where=path / NAME, advice=advice)
    names = [file.name for file in folder.iterdir() if not file.name.startswith(".")]
    endings = Counter(match[1] for name in names if (match := re.search(r"_\d{4}(\.[A-Za-z]\w*(?:\.\w+)*)$", name)))
    if stated is None:
        return endings.most_common(1)[0][0] if endings else ".nii.gz"
    ending = stated if stated.startswith(".") else f".{stated}"
    if endings and not any(name.lower().endswith(ending.lower()) for name in names):
        message = f"The field file_ending is {stated}, and no file of {folder.name} ends so."
        raise BadInput(message, where=path / NAME, advice=f"The files end in {endings.most_common(1)[0][0]}.")
    return ending


def _read_part(path: Path, role: Role, ending: str, channels: int | None, labels: LabelTable, draft: Draft) -> None:
    """The cases of one folder of images."""
    cases: dict[str, list[Path]] = {}
    for file in files_in(part_folder(path, "images", role), ending):
        match = re.fullmatch(r"(.+)_(\d{4})", file.name[: -len(ending)])
        if match is None:
            where = file.relative_to(path).as_posix()
            advice = f"Rename it to CASE_0000{ending}."
            draft.problems.append(Problem(where, "The file name has no channel number.", advice))
            continue
        cases.setdefault(match[1], []).append(file)
    own = {file.name[: -len(ending)]: file for file in files_in(part_folder(path, "labels", role), ending)}
    for name, files in cases.items():
        label = own.pop(name, None)
        numbers = [int(file.name[: -len(ending)][-4:]) for file in files]
        if numbers != list(range(len(files))):
            wanted = max(channels or 0, max(numbers) + 1)
            message = f"{len(files)} of {wanted} channel files are there."
            draft.problems.append(Problem(name, message, "Restore the missing channel files."))
            draft.aside += [*files, *([label] if label else [])]
            continue
        draft.candidates.append(_candidate(name, files, label, role, channels, labels))
    for file in own.values():
        where = file.relative_to(path).as_posix()
        draft.problems.append(Problem(where, "The label file does not belong to an image.", "Restore the image files."))


def _read_listed(path: Path, listed: Mapping[str, Any], channels: int | None, labels: LabelTable, draft: Draft) -> None:
    """The cases of the field "dataset": {case: {"images": [...], "label": ...}}."""
    for name, entry in listed.items():
        images = entry.get("images") if isinstance(entry, dict) else None
        label = entry.get("label") if isinstance(entry, dict) else None
        names = [images] if isinstance(images, str) else images
        if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in [*names, label or ""]):
            message = f"{NAME}: The field dataset['{name}'] has no list images."
            draft.problems.append(Problem(name, message, 'Write {"images": [...], "label": ...}.'))
            continue
        files = [listed_file(path, image) for image in names]
        missing = [image for image, file in zip(names, files, strict=True) if file is None]
        if missing:
            draft.problems.append(Problem(name, f"There is no file {missing[0]}.", "Restore the file."))
            continue
        mask = listed_file(path, label) if label else None
        if label and mask is None:
            message = f"{label}: There is no such label file."
            draft.problems.append(Problem(name, message, "Restore the file; the volume is used without labels."))
        found = [file for file in files if file is not None]
        draft.candidates.append(_candidate(name, found, mask, Role.POOL, channels, labels))


def _candidate(
    name: str, files: list[Path], label: Path | None, role: Role, channels: int | None, labels: LabelTable
) -> Candidate:
    return Candidate(
        patient=name,
        name=name,
        channels=tuple(file_source(file) for file in files),
        mask=LabelSource(file_source(label), labels.ignore, labels.values) if label else None,
        role=role,
        expected_channels=channels,
    )


LAYOUT = Layout("nnunet", "nnU-Net raw: imagesTr with _0000 channels, labelsTr, dataset.json.", _recognises, _read)
