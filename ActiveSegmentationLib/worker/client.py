"""The worker's client in Slicer: starts the worker process, sends it jobs and reports their progress. It never blocks.

Needs Qt (Slicer's ``qt``), the protocol and ``common.signals``, nothing else of the library. All of it runs in the
thread of the event loop. Signals are our own, because Qt signals of Python classes crash PythonQt.
"""

from __future__ import annotations

import collections
import itertools
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import qt

from ActiveSegmentationLib.common.signals import Signal
from ActiveSegmentationLib.worker import protocol

LIBRARY_ROOT = Path(__file__).resolve().parents[2]
"""Folder from which the worker imports the library."""

START_SECONDS = 60.0
"""Time to wait for the hello before the start counts as failed; slow network drives need some of it."""

STUCK_SECONDS = 20.0
"""Time without a sign of life after which the worker counts as stuck."""

STOP_MILLISECONDS = 2000
"""Time that the worker gets to exit before it is killed."""

WATCH_SECONDS = 1.0
"""Time between two checks for signs of life."""

LOG_LINES = 500

ENDED_BY_SYSTEM, CRASHED = (9, 15), (4, 6, 7, 8, 10, 11)
"""Signals with which the system ends processes, and signals of crashes."""

STOPPED, STARTING, READY, STUCK = "stopped", "starting", "ready", "stuck"
"""States of the worker."""


@dataclass(frozen=True)
class WorkerError:
    """Why a job failed.

    Attributes:
        kind: "bad input", "failed", "out of memory", "missing package", "unexpected", "not started", "ended" or
            "stopped".
        message: What is wrong, one sentence.
        where: The file, field or slice concerned, or "".
        advice: What the user can do, or "".
        details: Traceback or the last lines that the worker printed, or "".
    """

    kind: str
    message: str
    where: str = ""
    advice: str = ""
    details: str = ""

    def text(self) -> str:
        """Message, place and advice in one line."""
        where = f"{self.where}: " if self.where else ""
        return f"{where}{self.message} {self.advice}".strip()


def _call(function: Callable[..., None], *arguments: Any) -> None:
    """Call a function; an error in it is reported like that of any Qt slot and does not stop what comes next."""
    try:
        function(*arguments)
    except Exception:  # noqa: BLE001 - whatever the caller's code raises
        sys.excepthook(*sys.exc_info())


@dataclass(eq=False)
class Job:
    """A job for the worker, and signals that report how it goes. Connect them before ``WorkerClient.submit``.

    Attributes:
        name: Name of the job, see ``worker.jobs``.
        options: Its options, JSON values.
        about: What it concerns: "study", "volume" and "slice", if relevant.
        id: Number of the job as text, "" before it is submitted.
        active: Whether it runs or waits.
        result: Its result, or None before it is done.
        done: Emitted with the result (a dictionary).
        failed: Emitted with a ``WorkerError``.
        cancelled: Emitted when it was cancelled.
        progress: Emitted with a progress message (stage, done, total, left, values).
        message: Emitted with a line of text.
    """

    name: str
    options: Mapping[str, Any]
    about: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    active: bool = False
    result: dict[str, Any] | None = None
    done: Signal[[dict[str, Any]]] = field(default_factory=Signal)
    failed: Signal[[WorkerError]] = field(default_factory=Signal)
    cancelled: Signal[[]] = field(default_factory=Signal)
    progress: Signal[[dict[str, Any]]] = field(default_factory=Signal)
    message: Signal[[str]] = field(default_factory=Signal)


