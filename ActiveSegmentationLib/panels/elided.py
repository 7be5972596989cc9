"""One-line labels that never widen the panel: long text is elided and shown in full in the tooltip."""

from __future__ import annotations

from typing import Any

import qt

LEAST_WIDTH = 40
"""A narrower label is not laid out yet and shows its full text."""


class ElidedLabel(qt.QObject):
    """Shows a text elided to the width of a label.

    Args:
        label: QLabel whose horizontal size policy is "Ignored".
        mode: Where to elide; ``qt.Qt.ElideMiddle`` keeps both ends, by which names differ.
    """

    def __init__(self, label: Any, mode: Any = qt.Qt.ElideMiddle) -> None:
        qt.QObject.__init__(self)
        self._label = label
        self._mode = mode
        self._text = ""
        self._tip = ""
        label.textFormat = qt.Qt.PlainText
        label.installEventFilter(self)

    def show(self, text: str, tip: str = "") -> None:
        """Show a text.

        Args:
            text: The text; new lines become spaces.
            tip: Additional text for the tooltip, below the full text.
        """
        text = " ".join(text.split())
        if (text, tip) != (self._text, self._tip):
            self._text, self._tip = text, tip
            self._label.toolTip = "\n".join(filter(None, (text, tip)))
            self._fit()

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Fit the text into the label's new width."""
        if event.type() == qt.QEvent.Resize:
            self._fit()
        return False

    def _fit(self) -> None:
        width = self._label.width
        if width < LEAST_WIDTH:
            self._label.text = self._text
        else:
            self._label.text = self._label.fontMetrics().elidedText(self._text, self._mode, width)
