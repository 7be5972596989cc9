"""Processes killed, and disks that fail, at each system call of each kind of change."""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
from lying_disk import Killed
from outcome import Outcome
from small_study import annotation, create_study, requests, write_cohort

from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import ActiveSegmentationError
from ActiveSegmentationLib.study import Study

CALLS = ("replace", "rename", "unlink", "mkdir", "rmdir", "fsync", "truncate", "chmod", "scandir", "listdir")
ERRORS = (errno.ENOSPC, errno.EIO)


class Fault:
    """Watches the file operations of this process below a folder, and lets one of them fail.

    Attributes:
        calls: Operations so far.
        error: Makes what is raised.

    Args:
        root: The folder; files that end in ".lock" do not count, because the system releases the locks of the dead.
        at: Number of the operation to fail, from 1; None for none.
        raises: Makes what it raises. ``Killed`` also stops everything after it.
        after: Whether the operation has done its work before it fails; writes have done half of it otherwise.
    """

    def __init__(
        self, root: Path, at: int | None = None, raises: Callable[[], BaseException] = Killed, *, after: bool = False
    ) -> None:
        self.calls = 0
        self.error = raises
        self._root, self._at, self._after = str(root), at, after

    @contextlib.contextmanager
    def injected(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for name in CALLS:
                stack.enter_context(mock.patch.object(os, name, self._watched(getattr(os, name))))
            for module in (builtins, io):
                stack.enter_context(mock.patch.object(module, "open", self._open))
            yield

    def fails(self) -> bool:
        """Count an operation; whether it is to fail."""
        self.calls += 1
        if self._at is None or self.calls < self._at:
            return False
        return self.calls == self._at or self.error is Killed

    @property
    def is_over(self) -> bool:
        """Whether the operation that fails is one before the last."""
        return self._at is not None and self.calls > self._at

    def _concerns(self, what: object) -> bool:
        if isinstance(what, int):
            return True  # only files of the study are synced here
        return isinstance(what, str | os.PathLike) and os.fspath(what).startswith(self._root) and not _is_lock(what)

    def _watched(self, real: Callable) -> Callable:
        def call(*arguments, **options):
            if not (arguments and self._concerns(arguments[0])) or not self.fails():
                return real(*arguments, **options)
            if self._after and self.calls == self._at:
                real(*arguments, **options)
            raise self.error()

        return call

    def _open(self, file, mode="r", *arguments, **options):
        if not self._concerns(file) or isinstance(file, int) or "b" not in mode or mode == "rb":
            return _OPEN(file, mode, *arguments, **options)
        if self.fails():
            raise self.error()
        raw = _Raw(self, file, mode.replace("b", ""))
        return io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)


