"""Waiting for the worker or the scene while Slicer processes events, for scripts and tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import slicer

from ActiveSegmentationLib.common.errors import ActiveSegmentationError, BadInput, Cancelled, JobFailed
from ActiveSegmentationLib.scene.work import Work
from ActiveSegmentationLib.worker.client import Job, WorkerError


def resultOf(work: Work, start: Callable[[], Job]) -> dict[str, Any]:
    """Start a job, process events until it has ended, and return its result.

    Args:
        work: What runs the job.
        start: Starts it.

    Raises:
        BadInput: If the job could not use its input.
        JobFailed: If it failed, or the worker died.
        Cancelled: If somebody cancelled it.
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
    """The exception that a worker's error stands for."""
    if isinstance(error, ActiveSegmentationError):
        return error
    kind = BadInput if error.kind == "bad input" else JobFailed
    return kind(error.message, where=error.where or None, advice=error.advice)


def waitFor(finished: Callable[[], bool], seconds: float | None = None) -> bool:
    """Process events until a condition holds.

    Args:
        finished: The condition.
        seconds: Longest time to wait. Default: no limit.

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
