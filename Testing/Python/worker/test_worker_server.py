"""The server in this process, and its standard streams in a process of its own."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from ActiveSegmentationLib import __version__
from ActiveSegmentationLib.common.errors import BadInput, Cancelled, JobFailed
from ActiveSegmentationLib.worker import protocol, server
from ActiveSegmentationLib.worker.server import Server

from .worker_fakes import LINUX, ROOT, Served, gone, soon


def echo(options, progress):
    return {"options": dict(options)}


def steps(options, progress):
    for done in range(options["steps"] + 1):
        progress.update("Counting", done, options["steps"], loss=options.get("loss", 0.5))
    return {}


def waits(options, progress):
    """Until it is cancelled."""
    while True:
        progress.update("Waiting", 0, 1)
        time.sleep(0.002)


@pytest.fixture
def serve():
    """serve(job, ...): a server with these jobs that has said hello."""
    running = []

    def start(*jobs):
        served = Served({job.__name__: job for job in (echo, steps, waits, *jobs)})
        running.append(served)
        served.hello = served.next()
        return served

    yield start
    for served in running:
        if served.left.empty():
            served.close()
            assert served.left.get(timeout=10) == 0


def test_hello_comes_first(serve):
    hello = serve().hello
    assert hello["event"] == "hello"
    assert hello["protocol"] == protocol.VERSION
    assert hello["version"] == __version__
    assert hello["pid"] == os.getpid()
    assert hello["python"] == sys.version.split()[0]


def test_a_job_starts_reports_and_ends(serve):
    served = serve()
    served.run("steps", "7", steps=3)
    events = served.until_end()
    assert {event["id"] for event in events} == {"7"}
    kinds = [event["event"] for event in events]
    assert kinds[0] == "started"
    assert kinds[-1] == "done"
    assert set(kinds[1:-1]) == {"progress"}
    assert events[1] | {"left": None} == {
        "event": "progress",
        "id": "7",
        "stage": "Counting",
        "done": 0,
        "total": 3,
        "left": None,
        "values": {"loss": 0.5},
    }
    assert events[-2]["done"] == events[-2]["total"] == 3


def test_every_event_of_a_job_says_what_it_was_asked_for(serve):
    served, about = serve(), {"study": "a", "volume": "v", "slice": 3}
    served.send(command="run", id="1", job="steps", options={"steps": 2}, about=about)
    served.run("steps", "2", steps=2)
    assert all(event["about"] == about for event in served.until_end())
    assert not any("about" in event for event in served.until_end())
    served.send(command="run", id="3", job="none", options={}, about=about)
    assert [event["about"] for event in served.until_end()] == [about, about]


def test_jobs_run_one_after_the_other(serve):
    served = serve()
    for number in range(5):
        served.run("echo", str(number), value=number)
    for number in range(5):
        started, done = served.until_end()
        assert (started["event"], started["id"]) == ("started", str(number))
        assert done == {"event": "done", "id": str(number), "result": {"options": {"value": number}}}


def test_a_running_job_is_cancelled(serve):
    served = serve()
    served.run("waits", "1")
    served.run("echo", "2")
    assert served.next()["event"] == "started"
    assert served.next()["event"] == "progress"
    served.send(command="cancel", id="1")
    assert served.end() == {"event": "cancelled", "id": "1"}
    assert served.end()["event"] == "done"


def test_a_waiting_job_is_cancelled_before_it_runs(serve):
    ran = []

    def second(options, progress):
        ran.append(options)
        return {}

    served = serve(second)
    served.run("waits", "1")
    served.run("second", "2")
    served.send(command="cancel", id="2")
    served.send(command="cancel", id="1")
    assert served.end()["id"] == "1"
    assert [event["event"] for event in served.until_end()] == ["started", "cancelled"]
    assert not ran


def test_a_cancel_for_no_job_does_nothing(serve):
    served = serve()
    for number in ("99", None, 3, [1]):
        served.send(command="cancel", id=number)
    served.run("echo", "1")
    assert served.end()["event"] == "done"


def test_a_cancel_that_comes_too_late_changes_nothing(serve):
    served = serve()
    served.run("echo", "1")
    assert served.end()["event"] == "done"
    served.send(command="cancel", id="1")
    served.run("echo", "2")
    assert served.end() == {"event": "done", "id": "2", "result": {"options": {}}}


ERRORS = [
    (BadInput("No such file.", where="a.nii", advice="Look."), "bad input", "No such file.", "Look."),
    (JobFailed("The disk is full."), "failed", "The disk is full.", ""),
    (MemoryError(), "out of memory", "There was not enough memory.", "image size"),
    (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory", "not enough memory", "image size"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory", "not enough memory", "image size"),
    (ModuleNotFoundError("No module named 'monai'", name="monai"), "missing package", "'monai'", "Install"),
    (ModuleNotFoundError("no torch here"), "missing package", "no torch here", "Install"),
    (ZeroDivisionError("by zero"), "unexpected", "ZeroDivisionError: by zero", "report"),
    (SystemExit(3), "unexpected", "SystemExit: 3", "report"),
    (KeyboardInterrupt(), "unexpected", "KeyboardInterrupt", "report"),
    (OSError("no \udcff"), "unexpected", "no \udcff", "report"),
]


@pytest.mark.parametrize(("error", "kind", "message", "advice"), ERRORS, ids=lambda value: str(value)[:20])
def test_errors_are_reported_by_kind_and_the_worker_keeps_running(serve, error, kind, message, advice):
    def breaks(options, progress):
        raise error

    served = serve(breaks)
    served.run("breaks", "1")
    event = served.end()
    assert (event["event"], event["id"], event["kind"]) == ("error", "1", kind)
    assert message in event["message"]
    assert advice in event["advice"]
    assert event["where"] == (getattr(error, "where", None) or "")
    assert "Traceback" in event["details"]
    assert "in breaks" in event["details"]
    served.run("echo", "2")
    assert served.end()["event"] == "done"


def test_a_job_that_stops_by_itself_counts_as_cancelled(serve):
    def gives_up(options, progress):
        raise Cancelled()

    served = serve(gives_up)
    served.run("gives_up")
    assert served.end()["event"] == "cancelled"


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), np.float32("nan"), None, 10**400, [1], "text"])
def test_any_figure_may_be_reported(serve, value):
    def reports(options, progress):
        progress.update("Training", np.int64(1), np.int64(1), loss=value, dice=np.float32(0.5))
        return {}

    served = serve(reports)
    served.run("reports")
    _, progress, done = served.until_end()
    assert progress["values"] == {"loss": str(value), "dice": 0.5}
    assert (progress["done"], progress["total"]) == (1, 1)
    assert done["event"] == "done"


@pytest.mark.parametrize("result", [{"x": float("nan")}, {"x": np.zeros(3)}, {"x": {1}}, None, 3, [1]], ids=repr)
def test_a_result_that_cannot_be_sent_is_an_error(serve, result):
    def answers(options, progress):
        return result

    served = serve(answers)
    served.run("answers")
    event = served.end()
    assert (event["event"], event["kind"]) == ("error", "unexpected")
    served.run("echo", "2")
    assert served.end()["event"] == "done"


def test_an_unknown_job_is_an_error(serve):
    served = serve()
    served.run("dance", "1")
    event = served.end()
    assert (event["event"], event["id"], event["kind"]) == ("error", "1", "unexpected")
    assert "dance" in event["message"]
    assert "another version" in event["message"]


@pytest.mark.parametrize(
    "line",
    [b"run\n", b"\xff\xfe\n", b"[1]\n", b'{"command": 3}\n', b'{"event": "run"}\n', b"[" * 20_000 + b"\n"],
    ids=lambda line: line[:12].decode("latin-1"),
)
def test_an_invalid_command_is_reported_and_the_worker_keeps_running(serve, line):
    served = serve()
    served.write(line)
    event = served.next()
    assert event["event"] == "message"
    assert "did not understand" in event["text"]
    served.run("echo", "1")
    assert served.end()["event"] == "done"


def test_an_unknown_command_is_reported(serve):
    served = serve()
    served.send(command="dance", id="1")
    event = served.next()
    assert event["event"] == "message"
    assert "dance" in event["text"]


def test_empty_lines_are_nothing(serve):
    served = serve()
    served.write(b"\n\r\n  \n")
    served.run("echo", "1")
    assert served.next() == {"event": "started", "id": "1"}


@pytest.mark.parametrize("command", [{"id": "1"}, {"id": "1", "job": None}, {"id": "1", "job": "echo", "options": 3}])
def test_a_run_command_that_lacks_something_fails_as_a_job(serve, command):
    served = serve()
    served.send(command="run", **command)
    event = served.end()
    assert (event["event"], event["id"]) == ("error", "1")


def test_stop_ends_after_what_is_waiting(serve):
    served = serve()
    served.run("echo", "1")
    served.send(command="stop")
    assert served.end()["event"] == "done"
    assert served.left.get(timeout=10) == 0


def test_the_end_of_the_input_ends_it_in_the_middle_of_a_job(serve):
    served = serve()
    served.run("waits", "1")
    assert served.next()["event"] == "started"
    served.close()
    assert served.left.get(timeout=10) == 0
    served.left.put(0)


def test_signs_of_life_say_how_long_nothing_was_said(serve, monkeypatch):
    monkeypatch.setattr(server, "ALIVE_SECONDS", 0.05)
    served = serve()
    assert served.alive()["silent"] >= 0
    assert soon(lambda: served.alive()["silent"] >= 0.2)


def test_reports_are_thinned_out_but_the_end_of_a_stage_is_always_reported(serve, monkeypatch):
    monkeypatch.setattr(server, "PROGRESS_SECONDS", 1000)
    served = serve()
    served.run("steps", steps=500)
    assert [event["done"] for event in served.until_end() if event["event"] == "progress"] == [0, 500]


def test_a_stage_that_restarts_is_reported_at_once(serve, monkeypatch):
    def twice(options, progress):
        for _ in range(2):
            for done in range(4):
                progress.update("Predicting", done, 4)
        return {}

    monkeypatch.setattr(server, "PROGRESS_SECONDS", 1000)
    served = serve(twice)
    served.run("twice")
    assert [event["done"] for event in served.until_end() if event["event"] == "progress"] == [0, 0]


def test_messages_of_a_job_are_sent(serve):
    def talks(options, progress):
        progress.message("Zwei Fälle \n\udc80")
        return {}

    served = serve(talks)
    served.run("talks", "4")
    assert served.until_end()[1] == {"event": "message", "id": "4", "text": "Zwei Fälle \n\udc80"}


def test_events_of_several_threads_do_not_mix(serve):
    def shouts(options, progress):
        def shout(letter):
            for _ in range(200):
                progress.message(letter * 300)

        threads = [threading.Thread(target=shout, args=(letter,)) for letter in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {}

    served = serve(shouts)
    served.run("shouts")
    texts = [event["text"] for event in served.until_end()[1:-1]]
    assert len(texts) == 800
    assert all(text == text[0] * 300 for text in texts)


def test_it_ends_when_the_client_is_gone():
    class Deaf(io.BytesIO):
        def write(self, data):
            raise BrokenPipeError

    class Left(Exception):
        pass

    def leave(code):
        raise Left(code)

    with pytest.raises(Left):
        Server({}, io.BytesIO(), Deaf(), leave).serve()


# The process

CHATTY = """
import os, sys
from ActiveSegmentationLib.worker import jobs

