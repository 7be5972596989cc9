"""The worker's jobs about learners: which there are, and which one the open study uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ActiveSegmentationLib.common.defaults import DEFAULT_LEARNER
from ActiveSegmentationLib.scene.jobs import Jobs, Then
from ActiveSegmentationLib.scene.session import Session
from ActiveSegmentationLib.study import Study
from ActiveSegmentationLib.worker.client import Job, WorkerClient

CHOOSE = "choose_learner"
"""Job that changes the learner."""


class LearnerJobs(Jobs):
    """Jobs about learners.

    Attributes:
        learners: Known learners, each with name, summary, options and why it is unavailable; see the job "learners".
    """

    def __init__(self, session: Session, client: WorkerClient) -> None:
        super().__init__(session, client)
        self.learners: list[dict[str, Any]] = []
        self._trained: str | None = None
        self._chosen: dict[str, Any] = {}
        self._chosenOf: Study | None = None

    def readLearners(self) -> Job:
        """Fetch the learners, why the open study cannot use some of them, and which one it uses."""
        study = self.session.study

        def done(answer: dict[str, Any]) -> None:
            self.learners = answer["learners"]
            if study is not None:
                self._chosen, self._chosenOf, self._trained = answer["chosen"], study, answer["trained"]

        options = {} if study is None else {"study": str(study.folder)}
        about = None if study is None else {"study": study.id}
        return self._start("learners", options, done, study=study, about=about)

    def chooseLearner(self, name: str, options: Mapping[str, str] | None = None, then: Then | None = None) -> Job:
        """Train with another learner from now on; models that are trained already stay.

        Args:
            name: Name of the learner.
            options: Texts of its options. Default: its usual ones.
            then: Called with the result.

        Raises:
            BadInput: If no study is open.
        """
        study = self.session.requireStudy()

        def done(answer: dict[str, Any]) -> None:
            self._chosen, self._chosenOf = answer["chosen"], study
            self.session.strategiesOutdated.emit()

        return self._startForStudy(CHOOSE, {"learner": name, "options": dict(options or {})}, done, then)

    @property
    def trainedLearner(self) -> str | None:
        """Name of the learner of the open study's latest model; None where there is none, or it is unknown."""
        return self._trained if self._chosenOf is self.session.study else None

    @property
    def learner(self) -> str:
        """Name of the learner of the open study: the one that is being chosen, or else the one that it uses."""
        waiting = self._here(CHOOSE)
        return waiting[-1].job.options["learner"] if waiting else self._known()["name"]

    @property
    def learnerOptions(self) -> dict[str, Any]:
        """The options of this learner that are not at their usual values, by name."""
        waiting = self._here(CHOOSE)
        return dict(waiting[-1].job.options["options"] if waiting else self._known()["options"])

    @property
    def trainingLength(self) -> dict[str, Any]:
        """How long this learner trains: "minutes", "epochs" and "steps", see ``chosen_learner``; {} while unknown."""
        known = {} if self._here(CHOOSE) else self._known()
        return {name: known[name] for name in ("minutes", "epochs", "steps") if name in known}

    def learnerReason(self, name: str) -> str:
        """Why a learner cannot be used; "" if it can, or where that is unknown."""
        if not self.learners:
            return ""
        absent = f"The worker's Python has no learner called '{name}'. Install its package, or choose another one."
        return next((known["unavailable_reason"] for known in self.learners if known["name"] == name), absent)

    def _known(self) -> dict[str, Any]:
        """What the worker answered; before that, what the study's file says."""
        study = self.session.study
        if study is not None and self._chosenOf is not study:
            training = study.settings.get("training", {})
            self._chosen = {"name": training.get("learner", DEFAULT_LEARNER), "options": training.get("options", {})}
            self._chosenOf, self._trained = study, None
        return self._chosen if study is not None else {"name": DEFAULT_LEARNER, "options": {}}
