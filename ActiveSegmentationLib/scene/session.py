"""The session: a study open in Slicer, used by the panels, by scripts and by headless runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.cohort import AnnotationKind, Cohort, SliceId
from ActiveSegmentationLib.common.errors import ActiveSegmentationError, BadInput
from ActiveSegmentationLib.common.signals import Signal
from ActiveSegmentationLib.scene.activity import ActivityTimer
from ActiveSegmentationLib.scene.annotating import Annotating
from ActiveSegmentationLib.scene.case import Case
from ActiveSegmentationLib.scene.cases import Cases
from ActiveSegmentationLib.scene.display import Display
from ActiveSegmentationLib.scene.drafts import Drafts
from ActiveSegmentationLib.scene.editor import Editor
from ActiveSegmentationLib.scene.extents import Extents
from ActiveSegmentationLib.scene.habits import Habits
from ActiveSegmentationLib.scene.modelOverlays import ModelOverlays
from ActiveSegmentationLib.scene.ownership import ownNodes, removeNodes
from ActiveSegmentationLib.scene.requestRows import RequestRow, RequestRows
from ActiveSegmentationLib.scene.sceneWatch import SceneWatch
from ActiveSegmentationLib.scene.sliceInView import SliceInView
from ActiveSegmentationLib.scene.task import Task
from ActiveSegmentationLib.scene.views import NoViews, Views
from ActiveSegmentationLib.study import LabelSet, RequestList, Study, with_usual_learner
from ActiveSegmentationLib.study.names import annotator_stem


def atOnce(action: Callable[[], None]) -> None:
    """Do something now: ``Session.later`` if there is no event loop."""
    action()


LONGEST_NAME = 40
"""Letters of patient and volume in the view; more would not fit above the image."""


class Session:
    """Opens and closes studies, volumes and slices, and keeps study, scene and views together.

    Its parts do the rest: ``cases`` opens and closes volumes, ``annotating`` commits and skips, ``drafts`` keeps
    uncommitted strokes, ``extents`` marks the extent of the structures, ``overlays`` shows what the model predicts,
    ``view`` tracks which slice is in view, ``scene`` observes changes by others.

    Args:
        views: Where volumes are shown. Default: nowhere.
        editor: Segment editor to draw with. Default: none.

    Attributes:
        study: The open study, or None.
        annotator: Name of the annotator.
        case: The open volume, or None.
        task: The slice being annotated, or None.
        requests: The requests of the latest round, and the status of every slice.
        changed: Emitted after every change.
        viewChanged: Emitted when the view shows another slice of the open volume or none, or has changed its size. Call
            ``view.settle`` a moment later.
        opened: Emitted with the folder of a study that was created or opened.
        committed: Emitted with the identity of a slice that was committed.
        reviewMissing: Emitted with the id of the open volume when its prediction or uncertainty is wanted but unknown.
        strategiesOutdated: Emitted when the first extent is marked, the last one deleted, or the learner changed, so
            that other strategies can be used.
        failed: Emitted with an error that has no caller to report it.
        said: Emitted with a line for the user.
        later: Called with functions that can wait for the next turn of the event loop. Default: call them at once.
    """

    def __init__(self, views: Views | None = None, editor: Editor | None = None) -> None:
        self.changed: Signal[[]] = Signal()
        self.viewChanged: Signal[[]] = Signal()
        self.opened: Signal[[Path]] = Signal()
        self.committed: Signal[[SliceId]] = Signal()
        self.reviewMissing: Signal[[str]] = Signal()
        self.strategiesOutdated: Signal[[]] = Signal()
        self.failed: Signal[[Exception]] = Signal()
        self.said: Signal[[str]] = Signal()
        self.later: Callable[[Callable[[], None]], None] = atOnce
        self.study: Study | None = None
        self.annotator = "annotator"
        self.case: Case | None = None
        self.task: Task | None = None
        self.requests = RequestRows()
        self.display = Display(views or NoViews())
        self.editor = editor or Editor()
        self.habits = Habits()
        self.timer = ActivityTimer()
        self.scene = SceneWatch()
        self.view = SliceInView(self)
        self.cases = Cases(self)
        self.annotating = Annotating(self)
        self.drafts = Drafts(self)
        self.extents = Extents(self)
        self.overlays = ModelOverlays(self)
        self._place = 0
        self.scene.edited.connect(self._onEdited)
        self.scene.nodeRemoved.connect(self._onNodeRemoved)
        self.scene.closing.connect(self.cases.lose)

    def tellFailure(self, error: Exception) -> None:
        """Emit ``failed``, or raise the error if nothing is connected."""
        if not self.failed:
            raise error
        self.failed.emit(error)

    # Studies

    def createStudy(
        self, folder: Path, cohort: Cohort, labels: LabelSet, kind: AnnotationKind, settings: Mapping[str, Any]
    ) -> Study:
        """Create a study and open it.

        Args:
            folder: Folder that is empty or does not exist yet.
            cohort: Its images.
            labels: What is annotated.
            kind: Masks or scribbles.
            settings: Settings of the loop, JSON values in sections. Without a section "training" the study gets the
                learner that fits the cohort.

        Raises:
            BadInput: As ``Study.create`` does; the study that was open stays open.
        """
        study = Study.create(folder, cohort, labels, kind, settings=with_usual_learner(dict(settings), cohort, kind))
        self._take(study)
        return study

    def openStudy(self, folder: Path) -> Study:
        """Open a study; uncommitted strokes in the study that was open are kept there as drafts.

        Raises:
            BadInput: If there is none, or it is damaged; the study that was open stays open.
        """
        study = Study.open(folder)
        self._take(study)
        return study

    def closeStudy(self) -> None:
        """Close the study; uncommitted strokes are kept as drafts."""
        study = self.study
        try:
            self.cases.close()
        finally:
            if study is not None:  # for example an image whose segmentation was removed
                removeNodes(ownNodes(study.id))
            self.study = None
            self.requests, self._place = RequestRows(), 0
            self.extents.reset()
            self.overlays.reset()
            self.changed.emit()

    def _take(self, study: Study) -> None:
        self.closeStudy()
        self.study = study
        try:
            self.refresh()
        except ActiveSegmentationError:
            self.closeStudy()
            raise
        self.opened.emit(study.folder)

    def requireStudy(self) -> Study:
        """The open study.

        Raises:
            BadInput: If none is open.
        """
        if self.study is None:
            raise BadInput("No study is open.", where="study", advice="Create or open one first (Study).")
        return self.study

    def setAnnotator(self, name: str) -> None:
        """Set who annotates from now on; the open volume is closed and its strokes kept under the earlier name.

        Raises:
            BadInput: If the name cannot be used; the earlier one stays.
        """
        name = " ".join(name.split()) or "annotator"
        annotator_stem(name)
        if name != self.annotator:
            self.cases.close()
            self.annotator = name
            self.refresh()

    def excludeVolume(self, volumeId: str, reason: str) -> None:
        """Exclude a volume; its commits and drafts are kept. See ``includeVolume``.

        Raises:
            BadInput: If no study is open, or it has no such volume.
        """
        study = self.requireStudy()
        if self.case is not None and self.case.volume.id == volumeId:
            self.cases.close()
        study.exclude(volumeId, reason.strip() or "left out")
        self.refresh()

    def includeVolume(self, volumeId: str) -> None:
        """Include an excluded volume again.

        Raises:
            BadInput: If no study is open, or it has no such volume.
        """
        self.requireStudy().include(volumeId)
        self.refresh()

    @property
    def excluded(self) -> dict[str, str]:
        """Why each excluded volume is excluded, by id, as of the last ``refresh``; {} without a study."""
        return self.requests.excluded

    # Requests

    def setThumbnails(self, requests: RequestList, files: Sequence[str]) -> None:
        """Set the pictures of the requests of a round."""
        self.requests.setThumbnails(requests, files)
        self.refresh()

    def refresh(self) -> None:
        """Read the requests, the status of all slices and the extents again."""
        study = self.study
        if study is None:
            return
        try:
            self.extents.read()
        except BadInput as error:  # annotating goes on without extents
            self.tellFailure(error)
        self.requests.read(study)
        self._renewTask()
        self.changed.emit()

    def refreshVolume(self, volumeId: str) -> None:
        """Read the status of the slices of one volume again; fast for any number of volumes."""
        self.requests.readVolume(self.requireStudy(), volumeId)
        self._renewTask()
        self.changed.emit()

    def _renewTask(self) -> None:
        """Update the task's row."""
        if self.task is not None:
            row = self.requests.rowOf(self.task.slice)
            self.task = replace(self.task, row=row, round=self.requests.round if row else None)
            self.mark()

    def sliceStatus(self, sliceId: SliceId) -> str:
        """Status of any slice for the map: "current", "annotated", "requested", "skipped" or "not annotated"."""
        if self.task is not None and self.task.slice == sliceId:
            return "current"
        return self.requests.statusOf(sliceId)

    def nextRow(self, step: int = 1) -> RequestRow | None:
        """The next open request after the current one, cyclically; None if all are answered.

        - After a slice that the user chose, the request that was left comes first.
        - Without an open slice, it is the request after the last one tried, whose image may be unreadable.
        """
        row = self.task.row if self.task is not None else None
        if self.task is not None and row is None and self._place:
            left = self.requests.row(self._place) if self._place <= len(self.requests.rows) else None
            if left is not None and left.isOpen:
                return left
        return self.requests.next(self._place if row is None else row.number, step)

    # The slice being annotated

    def openRequest(self, row: RequestRow | int) -> None:
        """Show the slice of a request, with its volume and what was drawn on it before.

        Args:
            row: The row, or the number of the request in the latest round, from 1.

        Raises:
            BadInput: If there is no such request, or the image cannot be read.
        """
        found = self.requests.row(row if isinstance(row, int) else row.number)
        self._place = found.number
        self.openSlice(found.request.slice)

    def openSlice(self, sliceId: SliceId) -> None:
        """Show any slice of the cohort for annotation.

        Raises:
            BadInput: If there is no such slice, or its image cannot be read.
        """
        study = self.requireStudy()
        _requireSlice(study, sliceId)
        isNew = self.case is None or self.case.volume.id != sliceId.volume or self.case.needsReload
        if self.case is not None and not isNew:
            self.annotating.takeNewer(sliceId.index)  # before anything else: it may be unreadable
        self.leaveSlice()
        if isNew:
            self.cases.open(sliceId.volume)
        assert self.case is not None
        self.editor.clearUndo()  # undo must never change a slice that is not in view
        row = self.requests.rowOf(sliceId)
        self.task = Task(sliceId, row, self.requests.round if row else None)
        self.timer.start(self.case.seconds(sliceId.index))
        self.drafts.recount()
        self.view.align()
        self.editor.paint()
        self.mark()
        if isNew:
            self.overlays.showWanted()
        self.changed.emit()

    def mark(self) -> None:
        """Frame the open slice in the view and label it."""
        if self.case is not None and self.task is not None:
            self.display.mark(self.case, self.task.slice.index, self.describeTask(LONGEST_NAME), self.task.isAnswered)

    def describeTask(self, longest: int = 1000) -> str:
        """What is annotated, such as "Slice 6 of 8 · patient005 · request 1 of 10"; see ``Task.describe``."""
        if self.task is None or self.case is None:
            return ""
        return self.task.describe(self.case.volume, len(self.requests.rows), longest)

    def leaveSlice(self) -> None:
        """Record the seconds spent on the open slice, and remove frame and text."""
        if self.task is not None and self.case is not None:
            self.case.setSeconds(self.task.slice.index, self.timer.stop())
        self.display.unmark()

    # What happens in the scene

    def _onEdited(self) -> None:
        self.drafts.edited = True
        self.timer.touch()
        self.changed.emit()

    def _onNodeRemoved(self, node: Any) -> None:
        if self.case is not None and node in (self.case.segmentationNode, self.case.volumeNode):
            self.cases.lose()
        else:
            self.overlays.forget(node)

    def close(self) -> None:
        """End the session: drafts are kept, nodes and observers go."""
        try:
            self.closeStudy()
        finally:
            self.scene.close()


def _requireSlice(study: Study, sliceId: SliceId) -> None:
    volume = study.cohort.volume(sliceId.volume)
    if volume.id in study.excluded():
        raise BadInput(
            f"Volume '{volume.id}' is excluded.",
            where="study",
            advice="Include it first (Study, Images, Take it back).",
        )
    if not 0 <= sliceId.index < volume.slice_count:
        advice = f"Use 1 to {volume.slice_count}."
        raise BadInput(f"There is no slice {sliceId.index + 1}.", where=volume.id, advice=advice)
