"""Jobs of an experiment: independent pieces of work in folders of their own, wherever they are computed."""

from __future__ import annotations

import datetime
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ActiveSegmentationLib.cohort import StackPart
from ActiveSegmentationLib.common.errors import JobFailed
from ActiveSegmentationLib.common.files import explained
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.common.sole_user import sole_user
from ActiveSegmentationLib.experiment.run import Run
from ActiveSegmentationLib.loop import Embeddings

LOG = "log.txt"
"""File in a job's folder with its progress and messages."""

LOG_SECONDS = 10.0
"""Shortest time between two lines on the progress of one stage."""

DEATHS = 5
"""How often workers may die without any round being finished in between, before a sweep is given up."""


class Job(Protocol):
    """A piece of work whose results are files, so that it can be repeated after any kill.

    Attributes:
        folder: Folder of its log.
    """

    @property
    def folder(self) -> Path:
        """Folder of its log."""

    @property
    def rounds(self) -> int:
        """Number of steps that it consists of."""

    def finished_rounds(self) -> int:
        """Number of steps whose results are on disk."""

    def execute(self, progress: Progress | None = None, finished: Callable[[], None] | None = None) -> None:
        """Do the remaining steps; ``finished`` is called after each of them."""


class OneStep(ABC):
    """A job of a single step."""

    @property
    def rounds(self) -> int:
        """One."""
        return 1

    def finished_rounds(self) -> int:
        """One if the step is done, otherwise 0."""
        return int(self.is_finished)

    def execute(self, progress: Progress | None = None, finished: Callable[[], None] | None = None) -> None:
        """Do the step."""
        self.do(progress)
        if finished is not None:
            finished()

    @property
    @abstractmethod
    def is_finished(self) -> bool:
        """Whether the step's results are on disk."""

    @abstractmethod
    def do(self, progress: Progress | None) -> None:
        """Do the step."""


@dataclass(frozen=True)
class FirstRound(OneStep):
    """The first round of a run, which other runs of the same seed then copy instead of waiting for it."""

    run: Run

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.run.folder

    @property
    def is_finished(self) -> bool:
        """Whether the first round is done."""
        return self.run.finished_rounds() > 0

    def do(self, progress: Progress | None) -> None:
        """Do the first round."""
        self.run.execute(progress, until=1)


@dataclass(frozen=True)
class StackJob(OneStep):
    """The preparation of the slices of some volumes."""

    part: StackPart

    @property
    def folder(self) -> Path:
        """Folder of the part."""
        return self.part.folder

    @property
    def is_finished(self) -> bool:
        """Whether the part is finished."""
        return self.part.is_finished

    def do(self, progress: Progress | None) -> None:
        """Prepare the slices."""
        self.part.prepare(progress)


@dataclass(frozen=True)
class EmbeddingJob(OneStep):
    """The training of a learned network, or the embedding of some slices with it.

    Attributes:
        embeddings: The embeddings of the cohort with the seed's settings; its compute is replaced by that of the job.
        kind: Kind of embedding.
        part: Number of the part of the cohort that is embedded. Default: the network is trained.
    """

    embeddings: Embeddings
    kind: str
    part: int | None = None

    @property
    def folder(self) -> Path:
        """Folder of its log, one for each kind, seed and part."""
        about = [self.kind.replace(":", "="), f"seed{self.embeddings.settings.seed}"]
        return self.embeddings.cache / "jobs" / "-".join([*about, *([] if self.part is None else [f"part{self.part}"])])

    @property
    def is_finished(self) -> bool:
        """Whether its file is there."""
        if self.part is None:
            return self.embeddings.is_trained(self.kind)
        return self.embeddings.is_embedded(self.kind, self.part)

    def do(self, progress: Progress | None) -> None:
        """Train, or embed."""
        embeddings = self.embeddings.reporting_to(progress)
        if self.part is None:
            embeddings.network(self.kind)
        else:
            embeddings.embed_part(self.kind, self.part)


def unfinished(jobs: Sequence[Job]) -> list[Job]:
    """The jobs that have something to do."""
    return [job for job in jobs if job.finished_rounds() < job.rounds]


def execute_logged(job: Job, cancelled: Callable[[], bool] | None = None) -> None:
    """Execute a job in this process, with its messages and progress in ``log.txt`` in its folder.

    A job that another process still computes, because a scheduler lost sight of it, is waited for.
    """
    log = LogProgress(job.folder / LOG, cancelled)
    try:
        with sole_user(job.folder / ".job.lock", log, "computes this job"):
            job.execute(log)
    except BaseException as error:
        log.message(f"Ended by {type(error).__name__}: {error}")
        raise
    log.message("Done.")


class LogProgress(Progress):
    """Progress as lines with a time, appended to a text file.

    Args:
        path: The file.
        cancelled: See ``Progress``.
    """

    def __init__(self, path: Path, cancelled: Callable[[], bool] | None = None) -> None:
        super().__init__(cancelled)
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


class Patience:
    """Counts deaths of workers; gives up when too many happen without a finished round in between.

    Args:
        jobs: The jobs of the sweep.
        progress: Progress reporter.
    """

    def __init__(self, jobs: Sequence[Job], progress: Progress) -> None:
        self._jobs, self._progress = jobs, progress
        self._deaths, self._finished = 0, finished_rounds(jobs)

    def died(self) -> None:
        """Count the death of a worker.

        Raises:
            JobFailed: If it was one too many.
        """
        finished = finished_rounds(self._jobs)
        self._deaths = 1 if finished > self._finished else self._deaths + 1
        self._finished = finished
        if self._deaths >= DEATHS:
            advice = f"It may have run out of memory: start fewer at a time; see {LOG} in the folders of the runs."
            raise JobFailed(f"Workers died {DEATHS} times without finishing a round.", where="workers", advice=advice)
        self._progress.message("warning: a worker died; what it had not finished is computed again.")


def finished_rounds(jobs: Sequence[Job]) -> int:
    """Number of steps of all jobs whose results are on disk."""
    return sum(job.finished_rounds() for job in jobs)


@contextmanager
def counting(jobs: Sequence[Job], stage: str, progress: Progress) -> Iterator[None]:
    """Show the number of finished steps while the main thread waits for other processes.

    Steps of earlier sessions do not count, because they would make the remaining time look too short.

    Args:
        jobs: The jobs.
        stage: Name of the work in the progress.
        progress: Progress reporter.
    """
    counter = _Counter(jobs, stage, progress)
    thread = threading.Thread(target=counter.watch, daemon=True)
    counter.show()
    thread.start()
    try:
        yield
    finally:
        counter.stop.set()
        thread.join()
        counter.show()


class _Counter:
    def __init__(self, jobs: Sequence[Job], stage: str, progress: Progress) -> None:
        self._jobs, self._stage, self._progress = jobs, stage, progress
        self._before, self._shown = finished_rounds(jobs), -1
        self._total = sum(job.rounds for job in jobs) - self._before
        self.stop = threading.Event()

    def watch(self) -> None:
        while not self.stop.wait(1.0):
            self.show()

    def show(self) -> None:
        done = finished_rounds(self._jobs) - self._before
        if done > self._shown:
            self._progress.show(self._stage, done, self._total)
            self._shown = done
