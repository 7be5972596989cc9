"""Starts jobs of the worker, and keeps track of their study and progress."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ActiveSegmentationLib.common.errors import ActiveSegmentationError
from ActiveSegmentationLib.common.signals import Signal
from ActiveSegmentationLib.scene.running import TITLES, Running
from ActiveSegmentationLib.scene.session import Session
from ActiveSegmentationLib.study import Study
from ActiveSegmentationLib.worker.client import Job, WorkerClient, WorkerError

Then = Callable[[dict[str, Any]], None]
"""Called with the result of a job."""

NOTE = "note: "
"""Prefix of lines that need no action: they go to the log and do not disturb the user."""


class Jobs:
    """Runs jobs of the worker for a session.

    Args:
        session: The session.
        client: Runs the jobs.

    Attributes:
        device: "auto" or a torch device.
        running: The running jobs, oldest first, including those of studies that were closed since.
        changed: Emitted after every change.
        failed: Emitted with a ``WorkerError`` when a job failed, or with the error met in using its result.
        said: Emitted with a line for the user.
        reported: Emitted with a job's name and its progress message, for jobs on the open study only.
        aboutToLearn: Emitted before every job that needs the learning packages; an error in a listener prevents the
            job.
    """

    def __init__(self, session: Session, client: WorkerClient) -> None:
        self.session = session
        self.client = client
        self.device = "auto"
        self.running: list[Running] = []
        self.changed: Signal[[]] = Signal()
        self.failed: Signal[[WorkerError | ActiveSegmentationError]] = Signal()
        self.said: Signal[[str]] = Signal()
        self.reported: Signal[[str, Mapping[str, Any]]] = Signal()
        self.aboutToLearn: Signal[[]] = Signal()

    def isRunning(self, name: str) -> bool:
        """Whether a job of this name runs, for the open study or for none in particular."""
        return self.runningJob(name) is not None

    def runningJob(self, name: str) -> Running | None:
        """The oldest running job of this name, for the open study or for none in particular."""
        return next(iter(self._here(name)), None)

    def _here(self, name: str) -> list[Running]:
        """The running jobs of this name, for the open study or for none in particular; oldest first."""
        return [running for running in self.running if running.job.name == name and running.isHere]

    def cancel(self, name: str | None = None) -> None:
        """Ask a job to stop: the oldest of this name. Default: the one that runs now."""
        running = self.runningJob(name) if name is not None else next(iter(self.running), None)
        if running is not None:
            running.cancelling = True
            self.client.cancel(running.job)
            self.changed.emit()

    def _startForStudy(
        self,
        name: str,
        options: Mapping[str, Any],
        done: Then | None,
        then: Then | None = None,
        volume: str = "",
        index: int | None = None,
    ) -> Job:
        """Start a job on the open study; its result is dropped if another study is open when it ends.

        Args:
            name: Name of the job.
            options: Its options.
            done: Called with the result.
            then: Called after ``done`` with the result.
            volume: Id of the volume that it concerns, "" for none in particular.
            index: 0-based index of the slice that it concerns, or None.

        Raises:
            BadInput: If no study is open.
        """
        study = self.session.requireStudy()
        self.aboutToLearn.emit()

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
        """Whether a study is the open one, also after it was closed and opened again."""
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
        job = Job(name, options, about or {})
        job.done.connect(lambda answer: self._onDone(answer, done, then))
        job.failed.connect(lambda error: self._onFailed(error, study))
        job.cancelled.connect(lambda: self._onCancelled(name, study))
        job.progress.connect(lambda message: self._report(job, message))
        job.message.connect(lambda text: self._say(text, study))
        self.client.submit(job)
        if job.active:
            self.running.append(Running(job, TITLES[name], study, lambda: self.session.study))
        self.changed.emit()
        return job

    def _onDone(self, answer: dict[str, Any], done: Then, then: Then | None) -> None:
        self._drop()
        try:
            done(answer)
            if then is not None:
                then(answer)
        except ActiveSegmentationError as error:  # the study was moved or damaged since
            self.failed.emit(error)
        self.changed.emit()

    def _onFailed(self, error: WorkerError, study: Study | None) -> None:
        self._drop()
        self.failed.emit(replace(error, message=self._prefix(study) + error.message))
        self.changed.emit()

    def _onCancelled(self, name: str, study: Study | None) -> None:
        self._drop()
        self.said.emit(f"{self._prefix(study)}{TITLES[name]}: stopped.")
        self.changed.emit()

    def _say(self, text: str, study: Study | None) -> None:
        line = self._prefix(study) + text
        if text.startswith(NOTE):
            logging.info("ActiveSegmentation: %s", line)
        else:
            self.said.emit(line)

    def _prefix(self, study: Study | None) -> str:
        """The name of the study that a message concerns, where it is not the open one."""
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
                    self.reported.emit(job.name, message)
        self.changed.emit()
