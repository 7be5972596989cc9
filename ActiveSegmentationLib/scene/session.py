"""A study open in Slicer: what the panels show, the logic offers to scripts, and the headless run drives."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.util import VTKObservationMixin

from ActiveSegmentationLib.cohort import AnnotationKind, Cohort, SliceId
from ActiveSegmentationLib.common.errors import ActiveSegmentationError, BadInput
from ActiveSegmentationLib.scene.activity import ActivityTimer
from ActiveSegmentationLib.scene.case import Case, ownNodes, removeNodes
from ActiveSegmentationLib.scene.display import Display
from ActiveSegmentationLib.scene.extentMarks import ExtentMarks
from ActiveSegmentationLib.scene.overlays import readPrediction
from ActiveSegmentationLib.scene.requestRows import OPEN, RequestRow, RequestRows
from ActiveSegmentationLib.scene.segmentations import segmentId
from ActiveSegmentationLib.scene.views import NoViews, Views
from ActiveSegmentationLib.study import LabelSet, RequestList, SliceAnnotation, Study
from ActiveSegmentationLib.study.names import annotator_stem

FIRST = 1000.0
"""Priority of an observer that is called before Slicer's own, which empty a segmentation that is being removed."""

EDITS = (
    slicer.vtkSegmentation.SourceRepresentationModified,
    slicer.vtkSegmentation.SegmentAdded,
    slicer.vtkSegmentation.SegmentRemoved,
)
"""Events of a segmentation that change what is drawn, or what can be committed."""


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


class Editor:
    """The Segment Editor as far as a session needs it; this one is for runs without a user interface."""

    def setNodes(self, segmentationNode: Any, volumeNode: Any) -> None:
        """Edit this segmentation over this volume; None for both ends editing."""

    def selectSegment(self, segmentId: str) -> None:
        """Make a segment the one that is drawn."""

    def saveStateForUndo(self) -> None:
        """Let the next change be undone in one step."""

    def paint(self) -> None:
        """Have the brush in hand, unless another tool is."""


