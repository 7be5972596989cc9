"""Opens and collapses sections of the panel: while a slice is annotated, the earlier steps are collapsed."""

from __future__ import annotations

from typing import Any

from ActiveSegmentationLib.scene.requestRows import OPEN
from ActiveSegmentationLib.scene.session import Session


class Folding:
    """Opens and collapses sections when the work moves to another step; in between the user decides.

    Args:
        ui: Widgets of the module.
        session: The session.
    """

    def __init__(self, ui: Any, session: Session) -> None:
        self._ui, self._session = ui, session
        self._step = ""
        self._scrolls = False

    def update(self) -> bool:
        """Follow the session; returns whether to call it once more, after the panel was laid out again."""
        step = self._present()
        if step != self._step:
            self._step = step
            self._show(step)
            self._scrolls = step == "annotate"
            return self._scrolls
        if self._scrolls:
            self._scrolls = False
            self._ui.panelScrollArea.verticalScrollBar().setValue(self._ui.annotateCollapsibleButton.y)
        return False

    def _present(self) -> str:
        session = self._session
        if session.study is None:
            return "study"
        rows = session.requests.rows
        answered = bool(rows) and all(row.status != OPEN for row in rows)
        if session.task is not None and not (answered and session.task.row is not None):
            return "annotate"
        return "requests" if rows else "suggest"

    def _show(self, step: str) -> None:
        ui = self._ui
        ui.studyCollapsibleButton.collapsed = step != "study"
        ui.suggestCollapsibleButton.collapsed = step not in ("suggest", "requests")
        ui.annotateCollapsibleButton.collapsed = step not in ("annotate", "requests")
