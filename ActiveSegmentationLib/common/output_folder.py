"""Output folders for label maps, scores and data sets, in which no other file is overwritten."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ActiveSegmentationLib.common.durability import sweep
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, hash_file, read_json, write_json

RECORD = ".activesegmentation.json"
"""File that lists what was written to a folder: SHA-256, content and study of each file."""

_OF_THE_SYSTEM = {"thumbs.db", "desktop.ini"}


@contextlib.contextmanager
def output_folder(
    folder: Path, targets: Iterable[Path], holds: str, owner: str, *, whole: bool = False
) -> Iterator[None]:
    """Write files to a folder within this block.

    The folder must be new, empty, or contain only earlier output; hidden files do not count. A file is replaced only by
    the same kind of content, and only if it is unchanged since it was written. A block that was killed can be run
    again; its temporary files are deleted then.

    Args:
        folder: The folder; it is created with the first file.
        targets: Files that may be written, all within the folder.
        holds: Their content in words ("predictions").
        owner: Id of the study that they are from.
        whole: Whether the targets form a complete data set, so that other files of an earlier one are deleted.

    Raises:
        BadInput: If the folder contains other files, or a file that would be replaced was changed, has other content,
            or is from another study.
    """
    folder = Path(os.path.abspath(folder))
    names = [Path(os.path.abspath(target)).relative_to(folder).as_posix() for target in targets]
    known = _known(folder)
    _require_own(folder, known)
    with explained(folder):
        for place in {folder, *((folder / name).parent for name in names)}:
            sweep(place)
    stale = [name for name, entry in known.items() if whole and name not in names and entry[1:] == [holds, owner]]
    for name in (*names, *stale):
        if name in known and (folder / name).is_file():
            _require_replaceable(folder / name, known[name], holds, owner)
    for name in stale:
        (folder / name).unlink(missing_ok=True)
    write_json(folder / RECORD, {"files": known | {name: [None, holds, owner] for name in names}})
    try:
        yield
    finally:
        there = [name for name in names if (folder / name).is_file()]
        rest = {name: entry for name, entry in known.items() if name not in names and (folder / name).is_file()}
        done = {name: [hash_file(folder / name), holds, owner] for name in there}
        write_json(folder / RECORD, {"files": rest | done})


def _require_replaceable(file: Path, entry: list[str | None], holds: str, owner: str) -> None:
    digest, held, of = entry
    advice = "Move it away to keep it, or choose another folder."
    if (held, of) != (holds, owner):
        origin = held if of == owner else f"{held} of another study"
        raise BadInput(f"The file holds {origin} and would be replaced by {holds}.", where=file, advice=advice)
    if digest is not None and hash_file(file) != digest:
        raise BadInput("The file was changed after it was written here.", where=file, advice=advice)


def _known(folder: Path) -> dict[str, list[str | None]]:
    """Files that were written before, by their path in the folder: SHA-256 (None after an interrupted run), content and
    study.
    """
    with explained(folder):
        if not (folder / RECORD).is_file():
            return {}
    value = read_json(folder / RECORD)
    files = value.get("files") if isinstance(value, dict) else None
    if not isinstance(files, dict) or not all(isinstance(entry, list) and len(entry) == 3 for entry in files.values()):
        advice = "Choose another folder, or delete this file and all earlier output."
        raise BadInput("The list of files that were written here is damaged.", where=folder / RECORD, advice=advice)
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
            advice = "Choose a new or empty folder."
            message = f"The folder holds files that were not written by this program, such as {name}."
            raise BadInput(message, where=folder, advice=advice)
