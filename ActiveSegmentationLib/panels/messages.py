"""Where the module tells what went wrong: the first line at once, the rest on demand, and no dialog in the way."""

from __future__ import annotations

import logging
import traceback
from typing import Any

from ActiveSegmentationLib.common.errors import ActiveSegmentationError
from ActiveSegmentationLib.worker.client import WorkerError


class Messages:
    """The message area of the module.

    Args:
        ui: Widgets of the module.
    """

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        ui.dismissButton.clicked.connect(lambda *_: self.clear())
        ui.detailsButton.toggled.connect(lambda *_: self._update())
        self.clear()

    def clear(self) -> None:
        """Show nothing."""
        self._show("", "")

    def tell(self, text: str) -> None:
        """Show a line that is no error."""
        self._show(text, "")

    def error(self, error: Exception | WorkerError) -> None:
        """Show an error: what, where and what to do; the details on demand, and in Slicer's log."""
        if isinstance(error, WorkerError):
            text, details = error.text(), error.details
        elif isinstance(error, ActiveSegmentationError):
            text, details = str(error), ""
        else:
            text = f"{type(error).__name__}: {error}"
            details = "".join(traceback.format_exception(error))
        logging.error("ActiveSegmentation: %s", text)
        self._show(f"<b>{_escaped(text)}</b>", details)

    @property
    def text(self) -> str:
        """What is shown, as plain text of the label."""
        return self._ui.messageLabel.text

    def _show(self, text: str, details: str) -> None:
        self._ui.messageLabel.text = text
        self._ui.detailsTextEdit.setPlainText(details)
        self._ui.detailsButton.checked = False
        self._update()

    def _update(self) -> None:
        details = self._ui.detailsTextEdit.toPlainText()
        self._ui.messageFrame.setVisible(bool(self._ui.messageLabel.text))
        self._ui.detailsButton.setVisible(bool(details))
        self._ui.detailsTextEdit.setVisible(bool(details) and self._ui.detailsButton.checked)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
