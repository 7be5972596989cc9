"""Annotating the slice that is in view: commit, skip, flag, revert, and earlier versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ActiveSegmentationLib.cohort import AnnotationKind, SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.scene.case import Case
from ActiveSegmentationLib.study import ChangedMeanwhile, SliceAnnotation, SliceFile, Study, Version, hash_labels
from ActiveSegmentationLib.study.names import annotator_stem

if TYPE_CHECKING:
    from ActiveSegmentationLib.scene.session import Session
    from ActiveSegmentationLib.scene.task import Task


class Annotating:
    """What a user does with the open slice. Each action is refused while another slice is in view.

    Args:
        session: The session.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def _open(self) -> tuple[Study, Case, Task]:
        """Study, volume and slice, if the slice is in view.

        Raises:
            OffSlice: If another one is.
            BadInput: If no slice is open, or a node was removed.
        """
        session = self._session
        study = session.requireStudy()
        case, _ = session.view.requireOnSlice()
        assert session.task is not None
        return study, case, session.task

    def drawingState(self) -> tuple[SliceId, str]:
        """The open slice and a digest of what is drawn on it, to compare later whether it was edited since.

        Raises:
            OffSlice: If another slice is in view.
            BadInput: If no slice is open.
        """
        _, case, task = self._open()
        return task.slice, case.digest(task.slice.index)

    def commit(self, *, empty: bool = False, kind: AnnotationKind | None = None) -> SliceId:
        """Store the slice being annotated.

        Args:
            empty: Commit that no structure is on the slice; refused where something is drawn.
            kind: Masks or scribbles. Default: what the study uses.

        Returns:
            The slice.

        Raises:
            OffSlice: If another slice is in view.
            ChangedMeanwhile: If the slice was committed under the same name by another Slicer since it was read;
                committing again replaces that commit.
            BadInput: If no slice is open, nothing is drawn, segments overlap, or the segmentation does not fit; nothing
                is lost then.
        """
        session = self._session
        study, case, task = self._open()
        index = task.slice.index
        plane = _planeOf(case, task, empty)
        session.timer.touch()
        annotation = SliceAnnotation(
            slice=task.slice,
            labels=plane,
            kind=AnnotationKind.MASK if empty else (kind or case.kind),
            annotator=session.annotator,
            round=task.round,
            seconds=round(session.timer.seconds, 1),
            committed_at="",
            prelabel=case.prelabel(index),
        )
        _store(study, case, annotation)
        session.drafts.discard(case, index)
        with session.scene.ownChanges():
            if empty:
                case.write({index: plane})
            case.markClean(index)
        self._finish(case, index)
        session.committed.emit(annotation.slice)
        return annotation.slice

    def _finish(self, case: Case, index: int) -> None:
        """A slice has been committed: its time starts again, and its strokes cannot be undone."""
        session = self._session
        session.editor.clearUndo()  # undo must never change what is stored
        case.setSeconds(index, 0.0)
        session.timer.start()
        session.drafts.recount()
        session.refreshVolume(case.volume.id)

    def versions(self) -> list[Version]:
        """Commits of the open slice under this annotator's name, the latest first.

        Raises:
            BadInput: If no slice is open.
        """
        study, case = self._session.requireStudy(), self._session.cases.require()
        file, task = self._ownFile(study, case), self._session.task
        if file is None or task is None:
            return []
        record = file.record(task.slice.index)
        latest = [record.committed] if record.committed else []
        return [*latest, *reversed(record.versions)]

    def _ownFile(self, study: Study, case: Case) -> SliceFile | None:
        """Records of the volume's slices under this annotator's name."""
        stem = annotator_stem(self._session.annotator)
        return next(
            (file for file in study.slice_files(case.volume.id) if annotator_stem(file.annotator) == stem), None
        )

    def showVersion(self, version: Version) -> None:
        """Draw an earlier commit on the slice, in place of what is drawn; one undo step, nothing is committed.

        Raises:
            OffSlice: If another slice is in view.
            BadInput: If no slice is open, or its pixels are not kept.
        """
        study, case, task = self._open()
        latest = self._committed(study, case, task.slice.index)
        if latest is not None and hash_labels(latest.labels) == version.labels_sha256:
            labels = latest.labels
        else:
            labels = study.version_labels(task.slice, self._session.annotator, version.labels_sha256)
        self._session.editor.saveStateForUndo()
        case.write({task.slice.index: labels})
        self._session.changed.emit()

    def _committed(self, study: Study, case: Case, index: int) -> SliceAnnotation | None:
        """The latest commit of a slice under this annotator's name."""
        return study.annotations(self._session.annotator, volume=case.volume.id).get(case.sliceId(index))

    def takeNewer(self, index: int) -> None:
        """Show what another Slicer has committed on a slice meanwhile, unless it would replace strokes drawn here."""
        study, case = self._session.requireStudy(), self._session.case
        file = self._ownFile(study, case) if case is not None else None
        version = file.record(index).committed if file is not None else None
        if case is None or version is None or version.labels_sha256 == case.known.get(index) or case.isDirty(index):
            return
        found = self._committed(study, case, index)
        with self._session.scene.ownChanges():
            case.revert(index, None if found is None else found.labels)

    def skip(self, reason: str) -> SliceId:
        """Leave the slice out; it is not requested again.

        Raises:
            OffSlice: If another slice is in view.
            BadInput: If no slice is open, no reason is given, or this annotator has committed it.
        """
        study, case, task = self._open()
        if not reason.strip():
            raise BadInput("A reason is missing.", where=task.where, advice="Say why it cannot be annotated.")
        study.skip(task.slice, self._session.annotator, reason.strip(), round=task.round)
        self._session.refreshVolume(case.volume.id)
        return task.slice

    def flag(self, note: str) -> SliceId:
        """Flag the slice for review.

        Raises:
            OffSlice: If another slice is in view.
            BadInput: If no slice is open.
        """
        study, case, task = self._open()
        study.flag(task.slice, self._session.annotator, note.strip() or "to be looked at again")
        self._session.refreshVolume(case.volume.id)
        return task.slice

    def revert(self) -> None:
        """Show again what was last committed on the slice, or nothing; can be undone in the editor."""
        session = self._session
        study, case, task = self._open()
        index = task.slice.index
        known = self._committed(study, case, index)
        session.editor.saveStateForUndo()
        with session.scene.ownChanges():
            case.revert(index, None if known is None else known.labels)
        session.drafts.discard(case, index)
        case.setPrelabel(index, None if known is None else known.prelabel)
        session.changed.emit()

    def resolveOverlap(self) -> None:
        """Where segments overlap on the slice, keep the one that comes last in the label set; can be undone."""
        _, case, task = self._open()
        self._session.editor.saveStateForUndo()
        case.resolveOverlap(task.slice.index)
        self._session.changed.emit()


