"""Tracks which slice the view shows: a slice that is not in view must not be committed, skipped or changed by undo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.scene.case import Case

if TYPE_CHECKING:
    from ActiveSegmentationLib.scene.session import Session


class OffSlice(BadInput):
    """The view shows another slice than the open one.

    Attributes:
        shown: 0-based index of the slice in view, or None if the view shows no slice of the volume.
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


class SliceInView:
    """The slice that the view shows, compared with the open one.

    Args:
        session: The session.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._shown: int | None = None
        session.display.moved.connect(self._onMoved)

    @property
    def index(self) -> int | None:
        """0-based index of the slice of the open volume that the view shows, or None."""
        session = self._session
        return session.display.shownIndex(session.case) if session.case is not None else None

    @property
    def isOnSlice(self) -> bool:
        """Whether the open slice is in view; without a screen (a headless run) it always is."""
        session = self._session
        return session.task is not None and (session.display.isHeadless or self.index == session.task.slice.index)

    def offSliceText(self) -> str:
        """Which slice is in view instead of the open one, in words; "" if the open one is, or none is open."""
        task = self._session.task
        if task is None or self.isOnSlice:
            return ""
        wanted, shown = task.slice.index + 1, self.index
        what = "the request" if task.row is not None else "the open slice"
        if not self._session.display.hasView:
            return "The layout has no slice view: choose one that has (View, Layout), then go back to the slice."
        if shown is None:
            return f"The view shows no slice of this volume; {what} is slice {wanted}."
        return f"You are on slice {shown + 1}; {what} is slice {wanted}."

    def requireOnSlice(self) -> tuple[Case, int]:
        """The open volume and the 0-based index of the open slice, which must be in view.

        Raises:
            OffSlice: If another slice is in view.
            BadInput: If no slice is open, or a node of the volume was removed.
        """
        case, wanted = self._requireOpen()
        text = self.offSliceText()
        if text:
            shown = self.index
            other = "" if shown is None else f", or annotate slice {shown + 1} instead"
            advice = f"Go back to slice {wanted + 1}{other}. Nothing was stored, and no stroke is lost."
            raise OffSlice(text, where=case.volume.id, advice=advice, shown=shown, wanted=wanted)
        return case, wanted

    def requireShown(self) -> SliceId:
        """The slice in view, whether it is the open one or not.

        Raises:
            BadInput: If the view shows no slice of the open volume.
        """
        case, index = self._session.case, self.index
        if case is None or index is None:
            advice = "Scroll to a slice of the open volume; Next brings the view back to it."
            raise BadInput("The view shows no slice of the open volume.", where="annotate", advice=advice)
        return case.sliceId(index)

    def _requireOpen(self) -> tuple[Case, int]:
        case = self._session.cases.require()
        assert self._session.task is not None
        return case, self._session.task.slice.index

    def align(self) -> None:
        """Show the open slice.

        Raises:
            BadInput: If no slice is open, or a node of the volume was removed.
        """
        case, index = self._requireOpen()
        self._session.display.align(case, index)
        self._shown = self._session.display.shownIndex(case)  # a view of a new volume reports later moves only

    def goBack(self) -> None:
        """Show the open slice again.

        Raises:
            BadInput: If no slice is open.
        """
        case, index = self._requireOpen()
        self._session.display.align(case, index)
        self._session.mark()  # the layout may have another view now
        self._session.changed.emit()

    def annotateShown(self) -> SliceId:
        """Open the slice in view instead of the open one; strokes on either stay.

        Raises:
            BadInput: If the view shows no slice of the open volume.
        """
        sliceId = self.requireShown()
        self._session.openSlice(sliceId)
        return sliceId

    def settle(self) -> None:
        """Let the slice fill the view after it changed its size; call it soon after ``Session.viewChanged``."""
        self._session.display.settle()

    def _onMoved(self) -> None:
        """Another slice is in view: from now on, undo must change only that slice."""
        if self.index != self._shown:
            self._shown = self.index
            self._session.editor.clearUndo()
        self._session.viewChanged.emit()
