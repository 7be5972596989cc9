"""For scripts that run in Slicer: waiting for jobs and conditions, and ending Slicer with an exit code."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import slicer

from ActiveSegmentationLib.common.errors import ActiveSegmentationError, BadInput, Cancelled, JobFailed

if TYPE_CHECKING:
    from ActiveSegmentationLib.scene.work import Work
    from ActiveSegmentationLib.worker.client import Job, WorkerError


def resultOf(work: Work, start: Callable[[], Job]) -> dict[str, Any]:
    """Start a job, process events until it has ended, and return its result.

    Args:
        work: The worker's jobs.
        start: Starts it.

    Raises:
        BadInput: If the job could not use its input.
        JobFailed: If it failed, or the worker died.
        Cancelled: If it was cancelled.
    """
    errors: list[WorkerError | ActiveSegmentationError] = []
    work.failed.connect(errors.append)
    try:
        job = start()
        while job.active:
            slicer.app.processEvents()
            time.sleep(0.002)
    finally:
        work.failed.disconnect(errors.append)
    if errors:
        raise asException(errors[0])
    if job.result is None:
        raise Cancelled()
    return job.result


def asException(error: WorkerError | ActiveSegmentationError) -> ActiveSegmentationError:
    """The exception for an error of the worker."""
    if isinstance(error, ActiveSegmentationError):
        return error
    kind = BadInput if error.kind == "bad input" else JobFailed
    return kind(error.message, where=error.where or None, advice=error.advice)


def waitFor(finished: Callable[[], bool], seconds: float | None = None) -> bool:
    """Process events until a condition holds.

    Args:
        finished: The condition.
        seconds: Maximum time to wait. Default: no limit.

    Returns:
        Whether it held in time.
    """
    end = None if seconds is None else time.monotonic() + seconds
    while not finished():
        if end is not None and time.monotonic() > end:
            return False
        slicer.app.processEvents()
        time.sleep(0.005)
    return True


def runScript(main: Callable[[list[str]], int]) -> None:
    """Run a script's ``main`` with the command-line words, then end Slicer, or Python if there is no Slicer.

    Slicer would go on running after an error. Here an error is printed and the exit code is 1.

    Args:
        main: Takes the words after the script's name and returns the exit code.
    """
    inSlicer = hasattr(slicer, "app")  # before ``main``: it may start the test host, which provides one
    try:
        code = main(sys.argv[1:])
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # noqa: BLE001 - see above
        traceback.print_exc()
        code = 1
    if inSlicer:
        slicer.util.exit(code)
    else:
        sys.exit(code)
