"""Many runs at a time, each in a process of its own, by Dask."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.experiment.run import Run


def execute_in_processes(runs: Sequence[Run], workers: int, progress: Progress) -> None:
    """Execute the runs, ``workers`` at a time; what is finished stays finished when one of them fails.

    Args:
        runs: The runs; each works in a folder of its own.
        workers: Processes at a time; the processor's cores are shared out between them.
        progress: Told of every finished round.

    Raises:
        ActiveSegmentationError: The first error of a run.
    """
    import dask
    from dask.multiprocessing import RemoteException
    from dask.system import CPU_COUNT

    threads = max(1, CPU_COUNT // workers)
    tasks = [dask.delayed(_execute, pure=False)(run, threads, os.getpid()) for run in runs]
    with _RoundCounter(runs, progress):
        try:
            dask.compute(*tasks, scheduler="processes", num_workers=workers, chunksize=1)
        except RemoteException as error:  # raised where tblib is missing; its message is a whole traceback
            raise error.exception from error


def _execute(run: Run, threads: int, parent: int) -> None:
    import torch

    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    run.execute()


def _end_with_parent(parent: int) -> None:
    """End this process when its parent is gone: a killed benchmark must not go on writing behind its successor."""
    while os.getppid() == parent:
        threading.Event().wait(0.5)
    os._exit(1)


class _RoundCounter:
    """Shows how many rounds are on disk while the main thread waits for the processes."""

    def __init__(self, runs: Sequence[Run], progress: Progress) -> None:
        self._runs, self._progress = runs, progress
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        total, shown = sum(run.rounds for run in self._runs), -1
        while not self._stop.wait(1.0):
            done = sum(run.finished_rounds() for run in self._runs)
            if done > shown:
                self._progress.show("Rounds of all runs", done, total)
                shown = done
