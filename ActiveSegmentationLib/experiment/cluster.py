"""Computes jobs on the workers of a Dask cluster. They share the folder of the results; nothing else is sent back."""

from __future__ import annotations

import pickle
import signal
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ActiveSegmentationLib.common.errors import BadInput, JobFailed
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.common.text import counted
from ActiveSegmentationLib.experiment.jobs import LOG, Job, Patience, counting, execute_logged, unfinished
from ActiveSegmentationLib.loop import versions

if TYPE_CHECKING:
    from distributed import Client

ANSWER_SECONDS = 30.0
"""How long a scheduler may take to answer for the first time."""

LOST_SECONDS = 1800.0
"""How long a scheduler that was lost is waited for."""

VISIBLE_SECONDS = 120.0
"""How long a network drive may take to show the files of another computer."""

MISSING = "Install the packages for clusters: pip install 'activesegmentation[cluster]'."


@contextmanager
def scheduler_of(address: str, kind: str, count: int, progress: Progress) -> Iterator[str]:
    """The address of a scheduler: a running one, or one that asks a job queue for workers and ends with this block.

    Args:
        address: Address of a running scheduler; "" to start one.
        kind: Class of dask-jobqueue for the job queue.
        count: Number of workers to ask for; each computes one job at a time.
        progress: Progress reporter.

    Raises:
        BadInput: If a package is missing, or the job queue is not described well enough.
    """
    try:
        import distributed  # noqa: F401 - here to find out whether it is there

        queue = None if address else getattr(_job_queues(), kind)
    except ImportError as error:
        raise BadInput(f"The Python package '{error.name}' is missing.", where="workers", advice=MISSING) from error
    if queue is None:
        yield address
        return
    try:
        cluster = queue(processes=1, worker_extra_args=[*_configured(queue), "--nthreads", "1"])
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        advice = "Describe a worker (cores, memory, one GPU) in ~/.config/dask/jobqueue.yaml, see docs/protocols.md."
        why = " ".join(str(error).split())
        raise BadInput(f"No worker can be started ({why}).", where="cluster", advice=advice) from error
    with cluster:
        cluster.adapt(minimum_jobs=count, maximum_jobs=count)  # those that end are replaced
        progress.message(f"{counted(count, 'worker')} asked for; the scheduler is {cluster.scheduler_address}.")
        yield cluster.scheduler_address


def _job_queues() -> ModuleType:
    """The package dask-jobqueue, which makes Ctrl-C a silent exit when it is imported; that is undone."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        import dask_jobqueue
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return dask_jobqueue


def _configured(queue: Any) -> list[str]:
    """What the person's own settings add to the command of a worker."""
    import dask

    return list(dask.config.get(f"jobqueue.{queue.job_cls.config_name}.worker-extra-args", None) or [])


def execute_on_cluster(address: str, jobs: Sequence[Job], stage: str, progress: Progress) -> None:
    """Execute jobs on workers; they go on after a lost worker, and when a lost scheduler is found again.

    Args:
        address: Address of the scheduler.
        jobs: The jobs.
        stage: Name of the work in the progress.
        progress: Progress reporter; shows the number of finished rounds.

    Raises:
        ActiveSegmentationError: The first error of a job; jobs in progress end soon after.
        BadInput: If no scheduler answers, or workers do not see the same folder.
        JobFailed: If workers die again and again, or the scheduler stays lost.
    """
    from distributed import KilledWorker

    patience, limit = Patience(jobs, progress), ANSWER_SECONDS
    with counting(jobs, stage, progress):
        while waiting := unfinished(jobs):
            with _connected(address, limit, progress) as client:
                limit = LOST_SECONDS
                try:
                    _execute(client, waiting, progress)
                    _wait_for_files(waiting)
                except KilledWorker:
                    patience.died()
                except (CancelledError, OSError):  # only a client without its scheduler cancels
                    progress.message("warning: the scheduler was lost; what it had not finished waits for its return.")


@contextmanager
def _connected(address: str, seconds: float, progress: Progress) -> Iterator[Client]:
    """A client of the scheduler, which is waited for."""
    from distributed import Client

    end = time.monotonic() + seconds
    while True:
        try:
            client = Client(address, timeout=min(5.0, seconds), set_as_default=False)
            break
        except OSError as error:
            progress.update("Waiting for the scheduler", 0, 1)
            if time.monotonic() > end:
                what = f"No scheduler answers at {address}."
                kind = BadInput if seconds == ANSWER_SECONDS else JobFailed
                advice = "Start it with: dask scheduler; finished rounds are kept."
                raise kind(what, where="scheduler", advice=advice) from error
        except ValueError as error:  # not an address at all
            advice = "Write for example tcp://10.0.0.1:8786."
            raise BadInput(f"'{address}' is not an address ({error}).", where="scheduler", advice=advice) from error
    try:
        yield client
    finally:
        client.close(timeout=2)


def _execute(client: Client, jobs: Sequence[Job], progress: Progress) -> None:
    from distributed import as_completed

    there = len(client.scheduler_info()["workers"])
    now = f"{counted(there, 'worker')} there now" if there else "no worker is there yet, which is waited for"
    progress.message(f"{counted(len(jobs), 'job')} for the cluster, {now}; their logs are {LOG} in their folders.")
    sweep, own = uuid.uuid4().hex[:8], _libraries()
    # Packed here, so that what a worker cannot open is an error of ours with a folder in it.
    futures = [
        client.submit(work, pickle.dumps(job), own, key=f"{job.folder.name}-{sweep}-{number}", pure=False)
        for number, job in enumerate(jobs)
    ]
    for future in as_completed(futures, loop=client.loop):
        future.result()


def work(packed: bytes, libraries: dict[str, str]) -> None:
    """Execute a job on a worker of a Dask cluster.

    Args:
        packed: The pickled job.
        libraries: Versions of the libraries where the sweep was started.

    Raises:
        BadInput: If the worker has other versions, runs several jobs in one process, or does not see the folder.
        Cancelled: If the sweep no longer waits for the job.
    """
    from distributed import get_worker

    worker = get_worker()
    if worker.state.nthreads > 1:
        advice = "Start workers with: dask worker ADDRESS --nthreads 1 --nworkers N."
        raise BadInput("A worker would compute several jobs in one process.", where=worker.address, advice=advice)
    others = {name: (known, libraries[name]) for name, known in _libraries().items() if known != libraries[name]}
    if others:
        named = ", ".join(f"{name} {here} instead of {wanted}" for name, (here, wanted) in others.items())
        advice = "Install the same versions on all computers; results would differ."
        raise BadInput(f"A worker has other versions: {named}.", where=worker.address, advice=advice)
    key = worker.get_current_task()

    def is_unwanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is None or task.state == "cancelled"

    job = pickle.loads(packed)
    execute_logged(job, is_unwanted)


def _libraries() -> dict[str, str]:
    """Versions that results depend on; builds of torch for other devices count as the same."""
    return {name: str(version).partition("+")[0] for name, version in versions().items() if name != "python"}


def _wait_for_files(jobs: Sequence[Job]) -> None:
    """Wait until the results of finished jobs are visible here.

    Raises:
        BadInput: If they do not appear.
    """
    end = time.monotonic() + VISIBLE_SECONDS
    while missing := unfinished(jobs):
        if time.monotonic() > end:
            advice = "Choose an --out on a drive that all of them have under the same path."
            raise BadInput("What a worker wrote does not appear here.", where=missing[0].folder, advice=advice)
        time.sleep(0.5)
