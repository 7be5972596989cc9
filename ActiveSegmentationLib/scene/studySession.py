"""A study open in Slicer: its requests, the volume and the slice that are open, and what happens to their nodes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import slicer
import vtk

from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import ActiveSegmentationError, BadInput
from ActiveSegmentationLib.scene.case import Case
from ActiveSegmentationLib.scene.editor import Editor
from ActiveSegmentationLib.scene.ownership import ownNodes, removeNodes
from ActiveSegmentationLib.scene.requestRows import OPEN, RequestRow
from ActiveSegmentationLib.scene.studyState import StudyState, Task
from ActiveSegmentationLib.scene.views import Views
from ActiveSegmentationLib.study import Study

FIRST = 1000.0
"""Priority of an observer that is called before Slicer's own, which empty a segmentation that is being removed."""

EDITS = (
    slicer.vtkSegmentation.SourceRepresentationModified,
    slicer.vtkSegmentation.SegmentModified,
    slicer.vtkSegmentation.SegmentAdded,
    slicer.vtkSegmentation.SegmentRemoved,
)
"""Events of a segmentation that change what is drawn, or what can be committed; undo and redo send the second only."""


class StudySession(StudyState):
    """What of a session opens and closes volumes and slices; see ``Session``."""

    def __init__(self, views: Views | None = None, editor: Editor | None = None) -> None:
        super().__init__(views, editor)
        self.display.moved.connect(self._onViewMoved)
        scene = slicer.mrmlScene
        for event, method in (
            (slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, self._onNodeAboutToBeRemoved),
            (slicer.vtkMRMLScene.StartCloseEvent, self._onSceneClose),
        ):
            self.addObserver(scene, event, method, priority=FIRST)

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
        isNew = self.case is None or self.case.volume.id != volume.id or self.case.needsReload
        if self.case is not None and not isNew:
            self._takeNewer(study, self.case, sliceId.index)  # before anything else: it may not be readable
        self._leaveSlice()
        if isNew:
            self._openCase(study, sliceId)
        assert self.case is not None
        self.editor.clearUndo()  # undo must never change a slice that is not in view
        row = self.requests.rowOf(sliceId)
        self.task = Task(sliceId, row, self.requests.round if row else None)
        self.timer.start(self.case.seconds(sliceId.index))
        self._dirty = None
        self.display.align(self.case, sliceId.index)
        self._shown = self.display.shownIndex(self.case)  # a view of a new volume tells of later moves only
        self.editor.paint()
        self._mark()
        if isNew:
            self._showWanted()
        self.changed.emit()

    def _takeNewer(self, study: Study, case: Case, index: int) -> None:
        """Show what another Slicer has committed on a slice meanwhile; see ``Annotating``."""

    def _showWanted(self) -> None:
        """Show on the open volume what is wanted of the model; see ``Session``."""

    def _openCase(self, study: Study, sliceId: SliceId) -> None:
        if self.case is None or self.case.volume.id == sliceId.volume:
            self.closeCase()
        else:
            self._closeCase(forAnother=True)
        try:
            with self._quiet():
                self.case = Case(study, study.cohort.volume(sliceId.volume), self.annotator, self.habits.channel)
        except Exception:
            self.display.clear()
            raise
        finally:
            self.later(lambda: self._removeOthers(study.id))
        self.case.contrast.apply(self.habits.contrast)
        self.editor.setNodes(self.case.segmentationNode, self.case.volumeNode)
        self.habits.restore(self.editor, self.case)
        segmentation = self.case.segmentationNode.GetSegmentation()
        for event in EDITS:
            self.addObserver(segmentation, event, self._onEdited)
        self.display.showVolume(self.case)

    def setChannel(self, channel: int) -> None:
        """Show another channel of the image, also on the volumes opened later that have it.

        Args:
            channel: Which one, 0-based; see ``Case.channels`` for how many there are.

        Raises:
            BadInput: If no volume is open, it has no such channel, or its image cannot be read.
        """
        if self.case is None:
            raise BadInput("No volume is open.", where="annotate", advice="Open a request first (Next).")
        study = self.requireStudy()
        self.habits.note(self.editor, self.case)
        with self._quiet():
            self.case.setChannel(study.cohort, channel)
        self.habits.channel = channel
        self.case.contrast.apply(self.habits.contrast)
        self.changed.emit()

    def closeCase(self) -> None:
        """Put the open volume away: what is not committed is kept as drafts, our nodes leave the scene.

        Where it cannot be kept (the disk is full, the folder is gone), ``failed`` is told and the nodes stay in the
        scene as the person's own.
        """
        self._closeCase(forAnother=False)

    def _closeCase(self, *, forAnother: bool) -> None:
        """See ``closeCase``; where another volume opens at once, the nodes leave later and the view stays as it is."""
        if self.case is None:
            return
        case, problem = self._endCase(self.case, forAnother)
        with self._quiet():
            if problem is not None:
                case.release()
            elif not forAnother:
                case.remove()
        self.changed.emit()
        if problem is not None:
            name = case.segmentationNode.GetName()
            problem.advice += f" What is drawn was left in the scene as '{name}'."
            self.tellFailure(problem)

    def _removeOthers(self, studyId: str) -> None:
        """Take the nodes of all volumes but the open one out of the scene."""
        isOpen = self.case is not None and self.study is not None and self.study.id == studyId
        keep = ownNodes(studyId, self.case.volume.id) if isOpen and self.case is not None else []
        with self._quiet():
            removeNodes(node for node in ownNodes(studyId) if node not in keep)

    def _endCase(self, case: Case, forAnother: bool = False) -> tuple[Case, ActiveSegmentationError | None]:
        """Let go of the open volume after keeping what is drawn; the volume, and why that was not possible."""
        self._leaveSlice()
        self.habits.note(self.editor, case)
        self.case = self.task = None
        problem = None
        try:
            self._saveDrafts(case)
        except ActiveSegmentationError as error:
            problem = error
        self._forget(case)
        with self._quiet():
            self.editor.setNodes(None, None)  # first: an editor whose segmentation goes chooses another one by itself
            self.display.clear(restore=not forAnother)
        return case, problem

    def _leaveSlice(self) -> None:
        if self.task is not None and self.case is not None:
            self.case.setSeconds(self.task.slice.index, self.timer.stop())
        self.display.unmark()

    def _forget(self, case: Case) -> None:
        segmentation = case.segmentationNode.GetSegmentation()
        for event in EDITS:
            self.removeObserver(segmentation, event, self._onEdited)

    def _saveDrafts(self, case: Case) -> int:
        study = self.requireStudy()
        dirty = self._dirty = case.dirtySlices()
        if dirty:
            study.excluded()  # refuses where the folder is gone: a draft must not make it anew
        names = {}
        for index in dirty:
            names[case.sliceId(index)] = study.drafts.save(case.draft(index), self.annotator)
            case.drafted.add(index)
        for index in sorted(case.drafted.difference(dirty)):
            study.drafts.discard(case.sliceId(index), self.annotator)
            case.drafted.discard(index)
        for sliceId, name in names.items():
            self._tellMoved(sliceId, name)
        return len(dirty)

    def _tellMoved(self, sliceId: SliceId, name: str) -> None:
        """Tell once that another Slicer draws on the same slice under the same name."""
        if name == self.annotator or (sliceId, name) in self._movedDrafts:
            return
        self._movedDrafts.add((sliceId, name))
        where = f"{sliceId.volume}, slice {sliceId.index + 1}"
        advice = f"Your strokes are kept under the name '{name}'. Let everyone use another name (Study, Advanced)."
        self.tellFailure(BadInput("Another Slicer draws on this slice under your name.", where=where, advice=advice))

    def describeTask(self) -> str:
        """The line that is written in the view, such as "Slice 6 of 8 · patient005 · request 1 of 10"."""
        if self.task is None or self.case is None:
            return ""
        volume, row = self.case.volume, self.task.row
        name = volume.id if volume.patient in volume.id else f"{volume.patient}, {volume.id}"
        request = "your choice" if row is None else f"request {row.number} of {len(self.requests.rows)}"
        state = "" if row is None or row.status == OPEN else f" ({row.status})"
        return f"Slice {self.task.slice.index + 1} of {volume.slice_count} · {name} · {request}{state}"

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
            self.changed.emit()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeAboutToBeRemoved(self, caller: Any, event: Any, node: Any) -> None:
        if self._busy or node is None:
            return
        if self.case is not None and node in (self.case.segmentationNode, self.case.volumeNode):
            self._loseCase()
        elif self.display.forget(node):  # who removes it wants it no more
            if node.IsA("vtkMRMLSegmentationNode"):
                self.predictionWanted = False
            else:
                self.uncertaintyWanted = 0.0
            self.changed.emit()

    def _onSceneClose(self, caller: Any, event: Any) -> None:
        self._loseCase()

    def _loseCase(self) -> None:
        """The case's nodes go without our doing: keep what is drawn while it can still be read."""
        if self.case is None:
            return
        _, problem = self._endCase(self.case)
        self.changed.emit()
        if problem is not None:
            self.tellFailure(problem)

    def settleView(self) -> None:
        """Let the slice fill the view where that has changed its size; to be called soon after ``viewChanged``."""
        self.display.settle()

    def _onViewMoved(self) -> None:
        """Another slice is in view: what is undone from now on must be on it."""
        shown = self.display.shownIndex(self.case) if self.case is not None else None
        if shown != self._shown:
            self._shown = shown
            self.editor.clearUndo()
        self.viewChanged.emit()

    def close(self) -> None:
        """End the session: drafts are kept, nodes and observers go."""
        try:
            self.closeStudy()
        finally:
            self.removeObservers()
