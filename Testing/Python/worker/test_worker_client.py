"""The client against the real worker, and against misbehaving processes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import slicer

from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.study import RequestList, Study
from ActiveSegmentationLib.worker import protocol
from ActiveSegmentationLib.worker.jobs import JOBS

from .worker_fakes import LINUX, ROOT, answer, gone, soon

POSIX = pytest.mark.skipif(os.name == "nt", reason="needs signals of POSIX")


@pytest.fixture
def wait(host):
    """wait(job, ...): until each has ended."""

    def until(*jobs, seconds=120):
        assert host.waitFor(lambda: all(job.end for job in jobs), seconds), [job.ends for job in jobs]

    return until


@pytest.fixture
def works(submitted, wait, tmp_path):
    """works(client): the next job of this client, with a Python that is one, is answered by the real worker."""

    def check(failed):
        failed.command, failed.environment = [sys.executable], dict(os.environ)
        job = submitted(failed, "index", {"path": str(tmp_path / "nowhere")})
        wait(job)
        assert job.error.kind == "bad input"
        assert failed.state == "ready"

    return check


def here(study, **options):
    return {"study": str(study.folder), "device": "cpu", **options}


# The real worker


def test_describe(worker, submitted, wait):
    states = []
    with_states = worker()
    with_states.stateChanged.connect(lambda: states.append(with_states.state))
    job = submitted(with_states, "describe", {"device": "cpu"})
    assert with_states.busy
    wait(job)
    assert job.result["missing"] == []
    assert job.result["versions"]["torch"]
    assert not with_states.busy
    assert with_states.pid != os.getpid()
    with_states.stop()
    assert [state for state, before in zip(states, [None, *states], strict=False) if state != before] == [
        "starting",
        "ready",
        "stopped",
    ]


def test_index(worker, submitted, wait, phantom_cohort):
    job = submitted(worker(), "index", {"path": str(phantom_cohort)})
    wait(job)
    assert len(job.result["cohort"]["volumes"]) == 8
    assert job.progress[-1]["done"] == job.progress[-1]["total"]


def test_suggest_train_predict(worker, submitted, wait, study):
    running = worker()
    suggest = submitted(running, "suggest", here(study, count=3, strategy="balanced-random"))
    wait(suggest)
    assert RequestList.from_json(suggest.result["requests"]) == study.requests.read(1)
    again = submitted(running, "suggest", here(study, count=3, strategy="balanced-random"))
    wait(again)
    assert again.result == suggest.result
    assert again.messages
    answer(study)
    train, predict = submitted(running, "train", here(study, steps=5)), submitted(running, "predict", here(study))
    wait(train, predict)
    assert train.result["annotated"] == 3
    assert {report["stage"] for report in train.progress}
    assert len(predict.result["reviews"]) == 8


def test_a_training_is_cancelled_and_the_next_job_runs(worker, submitted, wait, host, study):
    running = worker()
    suggest = submitted(running, "suggest", here(study, count=2, strategy="random"))
    wait(suggest)
    answer(study)
    train = submitted(running, "train", here(study, steps=100_000))
    after = submitted(running, "curve", here(study))
    assert host.waitFor(lambda: any(report["total"] == 100_000 for report in train.progress), 60)
    running.cancel(train.job)
    wait(train, after, seconds=20)
    assert train.end == "cancelled"
    assert after.result == {"curve": []}
    running.cancel(train.job)  # once more is nothing
    assert running.state == "ready"


def test_a_waiting_job_is_cancelled(worker, submitted, wait, tmp_path):
    running = worker()
    jobs = [submitted(running, "index", {"path": str(tmp_path / name)}) for name in "abc"]
    running.cancel(jobs[1].job)
    wait(*jobs)
    assert [job.end for job in jobs] == ["failed", "cancelled", "failed"]


def test_jobs_end_in_the_order_in_which_they_came(worker, submitted, wait, phantom_cohort, tmp_path):
    running = worker()
    ended = []
    jobs = []
    for number in range(6):
        path = phantom_cohort if number % 2 else tmp_path / "nowhere"
        jobs.append(submitted(running, "index", {"path": str(path)}))
        for end in (jobs[-1].job.done, jobs[-1].job.failed):
            end.connect(lambda value, number=number: ended.append(number))
    wait(*jobs)
    assert ended == list(range(6))
    assert [job.end for job in jobs] == ["failed", "done"] * 3


def test_a_file_name_that_is_not_utf8(worker, submitted, wait, tmp_path):
    running = worker()
    job = submitted(running, "index", {"path": str(tmp_path / "\udcff")})
    wait(job)
    assert job.error.kind == "bad input"
    assert "\udcff" in job.error.text()
    assert running.state == "ready"


def test_what_lies_in_the_working_folder_is_not_imported(worker, submitted, wait, tmp_path, monkeypatch):
    for name in ("numpy", "random", "json", "torch"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('imported from the working folder')")
    monkeypatch.chdir(tmp_path)
    job = submitted(worker(), "describe", {"device": "cpu"})
    wait(job)
    assert job.result["missing"] == []


def test_an_environment_of_its_own(worker, submitted, wait, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text("import os, sys; print(os.environ['FLAG'], file=sys.stderr)")
    running = worker(environment={**os.environ, "FLAG": "grüß dich", "PYTHONPATH": str(site)})
    job = submitted(running, "index", {"path": str(tmp_path / "nowhere")})
    wait(job)
    assert "grüß dich" in running.log


def test_stop_ends_what_runs_and_what_waits(worker, submitted, wait, host, study, works):
    running = worker()
    suggest = submitted(running, "suggest", here(study, count=2, strategy="random"))
    wait(suggest)
    answer(study)
    train, curve = submitted(running, "train", here(study, steps=100_000)), submitted(running, "curve", here(study))
    assert host.waitFor(lambda: train.progress, 60)
    pid = running.pid
    running.stop()
    assert gone(pid)
    assert [train.error.kind, curve.error.kind] == ["stopped", "stopped"]
    assert "again" in train.error.advice
    running.stop()  # once more is nothing
    works(running)
    with Study.open(study.folder).lock():
        pass


def test_stop_before_the_worker_has_said_hello(worker, submitted):
    running = worker()
    job = submitted(running)
    running.stop()
    assert job.error.kind == "stopped"


def test_options_that_are_not_json_are_refused_and_leave_nothing(worker, submitted, works):
    running = worker()
    for value in (float("nan"), {1}, ROOT):
        with pytest.raises((TypeError, ValueError)):
            submitted(running, "index", {"path": value})
    assert not running.busy
    assert running.state == "stopped"
    works(running)


# Callbacks


def test_an_error_in_a_callback_does_not_stop_the_others(fake, submitted, wait, host):
    running = fake("""
        hello()
        for number in (next_job(), next_job()):
            say(event="progress", id=number)
        raw(b"".join(b'{"event":"done","id":"%d"}\\n' % number for number in (1, 2)))
        rest()
    """)
    first, second = submitted(running), submitted(running)

    def breaks(*_):
        raise RuntimeError("in a callback")

    first.job.progress.connect(breaks)
    first.job.done.connect(breaks)
    running.stateChanged.connect(breaks)
    wait(first, second)
    assert (first.end, second.end) == ("done", "done")
    third, fourth = submitted(running), submitted(running)
    third.job.failed.connect(breaks)
    running.stop()
    assert (third.end, fourth.end) == ("failed", "failed")
    assert host.errors
    assert all("in a callback" in error for error in host.errors)
    host.errors.clear()


def test_a_callback_that_waits_for_another_job(fake, submitted, wait, host):
    """As ``resultOf`` does in a script; messages that arrive together or in pieces are neither lost nor mixed."""
    running = fake("""
        hello()
        first, second = next_job(), next_job()
        raw(b'{"event":"done","id":"1"}\\n{"event":"progress","id":"2"}\\n{"event":"pro')
        time.sleep(0.3)
        raw(b'gress","id":"2"}\\n{"event":"do')
        time.sleep(0.1)
        raw(b'ne","id":"2"}\\n')
        rest()
    """)
    first, second = submitted(running), submitted(running)

    def waits(result):
        end = time.monotonic() + 5
        while not second.end and time.monotonic() < end:
            slicer.app.processEvents()
        assert second.end == "done"

    first.job.done.connect(waits)
    wait(first, second)
    assert len(second.progress) == 2
    assert not running.log


def test_a_callback_that_stops_the_worker_and_starts_it_again(fake, submitted, wait):
    running = fake("""
        hello()
        for number in (next_job(), next_job()):
            pass
        raw(b'{"event":"done","id":"1"}\\n{"event":"done","id":"2"}\\n{"event":"done","id":"3"}\\n')
        rest()
    """)
    first, second = submitted(running), submitted(running)
    later = []

    def stops(result):
        running.stop()
        later.extend([submitted(running), submitted(running)])

    first.job.done.connect(stops)
    wait(first, second)
    assert second.error.kind == "stopped"
    wait(later[0])
    assert not later[1].end  # its number is 4: what the former worker said is not taken for it
    assert running.state == "ready"


def test_a_failed_callback_that_submits_again(fake, submitted, wait):
    running = fake("hello(); next_job(); sys.exit(3)")
    jobs = [submitted(running)]

    def again(error):
        if len(jobs) < 4:
            jobs.append(submitted(running))
            jobs[-1].job.failed.connect(again)

    jobs[0].job.failed.connect(again)
    wait(jobs[0])
    for number in range(4):
        wait(jobs[number])
    assert [job.end for job in jobs] == ["failed"] * 4
    assert running.state == "stopped"


# Starts that fail


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("sys.exit(0)", ""),
        ("sys.exit(3)", ""),
        ("raise ImportError('No module named numpy')", "No module named numpy"),
        ("raw(b'Usage: python\\n'); sys.exit(1)", "Usage: python"),
        ("os.close(0); os.close(1); sys.exit(1)", ""),
        pytest.param("os.kill(os.getpid(), signal.SIGKILL)", "", marks=POSIX),
    ],
)
def test_a_worker_that_ends_before_hello(fake, submitted, wait, works, text, seen):
    failing = fake(text)
    jobs = [submitted(failing), submitted(failing)]
    wait(*jobs)
    for job in jobs:
        assert job.error.kind == "not started"
        assert "ended at once" in job.error.message
        assert "another Python" in job.error.advice
        assert sys.executable in job.error.text()
        assert seen in job.error.details
    works(failing)


def test_details_are_those_of_this_start(fake, submitted, wait):
    failing = fake("sys.exit('first')")
    wait(submitted(failing))
    failing.command = fake("sys.exit('second')").command
    job = submitted(failing)
    wait(job)
    assert job.error.details == "second"


@pytest.mark.parametrize(
    "text",
    [
        "time.sleep(60)",
        "os.close(1); time.sleep(60)",
        "say(event='alive', silent=0.0); time.sleep(60)",
        "while True: raw(b'noise\\n'); time.sleep(0.01)",
        "while True: raw(b'x' * 65536)",
        "while True: os.write(2, b'still loading\\n'); time.sleep(0.01)",
    ],
)
def test_a_worker_that_never_says_hello(quick, client, fake, submitted, wait, works, text, monkeypatch):
    monkeypatch.setattr(protocol, "LONGEST_LINE", 2**20)
    silent = fake(text)
    job = submitted(silent)
    wait(job, seconds=20)
    assert job.error.kind == "not started"
    assert "did not answer within" in job.error.message
    assert "another Python" in job.error.advice
    assert soon(lambda: all(map(gone, fake.pids())))
    monkeypatch.setattr(client, "START_SECONDS", 60)
    works(silent)


def test_a_hello_that_waits_in_the_pipe_while_slicer_is_busy_is_heard(quick, fake, submitted, host):
    running = fake("hello(); number = next_job(); rest()")
    submitted(running)
    time.sleep(1.5)  # longer than START_SECONDS of this test, without the event loop
    assert host.waitFor(lambda: running.state != "starting", 5)
    assert running.state == "ready"


@pytest.mark.parametrize(
    "hello",
    ["protocol=1", "protocol=None", "protocol='1'", "pid=None", "pid='x'", "pid=0", "pid=-1", "pid=1", "pid=2.5"],
)
def test_a_worker_of_another_version(fake, submitted, wait, works, hello):
    other = fake(f"hello({hello}); time.sleep(60)")
    job = submitted(other)
    wait(job)
    assert job.error.kind == "not started"
    assert "another version" in job.error.message
    assert "restart Slicer" in job.error.advice
    works(other)


@pytest.mark.parametrize("kind", ["nothing", "folder", "no program"])
def test_a_program_that_cannot_be_started(worker, submitted, wait, works, tmp_path, kind):
    path = tmp_path / kind
    if kind == "folder":
        path.mkdir()
    elif kind == "no program":
        path.write_text("x")
    failing = worker()
    failing.command = [str(path)]
    jobs = [submitted(failing), submitted(failing)]
    wait(*jobs)
    for job in jobs:
        assert job.error.kind == "not started"
        assert "could not be started" in job.error.message
        assert "another Python" in job.error.advice
        assert str(path) in job.error.text()
    works(failing)


def test_a_python_without_any_package(worker, submitted, wait, works):
    bare = worker("-S")
    job = submitted(bare)
    wait(job)
    assert job.error.kind == "not started"
    assert "numpy" in job.error.details
    assert "details" in job.error.advice
    works(bare)


def test_a_python_without_torch(worker, submitted, wait, study, phantom_cohort, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text("import sys; sys.modules['torch'] = None")
    lacking = worker(environment={**os.environ, "PYTHONPATH": str(site)})
    describe, suggest = submitted(lacking), submitted(lacking, "suggest", here(study, count=2, strategy="random"))
    index = submitted(lacking, "index", {"path": str(phantom_cohort)})
    wait(describe, suggest, index)
    assert describe.result["missing"] == ["torch"]
    assert suggest.error.kind == "missing package"
    assert "'torch'" in suggest.error.message
    assert "Install" in suggest.error.advice
    assert "Traceback" in suggest.error.details
    assert index.end == "done"
    assert lacking.state == "ready"


# Ends in the middle

ENDS = [
    ("sys.exit(3)", "ended unexpectedly (exit code 3)", "start the step again"),
    ("sys.exit(0)", "ended unexpectedly (exit code 0)", "start the step again"),
    ("sys.exit(137)", "ended by the system (signal 9)", "memory"),
    ("sys.exit(139)", "crashed (code 11)", "CPU"),
    pytest.param("os.kill(os.getpid(), signal.SIGKILL)", "ended by the system (signal 9)", "memory", marks=POSIX),
    pytest.param("os.kill(os.getpid(), signal.SIGTERM)", "ended by the system (signal 15)", "memory", marks=POSIX),
    pytest.param("os.kill(os.getpid(), signal.SIGSEGV)", "crashed (code 11)", "CPU", marks=POSIX),
    pytest.param("os.abort()", "crashed (code 6)", "CPU", marks=POSIX),
]


@pytest.mark.parametrize(("text", "message", "advice"), ENDS)
def test_a_worker_that_ends_in_the_middle_of_a_job(fake, submitted, wait, works, text, message, advice):
    dying = fake(f"hello(); number = next_job(); os.write(2, b'last words'); {text}")
    jobs = [submitted(dying), submitted(dying)]
    wait(*jobs)
    for job in jobs:
        assert job.error.kind == "ended"
        assert message in job.error.message
        assert advice in job.error.advice
        assert "Nothing that was committed is lost" in job.error.advice
        assert "last words" in job.error.details
    works(dying)


def test_an_answer_just_before_the_end_counts(fake, submitted, wait):
    dying = fake("hello(); say(event='done', id=next_job(), result={'x': 1}); sys.exit(3)")
    jobs = [submitted(dying), submitted(dying)]
    wait(*jobs)
    assert jobs[0].result == {"x": 1}
    assert jobs[1].error.kind == "ended"


def test_a_worker_that_dies_while_nothing_runs_is_started_anew(fake, submitted, wait, host, works):
    dying = fake("hello(); say(event='done', id=next_job()); time.sleep(0.2); sys.exit(3)")
    wait(submitted(dying))
    assert host.waitFor(lambda: dying.state == "stopped")
    works(dying)


# Silence


def test_a_worker_that_hangs_and_recovers(quick, fake, submitted, wait, host):
    hanging = fake("hello(); number = next_job(); time.sleep(1.5); say(event='done', id=number); time.sleep(0.2)")
    states = []
    hanging.stateChanged.connect(lambda: states.append(hanging.state))
    job = submitted(hanging)
    assert host.waitFor(lambda: hanging.state == "stuck")
    assert not job.end
    wait(job)
    assert job.end == "done"
    assert states.index("stuck") < len(states) - 1 - states[::-1].index("ready")


def test_a_worker_that_hangs_for_ever_is_stopped(quick, client, fake, submitted, host, works, monkeypatch):
    hanging = fake("hello(); next_job(); ctypes.PyDLL(None).sleep(60)" if LINUX else "hello(); time.sleep(60)")
    job = submitted(hanging)
    assert host.waitFor(lambda: hanging.state == "stuck")
    hanging.cancel(job.job)
    host.settle(0.2)
    assert not job.end
    hanging.stop()
    assert job.error.kind == "stopped"
    assert soon(lambda: all(map(gone, fake.pids())), 1)
    monkeypatch.setattr(client, "START_SECONDS", 60)
    works(hanging)


def test_signs_of_life_count(quick, fake, submitted, wait, host):
    alive = fake("""
        hello()
        number = next_job()
        for _ in range(12):
            time.sleep(0.1)
            say(event="alive", silent=0.1)
        say(event="done", id=number)
        rest()
    """)
    states = []
    alive.stateChanged.connect(lambda: states.append(alive.state))
    wait(submitted(alive))
    assert "stuck" not in states


# Garbage


def test_garbage_between_messages_is_passed_over(fake, submitted, wait, monkeypatch):
    monkeypatch.setattr(protocol, "LONGEST_LINE", 2**22)
    messy = fake("""
        raw(b"Loading ...\\n\\n\\r\\n")
        hello()
        number = next_job()
        raw(bytes(range(256)) + b"\\n")
        raw(b"[" * 200_000 + b"\\n")
        say(event="progress", id=number, stage="a")
        raw(b'{"event": "done"')
        time.sleep(0.1)
        raw(b"\\n")
        for _ in range(100):
            raw(b"x" * 65536)
        raw(b"\\n")
        say(event="unheard of", id=number)
        say(event="done", id="77")
        say(event="done", id=None)
        say(event="message", text="to nobody")
        say(event="message", id=number, text="to the job")
        hello(pid=4_194_300, protocol=7)
        raw(b'null\\n[]\\n"done"\\n{"event":null}\\n')
        text = json.dumps({"event": "progress", "id": number, "stage": "zwei µ"}, ensure_ascii=False).encode() + b"\\n"
        for byte in text:
            raw(bytes([byte]))
            time.sleep(0.001)
        say(event="done", id=number, result={"x": "y" * 3_000_000})
        say(event="done", id=number, result={})
        rest()
    """)
    job = submitted(messy)
    wait(job)
    assert len(job.result["x"]) == 3_000_000
    assert [report["stage"] for report in job.progress] == ["a", "zwei µ"]
    assert job.messages == ["to the job"]
    assert "to nobody" in messy.log
    assert any("Loading" in line for line in messy.log)
    assert all(len(line) < 1000 for line in messy.log)
    assert messy.pid in fake.pids()


def test_an_answer_to_another_question_is_dropped(fake, submitted, wait):
    client = fake("""
        hello()
        number = next_job()
        for about in ({"study": "b", "slice": 3}, {}, {"study": "a", "slice": 3}):
            say(event="progress", id=number, stage=str(about), about=about)
            say(event="done", id=number, result=about, about=about)
        rest()
    """)
    job = submitted(client, about={"study": "a", "slice": 3})
    wait(job)
    assert job.result == {"study": "a", "slice": 3}
    assert len(job.progress) == 1
    assert sum("another question" in line for line in client.log) == 4


def test_an_error_event_that_lacks_everything(fake, submitted, wait):
    job = submitted(fake("hello(); say(event='error', id=next_job(), message=None, where=3); rest()"))
    wait(job)
    assert job.error.kind == ""
    assert job.error.text() == "3:"


def test_a_flood_of_errors_is_kept_short(client, fake, submitted, wait):
    flooding = fake("""
        hello()
        number = next_job()
        for count in range(20_000):
            os.write(2, b"line %d\\n" % count)
        say(event="done", id=number)
        rest()
    """)
    wait(submitted(flooding))
    assert len(flooding.log) <= client.LOG_LINES


# Launchers, as Slicer's own Python is one


@pytest.fixture
def launcher(worker, tmp_path):
    """A client whose command starts the worker as a child of its own."""
    path = tmp_path / "launcher.sh"
    path.write_text(f'#!/bin/sh\n"{sys.executable}" "$@"\nexit $?\n')
    path.chmod(0o755)
    launched = worker()
    launched.command = [str(path)]
    return launched


@POSIX
def test_the_worker_behind_a_launcher_is_stopped(launcher, submitted, host, tmp_path):
    submitted(launcher, "index", {"path": str(tmp_path)})
    assert host.waitFor(lambda: launcher.pid, 30)
    pid = launcher.pid
    launcher.stop()
    assert gone(pid)


@POSIX
def test_the_worker_behind_a_launcher_dies(launcher, submitted, wait, host, tmp_path, works):
    job = submitted(launcher, "describe")
    assert host.waitFor(lambda: launcher.pid, 30)
    os.kill(launcher.pid, signal.SIGKILL)
    wait(job)
    assert job.error.kind == "ended"
    assert "signal 9" in job.error.message
    works(launcher)


@POSIX
def test_a_hanging_worker_behind_a_launcher_is_killed(quick, fake, submitted, host, tmp_path):
    path = tmp_path / "launcher.sh"
    path.write_text(f'#!/bin/sh\n"{sys.executable}" "$@"\nexit $?\n')
    path.chmod(0o755)
    hanging = fake("hello(); signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)")
    hanging.command[0] = str(path)
    submitted(hanging)
    assert host.waitFor(lambda: hanging.state == "stuck")
    pid = hanging.pid
    hanging.stop()
    assert soon(lambda: gone(pid), 1)


# Killed at any moment

NURSERY = """
import os, runpy, signal, socket, sys
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.worker.jobs import JOBS

