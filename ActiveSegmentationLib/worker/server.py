"""The main loop of the worker: runs jobs from standard input one after the other and reports on them."""

from __future__ import annotations

import math
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from ActiveSegmentationLib import __version__
from ActiveSegmentationLib.common.errors import ActiveSegmentationError, Cancelled
from ActiveSegmentationLib.common.memory import is_out_of_memory
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.worker.protocol import ALIVE_SECONDS, VERSION, Garbage, decode, encode

Job = Callable[[Mapping[str, Any], Progress], Mapping[str, Any]]
"""A job: takes options and a progress reporter, returns JSON values."""

PROGRESS_SECONDS = 0.1
"""Minimum time between two reports of one stage."""

ADVICE = {
    "out of memory": "Close other programs, choose a smaller image size for the study, or the CPU as device.",
    "missing package": "Install what is missing (Study, Install), or choose a Python that has it.",
}


class Server:
    """Runs jobs in the calling thread while other threads receive commands and send signs of life.

    When the client closes the worker's input, or dies, the process ends at once, so that none is left behind. Studies
    survive that, as they survive a power cut.

    Args:
        jobs: The jobs by name.
        source: Stream of commands.
        sink: Stream for events, for exclusive use.
        leave: Ends the process; called with an exit code.
    """

    def __init__(
        self, jobs: Mapping[str, Job], source: BinaryIO, sink: BinaryIO, leave: Callable[[int], None] = os._exit
    ) -> None:
        self._jobs = jobs
        self._source = source
        self._sink = sink
        self._leave = leave
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._cancelled: set[str] = set()
        self._about: dict[str, Any] | None = None
        self._writing = threading.Lock()
        self._reported = time.monotonic()

    def serve(self) -> None:
        """Run jobs until a stop command, then end the process: the thread that reads standard input keeps it alive."""
        self._send(event="hello", protocol=VERSION, version=__version__, pid=os.getpid(), python=sys.version.split()[0])
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()
        while (command := self._waiting.get()) is not None:
            self._run(command)
        self._leave(0)

    def _listen(self) -> None:
        for line in iter(self._source.readline, b""):
            if not line.strip():
                continue
            try:
                self._obey(decode(line, "command"))
            except Garbage as error:
                self._send(event="message", text=f"The worker did not understand its input ({error}).")
        self._leave(0)

    def _obey(self, command: dict[str, Any]) -> None:
        if command["command"] == "stop":
            self._waiting.put(None)
        elif command["command"] == "cancel":
            self._cancelled.add(str(command.get("id")))
        elif command["command"] == "run":
            self._waiting.put(command)
        else:
            raise Garbage(f"not a command: {command['command'][:200]!r}")

    def _beat(self) -> None:
        while True:
            time.sleep(ALIVE_SECONDS)
            self._send(event="alive", silent=round(time.monotonic() - self._reported, 1))

    def _run(self, command: dict[str, Any]) -> None:
        number, self._about = str(command.get("id")), command.get("about")
        self._send(event="started", id=number)
        try:
            if number in self._cancelled:
                raise Cancelled()
            job = self._jobs.get(str(command.get("job")))
            if job is None:
                raise ValueError(f"unknown job '{command.get('job')}'; is the worker of another version?")
            progress = _Reporter(self, number, lambda: number in self._cancelled)
            result = dict(job(command.get("options") or {}, progress))
            self._send(event="done", id=number, result=result)
        except Cancelled:
            self._send(event="cancelled", id=number)
        except BaseException as error:  # noqa: BLE001 - no job may end the worker (sys.exit)
            self._send(event="error", id=number, **explain(error))
        finally:
            self._cancelled.discard(number)

    def _send(self, **message: Any) -> None:
        if "id" in message and self._about:  # jobs run one after the other
            message["about"] = self._about
        line = encode(message)
        with self._writing:
            self._reported = time.monotonic() if message["event"] != "alive" else self._reported
            try:
                self._sink.write(line)
                self._sink.flush()
            except OSError:  # the client is gone
                self._leave(0)

    def report(self, **message: Any) -> None:
        """Send an event of a running job."""
        self._send(**message)


class _Reporter(Progress):
    """Progress as events with the remaining seconds of the stage."""

    def __init__(self, server: Server, number: str, cancelled: Callable[[], bool]) -> None:
        super().__init__(cancelled)
        self._server = server
        self._number = number
        self._stage = ""
        self._since = 0.0
        self._first = 0
        self._done = 0
        self._last = 0.0

    def show(self, stage: str, done: int, total: int, **values: float | str) -> None:
        """Send the report, unless one of the same stage was sent just before and this is not the last one."""
        now = time.monotonic()
        if stage != self._stage or done < self._done:
            self._stage, self._since, self._first, self._last = stage, now, done, 0.0
        self._done = done
        if now - self._last < PROGRESS_SECONDS and done < total:
            return
        self._last = now
        self._server.report(
            event="progress",
            id=self._number,
            stage=stage,
            done=int(done),
            total=int(total),
            left=self._left(now, done, total),
            values={name: _finite(value) for name, value in values.items()},
        )

    def _left(self, now: float, done: int, total: int) -> float | None:
        """Estimated seconds until the stage ends, or None while too little is done for an estimate."""
        advanced = done - self._first
        if advanced <= 0 or now - self._since < 0.5:
            return None
        return round(float((now - self._since) / advanced * (total - done)), 1)

    def message(self, text: str) -> None:
        """Send the line."""
        self._server.report(event="message", id=self._number, text=text)


def _finite(value: Any) -> float | str:
    """A value that JSON can represent; other than finite numbers as text."""
    try:
        number = float(value) if not isinstance(value, str) else math.nan
    except (ArithmeticError, TypeError, ValueError):
        number = math.nan
    return number if math.isfinite(number) else str(value)


def explain(error: BaseException) -> dict[str, str]:
    """Kind, message, advice and details of an error, for the ``error`` event."""
    details = "".join(traceback.format_exception(error))
    if isinstance(error, ActiveSegmentationError):
        where = error.where or ""
        return {
            "kind": error.kind,
            "message": error.message,
            "where": where,
            "advice": error.advice,
            "details": details,
        }
    kind, message = "unexpected", f"{type(error).__name__}: {error}"
    if is_out_of_memory(error):
        kind, message = "out of memory", "There was not enough memory."
    elif isinstance(error, ModuleNotFoundError):
        kind, message = "missing package", f"The Python package '{error.name or error}' is not installed."
    advice = ADVICE.get(kind, "Please report this with the text under Details.")
    return {"kind": kind, "message": message, "where": "", "advice": advice, "details": details}
