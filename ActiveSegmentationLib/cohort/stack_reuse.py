"""Reuses volumes that other stacks in the cache have prepared in the same way.

Leaving a broken volume out of a cohort, or adding one, changes the stack; the other volumes need no second reading.
"""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.cohort.stack_checks import CHECKSUM, checksums, damaged_volumes
from ActiveSegmentationLib.cohort.stack_files import FORMAT, IMAGES, RECORD, read_record, truth_file, whole_file
from ActiveSegmentationLib.cohort.stack_preparation import PreparedVolume
from ActiveSegmentationLib.cohort.types import Problem
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import ONE_ARRAY, explained, read_fields, remove_tree, write_json

PARTIAL = ".partial"
"""Suffix of the folder of an unfinished stack."""

DONE = "done"
"""Folder of an unfinished stack that holds the record of each finished volume."""


@dataclass(frozen=True)
class Reusable:
    """A prepared volume in the folder of another stack.

    Attributes:
        folder: The folder.
        record: The stack's record of the volume.
    """

    folder: Path
    record: dict[str, Any]

    def read(self) -> PreparedVolume | None:
        """The volume's slices and labels, or None if they are no longer available.

        Another process may finish, move or remove that stack at any time, and its files may be damaged; the volume is
        then prepared from the images again.
        """
        try:
            with ONE_ARRAY:
                images = np.load(self.folder / IMAGES, mmap_mode="r")[self.record["start"] : self.record["stop"]]
                truth = self._truth()
                large = "whole" in self.record
                whole = np.load(whole_file(self.folder, self.record["id"])) if large else None
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None
        if CHECKSUM in self.record and checksums(images, whole) != self.record[CHECKSUM]:
            return None
        blank = np.zeros(len(images), dtype=bool)
        blank[self.record["blank"]] = True
        problems = tuple(Problem(**problem) for problem in self.record["problems"])
        return PreparedVolume(np.ascontiguousarray(images), whole, blank, truth, problems)

    def _truth(self) -> dict[str, np.ndarray]:
        path = truth_file(self.folder, self.record["id"])
        if not self.record["labels"]:
            return {}
        with np.load(path) as arrays:
            return {kind: arrays[kind] for kind in self.record["labels"]}


def find_reusable(caches: Iterable[Path], skip: Path) -> dict[str, Reusable]:
    """Prepared volumes in all stacks of some caches, by their key.

    Args:
        caches: Folders of stacks.
        skip: Folder of the stack that is being built.
    """
    found: dict[str, Reusable] = {}
    folders = [path for cache in caches for path in sorted(cache.iterdir()) if path.is_dir() and path != skip]
    for folder in folders:
        for record in _records(folder):
            found[record["key"]] = Reusable(folder, record)
    return found


def take_back(folder: Path, unfinished: Path) -> None:
    """Make a finished stack an unfinished one that lacks the volumes that are damaged; the caller holds its lock.

    Args:
        folder: Its folder.
        unfinished: The folder that it gets; what is there is deleted.

    Raises:
        BadInput: If the folder cannot be changed.
    """
    remove_tree(unfinished)
    try:
        damaged = set(damaged_volumes(folder))
        records = [record for record in read_record(folder)["volumes"] if record["id"] not in damaged]
    except BadInput:  # no volume can be told from the others
        remove_tree(folder)
        return
    for record in records:
        write_json(folder / DONE / f"{record['id']}.json", record)
    with explained(folder):
        os.replace(folder, unfinished)


def remove_superseded(cache: Path, keys: set[str]) -> None:
    """Delete unfinished stacks whose finished volumes are all among ``keys`` and that no process works on."""
    from filelock import FileLock, Timeout

    for folder in cache.glob(f"*{PARTIAL}"):
        if not {record["key"] for record in _records(folder)} <= keys:
            continue
        lock = FileLock(cache / f"{folder.name.removesuffix(PARTIAL)}.lock")
        with explained(folder), contextlib.suppress(Timeout), lock.acquire(timeout=0):
            remove_tree(folder)


def _records(folder: Path) -> list[dict[str, Any]]:
    try:
        if folder.name.endswith(PARTIAL):
            return [read_fields(path, "key") for path in sorted((folder / DONE).glob("*.json"))]
        record = read_fields(folder / RECORD) if (folder / RECORD).is_file() else {}
    except BadInput:  # moved or deleted by another process, or damaged
        return []
    return record["volumes"] if record.get("format") == FORMAT else []
