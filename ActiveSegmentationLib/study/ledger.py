"""Atomic changes of the study folder, each with its audit records.

A change replaces one file (the target), moves prepared files into place, and appends audit records. It takes effect
when the target is replaced. A journal is written first. After a crash, the change is finished if the target has the new
content; otherwise the prepared files are removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.common.durability import sync_above
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, hash_file, read_json, write_bytes, write_json
from ActiveSegmentationLib.common.parsing import parsing
from ActiveSegmentationLib.study.chain import HashChain
from ActiveSegmentationLib.study.locks import file_lock
from ActiveSegmentationLib.study.times import now

FILES = "files"
"""Field of an audit record with the SHA-256 of every file that the change has written, by path in the study."""

WAIT = 30.0
"""Seconds to wait for another process that writes to the same chain; a commit takes well under one."""


@dataclass(frozen=True)
class Change:
    """One change of the study folder.

    Attributes:
        target: File to replace.
        content: Its new content.
        events: Audit records to append, each with "event" and fields of its own.
        moves: Pairs (prepared file, its destination).
        kept: Further files that belong to the change; their hashes are recorded too.
    """

    target: Path
    content: bytes
    events: Sequence[dict[str, Any]]
    moves: Sequence[tuple[Path, Path]] = ()
    kept: Sequence[Path] = ()


class Ledger:
    """Makes changes of a study folder, with one chain of audit records per writer.

    Args:
        folder: Folder of the study.
        study_id: Id of the study, bound into every chain.

    Attributes:
        study_id: Id of the study.
        damaged: What could not be finished or undone by the last ``recover``.
    """

    def __init__(self, folder: Path, study_id: str) -> None:
        self.study_id = study_id
        self._study = folder
        self._folder = folder / "audit"
        self._synced: set[Path] = set()
        self.damaged: list[BadInput] = []

    def chain(self, stem: str) -> HashChain:
        """The audit chain of the writer with this file stem."""
        return HashChain(self._folder / f"{stem}.jsonl", (self.study_id, stem))

    def stems(self) -> list[str]:
        """File stems of all writers so far, sorted."""
        with explained(self._folder):
            names = [path.name for path in self._folder.iterdir()] if self._folder.is_dir() else []
        found = {name.removesuffix(end) for name in names for end in (".jsonl", ".journal.json") if name.endswith(end)}
        return sorted(stem for stem in found if "." not in stem)

    @contextlib.contextmanager
    def writing(self, stem: str, wait: float = WAIT) -> Iterator[Writer]:
        """Be the only writer of this chain within the block; changes that a crash interrupted are finished or undone
        first.

        Raises:
            BadInput: If another process writes to it for longer than ``wait`` seconds, or its last record is damaged.
        """

        with self.reading(stem, wait):
            writer = Writer(self._study, self.chain(stem), self._journal(stem), self._synced)
            writer.settle()
            self.chain(stem).last()
            yield writer

    @contextlib.contextmanager
    def reading(self, stem: str, wait: float) -> Iterator[None]:
        """Keep other processes from writing to this chain within the block.

        Raises:
            BadInput: If another process writes to it for longer than ``wait`` seconds.
        """

        def busy() -> BadInput:
            advice = "Let the other program finish, and give every annotator a different name."
            return BadInput(f"Another process is writing as '{stem}'.", where=self._study, advice=advice)

        with file_lock(self._folder / f".{stem}.lock", wait, busy):
            yield

    def recover(self) -> None:
        """Finish or undo interrupted changes of all chains.

        Chains that are in use are skipped. Damaged chains and journals are noted in ``damaged``: they stop what their
        own annotator does, not the others.
        """
        self.damaged = []
        for stem in self.unsettled():
            lock = file_lock(self._folder / f".{stem}.lock", 0, lambda: _Busy("The chain is in use."))
            try:
                with lock:
                    writer = Writer(self._study, self.chain(stem), self._journal(stem), self._synced)
                    writer.settle()
                    writer.repair()
            except _Busy:
                continue
            except BadInput as problem:
                self.damaged.append(problem)

    def unsettled(self) -> list[str]:
        """Stems of the chains with an unfinished change or an incomplete last line."""
        return [stem for stem in self.stems() if stem in self.interrupted() or self.chain(stem).is_torn()]

    def interrupted(self) -> list[str]:
        """Stems of the chains with an unfinished change."""
        return [stem for stem in self.stems() if self._journal(stem).is_file()]

    def _journal(self, stem: str) -> Path:
        return self._folder / f"{stem}.journal.json"


def sweep(*paths: Path) -> None:
    """Remove temporary files of killed writers next to these files; requires the writer's lock."""
    for folder in {path.parent for path in paths}:
        names = {path.name for path in paths if path.parent == folder}
        with explained(folder):
            for left in folder.glob(".tmp-*") if folder.is_dir() else ():
                if left.name.split("-", 2)[-1] in names:
                    left.unlink()


