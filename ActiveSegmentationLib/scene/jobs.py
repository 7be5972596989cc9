"""Starts the worker's jobs, keeps to which study they belong, and how far they are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ActiveSegmentationLib.common.errors import ActiveSegmentationError
from ActiveSegmentationLib.scene.running import TITLES, Running
from ActiveSegmentationLib.scene.session import Session
from ActiveSegmentationLib.study import Study
from ActiveSegmentationLib.worker.client import Job, WorkerClient, WorkerError

Then = Callable[[dict[str, Any]], None]
"""Takes what a job answered."""

NOTE = "note: "
"""Begin of lines that ask nothing of anybody: they go to the log, not in the way of a person who is drawing."""


class Jobs:
    """The worker's jobs for a session, whatever they do.

    Args:
        session: The session.
        client: Runs the jobs.

    Attributes:
        device: "auto" or a torch device.
        running: The jobs under way, oldest first, those of studies that are closed by now among them.
        changed: Called without arguments after every change.
        failed: Called with a ``WorkerError`` when a job failed, or the error met in taking what it answered.
        said: Called with a line that a job wants a person to read.
        reported: Called with a job's name and its progress message, of jobs on the open study only.
        ready: Asked before every job that learns; False means that it cannot start, and the person knows why.
    """

    def __init__(self, session: Session, client: WorkerClient) -> None:
        self.session = session
        self.client = client
        self.device = "auto"
        self.running: list[Running] = []
        self.changed: Callable[[], None] = lambda: None
        self.failed: Callable[[WorkerError | ActiveSegmentationError], None] = lambda error: None
        self.said: Callable[[str], None] = lambda text: None
        self.reported: Callable[[str, Mapping[str, Any]], None] = lambda name, message: None
        self.ready: Callable[[], bool] = lambda: True

    def isRunning(self, name: str) -> bool:
        """Whether a job of this name is under way, for the open study or for none in particular."""
        return self.runningJob(name) is not None

    def runningJob(self, name: str) -> Running | None:
        """The oldest job of this name that is under way for the open study, or for none in particular."""
        return next(iter(self._here(name)), None)

    def _here(self, name: str) -> list[Running]:
        """The jobs of this name that are under way for the open study, or for none in particular; oldest first."""
        return [running for running in self.running if running.job.name == name and running.isHere]

    def cancel(self, name: str | None = None) -> None:
        """Ask a job to stop: the oldest of this name, or with None the one that is under way."""
        running = self.runningJob(name) if name is not None else next(iter(self.running), None)
        if running is not None:
            running.cancelling = True
            self.client.cancel(running.job)
            self.changed()

    def _startForStudy(
        self,
        name: str,
        options: Mapping[str, Any],
        done: Then | None,
        then: Then | None = None,
        volume: str = "",
        index: int | None = None,
    ) -> Job | None:
        """Start a job on the open study; what it answers is dropped if another study is open by then.

        Args:
            name: Name of the job.
            options: Its options.
            done: Takes the answer.
            then: Called after that.
            volume: Id of the volume that it is about, "" for none in particular.
            index: 0-based index of the slice that it is about, or None.

        Raises:
            BadInput: If no study is open.
        """
        study = self.session.requireStudy()
        if not self.ready():
            return None

        def doneHere(answer: dict[str, Any]) -> None:
            if self._isOpen(study):
                if done is not None:
                    done(answer)
                if then is not None:
                    then(answer)

        about = {"study": study.id, "volume": volume, "slice": index}
        options = {"study": str(study.folder), "device": self.device, **options}
        return self._start(name, options, doneHere, study=study, about=about)

    def _isOpen(self, study: Study | None) -> bool:
        """Whether a study is the open one; one that was closed and opened again is."""
        present = self.session.study
        return study is None or (present is not None and present.id == study.id)

    def _start(
        self,
        name: str,
        options: Mapping[str, Any],
        done: Then,
        then: Then | None = None,
        study: Study | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> Job:
        def isDone(answer: dict[str, Any]) -> None:
            self._drop()
            try:
                done(answer)
                if then is not None:
                    then(answer)
            except ActiveSegmentationError as error:  # the study was moved or damaged meanwhile
                self.failed(error)
            self.changed()

        def hasFailed(error: WorkerError) -> None:
            self._drop()
            self.failed(replace(error, message=self._prefix(study) + error.message))
            self.changed()

        def isCancelled() -> None:
            self._drop()
            self.said(f"{self._prefix(study)}{TITLES[name]}: stopped.")
            self.changed()

        def report(message: dict[str, Any]) -> None:
            self._report(job, message)

        def say(text: str) -> None:
            line = self._prefix(study) + text
            if text.startswith(NOTE):
                logging.info("ActiveSegmentation: %s", line)
            else:
                self.said(line)

        job = self.client.submit(name, options, isDone, hasFailed, isCancelled, report, say, about)
        if job.active:
            self.running.append(Running(job, TITLES[name], study, lambda: self.session.study))
        self.changed()
        return job

    def _prefix(self, study: Study | None) -> str:
        """Which study a message is about, where it is not the open one."""
        return "" if study is None or self._isOpen(study) else f"Study {study.folder.name}: "

    def _drop(self) -> None:
        """Forget the jobs that have ended."""
        self.running = [running for running in self.running if running.job.active]

    def _report(self, job: Job, message: Mapping[str, Any]) -> None:
        for running in self.running:
            if running.job is job:
                running.stage, running.left = message["stage"], message["left"]
                running.done, running.total = message["done"], message["total"]
                running.values = message["values"]
                if running.isHere:
                    self.reported(job.name, message)
        self.changed()
