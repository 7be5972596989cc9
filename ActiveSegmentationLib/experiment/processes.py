"""Computes jobs in several processes of this computer."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection

from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.common.text import counted
from ActiveSegmentationLib.experiment.jobs import LOG, Job, Patience, counting, execute_logged, unfinished


def execute_in_processes(jobs: Sequence[Job], workers: int, stage: str, progress: Progress) -> None:
    """Execute jobs, ``workers`` at a time; finished rounds are kept when one fails, and when a process is killed.

    Each writes its messages and its progress to ``log.txt`` in its folder. When a process is killed, the others go on,
    and another one takes its place.

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
    with counting(jobs, stage, progress), _processes(workers) as start:
        waiting, running = deque(unfinished(jobs)), dict[Future[None], tuple[ProcessPoolExecutor, Job]]()
        idle = [start() for _ in range(min(workers, len(waiting)))]
        while waiting or running:
            while waiting and idle:
                process, job = idle.pop(), waiting.popleft()
                running[process.submit(execute_logged, job)] = (process, job)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                process, job = running.pop(future)
                try:
                    future.result()
                except BrokenProcessPool:
                    patience.died()
                    process = start()
                    waiting.append(job)
                idle.append(process)


@contextmanager
def _processes(workers: int) -> Iterator[Callable[[], ProcessPoolExecutor]]:
    """A function that starts a process: a pool of its own, so that its death is not that of the others.

    They end with this block, at once if it is left by an exception.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    begin = (max(1, (os.cpu_count() or 1) // workers), theirs)
    started: list[ProcessPoolExecutor] = []

    def start() -> ProcessPoolExecutor:
        started.append(ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=begin))
        return started[-1]

    with ours, theirs:
        try:
            yield start
        except BaseException:
            ours.close()  # waiting for processes that may not have been interrupted would not end
            for process in started:
                process.shutdown(wait=False, cancel_futures=True)
            raise
        for process in started:
            process.shutdown()


def _begin(threads: int, parent: Connection) -> None:
    """Prepare a process for its jobs."""
    import torch

    torch.set_num_threads(min(threads, torch.get_num_threads()))
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Connection) -> None:
    """End this process when its parent hangs up or has ended, so that a killed benchmark stops writing.

    A pipe rather than an event: a process that is killed while it waits for an event blocks the one that sets it.
    """
    with contextlib.suppress(EOFError, OSError):
        parent.recv()
    os._exit(1)
