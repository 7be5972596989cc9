"""Shared by the readers of dataset.json (Medical Segmentation Decathlon, nnU-Net, AMOS)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.cohort.naming import IMAGE_SUFFIXES, image_suffix, natural_key, spellings, stem
from ActiveSegmentationLib.cohort.types import Problem, Role
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.text import read_any_json

NAME = "dataset.json"

PARTS = {
    Role.POOL: ("Tr", ("training", "train")),
    Role.VALIDATION: ("Va", ("validation", "val")),
    Role.TEST: ("Ts", ("test", "testing")),
}
"""End of the folders' names (imagesTr, labelsTr), and names of the lists, of each role."""

CHANNEL = re.compile(r"(.+)_(\d{4})")
"""Stem of a channel file."""


def description_of(path: Path) -> dict[str, Any]:
    """The content of the dataset.json in a folder.

    Raises:
        BadInput: If it is not a JSON object.
    """
    value = read_any_json(path / NAME)
    if not isinstance(value, dict):
        raise BadInput("The description is not a JSON object.", where=path / NAME, advice="Restore the file.")
    return value


def part_folder(path: Path, kind: str, role: Role) -> Path | None:
    """The folder imagesTr, labelsTs ... of a data set, in any case, or None."""
    name = f"{kind}{PARTS[role][0]}".casefold()
    return next(
        (folder for folder in sorted(path.iterdir()) if folder.name.casefold() == name and folder.is_dir()), None
    )


def files_in(folder: Path | None, ending: str | None = None) -> list[Path]:
    """Visible files of a folder in natural order: those of an ending, in any case, or otherwise volume files."""
    if folder is None:
        return []
    found = [file for file in folder.iterdir() if not file.name.startswith((".", "~")) and file.is_file()]
    fits = [file for file in found if (file.name.lower().endswith(ending.lower()) if ending else image_suffix(file))]
    return sorted(fits, key=lambda file: natural_key(file.name))


def has_channel_files(path: Path) -> bool:
    """Whether files of imagesTr carry channel numbers (case_0000.nii.gz)."""
    folder = part_folder(path, "images", Role.POOL)
    return folder is not None and any(re.search(r"_\d{4}\.\w", file.name) for file in folder.iterdir())


def listed_file(path: Path, name: str) -> Path | None:
    """The file that a description names, with "/" or "\\", from the folder or from its root; .nii for .nii.gz too."""
    names = spellings(name.strip().replace("\\", "/"))
    for spelled in [path / way for plain in names for way in (plain, plain.lstrip("/"))]:
        if spelled.is_file():
            return path / spelled.relative_to(path) if spelled.is_relative_to(path) else spelled
        for suffix in IMAGE_SUFFIXES:
            other = spelled.with_name(f"{stem(spelled)}{suffix}")
            if image_suffix(spelled) and other.is_file():
                return other
    return None


def number_problem(description: Mapping[str, Any], found: int) -> list[Problem]:
    """A warning where numTraining is not the number of training cases."""
    stated = description.get("numTraining")
    if stated is None or str(stated) == str(found):
        return []
    message = f"The field numTraining is {stated}, and {found} training cases are there."
    return [Problem(NAME, message, "Check that no case is missing, and correct the field.", "warning")]
