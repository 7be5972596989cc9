"""Locks between processes; the operating system releases them when a process dies."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.common.durability import make_folder
from ActiveSegmentationLib.common.errors import ActiveSegmentationError, BadInput, JobFailed
from ActiveSegmentationLib.common.files import explain_os_error, explained, read_json, write_json
from ActiveSegmentationLib.study.times import now


@contextlib.contextmanager
def file_lock(path: Path, wait: float, busy: Callable[[], ActiveSegmentationError]) -> Iterator[None]:
    """Hold a lock file within this block.

    Args:
        path: The lock file.
        wait: Seconds to wait for another process to release it.
        busy: Creates the error to raise if it is not released.

    Raises:
        BadInput: If the folder cannot be written.
        JobFailed: If locks are not available (package missing, file system without locks).
    """
    lock = _make(path)
    with explained(path):
        make_folder(path.parent)
    _acquire(lock, path, wait, busy)
    try:
        yield
    finally:
        lock.release()


def _make(path: Path) -> Any:
    try:
        import filelock
    except ImportError as error:
        advice = "Install it with: pip install filelock (in 3D Slicer: slicer.util.pip_install('filelock'))."
        raise JobFailed("The Python package filelock is missing.", where=path, advice=advice) from error
    return filelock.FileLock(path, thread_local=False)


def _acquire(lock: Any, path: Path, wait: float, busy: Callable[[], ActiveSegmentationError]) -> None:
    import filelock

    try:
        lock.acquire(timeout=wait, poll_interval=0.02)
    except filelock.Timeout as error:  # itself an OSError
        raise busy() from error
    except OSError as error:
        raise explain_os_error(error, path) from error
    except NotImplementedError as error:
        advice = "Keep the study on a disk whose file system has locks."
        raise JobFailed("This file system has no file locks.", where=path, advice=advice) from error


class StudyLock:
    """The lock on a study, which one job at a time can hold; re-entrant within the same object.

    Args:
        folder: Folder of the study.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / ".lock"
        self._info = folder / ".lock.json"
        self._depth = 0

    @contextlib.contextmanager
    def held(self, wait: float = 0.0) -> Iterator[None]:
        """Hold the lock within this block.

        Args:
            wait: Seconds to wait for another process to release it.

        Raises:
            BadInput: If another process holds it; names the process and what to do.
        """
        with contextlib.ExitStack() as stack:
            if self._depth == 0:
                stack.enter_context(file_lock(self._path, wait, self._busy))
                write_json(self._info, _this_process())
                stack.callback(self._forget)
            self._depth += 1
            stack.callback(self._leave)
            yield

    def _leave(self) -> None:
        self._depth -= 1

    def _forget(self) -> None:
        with explained(self._info):
            self._info.unlink(missing_ok=True)

    def _busy(self) -> BadInput:
        holder = self._holder()
        advice = "Wait until it has finished, or end that process; the lock goes with it."
        return BadInput(f"The study is in use by {holder}.", where=self._folder, advice=advice)

    def _holder(self) -> str:
        if not self._info.is_file():
            return "another process"
        try:
            info = read_json(self._info)
            return f"process {info['pid']} ({info['command']}) on {info['host']} since {info['since']}"
        except (ActiveSegmentationError, KeyError, TypeError):  # the file may vanish at any moment
            return "another process"


def _this_process() -> dict[str, Any]:
    """The process that holds the lock: only program and command, no argument that could contain a patient's name."""
    program = Path(sys.argv[0] if sys.argv else "")
    name = program.parent.name if program.name == "__main__.py" else program.name
    words = [name or "python", *(word for word in sys.argv[1:2] if re.fullmatch(r"[a-z-]{2,20}", word))]
    return {"pid": os.getpid(), "host": socket.gethostname(), "command": " ".join(words), "since": now()}
