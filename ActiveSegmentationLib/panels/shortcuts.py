"""Keyboard shortcuts of the module while it is shown; none is used by Slicer or the Segment Editor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt


class Shortcuts:
    """Keyboard shortcuts of the main window.

    Args:
        window: The main window.
        actions: The action of each key, by Qt's name of the key ("Ctrl+Return").
    """

    def __init__(self, window: Any, actions: Mapping[str, Callable[..., Any]]) -> None:
        self._shortcuts = []
        for key, action in actions.items():
            shortcut = qt.QShortcut(qt.QKeySequence(key), window)
            shortcut.activated.connect(action)
            self._shortcuts.append(shortcut)
        self.setEnabled(False)

    def setEnabled(self, enabled: bool) -> None:
        """Enable or disable all shortcuts."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(enabled)

    def remove(self) -> None:
        """Remove all shortcuts."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts = []


def press(button: Any, update: Callable[[], None], refuse: Callable[[], None]) -> Callable[..., None]:
    """A slot for a key that clicks a button, after bringing the button up to date.

    Args:
        button: The button.
        update: Brings the button up to date; a stroke may have been drawn just before.
        refuse: Shows why the button is disabled.
    """

    def slot(*_: Any) -> None:
        update()
        if button.enabled:
            button.click()
        else:
            refuse()

    return slot
