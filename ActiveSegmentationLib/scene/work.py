"""The worker's jobs for the open study: starts them and stores their results in the session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.cohort import Cohort, Preview, SliceId
from ActiveSegmentationLib.common.defaults import DEFAULT_STRATEGY
from ActiveSegmentationLib.common.errors import ActiveSegmentationError, BadInput
from ActiveSegmentationLib.common.signals import Signal
from ActiveSegmentationLib.scene.jobs import Then
from ActiveSegmentationLib.scene.learnerJobs import LearnerJobs
from ActiveSegmentationLib.scene.offers import PREDICTION, REQUESTS, SUGGEST, AutoTrain, Offer
from ActiveSegmentationLib.scene.session import Session
from ActiveSegmentationLib.study import LabelSet, RequestList, Study
from ActiveSegmentationLib.worker.client import Job, WorkerClient

NOTHING_PREDICTED = "Nothing to draw: the prediction is empty here."


class Work(LearnerJobs):
    """Jobs of the worker for a session.

    Args:
        session: The session, which gets suggestions, reviews and thumbnails.
        client: Runs the jobs.

    Attributes:
        deviceText: The device in words, "" while unknown.
        missing: Modules that are missing in the worker's Python.
        strategies: Known strategies, each with name, summary, options and why it is unavailable; see the job
            "strategies".
        automatic: Returns when and how to train automatically, or None for never.
        cleanUp: Returns what is changed in predicted label maps, see ``segmentation.CleanUp``.
        suggestionsWanted: Emitted when the user accepts the offer of the next suggestions.
    """

    def __init__(self, session: Session, client: WorkerClient) -> None:
        super().__init__(session, client)
        self.deviceText = ""
        self.missing: list[str] = []
        self.strategies: list[dict[str, Any]] = []
        self._judged: Study | None = None
        self._curve: list[dict[str, Any]] = []
        self._sliceMap: dict[str, Any] | None = None
        self._leftOut: dict[str, str] = {}
        self._study: Study | None = None
        self.automatic: Callable[[], AutoTrain | None] = _never
        self.cleanUp: Callable[[], dict[str, Any]] = dict
        self.suggestionsWanted: Signal[[]] = Signal()
        self._offers: list[Offer] = []
        self._trainedOn: dict[str, int] = {}
        session.strategiesOutdated.connect(self._onStrategiesOutdated)
        session.committed.connect(self._onCommitted)
        session.reviewMissing.connect(self._onReviewMissing)

    @property
    def curve(self) -> list[dict[str, Any]]:
        """The known learning curve of the open study, see ``StudyLoop.learning_curve``."""
        return self._curve if self._study is self.session.study else []

    @property
    def sliceMap(self) -> dict[str, Any] | None:
        """The latest map of the open study: volumes, slices, places, embedding; None before it is computed."""
        return self._sliceMap if self._study is self.session.study else None

    def describe(self, then: Then | None = None) -> Job:
        """Query what the worker's Python provides: device, missing packages, learners and strategies."""

        def done(answer: dict[str, Any]) -> None:
            self.missing = answer["missing"]
            self.deviceText = answer["device"] or ""
            self.readLearners()
            if not self.missing:
                self.readStrategies()

        return self._start("describe", {"device": self.device}, done, then)

    def readStrategies(self) -> Job:
        """Fetch the strategies, and which of them the open study can use now; sets ``strategies``."""
        study = self.session.study

        def done(answer: dict[str, Any]) -> None:
            self.strategies, self._judged = answer["strategies"], study

        options = {} if study is None else {"study": str(study.folder)}
        about = None if study is None else {"study": study.id}
        return self._start("strategies", options, done, study=study, about=about)

    def _onStrategiesOutdated(self) -> None:
        """Fetch the strategies again; known or running results are outdated."""
        if self._judged is self.session.study or self.isRunning("strategies"):
            self.readStrategies()

    def unavailableReason(self, strategy: str) -> str:
        """Why the open study cannot use a strategy now; "" if it can, or where that is unknown.

        Args:
            strategy: Its name, with or without argument and options.
        """
        name = splitStrategy(strategy)[0]
        if self.session.study is None or self._judged is not self.session.study:
            return ""
        return next((known["hindrance"] for known in self.strategies if known["name"] == name), "")

    def index(
        self,
        path: Path,
        then: Callable[[Cohort, LabelSet | None], None],
        pictures: Path | None = None,
        previewed: Callable[[list[Preview]], None] = lambda previews: None,
    ) -> Job:
        """Index images.

        Args:
            path: Folder, table or file.
            then: Called with the cohort and its labels.
            pictures: Folder for pictures of a few slices. Default: no image is read.
            previewed: Called before ``then`` with the previews.
        """

        def done(answer: dict[str, Any]) -> None:
            labels = LabelSet.from_json(answer["labels"]) if answer["labels"] else None
            previewed([Preview.from_json(value) for value in answer["previews"]])
            then(Cohort.from_json(answer["cohort"], Path(answer["root"])), labels)

        return self._start("index", {"path": str(path), **({"pictures": str(pictures)} if pictures else {})}, done)

    def suggest(
        self,
        count: int,
        strategy: str = DEFAULT_STRATEGY,
        seed: int = 0,
        constraints: Mapping[str, Any] | None = None,
        then: Then | None = None,
        unit: str = "slice",
        openFirst: bool = False,
    ) -> Job:
        """Suggest the slices to annotate next; a new round begins unless the same request is still open.

        Args:
            count: Number of slices or volumes.
            strategy: Name of the strategy, with argument and options.
            seed: Random seed.
            constraints: Limits per volume and patient, and the minimum distance; see the job "suggest".
            then: Called with the result.
            unit: "slice", or "volume" for whole volumes.
            openFirst: Open the first request when the result is there; offer it instead if the user has opened another
                slice or has drawn since.
        """
        asked = self.session.task.slice if self.session.task is not None else None

        def done(answer: dict[str, Any]) -> None:
            self._noteLeftOut(answer, metAll=True)
            self.session.setThumbnails(RequestList.from_json(answer["requests"]), answer["thumbnails"])
            self._withdraw(SUGGEST, REQUESTS)
            if openFirst:
                self._openOrOffer(asked)
            self.readStrategies()

        self._withdraw(SUGGEST)  # the user is doing this now
        options = {"count": count, "strategy": strategy, "seed": seed, "constraints": dict(constraints or {})}
        options["unit"] = unit
        return self._startForStudy("suggest", options, done, then)

    def fetchThumbnails(self) -> Job | None:
        """Fetch the thumbnails of the latest round, if another run of Slicer suggested it."""
        session = self.session
        if session.study is None or not session.requests.rows or all(row.thumbnail for row in session.requests.rows):
            return None
        requests = session.study.requests.read(session.requests.round)

        def done(answer: dict[str, Any]) -> None:
            session.setThumbnails(requests, answer["thumbnails"])

        slices = [[request.slice.volume, request.slice.index] for request in requests.requests]
        return self._startForStudy("thumbnails", {"slices": slices}, done)

    def _openOrOffer(self, asked: SliceId | None) -> None:
        """Open the first request if nothing has changed since they were requested, else offer it."""
        session = self.session
        row = session.nextRow()
        if row is None:
            return
        now = session.task.slice if session.task is not None else None
        if now == asked and not session.drafts.isDirty:
            session.openRequest(row)
        else:
            count = sum(one.status == "open" for one in session.requests.rows)
            self._offer(REQUESTS, f"{count} slices are requested. Open the first?", row.request.slice)

    def train(self, models: int = 1, steps: int = 0, then: Then | None = None) -> Job:
        """Train on all committed slices; annotation can continue."""

        def done(answer: dict[str, Any]) -> None:
            self._noteLeftOut(answer)
            self._curve = answer["curve"]
            self.session.overlays.forgetReviews()
            self.readStrategies()
            self.readLearners()
            if not self._trainWhenDue() and self.session.nextRow() is None:
                text = f"The model was trained on {answer['annotated']} slices. Suggest the next slices?"
                self._offer(SUGGEST, text)

        study = self.session.requireStudy()
        self.readLearners()  # the learner may have been changed by the command line
        options = {"models": models, **({"steps": steps} if steps else {})}
        job = self._startForStudy("train", options, done, then)
        self._trainedOn[study.id] = self.session.requests.annotatedCount
        return job

    @property
    def untrainedCount(self) -> int:
        """Number of slices of the open study that were committed since the last training began, over all rounds."""
        study = self.session.study
        if study is None:
            return 0
        known = [entry["annotated"] or 0 for entry in self.curve]
        return max(0, self.session.requests.annotatedCount - self._trainedOn.get(study.id, max(known, default=0)))

    def _onCommitted(self, sliceId: SliceId) -> None:
        self._trainWhenDue()

    def _trainWhenDue(self) -> bool:
        """Train if enough slices were committed since the last training; returns whether it was started."""
        wanted = self.automatic()
        if wanted is None or self.untrainedCount < wanted.after or self.isRunning("train"):
            return False
        try:
            self.train(wanted.models, wanted.steps)
        except ActiveSegmentationError as error:  # the commit is stored in any case
            self.failed.emit(error)
            return False
        return True

    def predict(self, volumes: list[str] | None = None, then: Then | None = None) -> Job:
        """Predict volumes with the latest model. Default: all volumes."""
        one = volumes[0] if volumes and len(volumes) == 1 else ""
        options = {"volumes": volumes or [], "clean_up": self.cleanUp()}
        return self._startForStudy("predict", options, self._takeReviews, then, volume=one)

    def _takeReviews(self, answer: dict[str, Any]) -> None:
        self._noteLeftOut(answer)
        self.session.overlays.setReviews(answer["reviews"])

    def _onReviewMissing(self, volumeId: str) -> None:
        """Predict the open volume, unless that is running already or there is no model."""
        asked = (running.job.about.get("volume") for running in self._here("predict"))
        if self.curve and volumeId not in asked and volumeId not in self.leftOut:
            self.predict([volumeId])

    def startFromPrediction(self) -> None:
        """Draw the prediction on the open slice, now or as soon as the volume is predicted.

        If another slice is open or in view by then, or this one was edited, the prediction is offered instead.

        Raises:
            OffSlice: If another slice is in view.
            BadInput: If no slice is open.
        """
        sliceId, before = self.session.annotating.drawingState()
        if self.session.overlays.review() is not None:
            self._drawPrediction()
            return
        volume, index = sliceId.volume, sliceId.index
        if any((r.job.about.get("volume"), r.job.about.get("slice")) == (volume, index) for r in self._here("predict")):
            self.said.emit("This slice is being predicted already.")
            return

        def then(answer: dict[str, Any]) -> None:
            session = self.session
            isOpen = session.task is not None and session.task.slice == sliceId and session.view.isOnSlice
            if isOpen and session.annotating.drawingState()[1] == before:
                self._drawPrediction()
            elif sliceId.volume in session.overlays.reviews:
                where = f"slice {sliceId.index + 1} of {sliceId.volume}"
                self._offer(PREDICTION, f"The prediction for {where} is ready. Go there and start from it?", sliceId)

        options = {"volumes": [volume], "clean_up": self.cleanUp()}
        self._startForStudy("predict", options, self._takeReviews, then, volume=volume, index=index)

    def _drawPrediction(self) -> None:
        if not self.session.overlays.startFromPrediction():
            self.said.emit(NOTHING_PREDICTED)

    # Volumes that a job could not use

    @property
    def leftOut(self) -> dict[str, str]:
        """Why volumes of the open study could not be used in their latest job, by id of the volume."""
        return self._leftOut if self._study is self.session.study else {}

    def _noteLeftOut(self, answer: Mapping[str, Any], *, metAll: bool = False) -> None:
        """Report which volumes a job left out, and why.

        Args:
            answer: The result of the job.
            metAll: Whether the job used all volumes, so that earlier problems with others are solved.
        """
        self._forgetOther()
        problems = answer.get("left_out", [])
        usable = {review["volume"] for review in answer.get("reviews", [])}
        before = {} if metAll else {name: why for name, why in self._leftOut.items() if name not in usable}
        self._leftOut = before | {found["volume"]: problemText(found) for found in problems}
        if problems:
            count = "1 volume was" if len(problems) == 1 else f"{len(problems)} volumes were"
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            self.said.emit(f"{count} left out: {problems[0]['volume']}: {problemText(problems[0])}{more}")

    # Offers

    @property
    def offers(self) -> list[Offer]:
        """Offers in the open study, oldest first."""
        study = self.session.study
        return [offer for offer in self._offers if study is not None and offer.study == study.id]

    def accept(self, offer: Offer) -> None:
        """Carry out an offer.

        Raises:
            BadInput: If it can no longer be done.
        """
        self.decline(offer)
        if offer.kind == SUGGEST:
            self.suggestionsWanted.emit()
        elif offer.slice is not None:
            self.session.openSlice(offer.slice)
            if offer.kind == PREDICTION:
                self.startFromPrediction()

    def decline(self, offer: Offer) -> None:
        """Withdraw an offer."""
        self._offers = [other for other in self._offers if other is not offer]
        self.changed.emit()

    def _offer(self, kind: str, text: str, sliceId: SliceId | None = None) -> None:
        self._withdraw(kind)
        self._offers.append(Offer(kind, text, self.session.requireStudy().id, sliceId))
        self.changed.emit()

    def _withdraw(self, *kinds: str) -> None:
        open_ = self.offers
        self._offers = [offer for offer in self._offers if offer not in open_ or offer.kind not in kinds]

    def export(self, formatName: str, out: Path, then: Then | None = None, **options: Any) -> Job:
        """Export annotations, predictions ("predictions") or the model ("model") to a folder; see the job "export"."""
        options = {"format": formatName, "out": str(out), "clean_up": self.cleanUp(), **options}
        return self._startForStudy("export", options, self._noteLeftOut, then)

    def evaluate(self, then: Then | None = None) -> Job:
        """Score the latest model against the cohort's reference masks."""
        return self._startForStudy("evaluate", {}, None, then)

    def readCurve(self, then: Then | None = None) -> Job:
        """Read the learning curve of the open study."""

        def done(answer: dict[str, Any]) -> None:
            self._forgetOther()
            self._curve = answer["curve"]

        return self._startForStudy("curve", {}, done, then)

    def layOut(self, method: str = "pca", then: Then | None = None) -> Job:
        """Compute the map of all slices."""

        def done(answer: dict[str, Any]) -> None:
            self._noteLeftOut(answer, metAll=True)
            self._sliceMap = answer

        return self._startForStudy("slice_map", {"method": method}, done, then)

    def mapSlice(self, number: int) -> SliceId:
        """The slice that a dot of the map represents."""
        if self.sliceMap is None or not 0 <= number < len(self.sliceMap["volumes"]):
            raise BadInput("There is no such dot.", where="map", advice="Show the map again.")
        return SliceId(self.sliceMap["volumes"][number], self.sliceMap["slices"][number])

    def _forgetOther(self) -> None:
        """Discard everything that belongs to a study that was open earlier."""
        if self._study is not self.session.study:
            self._study, self._curve, self._sliceMap, self._leftOut = self.session.study, [], None, {}


def _never() -> None:
    """No automatic training."""


def splitStrategy(strategy: str) -> tuple[str, str]:
    """Split "name:argument/option=value" into the name and the rest, which starts with ":" or "/" or is ""."""
    name = strategy.partition("/")[0].partition(":")[0]
    return name, strategy[len(name) :]


def problemText(problem: Mapping[str, str]) -> str:
    """One line on a volume that a job left out: where, what is wrong, what to do."""
    where = f"{problem['where']}: " if problem["where"] else ""
    return f"{where}{problem['message']} {problem['advice']}".strip()
