"""Lists the files in a folder: links are followed once, dead links and unreadable folders are reported."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from ActiveSegmentationLib.cohort.naming import image_suffix, is_hidden, natural_key
from ActiveSegmentationLib.cohort.types import Problem

_KNOWN: ContextVar[dict[Path, FoundFiles] | None] = ContextVar("walked folders", default=None)


@dataclass(frozen=True)
class FoundFiles:
    """The content of a folder.

    Attributes:
        files: Every visible file, absolute, in natural order of the paths below the folder.
        problems: Dead links, unreadable folders, links to a folder that was read already, names that are not valid
            text; ``where`` is the path below the folder.
    """

    files: tuple[Path, ...]
    problems: tuple[Problem, ...]


def walk(root: Path) -> FoundFiles:
    """Find every visible file below a folder.

    Linked files and linked folders count like others. A folder that can be reached by several ways (a link to a
    folder of the same tree, a loop) is read once, by its own name where it has one in the tree. Hidden files, system
    folders such as ``__MACOSX`` and ``Thumbs.db`` are left out.

    Raises:
        OSError: If the folder itself cannot be read.
    """
    known = _KNOWN.get()
    if known is None:
        return _Walk(root).run()
    if root not in known:
        known[root] = _Walk(root).run()
    return known[root]


@contextlib.contextmanager
def walking_once() -> Iterator[None]:
    """Within this block every folder is listed once, however many layouts use it."""
    token = _KNOWN.set({})
    try:
        yield
    finally:
        _KNOWN.reset(token)


def volume_files(folder: Path) -> list[Path]:
    """All volume files below a folder in natural order; linked folders are followed, hidden files left out."""
    return [path for path in walk(folder).files if image_suffix(path)]


class _Walk:
    """One pass over a tree: own folders first, linked ones after them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: list[Path] = []
        self._problems: list[Problem] = []
        self._known: dict[tuple[int, int], Path] = {}
        self._linked: list[Path] = []

    def run(self) -> FoundFiles:
        """Read all folders."""
        os.scandir(self._root).close()  # an unreadable root is an error of the caller
        self._enter(self._root)
        while self._linked:
            folder = self._linked.pop(0)
            seen = self._known.get(_identity(folder))
            if seen is None:
                self._enter(folder)
            else:
                name = "the cohort's own folder" if seen == self._root else self._name(seen)
                self._tell(folder, f"The link leads to {name}, which is read already.", "Nothing is lost.", "warning")
        ordered = sorted(self._files, key=lambda path: natural_key(path.relative_to(self._root).as_posix()))
        return FoundFiles(tuple(ordered), tuple(self._problems))

    def _enter(self, top: Path) -> None:
        pending = [top]
        while pending:
            folder = pending.pop()
            self._known[_identity(folder)] = folder
            try:
                with os.scandir(folder) as entries:
                    ordered = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                self._tell(
                    folder, f"The folder cannot be read ({error.strerror}).", "Give yourself permission to read."
                )
                continue
            pending += [Path(entry.path) for entry in ordered if self._sort_in(entry)]

    def _sort_in(self, entry: os.DirEntry[str]) -> bool:
        """Add a file, or postpone a linked folder; returns whether the entry is a folder of the tree itself."""
        path = Path(entry.path)
        if is_hidden(path, self._root):
            return False
        if not is_text(entry.name):
            self._tell(path, "The name is not valid text (UTF-8).", "Rename the file or folder.")
            return False
        try:
            if not entry.is_symlink():
                if not entry.is_dir():
                    self._add(path)
                return entry.is_dir()
            path.stat()
        except OSError as error:
            self._tell(path, *_why_dead(error))
            return False
        if path.is_dir():
            self._linked.append(path)
        else:
            self._add(path)
        return False

    def _add(self, path: Path) -> None:
        if path.is_file():
            self._files.append(path)
        elif image_suffix(path):  # reading it would wait for ever, or never end
            self._tell(path, "This is a pipe, socket or device and not a file.", "Remove it, or name a file.")

    def _tell(self, path: Path, message: str, advice: str, severity: str = "error") -> None:
        self._problems.append(Problem(self._name(path), message, advice, severity))  # type: ignore[arg-type]

    def _name(self, path: Path) -> str:
        name = path.relative_to(self._root).as_posix()
        return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _why_dead(error: OSError) -> tuple[str, str]:
    """Message and advice for a dead link."""
    if error.errno == errno.ELOOP:
        return "The link leads to itself.", "Remove it, or let it point to the file."
    if isinstance(error, PermissionError):
        return "The link leads to where you may not read.", "Give yourself permission to read."
    advice = "Restore the file it points to (for git-annex or DataLad: get its content), or remove the link."
    return "The link is dead: its target does not exist.", advice


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def is_text(name: str) -> bool:
    """Whether a name can be written as UTF-8; on Linux it may be any bytes."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
