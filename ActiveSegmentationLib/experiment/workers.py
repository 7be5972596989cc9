"""Where the jobs of an experiment are computed: in this process, in several, or on the workers of a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.experiment.duration import Remaining
from ActiveSegmentationLib.experiment.jobs import Job, unfinished
from ActiveSegmentationLib.experiment.processes import execute_in_processes

Execute = Callable[[Sequence[Job], str, Progress], None]
"""Computes jobs: what is unfinished of them, the name of the work, where progress is reported."""

CLUSTERS = {
    "htcondor": "HTCondorCluster",
    "lsf": "LSFCluster",
    "moab": "MoabCluster",
    "oar": "OARCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "slurm": "SLURMCluster",
}
"""Names of job queues, and the classes of dask-jobqueue that know them."""


@dataclass(frozen=True)
class Workers:
    """Who computes.

    Attributes:
        count: Number of jobs at a time; with a job queue the number of workers that it is asked for. A scheduler has
            as many as it has.
        scheduler: Address of a running Dask scheduler, such as "tcp://10.0.0.1:8786".
        cluster: Name of a job queue, see ``CLUSTERS``; its workers are described in Dask's ``jobqueue.yaml``.

    Raises:
        BadInput: If both a scheduler and a job queue are given, or there is no such queue.
    """

    count: int = 1
    scheduler: str = ""
    cluster: str = ""

    def __post_init__(self) -> None:
        if self.scheduler and self.cluster:
            advice = "Leave one of them out."
            raise BadInput("--scheduler names a running cluster, --cluster starts one.", where="workers", advice=advice)
        if self.cluster and self.cluster not in CLUSTERS:
            advice = f"Choose one of: {', '.join(CLUSTERS)}."
            raise BadInput(f"There is no job queue called '{self.cluster}'.", where="cluster", advice=advice)

    @property
    def remote(self) -> bool:
        """Whether other computers may compute."""
        return bool(self.scheduler or self.cluster)

    @property
    def alone(self) -> bool:
        """Whether one job is computed after the other in this process."""
        return self.count == 1 and not self.remote


@contextmanager
def opened(workers: Workers, progress: Progress) -> Iterator[Execute]:
    """A function that computes jobs and returns when all are finished; workers that it started end with this block.

    Args:
        workers: Who computes.
        progress: Progress reporter.

    Raises:
        BadInput: If packages for clusters are missing, or a scheduler does not answer.
    """
    if workers.remote:
        from ActiveSegmentationLib.experiment.cluster import execute_on_cluster, scheduler_of

        with scheduler_of(workers.scheduler, CLUSTERS.get(workers.cluster, ""), workers.count, progress) as address:
            yield partial(_unless_finished, partial(execute_on_cluster, address))
    else:
        yield partial(_unless_finished, partial(_here, workers.count))


def _unless_finished(execute: Execute, jobs: Sequence[Job], stage: str, progress: Progress) -> None:
    waiting = unfinished(jobs)
    if waiting:
        execute(waiting, stage, progress)


def _here(count: int, jobs: Sequence[Job], stage: str, progress: Progress) -> None:
    if count > 1 and len(jobs) > 1:
        execute_in_processes(jobs, count, stage, progress)
        return
    remaining = Remaining(sum(job.rounds - job.finished_rounds() for job in jobs), progress)
    for job in jobs:
        job.execute(progress, remaining.finished)
