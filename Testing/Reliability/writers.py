"""Eight processes change a study for two annotators at once, by clocks that differ, while others audit and train."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from outcome import Outcome
from small_study import annotation, create_study, write_cohort

from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import ActiveSegmentationError
from ActiveSegmentationLib.study import Study, hash_labels, times

ROOT = Path(__file__).resolve().parents[2]
ANNOTATORS = ("Anna", "Zoë")
WRITERS = 8
PATIENCE = 300
"""Seconds after the start, and for each hundred changes of a writer, after which a process counts as hung."""

SETTINGS = {"stack": {"size": [32, 32]}, "training": {"steps": 3, "batch_size": 2}}
_COMMITTED = "committed already"


@dataclass(frozen=True)
class Change:
    """A change that was acknowledged.

    Attributes:
        event: "commit", "skip" or "flag".
        annotator: For whom.
        volume: Volume of the slice.
        index: Index of the slice.
        what: Hash of the pixels, reason or note; unique.
        began: When it was asked for, in nanoseconds of a clock that all processes share.
        ended: When it was acknowledged.
    """

    event: str
    annotator: str
    volume: str
    index: int
    what: str
    began: int
    ended: int

    @property
    def slice(self) -> tuple[str, int]:
        return self.volume, self.index


def write(folder: Path, number: int, count: int) -> None:
    """A writer: change the study, and print a line for each change that is acknowledged."""
    real = times.now
    times.now = lambda: _earlier(real(), 3 * number)  # the clocks of the writers differ by seconds
    study = Study.open(folder)
    rng = random.Random(number)
    annotator = ANNOTATORS[number % len(ANNOTATORS)]
    for step in range(count):
        slice_id = SliceId(rng.choice(["v000", "v001"]), rng.randrange(4))
        event = rng.choices(["commit", "skip", "flag"], [6, 1, 2])[0]
        what = f"writer {number}, step {step}"
        began = time.monotonic_ns()
        if event == "commit":
            one = annotation(study, slice_id.volume, slice_id.index, number * 10**6 + step, annotator)
            what = hash_labels(one.labels)
            study.commit([one])
        elif event == "flag":
            study.flag(slice_id, annotator, what)
        else:
            try:
                study.skip(slice_id, annotator, what)
            except ActiveSegmentationError as error:
                if _COMMITTED not in str(error):
                    raise
                continue
        done = Change(event, annotator, slice_id.volume, slice_id.index, what, began, time.monotonic_ns())
        print(json.dumps(asdict(done)), flush=True)


def _earlier(text: str, seconds: int) -> str:
    return times.as_utc((datetime.datetime.fromisoformat(text) - datetime.timedelta(seconds=seconds)).isoformat())


def attack(work: Path, changes: int, *, train: bool = True) -> Outcome:
    """Let eight processes commit, skip and flag slices of the same two volumes for two annotators.

    Meanwhile this process audits the study again and again, and another trains on it again and again.

    Args:
        work: A new folder, best in memory.
        changes: Changes of each writer.
        train: Whether another process trains meanwhile.

    Returns:
        The counts; ``tried`` are the acknowledged changes. Lost is an acknowledged change that is not recorded, or
        pixels of it that cannot be read, and a slice whose latest commit is not one of the last that were made of it.
    """
    about = "audited and trained on" if train else "audited"
    outcome = Outcome(f"{WRITERS} processes commit, skip and flag for two annotators, while the study is {about}")
    study = create_study(work / "study", write_cohort(work / "cohort"))
    study.change_settings(SETTINGS)
    study.commit([annotation(study, "v000", 0, 0, name) for name in ANNOTATORS])
    before = {name: len(study.audit.records(name)) for name in ANNOTATORS}
    deadline = time.monotonic() + PATIENCE * (1 + changes / 100)
    with contextlib.ExitStack() as running:
        writers = [running.enter_context(_process(*_writer(study.folder, n, changes))) for n in range(WRITERS)]
        trainer = None
        while any(process.poll() is None for process, _ in writers) and time.monotonic() < deadline:
            if train and (trainer is None or trainer[0].poll() is not None):
                _ended(trainer, "train", outcome)
                trainer = running.enter_context(_process("-m", "ActiveSegmentationLib", "train", str(study.folder)))
            _audit(study.folder, outcome, "while it was changed")
        for number, writer in enumerate(writers):
            _ended(writer, f"writer {number}", outcome, deadline)
        _ended(trainer, "train", outcome, deadline)
        made = [Change(**json.loads(line)) for _, files in writers for line in _text(files[0]).splitlines()]
    outcome.tried = len(made)
    _check(Study.open(study.folder), made, before, outcome)
    _audit(study.folder, outcome, "afterwards")
    return outcome


def _writer(folder: Path, number: int, changes: int) -> tuple[str, ...]:
    return __file__, str(folder), str(number), str(changes)


@contextlib.contextmanager
def _process(*words: str) -> Iterator[tuple[subprocess.Popen, tuple]]:
    """A Python process with files for what it prints; it is ended with the block."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen([sys.executable, *words], stdout=out, stderr=err, env=environment)
        try:
            yield process, (out, err)
        finally:
            process.kill()
            process.wait()


