"""An append-only file of records, each with the hash of the one before."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.common.durability import keep_private, make_folder, sync_folder
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, hash_json, require_regular, write_bytes
from ActiveSegmentationLib.study.names import RESTORE
from ActiveSegmentationLib.study.times import now

_OWN_FIELDS = ("seq", "time", "event", "previous", "hash")
_TAIL = 1 << 16


class HashChain:
    """A file of JSON records, one per line, chained by SHA-256.

    The hash of a record covers all its other fields, and ``previous`` is the hash of the record before; the first
    record continues from a hash of what the chain belongs to. Changing, removing, inserting or reordering lines breaks
    the chain. Callers hold the writer's lock while they append.

    Args:
        path: The file; it need not exist.
        belongs_to: Name of the study and the chain, so no record can be moved to another.
    """

    def __init__(self, path: Path, belongs_to: Sequence[str]) -> None:
        self.path = path
        self._start = hash_json(list(belongs_to))

    def append(self, events: Sequence[dict[str, Any]]) -> None:
        """Add records and flush them to disk; an incomplete last line is moved aside first and recorded.

        Args:
            events: Dictionaries of JSON values with "event", optionally "time", and fields of their own.

        Raises:
            BadInput: If the last record is damaged, or the file cannot be written.
            JobFailed: If the disk is full.
        """
        last = self.last()
        events = [*self._set_torn_line_aside(), *events]
        lines = []
        for event in events:
            last = self._record(event, last)
            lines.append(_line_of(last))
        with explained(self.path):
            make_folder(self.path.parent)
            is_new = not self.path.exists()
            if not is_new:
                require_regular(self.path)
            with open(self.path, "ab") as file:
                file.write(b"".join(line + b"\n" for line in lines))
                file.flush()
                os.fsync(file.fileno())
            if is_new:
                keep_private(self.path)
            sync_folder(self.path.parent)  # even if it is not new: the process that created it may have been killed

    def _record(self, event: dict[str, Any], last: dict[str, Any] | None) -> dict[str, Any]:
        fields = {name: value for name, value in event.items() if name not in _OWN_FIELDS}
        record = {
            "seq": last["seq"] + 1 if last else 1,
            "time": event.get("time") or now(),
            "event": event["event"],
            **fields,
            "previous": last["hash"] if last else self._start,
        }
        return {**record, "hash": hash_json(record)}

    def last(self) -> dict[str, Any] | None:
        """The last complete record, or None if there is none.

        Raises:
            BadInput: If it is damaged.
        """
        lines = self._tail().split(b"\n")
        whole = [line for line in lines[:-1] if line] + [line for line in lines[-1:] if _intact(line)]
        if not whole:
            return None
        record = _intact(whole[-1])
        if record is None:
            raise BadInput("The last record of the audit is damaged.", where=self.path, advice=RESTORE)
        return record

    def _tail(self) -> bytes:
        """The end of the file: at least its last complete line and what follows."""
        with explained(self.path):
            if not self.path.is_file():
                return b""
            with open(self.path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                length = _TAIL
                while True:
                    file.seek(max(0, size - length))
                    data = file.read()
                    if length >= size or data.count(b"\n") >= 2:
                        return data if length >= size else data[data.index(b"\n") + 1 :]
                    length *= 4

    def is_torn(self) -> bool:
        """Whether the file ends within a line, as after a crash."""
        tail = self._tail()
        return bool(tail) and not tail.endswith(b"\n")

    def _set_torn_line_aside(self) -> list[dict[str, Any]]:
        """Make the file end with a complete line; returns events that record the repair."""
        if not self.is_torn():
            return []
        torn = self._tail().rpartition(b"\n")[2]
        if _intact(torn):
            with explained(self.path), open(self.path, "ab") as file:
                file.write(b"\n")
            return []
        digest = hashlib.sha256(torn).hexdigest()
        kept = self.path.with_name(f"{self.path.stem}.torn-{digest[:12]}.txt")
        write_bytes(kept, torn)
        with explained(self.path), open(self.path, "rb+") as file:
            file.truncate(file.seek(0, os.SEEK_END) - len(torn))
            os.fsync(file.fileno())
        return [{"event": "repaired", "kept": kept.name, "sha256": digest}]

    def records(self) -> list[dict[str, Any]]:
        """All records that can be read, in order; ``problems`` says whether they can be trusted."""
        parsed = (_parsed(line) for _, line in self._lines())
        return [record for record in parsed if isinstance(record, dict)]

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Line numbers from 1 with the line, without an incomplete last line."""
        with explained(self.path):
            data = self.path.read_bytes() if self.path.is_file() else b""
        *lines, rest = data.split(b"\n")
        if _intact(rest):
            lines.append(rest)
        yield from enumerate(lines, start=1)

    def problems(self) -> list[str]:
        """Problems of the chain, one sentence each; empty if it is complete and unchanged."""
        found = [f"{self.path.name}, line {number}: {problem}" for number, problem in self._line_problems()]
        if self.is_torn() and not _intact(self._tail().rpartition(b"\n")[2]):
            found.append(
                f"{self.path.name}: the last line is incomplete, as after a crash; the next commit repairs it."
            )
        return found

    def _line_problems(self) -> Iterator[tuple[int, str]]:
        previous, seq = self._start, 0
        for number, line in self._lines():
            record = _parsed(line)
            if not isinstance(record, dict) or not {"seq", "previous", "hash"} <= record.keys():
                yield number, "this is not a record."
                continue
            if not isinstance(record["seq"], int) or record["hash"] != _hash_of(record) or _line_of(record) != line:
                yield number, "the record was changed after it was written."
                if not isinstance(record["seq"], int):
                    continue
            if record["previous"] != previous or record["seq"] != seq + 1:
                yield number, "the record does not follow the one before; lines were removed, added or moved."
            previous, seq = record["hash"], record["seq"]

    def sound_records(self) -> int:
        """Number of records before the first that is damaged."""
        damaged = next((number for number, _ in self._line_problems()), None)
        return len(list(self._lines())) if damaged is None else damaged - 1

    def cut(self, kept: str) -> None:
        """Keep only the records before the first damaged one, and record that; the caller has kept a copy.

        Args:
            kept: Where the copy is, for the record.

        Raises:
            BadInput: If the file cannot be written.
            JobFailed: If the disk is full.
        """
        with explained(self.path):
            digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
        sound = [line for _, line in self._lines()][: self.sound_records()]
        write_bytes(self.path, b"".join(line + b"\n" for line in sound))
        self.append([{"event": "repaired", "kept": kept, "sha256": digest, "records": len(sound)}])


def _line_of(record: dict[str, Any]) -> bytes:
    """A record as it is written; empty if it cannot be written, which no record of ours is."""
    try:
        return json.dumps(record, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except ValueError:
        return b""


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _hash_of(record: dict[str, Any]) -> str | None:
    try:
        return hash_json({name: value for name, value in record.items() if name != "hash"})
    except (ValueError, RecursionError):  # NaN, for example, which no record of ours holds
        return None


def _intact(line: bytes) -> dict[str, Any] | None:
    """The record on this line, if it is one and its hash is correct."""
    record = _parsed(line)
    if not isinstance(record, dict) or "hash" not in record or "seq" not in record:
        return None
    return record if record["hash"] == _hash_of(record) else None
