"""Runs several runs in parallel, each in its own process, with Dask."""

from __future__ import annotations

import datetime
import multiprocessing
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Event
from pathlib import Path

from ActiveSegmentationLib.common.files import explained
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.experiment.run import Run

LOG = "log.txt"
"""File in a run's folder with its progress and messages."""

LOG_SECONDS = 10.0
"""Shortest time between two lines on the progress of one stage."""


def execute_in_processes(runs: Sequence[Run], workers: int, progress: Progress) -> None:
    """Execute the runs, ``workers`` at a time; finished rounds are kept when a run fails.

    Each run writes its messages and its progress to ``log.txt`` in its folder.

    Args:
        runs: The runs; each works in a folder of its own.
        workers: Number of processes; they share the processor's cores.
        progress: Progress reporter; shows the number of finished rounds.

    Raises:
        ActiveSegmentationError: The first error of a run.
    """
    import dask
    from dask.multiprocessing import RemoteException
    from dask.system import CPU_COUNT

    progress.message(f"{len(runs)} runs, {workers} at a time; their logs are runs/*/{LOG}.")
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    begin = (max(1, CPU_COUNT // workers), os.getpid(), stop)
    tasks = [dask.delayed(_execute, pure=False)(run) for run in runs]
    with (
        _RoundCounter(runs, progress),
        ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=begin) as pool,
    ):
        try:
            dask.compute(*tasks, scheduler="processes", pool=pool, chunksize=1)
        except RemoteException as error:  # raised if tblib is missing; its message is a whole traceback
            raise error.exception from error
        except KeyboardInterrupt:
            stop.set()  # leaving the pool waits for its processes, which may not have been interrupted
            raise


def _begin(threads: int, parent: int, stop: Event) -> None:
    """Prepare a process for its runs."""
    import torch

    torch.set_num_threads(threads)
    threading.Thread(target=_end_when_told, args=(parent, stop), daemon=True).start()


def _end_when_told(parent: int, stop: Event) -> None:
    """End this process when its parent asks or has ended, so that a killed benchmark stops writing."""
    while os.getppid() == parent and not stop.wait(0.5):
        pass
    os._exit(1)


def _execute(run: Run) -> None:
    log = LogProgress(run.folder / LOG)
    try:
        run.execute(log)
    except BaseException as error:
        log.message(f"Ended by {type(error).__name__}: {error}")
        raise
    log.message("Done.")


class LogProgress(Progress):
    """Progress as lines with a time, appended to a text file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._stage, self._written = "", 0.0
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)

    def show(self, stage: str, done: int, total: int, **values: float | str) -> None:
        """Write a line at the start and end of a stage, and from time to time in between."""
        if stage == self._stage and done < total and time.monotonic() - self._written < LOG_SECONDS:
            return
        self._stage, self._written = stage, time.monotonic()
        shown = "".join(f", {name} {value}" for name, value in values.items())
        self.message(f"{stage}: {done} of {total}{shown}")

    def message(self, text: str) -> None:
        """Write the line."""
        now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        with explained(self._path), open(self._path, "a", encoding="utf-8") as file:
            file.write(f"{now} {text}\n")


class _RoundCounter:
    """Shows the number of finished rounds while the main thread waits for the processes.

    Rounds of earlier sessions do not count, because they would make the remaining time look too short.
    """

    def __init__(self, runs: Sequence[Run], progress: Progress) -> None:
        self._runs, self._progress = runs, progress
        self._before, self._shown = self._finished(), -1
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._show()
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._show()

    def _watch(self) -> None:
        while not self._stop.wait(1.0):
            self._show()

    def _show(self) -> None:
        done = self._finished() - self._before
        if done > self._shown:
            total = sum(run.rounds for run in self._runs) - self._before
            self._progress.show(f"Rounds of {len(self._runs)} runs", done, total)
            self._shown = done

    def _finished(self) -> int:
        return sum(run.finished_rounds() for run in self._runs)
