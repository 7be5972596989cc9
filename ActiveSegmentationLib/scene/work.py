"""The worker's jobs for the open study: starts them, keeps what they answer where it belongs, and how far they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.cohort import Cohort, SliceId
from ActiveSegmentationLib.common.errors import ActiveSegmentationError, BadInput
from ActiveSegmentationLib.scene.session import Session
from ActiveSegmentationLib.study import LabelSet, RequestList, Study
from ActiveSegmentationLib.worker.client import Job, WorkerClient, WorkerError

TITLES = {
    "describe": "Looking at the worker",
    "index": "Looking at the images",
    "strategies": "Reading strategies",
    "suggest": "Choosing slices",
    "thumbnails": "Making thumbnails",
    "train": "Training",
    "curve": "Reading the learning curve",
    "predict": "Predicting",
    "evaluate": "Scoring",
    "export": "Exporting",
    "slice_map": "Laying out the map",
}
"""What each job does, in words."""

DEFAULT_STRATEGY = "recommended"
"""The recommended strategy, as of the command line."""


@dataclass
class Running:
    """A job under way.

    Attributes:
        job: The job.
        title: What it does.
        stage: Its present stage, "" before the first report.
        done: Units of the stage that are finished.
        total: Units of the stage, 0 while not known.
        left: Seconds until the stage ends, or None while not known.
        values: Figures that it reports (loss, Dice).
        cancelling: Whether it was asked to stop.
    """

    job: Job
    title: str
    stage: str = ""
    done: int = 0
    total: int = 0
    left: float | None = None
    values: Mapping[str, Any] | None = None
    cancelling: bool = False

    def text(self) -> str:
        """One line for people."""
        parts = [f"{self.title}: {self.stage}" if self.stage and self.stage != self.title else self.title]
        if self.total > 1:
            parts.append(f"{self.done} of {self.total}")
        if self.cancelling:
            parts.append("stopping")
        elif self.left is not None:
            parts.append(f"{duration(self.left)} left")
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """Seconds in words: "40 s", "3 min", "1 h 20 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


Then = Callable[[dict[str, Any]], None]


