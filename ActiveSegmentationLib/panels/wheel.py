"""Makes the mouse wheel scroll the panel instead of changing values or taking the keyboard focus."""

from __future__ import annotations

from typing import Any

import qt


class WheelGuard(qt.QObject):
    """Lets spin boxes, combo boxes and sliders ignore the wheel unless they have the keyboard focus."""

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Ignore the wheel on a widget without keyboard focus, so that Qt passes it to the widget around it."""
        if event.type() == qt.QEvent.Wheel and not _hasKeyboard(watched):
            event.ignore()
            return True
        return False

    def watch(self, root: Any) -> None:
        """Guard all widgets within one; call it again when widgets were added."""
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
