"""Folders that label maps, scores and data sets are written to: nothing of anybody else is overwritten or mixed in."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, hash_file, read_json, write_json

RECORD = ".activesegmentation.json"
"""File that names what was written to a folder, with the SHA-256 of each file."""

_OF_THE_SYSTEM = {"thumbs.db", "desktop.ini"}


@contextlib.contextmanager
def output_folder(folder: Path, targets: Iterable[Path]) -> Iterator[None]:
    """Write files to a folder within this block.

    The folder is new, empty, or holds only what was written to it before and is still as it was written; hidden files
    do not count. A block that was killed can be run again.

    Args:
        folder: The folder; made when the first file is written.
        targets: Files that may be written, all below it.

    Raises:
        BadInput: If the folder holds files of other origin, or a file that would be replaced was changed meanwhile.
    """
    folder = Path(os.path.abspath(folder))
    names = [Path(os.path.abspath(target)).relative_to(folder).as_posix() for target in targets]
    known = _known(folder)
    _require_own(folder, known)
    for name in names:
        digest = known.get(name)
        if digest is not None and (folder / name).is_file() and hash_file(folder / name) != digest:
            advice = "Move it away to keep it, or choose another folder."
            raise BadInput("The file was changed after it was written here.", where=folder / name, advice=advice)
    write_json(folder / RECORD, {"files": known | dict.fromkeys(names)})
    try:
        yield
    finally:
        done = {name: hash_file(folder / name) for name in names if (folder / name).is_file()}
        rest = {name: digest for name, digest in known.items() if name not in names and (folder / name).is_file()}
        write_json(folder / RECORD, {"files": rest | done})


def _known(folder: Path) -> dict[str, str | None]:
    """Files that were written before, by their path in the folder, with their hashes; None where it was cut short."""
    with explained(folder):
        if not (folder / RECORD).is_file():
            return {}
    value = read_json(folder / RECORD)
    files = value.get("files") if isinstance(value, dict) else None
    if not isinstance(files, dict):
        advice = "Choose another folder, or remove this file and everything that was written."
        raise BadInput("The record of what was written here is damaged.", where=folder / RECORD, advice=advice)
    return files


def _require_own(folder: Path, known: Iterable[str]) -> None:
    own = set(known)
    with explained(folder):
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(place, name)
            if name.startswith(".") or name.lower() in _OF_THE_SYSTEM or path.relative_to(folder).as_posix() in own:
                continue
            advice = "Choose a new or an empty folder."
            message = f"The folder holds files that were not written by this program, such as {name}."
            raise BadInput(message, where=folder, advice=advice)