class Work:
    """Jobs for a session.

    Args:
        session: The session; suggestions, reviews and thumbnails are given to it.
        client: Runs the jobs.

    Attributes:
        device: "auto" or a torch device.
        deviceText: The device in words, "" before it is known.
        missing: Modules that the worker's Python lacks.
        strategies: Known strategies, each with name, summary, options and hindrance; see the job "strategies".
        running: The jobs under way, oldest first.
        changed: Called without arguments after every change.
        failed: Called with a ``WorkerError`` when a job failed, or the error met in taking what it answered.
        said: Called with a line that a job wants a person to read.
        reported: Called with a job's name and its progress message.
        ready: Asked before every job that learns; False means that it cannot start, and the person knows why.
    """

    def __init__(self, session: Session, client: WorkerClient) -> None:
        self.session = session
        self.client = client
        self.device = "auto"
        self.deviceText = ""
        self.missing: list[str] = []
        self.strategies: list[dict[str, Any]] = []
        self._judged: Study | None = None
        self.running: list[Running] = []
        self._curve: list[dict[str, Any]] = []
        self._sliceMap: dict[str, Any] | None = None
        self._study: Study | None = None
        self.changed: Callable[[], None] = lambda: None
        self.failed: Callable[[WorkerError | ActiveSegmentationError], None] = lambda error: None
        self.said: Callable[[str], None] = lambda text: None
        self.reported: Callable[[str, Mapping[str, Any]], None] = lambda name, message: None
        self.ready: Callable[[], bool] = lambda: True
        session.situationChanged = self._onSituationChanged

    @property
    def curve(self) -> list[dict[str, Any]]:
        """The learning curve of the open study as far as it is known, see ``StudyLoop.learning_curve``."""
        return self._curve if self._study is self.session.study else []

    @property
    def sliceMap(self) -> dict[str, Any] | None:
        """The latest map of the open study: volumes, slices, places, embedding; None before there is one."""
        return self._sliceMap if self._study is self.session.study else None

    def isRunning(self, name: str) -> bool:
        """Whether a job of this name is under way."""
        return any(running.job.name == name for running in self.running)

    def describe(self, then: Then | None = None) -> Job | None:
        """Find out what the worker's Python has: fills ``device``, ``missing`` and ``strategies``."""

        def done(answer: dict[str, Any]) -> None:
            self.missing = answer["missing"]
            self.deviceText = answer["device"] or ""
            if not self.missing:
                self.readStrategies()

        return self._start("describe", {"device": self.device}, done, then)

    def readStrategies(self) -> Job:
        """Ask which strategies there are, and which of them the open study can use now: fills ``strategies``."""
        study = self.session.study

        def done(answer: dict[str, Any]) -> None:
            self.strategies, self._judged = answer["strategies"], study

        return self._start("strategies", {} if study is None else {"study": str(study.folder)}, done)

    def _onSituationChanged(self) -> None:
        """What is known of the strategies is outdated, as may be what the worker is just finding out."""
        if self._judged is self.session.study or self.isRunning("strategies"):
            self.readStrategies()

    def hindrance(self, strategy: str) -> str:
        """Why the open study cannot use a strategy now, as far as is known; "" where it can.

        Args:
            strategy: Its name, with or without argument and options.
        """
        name = splitStrategy(strategy)[0]
        if self.session.study is None or self._judged is not self.session.study:
            return ""
        return next((known["hindrance"] for known in self.strategies if known["name"] == name), "")

    def index(self, path: Path, then: Callable[[Cohort, LabelSet | None], None]) -> Job | None:
        """Look what images there are, without learning anything from them.

        Args:
            path: Folder, table or file.
            then: Called with the cohort and the labels that it brings.
        """

        def done(answer: dict[str, Any]) -> None:
            labels = LabelSet.from_json(answer["labels"]) if answer["labels"] else None
            then(Cohort.from_json(answer["cohort"], Path(answer["root"])), labels)

        return self._start("index", {"path": str(path)}, done)

    def suggest(
        self,
        count: int,
        strategy: str = DEFAULT_STRATEGY,
        seed: int = 0,
        constraints: Mapping[str, Any] | None = None,
        then: Then | None = None,
        unit: str = "slice",
    ) -> Job | None:
        """Ask for the slices, or with the unit "volume" the whole volumes, to annotate next; a new round begins unless
        the same question is still open.
        """

        def done(answer: dict[str, Any]) -> None:
            self.session.setThumbnails(RequestList.from_json(answer["requests"]), answer["thumbnails"])
            self.readStrategies()

        options = {"count": count, "strategy": strategy, "seed": seed, "constraints": dict(constraints or {})}
        options["unit"] = unit
        return self._startForStudy("suggest", options, done, then)

    def fetchThumbnails(self) -> Job | None:
        """Ask for the pictures of the requests of the latest round, which another run of Slicer made."""
        session = self.session
        if session.study is None or not session.requests.rows or all(row.thumbnail for row in session.requests.rows):
            return None
        requests = session.study.requests(session.requests.round)

        def done(answer: dict[str, Any]) -> None:
            session.setThumbnails(requests, answer["thumbnails"])

        slices = [[request.slice.volume, request.slice.index] for request in requests.requests]
        return self._startForStudy("thumbnails", {"slices": slices}, done)

    def train(self, models: int = 1, steps: int = 0, then: Then | None = None) -> Job | None:
        """Learn from what is committed now; annotation goes on meanwhile."""

        def done(answer: dict[str, Any]) -> None:
            self._forgetOther()
            self._curve = answer["curve"]
            self.session.forgetReviews()
            self.readStrategies()

        options = {"models": models, **({"steps": steps} if steps else {})}
        return self._startForStudy("train", options, done, then)

    def predict(self, volumes: list[str] | None = None, then: Then | None = None) -> Job | None:
        """Let the latest model segment volumes, all unless told."""
        return self._startForStudy("predict", {"volumes": volumes or []}, self._takeReviews, then)

    def _takeReviews(self, answer: dict[str, Any]) -> None:
        self.session.setReviews(answer["reviews"])

    def export(self, formatName: str, out: Path, then: Then | None = None, **options: Any) -> Job | None:
        """Write annotations, or with format "predictions" what the latest model predicts, to a folder."""
        return self._startForStudy("export", {"format": formatName, "out": str(out), **options}, None, then)

    def evaluate(self, then: Then | None = None) -> Job | None:
        """Score the latest model against the cohort's reference masks."""
        return self._startForStudy("evaluate", {}, None, then)

    def readCurve(self, then: Then | None = None) -> Job | None:
        """Read the learning curve of a study that was trained before."""

        def done(answer: dict[str, Any]) -> None:
            self._forgetOther()
            self._curve = answer["curve"]

        return self._startForStudy("curve", {}, done, then)

    def layOut(self, method: str = "pca", then: Then | None = None) -> Job | None:
        """Lay all slices out in a plane."""

        def done(answer: dict[str, Any]) -> None:
            self._forgetOther()
            self._sliceMap = answer

        return self._startForStudy("slice_map", {"method": method}, done, then)

    def mapSlice(self, number: int) -> SliceId:
        """The slice behind a dot of the map."""
        if self.sliceMap is None or not 0 <= number < len(self.sliceMap["volumes"]):
            raise BadInput("There is no such dot.", where="map", advice="Show the map again.")
        return SliceId(self.sliceMap["volumes"][number], self.sliceMap["slices"][number])

    def cancel(self) -> None:
        """Ask the job that is under way to stop."""
        if self.running:
            self.running[0].cancelling = True
            self.client.cancel(self.running[0].job)
            self.changed()

    def _forgetOther(self) -> None:
        """Drop what belongs to a study that was open before."""
        if self._study is not self.session.study:
            self._study, self._curve, self._sliceMap = self.session.study, [], None

    def _startForStudy(
        self, name: str, options: Mapping[str, Any], done: Then | None, then: Then | None = None
    ) -> Job | None:
        """Start a job on the open study; what it answers is dropped if another study is open by then.

        Raises:
            BadInput: If no study is open.
        """
        study = self.session.requireStudy()
        if not self.ready():
            return None

        def doneHere(answer: dict[str, Any]) -> None:
            if self.session.study is study:
                if done is not None:
                    done(answer)
                if then is not None:
                    then(answer)

        return self._start(name, {"study": str(study.folder), "device": self.device, **options}, doneHere)

    def _start(self, name: str, options: Mapping[str, Any], done: Then, then: Then | None = None) -> Job:
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
            self.failed(error)
            self.changed()

        def isCancelled() -> None:
            self._drop()
            self.said(f"{TITLES[name]}: stopped.")
            self.changed()

        def report(message: dict[str, Any]) -> None:
            self._report(job, message)

        def say(text: str) -> None:
            self.said(text)

        job = self.client.submit(name, options, isDone, hasFailed, isCancelled, report, say)
        if job.active:
            self.running.append(Running(job, TITLES[name]))
        self.changed()
        return job

    def _drop(self) -> None:
        """Forget the jobs that have ended."""
        self.running = [running for running in self.running if running.job.active]

    def _report(self, job: Job, message: Mapping[str, Any]) -> None:
        for running in self.running:
            if running.job is job:
                running.stage, running.left = message["stage"], message["left"]
                running.done, running.total = message["done"], message["total"]
                running.values = message["values"]
        self.reported(job.name, message)
        self.changed()


def splitStrategy(strategy: str) -> tuple[str, str]:
    """Take "name:argument/option=value" apart: the name, and the rest with its first ":" or "/" ("" where none)."""
    name = strategy.partition("/")[0].partition(":")[0]
    return name, strategy[len(name) :]
