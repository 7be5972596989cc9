"""Waiting for the worker or the scene, for scripts that have nothing else to do meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import slicer

from ActiveSegmentationLib.common.errors import ActiveSegmentationError, BadInput, Cancelled, JobFailed
from ActiveSegmentationLib.scene.work import Work
from ActiveSegmentationLib.worker.client import Job, WorkerError


def resultOf(work: Work, start: Callable[[], Job | None]) -> dict[str, Any]:
    """Start a job, let Slicer go on until it has ended, and give its answer.

    Args:
        work: What runs the job.
        start: Starts it.

    Raises:
        BadInput: If the job could not use its input.
        JobFailed: If it failed, or the worker died.
        Cancelled: If somebody cancelled it.
    """
    answers: list[dict[str, Any]] = []
    errors: list[WorkerError | ActiveSegmentationError] = []
    before, work.failed = work.failed, errors.append
    try:
        job = start()
        if job is None:
            raise BadInput("The job cannot start now.", advice="See the message in the module's panel.")
        tell = job.done

        def done(answer: dict[str, Any]) -> None:
            answers.append(answer)
            tell(answer)

        job.done = done
        while job.active:
            slicer.app.processEvents()
            time.sleep(0.002)
    finally:
        work.failed = before
    if errors:
        raise asException(errors[0])
    if not answers:
        raise Cancelled()
    return answers[0]


def asException(error: WorkerError | ActiveSegmentationError) -> ActiveSegmentationError:
    """A worker's error as the exception it was there."""
    if isinstance(error, ActiveSegmentationError):
        return error
    kind = BadInput if error.kind == "bad input" else JobFailed
    return kind(error.message, where=error.where or None, advice=error.advice)


def waitFor(finished: Callable[[], bool], seconds: float | None = None) -> bool:
    """Let Slicer go on until something is so; for scripts, which have nothing else to do meanwhile.

    Args:
        finished: Asked again and again.
        seconds: Longest time to wait, None for ever.

    Returns:
        Whether it became so in time.
    """
    end = None if seconds is None else time.monotonic() + seconds
    while not finished():
        if end is not None and time.monotonic() > end:
            return False
        slicer.app.processEvents()
        time.sleep(0.005)
    return True
