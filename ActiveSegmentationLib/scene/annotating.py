"""Annotating the slice that is in view: commit, skip, flag, drafts, and where the structures are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ActiveSegmentationLib.cohort import AnnotationKind, SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.scene.case import Case
from ActiveSegmentationLib.scene.studySession import StudySession
from ActiveSegmentationLib.study import ChangedMeanwhile, SliceAnnotation, Study, Version, hash_labels
from ActiveSegmentationLib.study.names import annotator_stem


class OffSlice(BadInput):
    """The view shows another slice than the open one.

    Attributes:
        shown: 0-based index of the slice in view, or None where the view shows no slice of the volume.
        wanted: 0-based index of the open slice.
    """

    def __init__(
        self,
        message: str,
        *,
        where: str | Path | None = None,
        advice: str = "",
        shown: int | None = None,
        wanted: int = 0,
    ) -> None:
        super().__init__(message, where=where, advice=advice)
        self.shown = shown
        self.wanted = wanted


class Annotating(StudySession):
    """What of a session a person does on the open slice; see ``Session``."""

    # The slice in view

    @property
    def shownIndex(self) -> int | None:
        """0-based index of the slice of the open volume that the view shows; None where it shows none, or is none."""
        return self.display.shownIndex(self.case) if self.case is not None else None

    @property
    def inView(self) -> bool:
        """Whether the open slice is the one in view; without a screen (a headless run) an open slice always is."""
        return self.task is not None and (self.display.isHeadless or self.shownIndex == self.task.slice.index)

    def offSliceText(self) -> str:
        """Which slice is in view instead of the open one, in words; "" where the open one is, or none is open."""
        if self.task is None or self.inView:
            return ""
        wanted, shown = self.task.slice.index + 1, self.shownIndex
        what = "the request" if self.task.row is not None else "the open slice"
        if not self.display.hasView:
            return "The layout has no slice view: choose one that has (View, Layout), then go back to the slice."
        if shown is None:
            return f"The view shows no slice of this volume; {what} is slice {wanted}."
        return f"You are on slice {shown + 1}; {what} is slice {wanted}."

    def goBack(self) -> None:
        """Let the view show the open slice again.

        Raises:
            BadInput: If no slice is open.
        """
        _, case, index = self._current()
        self.display.align(case, index)
        self._mark()  # the layout may have another view now
        self.changed.emit()

    def annotateShown(self) -> SliceId:
        """Open the slice in view instead of the open one; strokes on either stay.

        Raises:
            BadInput: If the view shows no slice of the open volume.
        """
        index = self.shownIndex
        if self.case is None or index is None:
            advice = "Scroll to a slice of the open volume; Next brings the view back to it."
            raise BadInput("The view shows no slice of the open volume.", where="annotate", advice=advice)
        sliceId = self.case.sliceId(index)
        self.openSlice(sliceId)
        return sliceId

    def _inView(self) -> tuple[Study, Case, int]:
        """Study, volume and slice, as ``_current``, where the slice is in view.

        Raises:
            OffSlice: If another one is.
            BadInput: As ``_current`` does.
        """
        found = self._current()
        text = self.offSliceText()
        if text:
            shown, wanted = self.shownIndex, found[2]
            other = "" if shown is None else f", or annotate slice {shown + 1} instead"
            advice = f"Go back to slice {wanted + 1}{other}. Nothing was stored, and no stroke is lost."
            raise OffSlice(text, where=found[1].volume.id, advice=advice, shown=shown, wanted=wanted)
        return found

    # What a person says of it

    @property
    def isDirty(self) -> bool:
        """Whether the slice being annotated shows changes that are not committed."""
        return self.case is not None and self.task is not None and self.case.isDirty(self.task.slice.index)

    def drawingState(self) -> tuple[SliceId, str]:
        """The open slice and a digest of what is drawn on it, to tell later whether somebody has drawn since.

        Raises:
            OffSlice: If another slice is in view.
            BadInput: If no slice is open.
        """
        _, case, index = self._inView()
        return case.sliceId(index), case.digest(index)

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
            OffSlice: If another slice is in view.
            ChangedMeanwhile: If the slice was committed under the same name by another Slicer since it was read; doing
                it again replaces that commit.
            BadInput: If no slice is open, nothing is drawn, segments overlap, or the segmentation does not fit; nothing
                is lost then.
        """
        study, case, index = self._inView()
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
        self._store(study, case, annotation)
        study.drafts.discard(annotation.slice, self.annotator)
        case.drafted.discard(index)
        with self._quiet():
            if empty:
                case.write({index: plane})
            case.markClean(index)
        self.editor.clearUndo()  # undo must never change what is stored
        case.setSeconds(index, 0.0)
        self.timer.start()
        self._dirty = None
        self._refreshVolume(case.volume.id)
        self.committed.emit(annotation.slice)
        return annotation.slice

    def _store(self, study: Study, case: Case, annotation: SliceAnnotation) -> None:
        index = annotation.slice.index
        try:
            study.commit([annotation], expected={annotation.slice: case.known.get(index)})
        except ChangedMeanwhile as error:  # the person knows now; to do it again is a decision
            if error.version is None:
                case.known.pop(index, None)
            else:
                case.known[index] = error.version.labels_sha256
            raise
        case.known[index] = hash_labels(annotation.labels)

    def versions(self) -> list[Version]:
        """Commits of the open slice under this annotator's name, the latest first.

        Raises:
            BadInput: If no slice is open.
        """
        study, case, index = self._current()
        for file in study.slice_files(case.volume.id):
            if annotator_stem(file.annotator) == annotator_stem(self.annotator):
                record = file.record(index)
                latest = [record.committed] if record.committed else []
                return [*latest, *reversed(record.versions)]
        return []

    def showVersion(self, version: Version) -> None:
        """Draw an earlier commit on the slice, in place of what is drawn; one step of undo, nothing is committed.

        Raises:
            OffSlice: If another slice is in view.
            BadInput: If no slice is open, or its pixels are not kept.
        """
        study, case, index = self._inView()
        sliceId = case.sliceId(index)
        latest = study.annotations(self.annotator, volume=case.volume.id).get(sliceId)
        if latest is not None and hash_labels(latest.labels) == version.labels_sha256:
            labels = latest.labels
        else:
            labels = study.version_labels(sliceId, self.annotator, version.labels_sha256)
        self.editor.saveStateForUndo()
        case.write({index: labels})
        self.changed.emit()

    def _takeNewer(self, study: Study, case: Case, index: int) -> None:
        """Show what another Slicer has committed on a slice meanwhile, unless strokes of ours would be lost."""
        for file in study.slice_files(case.volume.id):
            if annotator_stem(file.annotator) == annotator_stem(self.annotator):
                version = file.record(index).committed
                if version is not None and version.labels_sha256 != case.known.get(index) and not case.isDirty(index):
                    found = study.annotations(self.annotator, volume=case.volume.id).get(case.sliceId(index))
                    with self._quiet():
                        case.revert(index, None if found is None else found.labels)

    def skipSlice(self, reason: str) -> SliceId:
        """Leave the slice out; it is not asked for again.

        Raises:
            OffSlice: If another slice is in view.
            BadInput: If no slice is open, no reason is given, or this annotator has committed it.
        """
        study, case, _ = self._inView()
        if not reason.strip():
            raise BadInput("A reason is missing.", where=self._where(), advice="Say why it cannot be judged.")
        assert self.task is not None
        study.skip(self.task.slice, self.annotator, reason.strip(), round=self.task.round)
        self._refreshVolume(case.volume.id)
        return self.task.slice

    def flagSlice(self, note: str) -> SliceId:
        """Mark the slice to be looked at again.

        Raises:
            OffSlice: If another slice is in view.
            BadInput: If no slice is open.
        """
        study, case, _ = self._inView()
        assert self.task is not None
        study.flag(self.task.slice, self.annotator, note.strip() or "to be looked at again")
        self._refreshVolume(case.volume.id)
        return self.task.slice

    def revertSlice(self) -> None:
        """Show again what was last committed on the slice, or nothing; can be undone in the editor."""
        study, case, index = self._inView()
        known = study.annotations(self.annotator, volume=case.volume.id).get(case.sliceId(index))
        self.editor.saveStateForUndo()
        with self._quiet():
            case.revert(index, None if known is None else known.labels)
        study.drafts.discard(case.sliceId(index), self.annotator)
        case.drafted.discard(index)
        case.setPrelabel(index, None if known is None else known.prelabel)
        self.changed.emit()

    def resolveOverlap(self) -> None:
        """Where segments overlap on the slice, keep the one that comes last in the label set; can be undone."""
        _, case, index = self._inView()
        self.editor.saveStateForUndo()
        case.resolveOverlap(index)
        self.changed.emit()

    # Where the structures are

    @property
    def extent(self) -> tuple[int, int] | None:
        """First and last slice of the open volume that show any structure (0-based), None where nothing is marked."""
        return self.marks.of(self.case.volume.id) if self.case is not None else None

    def markExtent(self, volumeId: str, first: int, last: int) -> None:
        """Say which slices of a volume show any structure, as ``Study.extents.mark`` does.

        Raises:
            BadInput: If no study is open, and as ``Study.extents.mark`` says.
        """
        study = self.requireStudy()
        with self._marking():
            self.marks.mark(study, volumeId, first, last)
        self.changed.emit()

    def clearExtent(self, volumeId: str) -> None:
        """Take back what was marked in a volume, as ``Study.extents.clear`` does.

        Raises:
            BadInput: If no study is open, and as ``Study.extents.clear`` says.
        """
        study = self.requireStudy()
        with self._marking():
            self.marks.clear(study, volumeId)
        self.changed.emit()

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
        self.changed.emit()
        return swapped

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
