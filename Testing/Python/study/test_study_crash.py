"""Commits interrupted at any moment: earlier commits stay, the interrupted one is stored completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import ActiveSegmentationLib
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import ActiveSegmentationError
from ActiveSegmentationLib.study import Request, RequestList, Study

CALLS = ("replace", "fsync", "unlink", "truncate")


class Died(BaseException):
    """The process is dead: no cleanup may run after it."""


class Death:
    """Lets the n-th of the watched system calls, and all after it, fail; before or after it has done its work."""

    def __init__(self, monkeypatch, at: int | None, *, after: bool = False) -> None:
        self.calls = 0
        for name in CALLS:
            monkeypatch.setattr(os, name, self._watched(getattr(os, name), at, after))

    def _watched(self, real, at, after):
        def call(*arguments, **options):
            if str(arguments[0]).endswith(".lock"):
                return real(*arguments, **options)  # the system releases locks of the dead
            self.calls += 1
            if at is None or self.calls < at:
                return real(*arguments, **options)
            if self.calls == at and after:
                real(*arguments, **options)
            raise Died()

        return call


def change_of(study, annotate, what):
    """A change, and how to see whether it was made: None before, a value after."""
    if what == "commit":
        new = [annotate(study, 0, 21), annotate(study, 2, 22)]
        return lambda: study.commit(new), lambda s: _sees(s, new)
    if what == "skip":
        return lambda: study.skip(SliceId("v000", 3), "Anna", "blurred"), lambda s: s.skipped() or None
    if what == "requests":
        requests = (Request(SliceId("v000", 3), "p000", 2, None, "why"),)
        request_list = RequestList(1, "random", 0, {}, requests)
        return lambda: study.requests.write(request_list), lambda s: s.requests.rounds() or None
    if what == "extent":
        return lambda: study.extents.mark("v001", 1, 2), lambda s: s.extents.all() or None
    return lambda: study.exclude("v001", "no consent"), lambda s: s.excluded() or None


def _sees(study, new):
    found = study.annotations()
    seen = {
        annotation.slice: annotation.slice in found
        and np.array_equal(found[annotation.slice].labels, annotation.labels)
        for annotation in new
    }
    assert len(set(seen.values())) == 1, "half of a commit is visible"
    return all(seen.values()) or None


def leftovers_in(folder):
    marks = ("pending", "journal", ".tmp-")
    return [path.name for path in folder.rglob("*") if any(mark in path.name for mark in marks)]


def events_of(study):
    records = [*study.audit.records(), *study.audit.records("Anna")]
    return [(record["event"], record.get("volume"), record.get("slice")) for record in records]


def prepared(make_study, annotate):
    study = make_study()
    old = [annotate(study, 0, 11), annotate(study, 1, 12)]
    study.commit(old)
    return study, old


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("what", ["commit", "skip", "requests", "exclude", "extent"])
def test_dying_at_any_system_call_leaves_before_or_after(make_study, annotate, monkeypatch, what, after):
    study, old = prepared(make_study, annotate)
    with monkeypatch.context() as patch:
        counter = Death(patch, None)
        change_of(study, annotate, what)[0]()
    total, after_all = counter.calls, events_of(study)
    assert total >= 7
    outcomes = []
    for at in range(1, total + 1):
        study, old = prepared(make_study, annotate)
        change, seen = change_of(study, annotate, what)
        with monkeypatch.context() as patch:
            Death(patch, at, after=after)
            with pytest.raises(Died):
                change()
        outcome = seen(study)
        outcomes.append(outcome is not None)
        again = Study.open(study.folder)
        assert seen(again) == outcome, "recovery changed what was visible"
        assert again.audit.verify() == []
        found = again.annotations()
        kept = old[1]
        assert np.array_equal(found[kept.slice].labels, kept.labels)
        if what != "commit" or outcome is None:
            assert np.array_equal(found[old[0].slice].labels, old[0].labels)
        if outcome is None:
            change()
        assert seen(again)
        assert Study.open(study.folder).audit.verify() == []
        assert leftovers_in(study.folder) == []
        assert events_of(study) == after_all, "an event is missing in the audit or there twice"
    assert outcomes == sorted(outcomes), "once a change is visible it stays"
    assert True in outcomes
    assert False in outcomes


def test_dying_during_recovery_is_recovered_from(make_study, annotate, monkeypatch):
    study, _ = prepared(make_study, annotate)
    with monkeypatch.context() as patch:
        counter = Death(patch, None)
        change_of(study, annotate, "commit")[0]()
    for at in range(1, counter.calls + 1):
        study, _ = prepared(make_study, annotate)
        change, seen = change_of(study, annotate, "commit")
        with monkeypatch.context() as patch:
            Death(patch, at)
            with pytest.raises(Died):
                change()
        outcome = seen(study)
        for second in range(1, 20):
            with monkeypatch.context() as patch:
                Death(patch, second)
                try:
                    Study.open(study.folder)
                except Died:
                    continue
                break
        again = Study.open(study.folder)
        assert seen(again) == outcome
        assert again.audit.verify() == []


def test_a_reader_that_may_not_write_sees_an_unfinished_commit_rightly(make_study, annotate, monkeypatch):
    study, _ = prepared(make_study, annotate)
    change, seen = change_of(study, annotate, "commit")
    real = os.replace

    def replace(source, target, **options):
        if str(target).endswith("anna.seg.nrrd"):
            raise Died()
        return real(source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(Died):
            change()
    monkeypatch.setattr(os, "access", lambda *_: False)
    reader = Study.open(study.folder)
    assert seen(reader)
    (problem, *_) = reader.audit.verify()
    assert "has no audit record" in problem or "interrupted" in problem
    monkeypatch.undo()
    assert Study.open(study.folder).audit.verify() == []


@pytest.mark.parametrize(("number", "message"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "No permission")])
def test_a_full_or_read_only_disk_is_said_and_nothing_is_lost(make_study, annotate, monkeypatch, number, message):
    study, _ = prepared(make_study, annotate)
    with monkeypatch.context() as patch:
        counter = Death(patch, None)
        change_of(study, annotate, "commit")[0]()
    for at in range(1, counter.calls + 1):
        study, old = prepared(make_study, annotate)
        change, seen = change_of(study, annotate, "commit")
        with monkeypatch.context() as patch:
            Failing(patch, at, number)
            with pytest.raises(ActiveSegmentationError, match=message) as caught:
                change()
        assert caught.value.where
        outcome = seen(study)
        if outcome is None:
            assert np.array_equal(study.annotations()[old[0].slice].labels, old[0].labels)
            change()
        assert seen(study)
        assert Study.open(study.folder).audit.verify() == []


class Failing:
    """Lets only the n-th of the watched calls fail, with an error number."""

    def __init__(self, monkeypatch, at: int, number: int) -> None:
        self.calls = 0
        for name in CALLS:
            monkeypatch.setattr(os, name, self._watched(getattr(os, name), at, number))

    def _watched(self, real, at, number):
        def call(*arguments, **options):
            if not str(arguments[0]).endswith(".lock"):
                self.calls += 1
                if self.calls == at:
                    raise OSError(number, os.strerror(number))
            return real(*arguments, **options)

        return call


def test_permission_to_write_is_missing(make_study, annotate, monkeypatch):
    study = make_study()
    real = Path.touch

    def touch(self, *arguments, **options):
        if self.name.endswith(".seg.nrrd"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(self, *arguments, **options)

    monkeypatch.setattr(Path, "touch", touch)
    with pytest.raises(ActiveSegmentationError, match="No permission") as caught:
        study.commit([annotate(study)])
    assert caught.value.exit_code == 2
    assert study.annotations() == {}


WRITER = """
    import os, sys
    import numpy as np
    import SimpleITK, filelock
    from ActiveSegmentationLib.cohort import AnnotationKind, SliceId
    from ActiveSegmentationLib.study import SliceAnnotation, Study

    def labels(step):
        return np.random.default_rng(step).choice(np.array([0, 5, 85, 200], np.uint8), (5, 6))

    def work(folder, start, report):
        study = Study.open(folder)
        for step in range(start, start + 1000):
            volume, index = ("v000", "v001")[step % 2], step // 2 % 4
            kind = AnnotationKind.MASK
            study.commit([SliceAnnotation(SliceId(volume, index), labels(step), kind, "Anna", step, 0.0, "")])
            os.write(report, f"{step}\\n".encode())

    for line in sys.stdin:
        folder, start, report = line.split()
        child = os.fork()
        if child == 0:
            work(folder, int(start), os.open(report, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
            os._exit(0)
        print(child, flush=True)
        os.waitpid(child, 0)
        print("gone", flush=True)
"""


def labels_of(step):
    return np.random.default_rng(step).choice(np.array([0, 5, 85, 200], np.uint8), (5, 6))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork to start many processes quickly")
def test_killing_a_committing_process_loses_nothing(make_study, tmp_path):
    study = make_study()
    environment = {**os.environ, "PYTHONPATH": str(Path(ActiveSegmentationLib.__file__).parents[1])}
    rng = random.Random(5)
    server = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    start = 0
    try:
        for attempt in range(30):
            report = tmp_path / f"report-{attempt}"
            server.stdin.write(f"{study.folder} {start} {report}\n")
            server.stdin.flush()
            child = int(server.stdout.readline())
            while not report.exists() or not report.stat().st_size:
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.05))
            os.kill(child, signal.SIGKILL)
            assert server.stdout.readline() == "gone\n"
            last = int(report.read_text().split("\n")[-2])
            start = check_after_kill(study.folder, last)
    finally:
        server.stdin.close()
        server.wait(timeout=60)
    assert start >= 30


def check_after_kill(folder, last):
    """Every acknowledged commit is there, and at most the next one; returns the step to continue with."""
    study = Study.open(folder)
    assert study.audit.verify() == []
    found = study.annotations()
    newest = max(annotation.round for annotation in found.values())
    assert newest in (last, last + 1)
    for step in range(max(0, newest - 7), newest + 1):
        slice_id = SliceId(("v000", "v001")[step % 2], step // 2 % 4)
        assert found[slice_id].round == step
        assert np.array_equal(found[slice_id].labels, labels_of(step))
    return newest + 1


COMMITTER = """
    import sys
    import numpy as np
    from ActiveSegmentationLib.cohort import AnnotationKind, SliceId
    from ActiveSegmentationLib.study import SliceAnnotation, Study

    folder, annotator, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
    study = Study.open(folder)
    for step in range(first, first + 25):
        labels = np.random.default_rng(step).choice(np.array([0, 5, 85, 200], np.uint8), (5, 6))
        slice_id = SliceId("v000", step % 4)
        study.commit([SliceAnnotation(slice_id, labels, AnnotationKind.MASK, annotator, step, 0.0, "")])
"""


def test_several_writers_and_a_reader_at_once(make_study):
    study = make_study()
    environment = {**os.environ, "PYTHONPATH": str(Path(ActiveSegmentationLib.__file__).parents[1])}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(COMMITTER), str(study.folder), annotator, str(first)],
            env=environment,
        )
        for annotator, first in (("Anna", 0), ("Anna", 100), ("Zoe", 200))
    ]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        for annotation in Study.open(study.folder).annotations().values():
            assert np.array_equal(annotation.labels, labels_of(annotation.round))
            seen.add(annotation.round)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert len(seen) > 4
    assert study.audit.verify() == []
    assert len(study.audit.records("Anna")) == 50
    assert len(study.audit.records("Zoe")) == 25


@pytest.mark.skipif(os.name == "nt", reason="needs limits of POSIX")
def test_a_real_full_disk_is_noticed(make_study):
    study = make_study(size=(300, 300, 3))
    script = """
        import resource, signal, sys
        import numpy as np
        from ActiveSegmentationLib.cohort import AnnotationKind, SliceId
        from ActiveSegmentationLib.common.errors import JobFailed
        from ActiveSegmentationLib.study import SliceAnnotation, Study

        study = Study.open(sys.argv[1])
        def commit(index, seed):
            labels = np.random.default_rng(seed).choice(np.array([0, 5, 85, 200], np.uint8), (300, 300))
            study.commit([SliceAnnotation(SliceId("v000", index), labels, AnnotationKind.MASK, "Anna", 1, 0.0, "")])
        commit(0, 0)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (35_000, resource.RLIM_INFINITY))
        try:
            commit(1, 1)
        except JobFailed as error:
            sys.exit(str(error))
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(ActiveSegmentationLib.__file__).parents[1])}
    command = [sys.executable, "-c", textwrap.dedent(script), str(study.folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert "anna.pending.seg.nrrd" in done.stderr
    assert list(Study.open(study.folder).annotations()) == [SliceId("v000", 0)]
    assert study.audit.verify() == []
    assert leftovers_in(study.folder) == []


def test_leftovers_of_killed_writers_are_removed_by_the_next_commit(make_study, annotate):
    study, _ = prepared(make_study, annotate)
    folder = study.folder / "annotations" / "v000"
    for name in (".tmp-0123456789ab-anna.pending.seg.nrrd", ".tmp-0123456789ab-zoe.slices.json"):
        (folder / name).write_bytes(b"x")
    study.commit([annotate(study, 3)])
    assert [path.name for path in folder.glob(".tmp-*")] == [".tmp-0123456789ab-zoe.slices.json"]


def test_a_label_map_that_never_came_into_place_outlives_a_dying_commit(make_study, annotate, monkeypatch):
    """After a power cut the journal may be gone while the label map still has its first name."""
    study, (kept, again) = prepared(make_study, annotate)
    folder = study.folder / "annotations" / "v000"
    for at in range(1, 12):
        (folder / "anna.seg.nrrd").rename(folder / "anna.pending.seg.nrrd")
        with monkeypatch.context() as patch:
            Death(patch, at)
            with contextlib.suppress(Died):
                study.commit([annotate(study, again.slice.index, at)])
        found = Study.open(study.folder).annotations()
        assert np.array_equal(found[kept.slice].labels, kept.labels)
        assert again.slice in found
        study.commit([annotate(study, again.slice.index, 0)])


def test_a_journal_cannot_reach_out_of_the_study(make_study, annotate, tmp_path):
    import json

    study, _ = prepared(make_study, annotate)
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    journal = study.folder / "audit" / "anna.journal.json"
    journal.write_text(json.dumps({"target": "study.json", "sha256": "0", "moves": [[str(victim), "x"]], "events": []}))
    study = Study.open(study.folder)
    (problem,) = study.damaged()
    assert "anna.journal.json: The journal is damaged" in str(problem)
    assert len(study.annotations()) == 2
    study.commit([annotate(study, 1, annotator="Zoe")])
    with pytest.raises(ActiveSegmentationError, match=r"anna\.journal\.json: The journal is damaged"):
        study.commit([annotate(study, 1)])
    assert victim.read_text() == "mine"
