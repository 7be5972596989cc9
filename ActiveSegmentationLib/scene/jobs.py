"""Starts the worker's jobs, keeps to which study they belong, and how far they are."""

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
        except ActiveSegmentationError as error:  # the study was moved or damaged meanwhile
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
                    self.reported.emit(job.name, message)
        self.changed.emit()