class Session(VTKObservationMixin):
    """Keeps study, scene and views together.

    Every change of what there is to show ends in a call of ``changed``; problems that come up in observers, where no
    caller could catch them, go to ``failed``.

    Args:
        views: Where volumes are shown.
        editor: What draws.

    Attributes:
        study: The open study, or None.
        annotator: Name of the person who annotates.
        case: The open volume, or None.
        task: The slice being annotated, or None.
        requests: What was asked for in the latest round, and what became of every slice.
        marks: Between which slices of a volume the structures lie.
        reviews: What the latest model says of volumes, by id; see ``VolumeReview`` of the library.
        changed: Called without arguments after every change.
        situationChanged: Called without arguments when strategies can count on something else than before: the first
            volume has marked ends, or the last one has them no more.
        failed: Called with an error that nobody else would hear of.
    """

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
        self.changed: Callable[[], None] = lambda: None
        self.situationChanged: Callable[[], None] = lambda: None
        self.failed: Callable[[Exception], None] = _raise
        self.timer = ActivityTimer()
        self._place = 0
        self._busy = 0
        self._edited = False
        self._dirty: list[int] | None = None
        scene = slicer.mrmlScene
        for event, method in (
            (slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, self._onNodeAboutToBeRemoved),
            (slicer.vtkMRMLScene.StartCloseEvent, self._onSceneClose),
        ):
            self.addObserver(scene, event, method, priority=FIRST)

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
            self.changed()

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
            self.failed(error)
        self.requests.read(study)
        self._renewTask()
        self.changed()

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

        Without a current one, after the one that was tried last, whose image may not be readable.
        """
        row = self.task.row if self.task is not None else None
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
        volume = study.cohort.volume(sliceId.volume)
        if volume.id in study.excluded():
            raise BadInput(f"Volume '{volume.id}' is excluded.", where="study", advice="Take it back first.")
        if not 0 <= sliceId.index < volume.slice_count:
            advice = f"Use 1 to {volume.slice_count}."
            raise BadInput(f"There is no slice {sliceId.index + 1}.", where=volume.id, advice=advice)
        self._leaveSlice()
        if self.case is None or self.case.volume.id != volume.id or self.case.needsReload:
            self._openCase(study, sliceId)
        assert self.case is not None
        row = self.requests.rowOf(sliceId)
        self.task = Task(sliceId, row, self.requests.round if row else None)
        self.timer.start(self.case.seconds(sliceId.index))
        self._dirty = None
        self.display.align(self.case, sliceId.index)
        self.editor.paint()
        self._mark()
        self.changed()

    def _openCase(self, study: Study, sliceId: SliceId) -> None:
        self.closeCase()
        with self._quiet():
            removeNodes(node for node in ownNodes(study.id) if node not in ownNodes(study.id, sliceId.volume))
            self.case = Case(study, study.cohort.volume(sliceId.volume), self.annotator)
        self.editor.setNodes(self.case.segmentationNode, self.case.volumeNode)
        self.editor.selectSegment(segmentId(study.labels.values[0]))
        segmentation = self.case.segmentationNode.GetSegmentation()
        for event in EDITS:
            self.addObserver(segmentation, event, self._onEdited)
        self.display.showVolume(self.case)

    def closeCase(self) -> None:
        """Put the open volume away: what is not committed is kept as drafts, our nodes leave the scene.

        Where it cannot be kept (the disk is full, the folder is gone), ``failed`` is told and the nodes stay in the
        scene as the person's own.
        """
        if self.case is None:
            return
        case, problem = self._endCase(self.case)
        with self._quiet():
            if problem is None:
                case.remove()
            else:
                case.release()
        self.changed()
        if problem is not None:
            name = case.segmentationNode.GetName()
            problem.advice += f" What is drawn was left in the scene as '{name}'."
            self.failed(problem)

    def _endCase(self, case: Case) -> tuple[Case, ActiveSegmentationError | None]:
        """Let go of the open volume after keeping what is drawn; the volume, and why that was not possible."""
        self._leaveSlice()
        self.case = self.task = None
        problem = None
        try:
            self._saveDrafts(case)
        except ActiveSegmentationError as error:
            problem = error
        self._forget(case)
        with self._quiet():
            self.editor.setNodes(None, None)  # first: an editor whose segmentation goes chooses another one by itself
            self.display.clear()
        return case, problem

    def _leaveSlice(self) -> None:
        if self.task is not None and self.case is not None:
            self.case.setSeconds(self.task.slice.index, self.timer.stop())
        self.display.unmark()

    def _forget(self, case: Case) -> None:
        segmentation = case.segmentationNode.GetSegmentation()
        for event in EDITS:
            self.removeObserver(segmentation, event, self._onEdited)

    @property
    def isDirty(self) -> bool:
        """Whether the slice being annotated shows changes that are not committed."""
        return self.case is not None and self.task is not None and self.case.isDirty(self.task.slice.index)

    def otherDirtySlices(self) -> list[int]:
        """Other slices of the open volume with changes that are not committed (0-based), as of the last autosave.

        Looking at all slices takes time that a stroke should not cost.
        """
        if self.case is None:
            return []
        if self._dirty is None:
            try:
                self._dirty = self.case.dirtySlices()
            except BadInput:  # the commit and the saving tell why
                self._dirty = []
        current = self.task.slice.index if self.task is not None else None
        return [index for index in self._dirty if index != current]

    def commitSlice(self, *, empty: bool = False, kind: AnnotationKind | None = None) -> SliceId:
        """Store the slice being annotated.

        Args:
            empty: Say that nothing of the label set is on it; refused where something is drawn.
            kind: Store it as masks or scribbles other than the study does usually.

        Returns:
            The slice.

        Raises:
            BadInput: If no slice is open, nothing is drawn, segments overlap, or the segmentation does not fit; nothing
                is lost then.
        """
        study, case, index = self._current()
        if empty and not case.isEmpty(index):
            advice = "Erase it first, or use Commit."
            raise BadInput("Something is drawn on this slice.", where=self._where(), advice=advice)
        if not empty and case.isEmpty(index):
            advice = "Draw on it, or press Empty if none of the structures is on it."
            raise BadInput("Nothing is drawn on this slice.", where=self._where(), advice=advice)
        case.requireImage()  # what the view shows must be the slice, also where nothing is drawn on it
        plane = np.zeros(case.volume.plane_shape, np.uint8) if empty else case.capture(index)
        assert self.task is not None
        self.timer.touch()
        annotation = SliceAnnotation(
            slice=self.task.slice,
            labels=plane,
            kind=AnnotationKind.MASK if empty else (kind or case.kind),
            annotator=self.annotator,
            round=self.task.round,
            seconds=round(self.timer.seconds, 1),
            committed_at="",
            prelabel=case.prelabel(index),
        )
        study.commit([annotation])
        study.discard_draft(annotation.slice, self.annotator)
        case.drafted.discard(index)
        with self._quiet():
            if empty:
                case.write({index: plane})
            case.markClean(index)
        case.setSeconds(index, 0.0)
        self.timer.start()
        self._dirty = None
        self.refresh()
        return annotation.slice

    def skipSlice(self, reason: str) -> SliceId:
        """Leave the slice out; it is not asked for again.

        Raises:
            BadInput: If no slice is open, no reason is given, or this annotator has committed it.
        """
        study, _, _ = self._current()
        if not reason.strip():
            raise BadInput("A reason is missing.", where=self._where(), advice="Say why it cannot be judged.")
        assert self.task is not None
        study.skip(self.task.slice, self.annotator, reason.strip(), round=self.task.round)
        self.refresh()
        return self.task.slice

    def flagSlice(self, note: str) -> SliceId:
        """Mark the slice to be looked at again.

        Raises:
            BadInput: If no slice is open.
        """
        study, _, _ = self._current()
        assert self.task is not None
        study.flag(self.task.slice, self.annotator, note.strip() or "to be looked at again")
        self.refresh()
        return self.task.slice

    def revertSlice(self) -> None:
        """Show again what was last committed on the slice, or nothing; can be undone in the editor."""
        study, case, index = self._current()
        known = study.annotations(self.annotator).get(case.sliceId(index))
        self.editor.saveStateForUndo()
        with self._quiet():
            case.revert(index, None if known is None else known.labels)
        study.discard_draft(case.sliceId(index), self.annotator)
        case.drafted.discard(index)
        case.setPrelabel(index, None if known is None else known.prelabel)
        self.changed()

    def resolveOverlap(self) -> None:
        """Where segments overlap on the slice, keep the one that comes last in the label set; can be undone."""
        _, case, index = self._current()
        self.editor.saveStateForUndo()
        case.resolveOverlap(index)
        self.changed()

    # Where the structures are

    @property
    def extent(self) -> tuple[int, int] | None:
        """First and last slice of the open volume that show any structure (0-based), None where nothing is marked."""
        return self.marks.of(self.case.volume.id) if self.case is not None else None

    def markExtent(self, volumeId: str, first: int, last: int) -> None:
        """Say which slices of a volume show any structure, as ``Study.mark_extent`` does.

        Raises:
            BadInput: If no study is open, and as ``Study.mark_extent`` says.
        """
        study = self.requireStudy()
        with self._marking():
            self.marks.mark(study, volumeId, first, last)
        self.changed()

    def clearExtent(self, volumeId: str) -> None:
        """Take back what was marked in a volume, as ``Study.clear_extent`` does.

        Raises:
            BadInput: If no study is open, and as ``Study.clear_extent`` says.
        """
        study = self.requireStudy()
        with self._marking():
            self.marks.clear(study, volumeId)
        self.changed()

    def markEnd(self, end: str, index: int) -> bool:
        """Say which slice of the open volume is the first or the last that shows any structure.

        Args:
            end: "first" or "last".
            index: The slice, counted from 0 as in the study.

        Returns:
            Whether the ends were swapped, see ``ExtentMarks.markEnd``.

        Raises:
            BadInput: If no slice is open, the volume is excluded, or the study cannot be written.
        """
        study, case, _ = self._current()
        with self._marking():
            swapped = self.marks.markEnd(study, case.volume, end, index)
        self.changed()
        return swapped

    @contextlib.contextmanager
    def _marking(self) -> Iterator[None]:
        """What is marked changes within; there the strategies may find what they need, or miss it."""
        before = bool(self.marks)
        yield
        if bool(self.marks) != before:
            self.situationChanged()

    def _current(self) -> tuple[Study, Case, int]:
        study = self.requireStudy()
        if self.case is None or self.task is None:
            raise BadInput("No slice is open.", where="annotate", advice="Open a request first (Next).")
        if not self.case.intact:
            self._loseCase()
            advice = "Open the request again; what was drawn is kept."
            raise BadInput("Image or segmentation were removed from the scene.", where="annotate", advice=advice)
        return study, self.case, self.task.slice.index

    def _where(self) -> str:
        assert self.task is not None
        return f"{self.task.slice.volume}, slice {self.task.slice.index + 1}"

    # Drafts

    def saveDrafts(self) -> int:
        """Keep everything that is drawn and not committed; the number of slices. Called every half a minute."""
        if self.case is None or not self._edited:
            return 0
        if self.task is not None:
            self.case.setSeconds(self.task.slice.index, self.timer.seconds)
        count = self._saveDrafts(self.case)
        self._edited = False
        return count

    def _saveDrafts(self, case: Case) -> int:
        study = self.requireStudy()
        dirty = self._dirty = case.dirtySlices()
        if dirty:
            study.excluded()  # refuses where the folder is gone: a draft must not make it anew
        for index in dirty:
            study.save_draft(case.draft(index), self.annotator)
            case.drafted.add(index)
        for index in sorted(case.drafted.difference(dirty)):
            study.discard_draft(case.sliceId(index), self.annotator)
            case.drafted.discard(index)
        return len(dirty)

    # The model's opinion

    def setReviews(self, reviews: Sequence[Mapping[str, Any]]) -> None:
        """Note what the latest model says of volumes, as the worker answers."""
        if any(review["model"] not in {known["model"] for known in self.reviews.values()} for review in reviews):
            self.reviews = {}
        self.reviews |= {review["volume"]: dict(review) for review in reviews}
        self.changed()

    def forgetReviews(self) -> None:
        """A newer model is trained: what is known is an older one's opinion."""
        self.reviews = {}
        self.changed()

    def review(self) -> dict[str, Any] | None:
        """What the latest model says of the open volume, or None where that is not computed yet."""
        return self.reviews.get(self.case.volume.id) if self.case is not None else None

    def startFromPrediction(self) -> None:
        """Draw the model's prediction on the slice, in place of what is drawn; one step of undo.

        Raises:
            BadInput: If no slice is open or the volume is not predicted.
        """
        _, case, index = self._current()
        review = self._requireReview()
        plane = readPrediction(Path(review["labels"]), case.volume.geometry, case.volume.axis)[index]
        self.editor.saveStateForUndo()
        case.write({index: plane})
        case.setPrelabel(index, review["model"])
        self.changed()

    def showUncertainty(self, opacity: float) -> None:
        """Lay the model's uncertainty over the image, or take it away with opacity 0.

        Raises:
            BadInput: If the open volume is not predicted.
        """
        review = self._requireReview() if opacity > 0 else {}
        with self._quiet():
            self.display.setUncertainty(self.case, self.requireStudy().id, review, opacity)
        self.changed()

    def setUncertaintyOpacity(self, opacity: float) -> None:
        """Let the image show more or less through the uncertainty."""
        self.display.setOpacity(opacity)

    def showPrediction(self, shown: bool) -> None:
        """Draw the model's prediction as outlines beside the annotation, or take it away.

        Raises:
            BadInput: If the open volume is not predicted.
        """
        study, review = self.requireStudy(), self._requireReview() if shown else {}
        with self._quiet():
            self.display.setPrediction(self.case if shown else None, study.id, review, study.labels)
        self.changed()

    def _requireReview(self) -> dict[str, Any]:
        review = self.review()
        if review is None:
            advice = "Train, then predict the volume (Review)."
            raise BadInput("The model has not predicted this volume.", where="annotate", advice=advice)
        return review

    def describeTask(self) -> str:
        """The line that is written in the view."""
        if self.task is None:
            return ""
        row = self.task.row
        if row is None:
            return f"{self.task.slice.volume}, slice {self.task.slice.index + 1} (your choice)"
        state = "" if row.status == OPEN else f" ({row.status})"
        return f"Request {row.number} of {len(self.requests.rows)}{state}: {row.request.reason}"

    def _mark(self) -> None:
        if self.case is not None and self.task is not None:
            done = self.task.row is not None and self.task.row.status != OPEN
            self.display.mark(self.case, self.task.slice.index, self.describeTask(), done)

    # What happens in the scene

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        """Changes within are ours, not the annotator's."""
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    def _onEdited(self, caller: Any, event: Any) -> None:
        if self._busy == 0:
            self._edited = True
            self.timer.touch()
            self.changed()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeAboutToBeRemoved(self, caller: Any, event: Any, node: Any) -> None:
        if self._busy or node is None:
            return
        if self.case is not None and node in (self.case.segmentationNode, self.case.volumeNode):
            self._loseCase()
        elif self.display.forget(node):
            self.changed()

    def _onSceneClose(self, caller: Any, event: Any) -> None:
        self._loseCase()

    def _loseCase(self) -> None:
        """The case's nodes go without our doing: keep what is drawn while it can still be read."""
        if self.case is None:
            return
        _, problem = self._endCase(self.case)
        self.changed()
        if problem is not None:
            self.failed(problem)

    def close(self) -> None:
        """End the session: drafts are kept, nodes and observers go."""
        try:
            self.closeStudy()
        finally:
            self.removeObservers()


def _raise(error: Exception) -> None:
    raise error