class WorkerClient:
    """Runs jobs in a worker process that is started on first use, and again after it died.

    Args:
        command: Program and arguments of a Python with the packages that the jobs need.
        environment: Environment of the process. Default: the one of this process.
        owner: Qt object that owns the process, so that it dies with Slicer's main window.

    Attributes:
        command: Program and arguments.
        environment: Environment of the next process.
        state: "stopped", "starting", "ready" or "stuck".
        stateChanged: Emitted when ``state`` changes and after every message about a job.
        pid: Process number of the worker, or None while it is not known.
        log: The last lines that the worker printed.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None, owner: Any = None) -> None:
        self.command = list(command)
        self.environment: dict[str, str] = {}
        self.setEnvironment(environment)
        self.state = STOPPED
        self.pid: int | None = None
        self.log: collections.deque[str] = collections.deque(maxlen=LOG_LINES)
        self.stateChanged: Signal[[]] = Signal()
        self._owner = owner
        self._numbers = itertools.count(1)
        self._jobs: dict[str, Job] = {}
        self._process: Any = None
        self._lines = protocol.Lines()
        self._received: collections.deque[bytes] = collections.deque()
        self._silent = 0.0
        self._watch = qt.QTimer()
        self._watch.setInterval(int(1000 * WATCH_SECONDS))
        self._watch.timeout.connect(self._onWatch)

    def setEnvironment(self, environment: Mapping[str, str] | None) -> None:
        """Set the environment of the next process; None stands for the one of this process."""
        self.environment = dict(os.environ if environment is None else environment)

    @property
    def busy(self) -> bool:
        """Whether a job runs or waits."""
        return bool(self._jobs)

    def submit(self, job: Job) -> None:
        """Send a job to the worker; jobs run one after the other.

        Raises:
            TypeError, ValueError: If the options are not JSON values.
        """
        number = str(next(self._numbers))
        command = {"command": "run", "id": number, "job": job.name, "options": job.options}
        line = protocol.encode({**command, "about": job.about} if job.about else command)
        job.id, job.active = number, True
        self._jobs[number] = job
        if self._process is None:
            self._start()
        if job.active:  # false if the start failed at once, which was reported already
            self._process.write(line)

    def cancel(self, job: Job) -> None:
        """Ask a job to stop; it ends with ``cancelled``, or with ``done`` if it finished first."""
        if job.active and self._process is not None:
            self._process.write(protocol.encode({"command": "cancel", "id": job.id}))

    def stop(self) -> None:
        """End the worker now; its jobs fail with kind "stopped" and lose what they have not written yet."""
        process, self._process = self._process, None
        self._watch.stop()
        if process is None:
            return
        process.closeWriteChannel()  # the worker exits at the end of its input, even during a job
        if self.state == STUCK or not process.waitForFinished(STOP_MILLISECONDS):
            self._kill(process)
        process.deleteLater()
        self._setState(STOPPED)
        self._failAll(WorkerError("stopped", "The worker was stopped.", advice="Start the step again."))

    def _start(self) -> None:
        environment = qt.QProcessEnvironment()
        for name, value in self.environment.items():
            environment.insert(name, value)
        paths = [str(LIBRARY_ROOT), *filter(None, [self.environment.get("PYTHONPATH", "")])]
        environment.insert("PYTHONPATH", os.pathsep.join(paths))
        environment.insert("PYTHONSAFEPATH", "1")  # modules in Slicer's working folder must not be imported
        environment.insert("PYTHONUNBUFFERED", "1")
        environment.insert("PYTHONIOENCODING", "utf-8")
        process = qt.QProcess(self._owner) if self._owner is not None else qt.QProcess()
        process.setProcessEnvironment(environment)
        process.readyReadStandardOutput.connect(lambda: self._onOutput(process))
        process.readyReadStandardError.connect(lambda: self._onErrorOutput(process))
        process.finished.connect(lambda *_: self._onFinished(process))
        process.errorOccurred.connect(lambda error: self._onProcessError(process, error))
        self._process, self.pid, self._silent = process, None, 0.0
        self._lines, self._received = protocol.Lines(), collections.deque()
        self.log.clear()
        self._setState(STARTING)
        self._watch.start()
        process.start(self.command[0], [*self.command[1:], "-m", "ActiveSegmentationLib.worker"])

    def _onOutput(self, process: Any) -> None:
        """Process received lines. A listener may run an event loop and so this function again, which continues with the
        same lines."""
        if process is not self._process:
            return
        if self.state != STARTING:  # before the hello there may be any output
            self._silent = 0.0
        if self.state == STUCK:
            self._setState(READY)
        received = self._received
        try:
            received.extend(protocol.latest(self._lines.feed(process.readAllStandardOutput().data())))
        except protocol.Garbage as error:
            self.log.append(str(error))
        while received and process is self._process:  # a listener may stop the worker
            self._take(received.popleft())

    def _take(self, line: bytes) -> None:
        try:
            message = protocol.decode(line, "event")
        except protocol.Garbage as error:
            self.log.append(str(error))
            return
        event = message["event"]
        if event == "hello":
            self._onHello(message)
            return
        job = self._jobs.get(str(message.get("id")))
        if job is not None and message.get("about", {}) != job.about:
            self.log.append(f"an answer to another question: {line[:200]!r}")
            return
        if event == "message" and job is None:
            self.log.append(str(message.get("text", "")))
        if job is not None:
            self._tell(job, event, message)

    def _onHello(self, message: dict[str, Any]) -> None:
        if self.state != STARTING:
            return
        pid = message.get("pid")
        self.pid = pid if isinstance(pid, int) and pid > 1 else None  # 1, 0 and less would kill more than one process
        if message.get("protocol") != protocol.VERSION or self.pid is None:
            advice = "Let the worker use the Python that the extension was installed into, and restart Slicer."
            error = WorkerError("not started", "The worker is of another version.", self.command[0], advice)
            self._giveUp(error)
            return
        self._silent = 0.0
        self._setState(READY)

    def _tell(self, job: Job, event: str, message: dict[str, Any]) -> None:
        if event in protocol.FINAL:
            self._jobs.pop(job.id)
            job.active = False
        if event == "progress":
            _call(job.progress.emit, message)
        elif event == "message":
            _call(job.message.emit, str(message.get("text", "")))
        elif event == "done":
            job.result = message.get("result") or {}
            _call(job.done.emit, job.result)
        elif event == "cancelled":
            _call(job.cancelled.emit)
        elif event == "error":
            fields = {name: str(message.get(name) or "") for name in ("kind", "message", "where", "advice", "details")}
            _call(job.failed.emit, WorkerError(**fields))
        _call(self.stateChanged.emit)

    def _onErrorOutput(self, process: Any) -> None:
        if process is not self._process:
            return
        text = process.readAllStandardError().data().decode("utf-8", "replace")
        self.log.extend(line for line in text.splitlines() if line.strip())

    def _onProcessError(self, process: Any, error: Any) -> None:
        if process is self._process and error == qt.QProcess.FailedToStart:  # the other errors end in "finished"
            advice = "Choose another Python for the worker under Study, Advanced."
            self._giveUp(
                WorkerError("not started", "The worker could not be started.", self.command[0], advice, self._tail())
            )

    def _onFinished(self, process: Any) -> None:
        if process is not self._process:
            return
        self._onOutput(process)
        if process is not self._process:
            return
        self._onErrorOutput(process)
        self._giveUp(self._explainEnd(process))

    def _explainEnd(self, process: Any) -> WorkerError:
        code = process.exitCode()
        if self.state == STARTING:
            advice = "Choose another Python for the worker, or install what the details name."
            return WorkerError("not started", "The worker ended at once.", self.command[0], advice, self._tail())
        number = code if process.exitStatus() == qt.QProcess.CrashExit else code - 128  # the latter from a launcher
        message, advice = f"The worker ended unexpectedly (exit code {code}).", ""
        if number in ENDED_BY_SYSTEM:
            message = f"The worker was ended by the system (signal {number})."
            advice = "Most often the memory was used up: close other programs, or use a smaller image size. "
        elif process.exitStatus() == qt.QProcess.CrashExit or number in CRASHED:
            message = f"The worker crashed (code {number})."
            advice = "If it crashes again, choose the CPU as device, and report it with the details. "
        advice += "Nothing that was committed is lost; start the step again."
        return WorkerError("ended", message, "", advice, self._tail())

    def _onWatch(self) -> None:
        """Measure the silence by the number of checks, not by the clock: a busy Slicer or a sleeping laptop does not
        check."""
        self._silent += WATCH_SECONDS
        if self.state == STARTING and self._silent > START_SECONDS:
            advice = "Choose another Python for the worker under Study, Advanced."
            message = f"The worker did not answer within {START_SECONDS:.0f} seconds."
            self._giveUp(WorkerError("not started", message, self.command[0], advice, self._tail()))
        elif self.state == READY and self._silent > STUCK_SECONDS:
            self._setState(STUCK)

    def _giveUp(self, error: WorkerError) -> None:
        """End a process that has failed, and fail its jobs."""
        process, self._process = self._process, None
        self._watch.stop()
        self._kill(process)
        process.deleteLater()
        self._setState(STOPPED)
        self._failAll(error)

    def _kill(self, process: Any) -> None:
        """Kill the process. Slicer's Python is a launcher, so the process that it launched is killed by its own id as
        well."""
        if process.state() == qt.QProcess.NotRunning:
            return
        if self.pid is not None:
            try:
                os.kill(self.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
            except OSError as error:
                self.log.append(f"kill {self.pid}: {error}")
        process.kill()
        process.waitForFinished(STOP_MILLISECONDS)

    def _failAll(self, error: WorkerError) -> None:
        jobs, self._jobs = list(self._jobs.values()), {}
        for job in jobs:
            job.active = False
        for job in jobs:
            _call(job.failed.emit, error)

    def _tail(self) -> str:
        return "\n".join(list(self.log)[-40:])

    def _setState(self, state: str) -> None:
        if state != self.state:
            self.state = state
            _call(self.stateChanged.emit)
