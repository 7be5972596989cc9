"""Keys of the module while it is shown; none of them is Slicer's or the Segment Editor's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt


class Shortcuts:
    """Keyboard shortcuts of the main window.

    Args:
        window: The main window.
        actions: What each key does, by Qt's name of the key ("Ctrl+Return").
    """

    def __init__(self, window: Any, actions: Mapping[str, Callable[..., Any]]) -> None:
        self._shortcuts = []
        for key, action in actions.items():
            shortcut = qt.QShortcut(qt.QKeySequence(key), window)
            shortcut.activated.connect(action)
            self._shortcuts.append(shortcut)
        self.setEnabled(False)

    def setEnabled(self, enabled: bool) -> None:
        """Let the keys work, or not."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(enabled)

    def remove(self) -> None:
        """Give the keys back."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts = []


def press(button: Any, update: Callable[[], None], refuse: Callable[[], None]) -> Callable[..., None]:
    """A slot that presses a button as a key does: judged by what is so now, not by what the panel showed last.

    Args:
        button: The button.
        update: Brings the button up to date; a stroke may have come just before the key.
        refuse: Tells why the button cannot be pressed.
    """

    def slot(*_: Any) -> None:
        update()
        if button.enabled:
            button.click()
        else:
            refuse()

    return slot
