"""The study that is open: made, opened and closed, its requests, and the volumes that are left out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slicer.util import VTKObservationMixin

from ActiveSegmentationLib.cohort import AnnotationKind, Cohort, SliceId
from ActiveSegmentationLib.common.errors import ActiveSegmentationError, BadInput
from ActiveSegmentationLib.common.signals import Signal
from ActiveSegmentationLib.scene.activity import ActivityTimer
from ActiveSegmentationLib.scene.case import Case
from ActiveSegmentationLib.scene.display import Display
from ActiveSegmentationLib.scene.editor import Editor
from ActiveSegmentationLib.scene.extentMarks import ExtentMarks
from ActiveSegmentationLib.scene.habits import Habits
from ActiveSegmentationLib.scene.ownership import ownNodes, removeNodes
from ActiveSegmentationLib.scene.requestRows import OPEN, RequestRow, RequestRows
from ActiveSegmentationLib.scene.views import NoViews, Views
from ActiveSegmentationLib.study import LabelSet, RequestList, Study
from ActiveSegmentationLib.study.names import annotator_stem


@dataclass(frozen=True)
class Task:
    """The slice that is being annotated.

    Attributes:
        slice: Which slice.
        row: The request it answers, or None where the person chose the slice.
        round: Round that asked for it, or None.
    """

    slice: SliceId
    row: RequestRow | None
    round: int | None


def atOnce(action: Callable[[], None]) -> None:
    """Do something now; what ``Session.later`` is where there is no event loop."""
    action()


class StudyState(VTKObservationMixin):
    """What of a session is about the study and its requests; see ``Session``."""

    def __init__(self, views: Views | None = None, editor: Editor | None = None) -> None:
        super().__init__()
        self.display = Display(views or NoViews())
        self.editor = editor or Editor()
        self.study: Study | None = None
        self.annotator = "annotator"
        self.case: Case | None = None
        self.task: Task | None = None
        self.requests = RequestRows()
        self.marks = ExtentMarks()
        self.reviews: dict[str, dict[str, Any]] = {}
        self.changed: Signal[[]] = Signal()
        self.viewChanged: Signal[[]] = Signal()
        self.committed: Signal[[SliceId]] = Signal()
        self.reviewMissing: Signal[[str]] = Signal()
        self.strategiesOutdated: Signal[[]] = Signal()
        self.failed: Signal[[Exception]] = Signal()
        self.predictionWanted = False
        self.uncertaintyWanted = 0.0
        self.later: Callable[[Callable[[], None]], None] = atOnce
        self.habits = Habits()
        self.timer = ActivityTimer()
        self._place = 0
        self._busy = 0
        self._shown: int | None = None
        self._edited = False
        self._movedDrafts: set[tuple[SliceId, str]] = set()
        self._dirty: list[int] | None = None

    def tellFailure(self, error: Exception) -> None:
        """Emit ``failed`` for an error that has no caller; raise it where nobody listens."""
        if not self.failed:
            raise error
        self.failed.emit(error)

    # Studies

    def createStudy(
        self, folder: Path, cohort: Cohort, labels: LabelSet, kind: AnnotationKind, settings: Mapping[str, Any]
    ) -> Study:
        """Make a study and open it.

        Args:
            folder: Folder that is empty or not there yet.
            cohort: Its images.
            labels: What is annotated.
            kind: Masks or scribbles.
            settings: Settings of the loop, JSON values in sections.

        Raises:
            BadInput: As ``Study.create`` does; the study that was open stays open.
        """
        study = Study.create(folder, cohort, labels, kind, settings=dict(settings))
        self._take(study)
        return study

    def openStudy(self, folder: Path) -> Study:
        """Open a study; strokes that were not committed in an earlier one are kept there as drafts.

        Raises:
            BadInput: If there is none, or it is damaged; the study that was open stays open.
        """
        study = Study.open(folder)
        self._take(study)
        return study

    def closeStudy(self) -> None:
        """Close the study; strokes that were not committed are kept as drafts."""
        study = self.study
        try:
            self.closeCase()
        finally:
            if study is not None:  # an image whose segmentation somebody removed, for one
                removeNodes(ownNodes(study.id))
            self.study = None
            self.requests, self.marks, self.reviews, self._place = RequestRows(), ExtentMarks(), {}, 0
            self.predictionWanted, self.uncertaintyWanted = False, 0.0
            self.changed.emit()

    def _take(self, study: Study) -> None:
        self.closeStudy()
        self.study = study
        try:
            self.refresh()
        except ActiveSegmentationError:
            self.closeStudy()
            raise

    def requireStudy(self) -> Study:
        """The open study.

        Raises:
            BadInput: If none is open.
        """
        if self.study is None:
            raise BadInput("No study is open.", where="study", advice="Make one or open one first (Study).")
        return self.study

    def setAnnotator(self, name: str) -> None:
        """Say who annotates from now on; an open case is put away and its strokes kept under the earlier name.

        Raises:
            BadInput: If that is no name; the earlier one stays.
        """
        name = " ".join(name.split()) or "annotator"
        annotator_stem(name)
        if name != self.annotator:
            self.closeCase()
            self.annotator = name
            self.refresh()

    def excludeVolume(self, volumeId: str, reason: str) -> None:
        """Leave a volume out of everything; what was committed on it is kept, as are drafts. See ``includeVolume``.

        Raises:
            BadInput: If no study is open, or it has no such volume.
        """
        study = self.requireStudy()
        if self.case is not None and self.case.volume.id == volumeId:
            self.closeCase()
        study.exclude(volumeId, reason.strip() or "left out")
        self.refresh()

    def includeVolume(self, volumeId: str) -> None:
        """Take a volume back that was left out.

        Raises:
            BadInput: If no study is open, or it has no such volume.
        """
        self.requireStudy().include(volumeId)
        self.refresh()

    @property
    def excluded(self) -> dict[str, str]:
        """Why each volume is left out, by id, as of the last ``refresh``; {} without a study."""
        return self.requests.excluded

    # Requests

    def setThumbnails(self, requests: RequestList, files: Sequence[str]) -> None:
        """Note the pictures of the requests of a round."""
        self.requests.setThumbnails(requests, files)
        self.refresh()

    def refresh(self) -> None:
        """Read anew how far the requests and the slices are, and what is marked."""
        study = self.study
        if study is None:
            return
        try:
            with self._marking():
                self.marks.read(study)
        except BadInput as error:  # annotating goes on without marks
            self.tellFailure(error)
        self.requests.read(study)
        self._renewTask()
        self.changed.emit()

    def _refreshVolume(self, volumeId: str) -> None:
        """Read anew what was said of one volume; cheap, however many there are."""
        self.requests.readVolume(self.requireStudy(), volumeId)
        self._renewTask()
        self.changed.emit()

    def _renewTask(self) -> None:
        """Let the task know its row as it is now."""
        if self.task is not None:
            row = self.requests.rowOf(self.task.slice)
            self.task = replace(self.task, row=row, round=self.requests.round if row else None)
            self._mark()

    def sliceStatus(self, sliceId: SliceId) -> str:
        """Status of any slice for the map: "current", "annotated", "requested", "skipped" or "not annotated"."""
        if self.task is not None and self.task.slice == sliceId:
            return "current"
        return self.requests.statusOf(sliceId)

    def nextRow(self, step: int = 1) -> RequestRow | None:
        """The next open request after the current one, going round at the end; None where all are done.

        Where the person has chosen another slice meanwhile, the request that was left comes first. Without an open
        slice, the one after that tried last, whose image may not be readable.
        """
        row = self.task.row if self.task is not None else None
        if self.task is not None and row is None and self._place:
            left = self.requests.row(self._place) if self._place <= len(self.requests.rows) else None
            if left is not None and left.status == OPEN:
                return left
        return self.requests.next(self._place if row is None else row.number, step)

    @contextlib.contextmanager
    def _marking(self) -> Iterator[None]:
        """What is marked changes within; there the strategies may find what they need, or miss it."""
        before = bool(self.marks)
        yield
        if bool(self.marks) != before:
            self.strategiesOutdated.emit()

    # What the open volume has to do with it; see ``StudySession``

    def closeCase(self) -> None:
        """Put the open volume away."""

    def _mark(self) -> None:
        """Frame the open slice and say what it is."""