def _planeOf(case: Case, task: Task, empty: bool) -> np.ndarray:
    """The label values to commit, (rows, columns) uint8.

    Raises:
        BadInput: If nothing is drawn although ``empty`` is false, something although it is true, or the drawing cannot
            be read.
    """
    index = task.slice.index
    if empty and not case.isEmpty(index):
        advice = "Erase it first, or use Commit."
        raise BadInput("Something is drawn on this slice.", where=task.where, advice=advice)
    if not empty and case.isEmpty(index):
        advice = "Draw on it, or press Empty if none of the structures is on it."
        raise BadInput("Nothing is drawn on this slice.", where=task.where, advice=advice)
    case.requireImage()  # what the view shows must be the slice, also where nothing is drawn on it
    return np.zeros(case.volume.plane_shape, np.uint8) if empty else case.capture(index)


def _store(study: Study, case: Case, annotation: SliceAnnotation) -> None:
    index = annotation.slice.index
    try:
        study.commit([annotation], expected={annotation.slice: case.known.get(index)})
    except ChangedMeanwhile as error:  # the user knows of it now; to commit again is a decision
        if error.version is None:
            case.known.pop(index, None)
        else:
            case.known[index] = error.version.labels_sha256
        raise
    case.known[index] = hash_labels(annotation.labels)
