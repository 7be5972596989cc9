"""Computes jobs in several processes of this computer."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection

from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.common.text import counted
from ActiveSegmentationLib.experiment.jobs import LOG, Job, Patience, counting, execute_logged, unfinished


def execute_in_processes(jobs: Sequence[Job], workers: int, stage: str, progress: Progress) -> None:
    """Execute jobs, ``workers`` at a time; finished rounds are kept when one fails, and when a process is killed.

    Each writes its messages and its progress to ``log.txt`` in its folder.

    Args:
        jobs: The jobs.
        workers: Number of processes; they share the processor's cores.
        stage: Name of the work in the progress, which shows the number of finished rounds.
        progress: Progress reporter.

    Raises:
        ActiveSegmentationError: The first error of a job; the other processes end at once.
        JobFailed: If processes are killed again and again.
    """
    progress.message(f"{counted(len(jobs), 'job')}, {workers} at a time; their logs are {LOG} in their folders.")
    patience = Patience(jobs, progress)
    with counting(jobs, stage, progress):
        while waiting := unfinished(jobs):
            try:
                _execute(waiting, workers)
            except BrokenProcessPool:
                patience.died()


def _execute(jobs: Sequence[Job], workers: int) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    begin = (max(1, (os.cpu_count() or 1) // workers), theirs)
    with ours, theirs, ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=begin) as pool:
        futures: list[Future[None]] = [pool.submit(execute_logged, job) for job in jobs]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            ours.close()  # leaving the pool waits for its processes, which may not have been interrupted
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin(threads: int, parent: Connection) -> None:
    """Prepare a process for its jobs."""
    import torch

    torch.set_num_threads(min(threads, torch.get_num_threads()))
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Connection) -> None:
    """End this process when its parent hangs up or has ended, so that a killed benchmark stops writing.

    A pipe rather than an event: a process that is killed while it waits for an event blocks the process that sets it.
    """
    with contextlib.suppress(EOFError, OSError):
        parent.recv()
    os._exit(1)