def chatty(options, progress):
    print("by print")
    sys.stdout.write("by sys.stdout\\n")
    sys.__stdout__.write("by sys.__stdout__\\n")
    sys.__stdout__.flush()
    os.write(1, b"by descriptor\\n")
    os.system("echo by a child")
    return {}

jobs.JOBS["chatty"] = chatty
"""


class Process:
    """``python -m ActiveSegmentationLib.worker`` on plain pipes."""

    def __init__(self, folder, prepare=""):
        """``prepare`` is run before the worker's own ``__main__``, in its process."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        start = f"{prepare}\nimport runpy\nrunpy.run_module('ActiveSegmentationLib.worker', run_name='__main__')"
        command = [sys.executable, *(["-c", start] if prepare else ["-m", "ActiveSegmentationLib.worker"])]
        self.errors = folder / "errors.txt"
        with open(self.errors, "wb") as errors:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
            self.process = subprocess.Popen(command, env=environment, cwd=folder, **pipes)

    def write(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def lines(self, last):
        """Events up to one of this kind."""
        events = []
        while not events or events[-1]["event"] != last:
            events.append(json.loads(self.process.stdout.readline()))
        return [event for event in events if event["event"] != "alive"]


@pytest.fixture
def process(tmp_path):
    """process(prepare): a worker on pipes, killed after the test."""
    running = []

    def start(prepare=""):
        running.append(Process(tmp_path, prepare))
        return running[-1]

    yield start
    for worker in running:
        worker.process.kill()
        worker.process.wait()
        worker.process.stdin.close()
        worker.process.stdout.close()


def test_what_a_job_prints_stays_out_of_the_messages(process):
    worker = process(CHATTY)
    worker.write(b'{"command":"run","id":"1","job":"chatty"}\n{"command":"stop"}\n')
    assert [event["event"] for event in worker.lines("done")] == ["hello", "started", "done"]
    assert worker.process.wait(10) == 0
    assert worker.process.stdout.read() == b""
    printed = worker.errors.read_text().splitlines()
    ways = ("print", "sys.stdout", "sys.__stdout__", "descriptor", "a child")
    assert sorted(printed) == sorted(f"by {way}" for way in ways)


@pytest.mark.parametrize("data", [b'{"command":"stop"}\n', b""], ids=["stop", "end of input"])
def test_the_process_ends_cleanly(process, data):
    worker = process()
    worker.lines("hello")
    worker.write(data)
    if not data:
        worker.process.stdin.close()
    assert worker.process.wait(10) == 0
    assert worker.errors.read_text() == ""


@pytest.mark.skipif(os.name == "nt", reason="needs signals of POSIX")
def test_an_interrupt_is_for_slicer_alone(process):
    worker = process()
    worker.lines("hello")
    os.kill(worker.process.pid, signal.SIGINT)
    worker.write(b'{"command":"run","id":"1","job":"describe"}\n')
    assert worker.lines("done")[-1]["id"] == "1"


# No orphans

PARENT = """
import os, subprocess, sys
environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.argv[1:3]), "PYTHONUNBUFFERED": "1"}
command = [sys.executable, "-m", "ActiveSegmentationLib.worker"]
worker = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
worker.stdout.readline()
worker.stdin.write(b'{"command":"run","id":"1","job":"' + sys.argv[3].encode() + b'"}\\n')
worker.stdin.flush()
while b"started" not in worker.stdout.readline():
    pass
print(worker.pid, flush=True)
sys.stdin.readline()  # "end", or never
os._exit(0)
"""

LONG_JOBS = """
import ctypes, time
from ActiveSegmentationLib.worker import jobs

def busy(options, progress):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        sum(range(1000))

def holding(options, progress):
    ctypes.PyDLL(None).sleep(60)

def flooding(options, progress):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        progress.message("x" * 5000)

jobs.JOBS.update(busy=busy, holding=holding, flooding=flooding)
"""


@pytest.fixture
def parent(tmp_path):
    """parent(job): a process that started a worker with this long job, and the number of the worker."""
    started = []

    def start(job):
        (tmp_path / "sitecustomize.py").write_text(LONG_JOBS)
        command = [sys.executable, "-c", PARENT, str(ROOT), str(tmp_path), job]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        pid = int(process.stdout.readline())
        started.append((process, pid))
        return process, pid

    yield start
    for process, pid in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
        if not gone(pid):
            os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


@pytest.mark.parametrize("way", ["exit", "kill"])
@pytest.mark.parametrize("job", ["busy", "flooding", "holding"])
def test_no_worker_outlives_its_parent(parent, job, way):
    if job == "holding" and not LINUX:
        pytest.skip("only Linux ends a process that holds Python's lock with its parent")
    process, pid = parent(job)
    time.sleep(0.2)  # the job is under way, and a flooded pipe full
    assert not gone(pid)
    if way == "kill":
        process.kill()
    else:
        process.stdin.write(b"end\n")
        process.stdin.flush()
    process.wait(10)
    assert soon(lambda: gone(pid), 5)
