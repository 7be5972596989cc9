"""Drafts: uncommitted strokes of the open volume, kept in the study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.scene.case import Case

if TYPE_CHECKING:
    from ActiveSegmentationLib.scene.session import Session


class Drafts:
    """Tracks which slices have uncommitted strokes, and saves them to the study.

    Args:
        session: The session.

    Attributes:
        edited: Whether something was drawn since the last ``save``.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.edited = False
        self._dirty: list[int] | None = None
        self._moved: set[tuple[SliceId, str]] = set()

    @property
    def isDirty(self) -> bool:
        """Whether the open slice has uncommitted changes."""
        case, task = self._session.case, self._session.task
        return case is not None and task is not None and case.isDirty(task.slice.index)

    def otherSlices(self) -> list[int]:
        """Other slices of the open volume with uncommitted changes (0-based), as of the last save.

        Comparing all slices is too slow to do after every stroke.
        """
        case, task = self._session.case, self._session.task
        if case is None:
            return []
        if self._dirty is None:
            try:
                self._dirty = case.dirtySlices()
            except BadInput:  # the commit and the next save report why
                self._dirty = []
        current = task.slice.index if task is not None else None
        return [index for index in self._dirty if index != current]

    def recount(self) -> None:
        """Let ``otherSlices`` compare all slices again."""
        self._dirty = None

    def save(self) -> int:
        """Save all uncommitted strokes; returns the number of slices. Called every half minute."""
        case, task = self._session.case, self._session.task
        if case is None or not self.edited:
            return 0
        if task is not None:
            case.setSeconds(task.slice.index, self._session.timer.seconds)
        count = self.keep(case)
        self.edited = False
        return count

    def keep(self, case: Case) -> int:
        """Write the drafts of a volume and delete those that are no longer needed; the number of drafts.

        Raises:
            BadInput: If the drawing cannot be read, or the study cannot be written.
            JobFailed: If the disk is full.
        """
        study, annotator = self._session.requireStudy(), self._session.annotator
        dirty = self._dirty = case.dirtySlices()
        if dirty:
            study.excluded()  # raises an error if the folder is gone: a draft must not create it again
        names = {}
        for index in dirty:
            names[case.sliceId(index)] = study.drafts.save(case.draft(index), annotator)
            case.drafted.add(index)
        for index in sorted(case.drafted.difference(dirty)):
            self.discard(case, index)
        for sliceId, name in names.items():
            self._tellMoved(sliceId, name)
        return len(dirty)

    def discard(self, case: Case, index: int) -> None:
        """Delete the draft of a slice, if there is one."""
        self._session.requireStudy().drafts.discard(case.sliceId(index), self._session.annotator)
        case.drafted.discard(index)

    def _tellMoved(self, sliceId: SliceId, name: str) -> None:
        """Report once that another Slicer draws on the same slice under the same name."""
        if name == self._session.annotator or (sliceId, name) in self._moved:
            return
        self._moved.add((sliceId, name))
        where = f"{sliceId.volume}, slice {sliceId.index + 1}"
        advice = f"Your strokes are kept under the name '{name}'. Let everyone use another name (Study, Advanced)."
        error = BadInput("Another Slicer draws on this slice under your name.", where=where, advice=advice)
        self._session.tellFailure(error)
