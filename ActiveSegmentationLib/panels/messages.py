"""The message line at the bottom of the panel, which is always in view; messages also go to the status bar."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any

import slicer

from ActiveSegmentationLib.common.errors import ActiveSegmentationError
from ActiveSegmentationLib.worker.client import WorkerError

STATUS_MILLISECONDS = 8_000
"""How long a message stays in the status bar."""


class Messages:
    """Shows messages and errors, with details on demand and without a dialog.

    Args:
        ui: Widgets of the module.
        reassurance: Gives what to add to an error, such as that the strokes are still there; "" for nothing.
    """

    def __init__(self, ui: Any, reassurance: Callable[[], str]) -> None:
        self._ui = ui
        self._reassurance = reassurance
        self._action: Callable[[], Any] | None = None
        self._stillSo: Callable[[], bool] = lambda: True
        ui.messageButton.clicked.connect(lambda *_: self._act())
        ui.dismissButton.clicked.connect(lambda *_: self.clear())
        ui.detailsButton.toggled.connect(lambda *_: self._update())
        self.clear()

    def clear(self) -> None:
        """Show nothing."""
        self._show("", "")

    def tell(self, text: str) -> None:
        """Show a message that is not an error."""
        self._show(text, "")
        _showStatus(text)

    def offer(
        self,
        text: str,
        label: str,
        action: Callable[[], Any],
        tip: str = "",
        stillSo: Callable[[], bool] = lambda: True,
    ) -> None:
        """Show a message with a button for the next step.

        Args:
            text: The message.
            label: Text of the button.
            action: What it does; the message is cleared first.
            tip: Tooltip of the button, a sentence.
            stillSo: Whether the message still applies; ``refresh`` clears it when it does not.
        """
        self.tell(text)
        self._offer(label, action, tip)
        self._stillSo = stillSo

    def refresh(self) -> None:
        """Clear a message that no longer applies."""
        if not self._stillSo():
            self.clear()

    def error(
        self, error: Exception | WorkerError, label: str = "", action: Callable[[], Any] | None = None, tip: str = ""
    ) -> None:
        """Show an error: what, where and what to do; details on demand. It is also written to Slicer's log.

        Args:
            error: The error.
            label: Text of a button with a remedy, "" for none.
            action: What that button does.
            tip: Tooltip of the button, a sentence.
        """
        if isinstance(error, WorkerError):
            text, details = error.text(), error.details
        elif isinstance(error, ActiveSegmentationError):
            text, details = str(error), ""
        else:
            text = f"{type(error).__name__}: {error}"
            details = "".join(traceback.format_exception(error))
        logging.error("ActiveSegmentation: %s", text)
        text = f"{text} {self._reassurance()}".strip()
        self._show(f"<b>{_escaped(text)}</b>", details)
        _showStatus(text)
        if action is not None:
            self._offer(label, action, tip)

    def warn(
        self, text: str, details: str, label: str = "", action: Callable[[], Any] | None = None, tip: str = ""
    ) -> None:
        """Show what is wrong although the action went well, with a button for a remedy.

        Args:
            text: What is wrong and what to do.
            details: All of it, a line each.
            label: Text of the button, "" for none.
            action: What the button does.
            tip: Tooltip of the button.
        """
        logging.warning("ActiveSegmentation: %s", text)
        self._show(f"<b>{_escaped(text)}</b>", details)
        _showStatus(text)
        if action is not None:
            self._offer(label, action, tip)

    @property
    def text(self) -> str:
        """What is shown, as plain text of the label."""
        return self._ui.messageLabel.text

    def _offer(self, label: str, action: Callable[[], Any], tip: str) -> None:
        self._action = action
        self._ui.messageButton.text = label
        self._ui.messageButton.toolTip = tip
        self._update()

    def _act(self) -> None:
        action = self._action
        self.clear()
        if action is not None:
            action()

    def _show(self, text: str, details: str) -> None:
        self._action = None
        self._stillSo = lambda: True
        self._ui.messageLabel.text = text
        self._ui.messageLabel.toolTip = text
        self._ui.detailsTextEdit.setPlainText(details)
        self._ui.detailsButton.checked = False
        self._update()

    def _update(self) -> None:
        ui = self._ui
        details = ui.detailsTextEdit.toPlainText()
        ui.messageButton.setVisible(self._action is not None)
        ui.dismissButton.setVisible(bool(ui.messageLabel.text))
        ui.detailsButton.setVisible(bool(details))
        ui.detailsTextEdit.setVisible(bool(details) and ui.detailsButton.checked)


def _showStatus(text: str) -> None:
    slicer.util.showStatusMessage(text, STATUS_MILLISECONDS)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
