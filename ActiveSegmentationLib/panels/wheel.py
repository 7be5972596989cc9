"""The mouse wheel scrolls the panel: it neither changes a value nor takes the keyboard on the way."""

from __future__ import annotations

from typing import Any

import qt


class WheelGuard(qt.QObject):
    """Lets the wheel pass by every number, choice and slider that was not clicked before."""

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Ignore the wheel on a widget without the keyboard, so that Qt gives it to what lies around."""
        if event.type() == qt.QEvent.Wheel and not _hasKeyboard(watched):
            event.ignore()
            return True
        return False

    def watch(self, root: Any) -> None:
        """Guard all widgets within one; to be called again when there are new ones."""
        for kind in (qt.QAbstractSpinBox, qt.QComboBox, qt.QAbstractSlider):
            for widget in root.findChildren(kind):
                if isinstance(widget, qt.QScrollBar):
                    continue
                if widget.focusPolicy == qt.Qt.WheelFocus:
                    widget.setFocusPolicy(qt.Qt.StrongFocus)
                widget.removeEventFilter(self)
                widget.installEventFilter(self)


def _hasKeyboard(widget: Any) -> bool:
    focused = qt.QApplication.focusWidget()
    return focused is not None and (focused == widget or widget.isAncestorOf(focused))
