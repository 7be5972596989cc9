"""Misbehaving jobs and processes, and helpers to watch them."""

from __future__ import annotations

import json
import os
import queue
import textwrap
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

LINUX = Path("/proc/self/stat").exists()

HEAD = """
import ctypes, json, os, signal, sys, time

open(f"{__file__}.{os.getpid()}", "w").close()

def say(**message):
    raw((json.dumps(message) + "\\n").encode())

def raw(data):
    os.write(1, data)

def hello(**other):
    say(**{"event": "hello", "protocol": 2, "version": "0", "pid": os.getpid(), "python": "3", **other})

def next_job():
    for line in sys.stdin:
        command = json.loads(line)
        if command["command"] == "run":
            return command["id"]
    sys.exit()

def rest():
    for line in sys.stdin:
        pass

"""


def script(text):
    """A worker as a script: ``text`` with ``say``, ``raw``, ``hello``, ``next_job`` and ``rest`` at hand."""
    return HEAD + textwrap.dedent(text)


def gone(pid):
    """Whether no process of this number runs (one that ended and was not waited for does not run)."""
    if LINUX:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def soon(condition, seconds=5.0):
    """Wait until the condition holds; whether it did in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(0.005)
    return True


class Submitted:
    """A submitted job and what its signals reported."""

    def __init__(self, client, name, options, about=None):
        from ActiveSegmentationLib.worker.client import Job

        self.ends, self.progress, self.messages = [], [], []
        self.job = Job(name, options, about or {})
        self.job.done.connect(lambda result: self.ends.append(("done", result)))
        self.job.failed.connect(lambda error: self.ends.append(("failed", error)))
        self.job.cancelled.connect(lambda: self.ends.append(("cancelled", None)))
        self.job.progress.connect(self.progress.append)
        self.job.message.connect(self.messages.append)
        client.submit(self.job)

    @property
    def end(self):
        """How it ended ("done", "failed", "cancelled"), or None."""
        return self.ends[0][0] if self.ends else None

    @property
    def result(self):
        """What ``done`` was called with."""
        assert self.end == "done", self.ends
        return self.ends[0][1]

    @property
    def error(self):
        """What ``failed`` was called with."""
        assert self.end == "failed", self.ends
        return self.ends[0][1]


class Served:
    """A server in this process, on pipes; ``left`` holds the code that it wanted to leave with."""

    def __init__(self, jobs):
        from ActiveSegmentationLib.worker.server import Server

        source, self._commands = os.pipe()
        events, sink = os.pipe()
        self._events = queue.Queue()
        self.left = queue.Queue()
        server = Server(jobs, os.fdopen(source, "rb"), os.fdopen(sink, "wb"), self.left.put)
        threading.Thread(target=self._read, args=(os.fdopen(events, "rb"),), daemon=True).start()
        threading.Thread(target=server.serve, daemon=True).start()

    def _read(self, stream):
        for line in stream:
            self._events.put(json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} in an event")))

    def write(self, data):
        """Write bytes to the server's input."""
        os.write(self._commands, data)

    def send(self, **command):
        """Send a command."""
        self.write(json.dumps(command).encode() + b"\n")

    def run(self, job, number="1", **options):
        """Send a job."""
        self.send(command="run", id=number, job=job, options=options)

    def next(self):
        """The next event that is not an alive message."""
        while True:
            event = self._events.get(timeout=10)
            if event["event"] != "alive":
                return event

    def alive(self):
        """The next alive message, whatever comes before it."""
        while True:
            event = self._events.get(timeout=10)
            if event["event"] == "alive":
                return event

    def until_end(self):
        """All events up to the one that ends a job."""
        events = [self.next()]
        while events[-1]["event"] not in ("done", "cancelled", "error"):
            events.append(self.next())
        return events

    def end(self):
        """The event that ends a job."""
        return self.until_end()[-1]

    def close(self):
        """End the server's input."""
        os.close(self._commands)


def make_study(folder, cohort_folder):
    """A study of masks in which every step takes about a second."""
    from ActiveSegmentationLib.cohort import AnnotationKind, StackSettings, discover
    from ActiveSegmentationLib.embedding import EmbeddingSettings
    from ActiveSegmentationLib.loop import LoopSettings
    from ActiveSegmentationLib.segmentation import TrainingSettings
    from ActiveSegmentationLib.study import Study, label_set_for

    cohort = discover(cohort_folder)
    settings = LoopSettings(
        stack=StackSettings(size=(32, 32), spacing=4.5),
        embedding=EmbeddingSettings(steps=3, width=8),
        training=TrainingSettings(steps=5, batch_size=4),
    )
    labels = label_set_for(cohort, None)
    return Study.create(folder, cohort, labels, AnnotationKind.MASK, settings=settings.to_json())


def answer(study):
    """Answer the open requests of the latest round from the reference masks."""
    from ActiveSegmentationLib.experiment.annotators import OracleAnnotator
    from ActiveSegmentationLib.loop import StudyLoop

    number = max(study.requests.rounds())
    slices = [request.slice for request in study.open_requests(number)]
    oracle = OracleAnnotator(StudyLoop(study, device="cpu").stack, study.annotation)
    study.commit(oracle.annotate(slices, number))
    return slices