def _text(file) -> str:
    file.seek(0)
    return file.read().decode("utf-8")


def _ended(started: tuple[subprocess.Popen, tuple] | None, name: str, outcome: Outcome, deadline: float = 0) -> None:
    """Wait for a process, and count if it hangs, dies or fails."""
    if started is None:
        return
    process, (_, err) = started
    try:
        code = process.wait(max(1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        outcome.fault("hung", name)
        return
    if code:
        outcome.fault("crashed" if code < 0 else "unexpected", f"{name}: exit code {code}: {_text(err)[-500:]}")


def _audit(folder: Path, outcome: Outcome, when: str) -> None:
    try:
        for problem in Study.open(folder).audit.verify(images=True):
            outcome.fault("damaged", f"audit {when}: {problem}")
    except Exception as error:  # noqa: BLE001 - counted
        outcome.fault("unexpected", f"audit {when}: {type(error).__name__}: {error}")


def _check(study: Study, made: Sequence[Change], before: dict[str, int], outcome: Outcome) -> None:
    """Compare what was acknowledged with what is recorded, and with the pixels that are there."""
    for name in ANNOTATORS:
        records = study.audit.records(name)[before[name] :]
        recorded = Counter((r["event"], r["volume"], r["slice"], _what(r)) for r in records)
        wanted = Counter((c.event, *c.slice, c.what) for c in made if c.annotator == name)
        for change in (wanted - recorded).elements():
            outcome.fault("lost", f"{name}: {change} was acknowledged and is not recorded")
        for change in (recorded - wanted).elements():
            outcome.fault("damaged", f"{name}: {change} is recorded and was not made")
        last = {(r["volume"], r["slice"]): r["labels_sha256"] for r in records if r["event"] == "commit"}
        there = study.annotations(name)
        for change in (c for c in made if c.annotator == name and c.event == "commit"):
            slice_id = SliceId(*change.slice)
            if change.what != last[change.slice]:
                labels = study.version_labels(slice_id, name, change.what)
            else:
                labels = there[slice_id].labels
            if hash_labels(labels) != change.what:
                outcome.fault("lost", f"{name}: pixels of {change}")
    _check_winners(study, made, outcome)


def _what(record: dict) -> str:
    return record[{"commit": "labels_sha256", "skip": "reason", "flag": "note"}[record["event"]]]


def _check_winners(study: Study, made: Sequence[Change], outcome: Outcome) -> None:
    """The latest commit of a slice may not have ended before another of its commits began, whatever the clocks said."""
    commits: dict[tuple[str, int], list[Change]] = defaultdict(list)
    for change in made:
        if change.event == "commit":
            commits[change.slice].append(change)
    winners = study.annotations()
    for where, found in commits.items():
        latest = hash_labels(winners[SliceId(*where)].labels)
        ended = next((change.ended for change in found if change.what == latest), 0)
        if ended < max(change.began for change in found):
            outcome.fault("lost", f"{where}: an older commit won")


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
