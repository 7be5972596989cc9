"""Running jobs, described in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ActiveSegmentationLib.study import Study
from ActiveSegmentationLib.worker.client import Job

TITLES = {
    "describe": "Starting the worker",
    "index": "Reading images",
    "strategies": "Reading strategies",
    "learners": "Reading learners",
    "choose_learner": "Changing the learner",
    "suggest": "Choosing slices",
    "thumbnails": "Making thumbnails",
    "train": "Training",
    "curve": "Reading the learning curve",
    "predict": "Segmenting volumes",
    "evaluate": "Scoring",
    "export": "Exporting",
    "slice_map": "Laying out the map",
}
"""Title of each job."""

COUNTED = {"Predicting volumes": "Segmenting volume", "Scoring volumes": "Scoring volume"}
"""Stages that process one volume after the other, with their text for one volume."""

TRAINING = "Training"
"""Prefix of the stages of a training."""


@dataclass
class Running:
    """A running job.

    Attributes:
        job: The job.
        title: Title of the job.
        study: The study that it works on, or None.
        openStudy: Returns the study that is open now.
        stage: Its current stage, "" before the first report.
        done: Finished units of the stage.
        total: Units of the stage, 0 while unknown.
        left: Seconds until the stage ends, or None while unknown.
        values: Values that it reports (loss, Dice).
        cancelling: Whether it was asked to stop.
    """

    job: Job
    title: str
    study: Study | None = None
    openStudy: Callable[[], Study | None] = lambda: None
    stage: str = ""
    done: int = 0
    total: int = 0
    left: float | None = None
    values: Mapping[str, Any] | None = None
    cancelling: bool = False

    @property
    def isHere(self) -> bool:
        """Whether it works on the open study, or on none in particular."""
        present = self.openStudy()
        return self.study is None or (present is not None and present.id == self.study.id)

    def text(self) -> str:
        """One line for the user, such as "Segmenting volume 3 of 12, about 2 min left"."""
        parts = [self._doing() if self.isHere or self.study is None else f"{self._doing()} (study {self._studyName()})"]
        if self.cancelling:
            parts.append("stopping")
        elif self.left is not None:
            parts.append(f"about {duration(self.left)} left")
        return ", ".join(parts)

    def _studyName(self) -> str:
        return self.study.folder.name if self.study is not None else ""

    def _doing(self) -> str:
        """The current stage and its progress."""
        if self.stage in COUNTED and self.total > 0:
            return f"{COUNTED[self.stage]} {min(self.done + 1, self.total)} of {self.total}"
        if self.stage.startswith(TRAINING):  # the remaining time says more than the number of steps
            return f"{self.title}{self.stage.removeprefix(TRAINING)}"
        text = f"{self.title}: {self.stage[:1].lower()}{self.stage[1:]}" if self.stage else self.title
        return f"{text} ({self.done} of {self.total})" if self.total > 1 else text


def duration(seconds: float) -> str:
    """A duration in words and round numbers: "5 s", "40 s", "3 min", "1 h 20 min"."""
    if seconds < 90:
        return f"{max(5, 5 * round(seconds / 5))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