for name in ("train", "predict", "index"):
    JOBS[name]({"study": sys.argv[2], "device": "cpu", "steps": 1, "path": sys.argv[3]}, Progress())
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("ready", flush=True)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    connection, _ = listener.accept()
    descriptors = socket.recv_fds(connection, 1, 3)[1]
    if os.fork() == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        child = os.fork()
        if child == 0:
            for number, descriptor in enumerate(descriptors):
                os.dup2(descriptor, number)
                os.close(descriptor)
            connection.close()
            listener.close()
            runpy.run_module("ActiveSegmentationLib.worker", run_name="__main__")
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        connection.send(bytes([code if code >= 0 else 128 - code]))
        os._exit(0)
    connection.close()
    for descriptor in descriptors:
        os.close(descriptor)
"""
"""Imports once what takes seconds; workers are forked from it on the streams of the requesting process."""

CHILD = """
import os, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
socket.send_fds(connection, [b"x"], [0, 1, 2])
os._exit(connection.recv(1)[0])
"""


@pytest.fixture
def nursery(tmp_path, study, phantom_cohort):
    """Program and arguments of a Python whose worker starts at once; two slices of the study are annotated."""
    JOBS["suggest"](here(study, count=2, strategy="random"), Progress())
    answer(study)
    address, child = tmp_path / "nursery", tmp_path / "child.py"
    child.write_text(CHILD)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
    with subprocess.Popen(
        [sys.executable, "-c", NURSERY, str(address), study.folder, phantom_cohort], env=environment, **pipes
    ) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            yield [sys.executable, "-I", "-S", str(child), str(address)]
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.skipif(not LINUX, reason="needs fork to start many workers quickly, and /proc")
def test_killed_at_a_hundred_random_moments(nursery, worker, submitted, host, study, phantom_cohort, tmp_path):
    running = worker()
    running.command = nursery
    moments, outcomes = random.Random(3), set()
    stream = [
        ("suggest", {"count": 2, "strategy": "random"}),
        ("train", {"steps": 3}),
        ("predict", {}),
        ("export", {"format": "predictions", "out": str(tmp_path / "out")}),
        ("curve", {}),
        ("index", {"path": str(phantom_cohort)}),
    ]

    def submit(first, seed):
        """The stream, beginning with any of its jobs."""
        jobs = [*stream[first:], *stream[:first]]
        return [submitted(running, name, here(study, **options, seed=seed)) for name, options in jobs]

    def end(jobs):
        assert host.waitFor(lambda: all(job.end for job in jobs), 60)

    for number in range(1, 101):
        jobs = submit(number % len(stream), number)
        assert host.waitFor(lambda: running.state == "ready", 30)
        host.settle(moments.uniform(0, 0.6))
        os.kill(running.pid, signal.SIGKILL)
        assert host.waitFor(lambda: running.state == "stopped", 30)
        assert gone(running.pid)
        for job in jobs:
            assert job.end == "done" or job.error.kind == "ended", job.error
            outcomes.add(job.end)
        again = Study.open(study.folder)
        assert again.audit.verify() == []
        assert all(again.requests.read(known).count == 2 for known in again.requests.rounds())
        assert len(again.annotations()) == 2
    assert outcomes == {"done", "failed"}
    jobs = submit(0, 101)
    end(jobs)
    assert [job.end for job in jobs] == ["done"] * len(stream), [job.ends for job in jobs]
    assert len(worker.pids) > 100