class _Raw(io.FileIO):
    """A file whose writes may fail when half of the bytes are written, as the system reports it."""

    def __init__(self, fault: Fault, path, mode: str) -> None:
        super().__init__(path, mode)
        self._fault, self._is_due = fault, False

    def write(self, data) -> int:
        if self._is_due:
            self._is_due = False
            raise self._fault.error()
        if not self._fault.fails():
            return super().write(data)
        if not self._fault.is_over:
            written = super().write(bytes(data)[: len(data) // 2])
            if written and self._fault.error is not Killed:
                self._is_due = True
                return written
        raise self._fault.error()


_OPEN = io.open


def _is_lock(path) -> bool:
    return os.fspath(path).endswith(".lock")


@dataclass(frozen=True)
class Change:
    """A change of a study.

    Attributes:
        name: What it does.
        make: Makes it.
        seen: Whether it was made; raises AssertionError if it was made in part.
    """

    name: str
    make: Callable[[Study], object]
    seen: Callable[[Study], bool]


def _commit(study: Study, rng: random.Random) -> Change:
    slices = [(volume, n) for volume in rng.choice([("v000",), ("v000", "v001")]) for n in rng.sample(range(3), 2)]
    new = [annotation(study, volume, index, rng.randrange(10**6), "Anna") for volume, index in slices]

    def seen(found: Study) -> bool:
        stored = found.annotations("Anna")
        there = {one.slice: one.slice in stored and _same(stored[one.slice], one) for one in new}
        for volume in {slice_id.volume for slice_id in there}:  # two volumes are two changes
            assert len({made for slice_id, made in there.items() if slice_id.volume == volume}) == 1, "half a commit"
        return all(there.values())

    return Change("commit", lambda found: found.commit(new), seen)


def _same(one, other) -> bool:
    return np.array_equal(one.labels, other.labels)


def _changes(study: Study, rng: random.Random) -> list[Change]:
    return [
        _commit(study, rng),
        Change(
            "skip",
            lambda s: s.skip(SliceId("v001", 3), "Anna", "blurred"),
            lambda s: SliceId("v001", 3) in s.skipped(),
        ),
        Change("flag", lambda s: s.flag(SliceId("v000", 1), "Anna", "look"), lambda s: bool(s.flagged())),
        Change(
            "requests",
            lambda s: s.requests.write(requests(s, 1, [("v000", 3)])),
            lambda s: s.requests.rounds() == [1] and s.requests.read(1).count == 1,
        ),
        Change("extent", lambda s: s.extents.mark("v001", 1, 2), lambda s: s.extents.all() == {"v001": (1, 2)}),
        Change("exclude", lambda s: s.exclude("v002", "no consent"), lambda s: "v002" in s.excluded()),
    ]


def attack(work: Path, most: int, seed: int = 0) -> list[Outcome]:
    """Kill the process, or let the disk fail, at each file operation of changes of many studies.

    Args:
        work: A new folder, best in memory.
        most: Number of kills, and of errors.
        seed: Seed of the studies and their changes.
    """
    kills = Outcome("process killed at a file operation of a change, or of the recovery after it")
    errors = Outcome("full disk and I/O errors at a file operation of a change")
    rng = random.Random(seed)
    cohort = write_cohort(work / "cohort")
    number = 0
    while min(kills.tried, errors.tried) < most:
        study = create_study(work / f"study-{number}", cohort)
        for _ in range(rng.randrange(4)):
            study.commit([annotation(study, "v000", rng.randrange(3), rng.randrange(10**6), "Anna")])
        study.commit([annotation(study, "v000", 1, 5, "Zoë")])
        for change in _changes(study, rng):
            for name, path in (("a", kills), ("b", errors)):
                _attack_change(work / f"copy-{name}", study, change, path, most, rng)
        shutil.rmtree(study.folder)
        number += 1
    return [kills, errors]


def _attack_change(place: Path, study: Study, change: Change, outcome: Outcome, most: int, rng: random.Random) -> None:
    """One change of one study, with a fault at each of its file operations."""
    counter = Fault(place)
    copied = _copy(study, place)
    with counter.injected():
        change.make(copied)
    for at in range(1, counter.calls + 1):
        if outcome.tried >= most:
            break
        outcome.tried += 1
        raises = Killed if outcome.attack.startswith("process") else _error(rng.choice(ERRORS))
        fault = Fault(place, at, raises, after=rng.random() < 0.5)
        where = f"{change.name}, operation {at} of {counter.calls}"
        try:
            _try(_copy(study, place), study, change, fault, place, outcome, where, rng)
        except AssertionError as error:
            outcome.fault("damaged", f"{where}: {error}")
        except ActiveSegmentationError as error:
            outcome.fault("damaged", f"{where}: {error}")
        except Exception as error:  # noqa: BLE001 - counted
            outcome.fault("unexpected", f"{where}: {type(error).__name__}: {error}")
    shutil.rmtree(place, ignore_errors=True)


def _error(number: int) -> Callable[[], OSError]:
    return lambda: OSError(number, os.strerror(number))


def _copy(study: Study, place: Path) -> Study:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(study.folder, place)
    return Study.open(place)


def _try(
    copied: Study, study: Study, change: Change, fault: Fault, place: Path, outcome: Outcome, where: str, rng
) -> None:
    before = study.annotations()
    acknowledged = False
    with fault.injected(), contextlib.suppress(Killed, ActiveSegmentationError):
        change.make(copied)
        acknowledged = True
    if fault.error is Killed and rng.random() < 0.3:
        with Fault(place, rng.randrange(1, 12)).injected(), contextlib.suppress(Killed):
            Study.open(place)
    again = Study.open(place)
    made = change.seen(again)
    if acknowledged and not made:
        outcome.fault("lost", where)
    found = again.annotations()
    for slice_id, one in before.items():
        if slice_id not in found or not (_same(found[slice_id], one) or change.name == "commit"):
            outcome.fault("lost", f"{where}: {slice_id}")
    for problem in again.audit.verify():
        outcome.fault("damaged", f"{where}: audit: {problem}")
    if not made:
        change.make(again)
    last = Study.open(place)
    if not change.seen(last):
        outcome.fault("lost", f"{where}: made again")
    for problem in last.audit.verify():
        outcome.fault("damaged", f"{where}: audit after it was made again: {problem}")