class _Busy(BadInput):
    """The lock is held by another writer."""


class Writer:
    """The only writer of one chain, as given by ``Ledger.writing``.

    Args:
        study: Folder of the study.
        chain: The audit chain.
        journal: Path of its journal.
        synced: Folders whose entry is known to be on disk; added to.
    """

    def __init__(self, study: Path, chain: HashChain, journal: Path, synced: set[Path]) -> None:
        self._study = study
        self._chain = chain
        self._journal = journal
        self._synced = synced

    def apply(self, change: Change) -> None:
        """Make the change; after an error or a crash, ``settle`` finishes or undoes it.

        Raises:
            BadInput: If a file cannot be written.
            JobFailed: If the disk is full.
        """
        transaction = uuid.uuid4().hex
        events = [{"time": now(), **event, "transaction": transaction} for event in change.events]
        prepared = {source: hash_file(source) for source, _ in change.moves}
        target = {self._relative(change.target): hashlib.sha256(change.content).hexdigest()}
        moved = {self._relative(place): prepared[source] for source, place in change.moves}
        kept = {self._relative(path): hash_file(path) for path in change.kept if path != change.target}
        events[-1][FILES] = {**kept, **moved, **target}
        journal = {
            "target": self._relative(change.target),
            "sha256": target[self._relative(change.target)],
            "moves": [[self._relative(source), self._relative(place)] for source, place in change.moves],
            "prepared": {self._relative(source): digest for source, digest in prepared.items()},
            "events": events,
        }
        write_json(self._journal, journal)
        write_bytes(change.target, change.content)
        self._sync_above(change.target.parent)
        self._finish(journal, events)

    def _sync_above(self, folder: Path) -> None:
        """Sync the entries of a folder once: another annotator may have created it a moment ago."""
        if folder not in self._synced and folder != self._study:
            with explained(folder):
                sync_above(folder, self._study)
            self._synced.add(folder)

    def append(self, events: Sequence[dict[str, Any]], files: Sequence[Path] = ()) -> None:
        """Append audit records without changing a file.

        Args:
            events: The records.
            files: Files whose hashes go into the last record.
        """
        recorded = {self._relative(path): hash_file(path) for path in files}
        self._chain.append([*events[:-1], {**events[-1], **({FILES: recorded} if recorded else {})}])

    def settle(self) -> None:
        """Finish or undo the change that a crash interrupted, if there is one.

        Raises:
            BadInput: If the journal is damaged or names files outside the study.
        """
        sweep(self._journal, self._chain.path)
        if not self._journal.is_file():
            return
        journal = read_json(self._journal)
        advice = "The command repair sets it aside; at most the change that was being written is missing then."
        with parsing(self._journal, "The journal is damaged.", advice, reason=False):
            target = self._inside(journal["target"])
            done = target.is_file() and hash_file(target) == journal["sha256"]
            if done:
                self._finish(journal, self._missing(journal["events"]))
            else:
                self._undo(journal)

    def repair(self) -> None:
        """Move an incomplete last line of the chain aside, and record it."""
        if self._chain.is_torn():
            self._chain.append([])

    def _finish(self, journal: dict[str, Any], events: list[dict[str, Any]]) -> None:
        for source, place in journal["moves"]:
            prepared = self._inside(source)
            with explained(prepared):
                if prepared.is_file() and self._is_of(journal, source):
                    os.replace(prepared, self._inside(place))
        self._chain.append(events)
        self._drop_journal()

    def _is_of(self, journal: dict[str, Any], source: str) -> bool:
        """Whether a prepared file belongs to this change.

        After a power cut, the journal of a finished change may be back while the file is that of the next change.
        """
        wanted = journal.get("prepared", {})  # journals of older versions have none
        return source not in wanted or hash_file(self._inside(source)) == wanted[source]

    def _missing(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Events of a change that are missing from the chain after a crash."""
        transactions = {event["transaction"] for event in events}
        written = sum(record.get("transaction") in transactions for record in self._chain.records())
        return events[written:]

    def _undo(self, journal: dict[str, Any]) -> None:
        sweep(self._inside(journal["target"]))
        for source, _ in journal["moves"]:
            prepared = self._inside(source)
            with explained(prepared):
                prepared.unlink(missing_ok=True)
        self._drop_journal()

    def _drop_journal(self) -> None:
        with explained(self._journal):
            self._journal.unlink(missing_ok=True)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._study).as_posix()

    def _inside(self, relative: str) -> Path:
        path = self._study / relative
        if not path.resolve().is_relative_to(self._study.resolve()):
            raise ValueError(f"{relative} is outside the study")
        return path
