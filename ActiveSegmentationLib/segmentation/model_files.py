"""Files of trained models and ensembles; reads all but the weights, without PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import read_fields
from ActiveSegmentationLib.segmentation.settings import TrainingSettings
from ActiveSegmentationLib.training import ModelFiles

FILES = ModelFiles("model", format=1, advice="Use the version of the program that wrote it, or train again.")
"""Files of a single model."""

ENSEMBLE_LIST = "ensemble.json"
"""File that names the members of an ensemble by their keys."""

HISTORY = "history.json"
"""File with the losses of a training, next to its model."""

MEMBER = "member-"
"""Start of the name of a member's folder."""


def is_trained(folder: Path) -> bool:
    """Whether ``fit_ensemble`` ever finished in this folder; a later training that was interrupted changes nothing."""
    return trained_key(folder) is not None


def trained_key(folder: Path) -> str | None:
    """Key of the last ensemble that ``fit_ensemble`` finished in this folder, or None; reads no weights."""
    if not (folder / ENSEMBLE_LIST).exists() or None in member_folders(folder):
        return None
    return str(_listed(folder)["key"])


def member_settings(folder: Path) -> list[TrainingSettings]:
    """How each member of the ensemble in a folder was trained; reads no weights.

    Raises:
        BadInput: If the description of a member is damaged.
    """
    descriptions = [FILES.read_description(member) for member in member_folders(folder) if member is not None]
    return [TrainingSettings.from_json(about["settings"]) for about in descriptions]


def member_folder(folder: Path, key: str) -> Path:
    """Folder of the ensemble member with this key."""
    return folder / f"{MEMBER}{key[:16]}"


def member_folders(folder: Path) -> list[Path | None]:
    """Folders of the members of the ensemble in a folder, None for a member that is missing."""
    return [_existing(folder, number, key) for number, key in enumerate(_listed(folder)["members"])]


def _listed(folder: Path) -> dict[str, Any]:
    path = folder / ENSEMBLE_LIST
    found = read_fields(path, "key", "members")
    if not isinstance(found["members"], list) or not all(isinstance(key, str) for key in found["members"]):
        raise BadInput("The list of models is damaged.", where=path, advice="Restore the file, or train again.")
    return found


def _existing(folder: Path, number: int, key: str) -> Path | None:
    """The folder of a listed member; older studies name it by its number."""
    candidates = (member_folder(folder, key), folder / f"{MEMBER}{number}")
    return next((candidate for candidate in candidates if FILES.saved_key(candidate) == key), None)
