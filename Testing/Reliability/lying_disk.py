"""A model of a disk that loses power: which states a folder can be in when the power comes back.

The model is strict. Until a file is synced, any of its bytes may be missing. Until a folder is synced, each change of
its entries (create, rename, delete) may have been lost or kept, independently of changes of other names. A rename is
atomic. This is what POSIX allows; real file systems promise more.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

CALLS = ("replace", "rename", "unlink", "mkdir", "rmdir", "fsync", "ftruncate")


class Killed(BaseException):
    """The process is dead: nothing that it does reaches the disk any more."""


@dataclass(frozen=True)
class Operation:
    """One change of folder entries: what becomes of each (folder, name); None means that the name is gone."""

    entries: tuple[tuple[tuple[int, str], int | None], ...]

    @property
    def names(self) -> set[tuple[int, str]]:
        return {name for name, _ in self.entries}


@dataclass(frozen=True)
class State:
    """What may be on disk: files by path relative to the watched folder; None for a folder."""

    files: dict[str, bytes | None]

    def write(self, target: Path) -> None:
        for name, content in sorted(self.files.items()):
            path = target / name
            if content is None:
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.write_bytes(content)


class LyingDisk:
    """Watches the file operations of this process below a folder, and computes what a power cut may leave.

    Attributes:
        dies_in: Number of file operations after which the process is killed, None for never.

    Args:
        root: The folder; what it holds at the start is on disk. Files that end in ".lock" do not count.
        cut: Called after each operation.
    """

    def __init__(self, root: Path, cut: Callable[[], None] = lambda: None) -> None:
        self.root = root
        self.cut = cut
        self.dies_in: int | None = None
        self._ids: dict[int, int] = {}
        self._next = itertools.count()
        self._folders: dict[int, dict[str, int]] = {}  # entries as programs see them
        self._contents: dict[int, bytes] = {}
        self._synced_contents: dict[int, bytes] = {}
        self._synced_folders: dict[int, dict[str, int]] = {}
        self._pending: list[Operation] = []
        self._top = self._scan()
        self._synced_folders = {folder: dict(entries) for folder, entries in self._folders.items()}
        self._synced_contents = dict(self._contents)
        self._pending = []

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for name in CALLS:
                stack.enter_context(mock.patch.object(os, name, self._watched(name, getattr(os, name))))
            yield
        self._scan()
        self.cut()

    def _watched(self, name, real):
        def call(*arguments, **options):
            if not self._concerns(arguments[0]):
                return real(*arguments, **options)
            if self.dies_in is not None:
                self.dies_in -= 1
                if self.dies_in < 0:
                    raise Killed
            self._scan()
            inode = os.fstat(arguments[0]).st_ino if name == "fsync" else None
            result = None if name == "fsync" else real(*arguments, **options)  # the model is the disk
            if name in ("replace", "rename"):
                self._renamed(Path(arguments[0]), Path(arguments[1]))
            self._scan()
            if inode is not None:
                self._sync(inode)
            self.cut()
            return result

        return call

    def _concerns(self, what) -> bool:
        if isinstance(what, int):
            inode = os.fstat(what).st_ino
            return any(inode == path.lstat().st_ino for path in (self.root, *self.root.rglob("*")))
        path = Path(os.path.abspath(what))
        return path.is_relative_to(self.root) and not path.name.endswith(".lock")

    # what programs see ---------------------------------------------------------------------------------------------

    def _scan(self) -> int:
        """Take note of what has changed since the last look: new and vanished names, and contents."""
        seen: dict[int, dict[str, int]] = {}
        present: set[int] = set()
        self._walk(self.root, seen, present)
        for folder in sorted(self._folders.keys() | seen.keys()):
            before, after = self._folders.get(folder, {}), seen.get(folder, {})
            for name in sorted(before.keys() | after.keys()):
                if before.get(name) != after.get(name) and (folder in seen or name in before):
                    self._pending.append(Operation((((folder, name), after.get(name)),)))
        self._folders = seen
        for inode in [inode for inode in self._ids if inode not in present]:
            del self._ids[inode]  # its number may be used again
        return self._ids[self.root.stat().st_ino]

    def _walk(self, folder: Path, seen: dict, present: set[int]) -> int:
        inode = folder.stat().st_ino
        present.add(inode)
        identity = self._identity(inode)
        entries = seen.setdefault(identity, {})
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.name.endswith(".lock"):
                continue
            if entry.is_dir(follow_symlinks=False):
                entries[entry.name] = self._walk(Path(entry.path), seen, present)
            else:
                number = entry.inode()
                present.add(number)
                entries[entry.name] = self._identity(number)
                self._contents[entries[entry.name]] = Path(entry.path).read_bytes()
        return identity

    def _identity(self, inode: int) -> int:
        if inode not in self._ids:
            self._ids[inode] = next(self._next)
        return self._ids[inode]

    def _renamed(self, source: Path, target: Path) -> None:
        """Note a rename as one operation, before the scan would see it as two."""
        old, new = self._folder_of(source), self._folder_of(target)
        identity = self._folders[old].pop(source.name)
        self._folders[new][target.name] = identity
        self._pending.append(Operation((((old, source.name), None), ((new, target.name), identity))))

    def _folder_of(self, path: Path) -> int:
        return self._ids[path.parent.stat().st_ino]

    # what is on disk -----------------------------------------------------------------------------------------------

    def _sync(self, inode: int) -> None:
        identity = self._ids.get(inode)
        if identity in self._folders:
            kept: list[Operation] = []
            done = [
                operation for operation in self._pending if any(folder == identity for folder, _ in operation.names)
            ]
            wanted = set().union(*(operation.names for operation in done)) if done else set()
            for operation in reversed(self._pending):  # and what they build on
                if operation in done or operation.names & wanted:
                    wanted |= operation.names
                else:
                    kept.insert(0, operation)
            for operation in self._pending:
                if operation not in kept:
                    _apply(operation, self._synced_folders)
            self._pending = kept
        elif identity is not None:
            self._synced_contents[identity] = self._contents[identity]

    def states(self, rng: random.Random, most: int) -> Iterator[State]:
        """States that a power cut at this moment may leave: the extremes, then random ones, ``most`` in all."""
        count = len(self._pending)
        if count <= 4:
            subsets = list(itertools.product((False, True), repeat=count))
        else:
            single = [tuple(n == m for m in range(count)) for n in range(count)]
            subsets = [(False,) * count, (True,) * count, *single, *(tuple(not kept for kept in one) for one in single)]
            subsets += [tuple(rng.random() < 0.5 for _ in range(count)) for _ in range(most)]
        variants = ("new", "old", "cut", "zeros", "mixed")
        choices = [(subset, variant) for subset in subsets for variant in variants]
        rng.shuffle(choices)
        for subset, variant in choices[:most]:
            yield self._state(subset, variant, rng)

    def _state(self, subset: tuple[bool, ...], variant: str, rng: random.Random) -> State:
        folders = {folder: dict(entries) for folder, entries in self._synced_folders.items()}
        lost: set[tuple[int, str]] = set()
        for operation, kept in zip(self._pending, subset, strict=True):
            if kept and not operation.names & lost:
                _apply(operation, folders)
            else:
                lost |= operation.names  # nothing later can happen to a name whose change is lost
        files: dict[str, bytes | None] = {}
        self._collect(self._top, "", folders, files, variant, rng)
        return State(files)

    def _collect(self, folder: int, place: str, folders: dict, files: dict, variant: str, rng: random.Random) -> None:
        for name, identity in folders.get(folder, {}).items():
            path = f"{place}{name}"
            if identity in self._contents:
                files[path] = self._content(identity, variant, rng)
            else:
                files[path] = None
                self._collect(identity, f"{path}/", folders, files, variant, rng)

    def _content(self, identity: int, variant: str, rng: random.Random) -> bytes:
        new, old = self._contents[identity], self._synced_contents.get(identity, b"")
        if new == old:
            return new
        if variant == "mixed":
            variant = rng.choice(["new", "old", "cut", "zeros"])
        same = next((n for n, (a, b) in enumerate(zip(new, old, strict=False)) if a != b), min(len(new), len(old)))
        length = rng.randrange(same, len(new) + 1)
        return {"new": new, "old": old, "cut": new[:length], "zeros": new[:length] + bytes(len(new) - length)}[variant]


def _apply(operation: Operation, folders: dict[int, dict[str, int]]) -> None:
    for (folder, name), identity in operation.entries:
        entries = folders.setdefault(folder, {})
        if identity is None:
            entries.pop(name, None)
        else:
            entries[name] = identity
