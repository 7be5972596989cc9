"""Words in names that stand for the roles training, validation and test."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ActiveSegmentationLib.cohort.types import Role

_WORDS = {
    Role.POOL: ("train", "training", "tr", "pool"),
    Role.VALIDATION: ("val", "valid", "validation", "va", "dev"),
    Role.TEST: ("test", "testing", "ts"),
}
_ROLE_OF = {word: role for role, words in _WORDS.items() for word in words}
_SORTING = {
    *("image", "images", "img", "imgs", "label", "labels", "mask", "masks", "gt", "seg", "segmentation"),
    *("segmentations", "set", "sets", "data", "dataset", "part", "cases", "volumes", "scribble", "scribbles"),
}
"""Words that accompany them in names of folders: imagesTs, TestSet, test_labels."""


def role_of_word(word: str) -> Role | None:
    """The role of a word in a table or a split file (train, val, test ... in any case), or None."""
    return _ROLE_OF.get(word.strip().casefold())


def split_name(folder: str) -> list[str]:
    """The words of a name in lower case: "imagesTs" has images and ts, "Test-Set" test and set."""
    return [word.casefold() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+", folder)]


def role_of_folder(folder: str) -> Role | None:
    """The role of a folder by its name, as imagesTs, TestSet, validation or test_images do, or None."""
    words = split_name(folder)
    roles = [_ROLE_OF[word] for word in words if word in _ROLE_OF]
    others = [word for word in words if word not in _ROLE_OF and word not in _SORTING]
    return roles[0] if len(roles) == 1 and not others else None


def role_of_folders(folders: Iterable[str]) -> Role:
    """The role by the folders above a file, the innermost one that has a role; the pool where none has."""
    said = [role for role in map(role_of_folder, folders) if role is not None]
    return said[-1] if said else Role.POOL
