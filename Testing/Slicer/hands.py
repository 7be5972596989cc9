"""A mouse and a keyboard: real events of the X server, sent by xdotool while Slicer runs."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

import qt
import slicer

STEP_SECONDS = 0.005
REST_SECONDS = 0.3
"""Time for which a target must not move before it is clicked."""

MOST_NUDGES = 20
WHEEL_UP, WHEEL_DOWN = "4", "5"
MOST_TURNS = 80
"""Turns of the wheel after which a widget counts as missing from the panel."""


class NotSeen(Exception):
    """An expected change does not happen, or its widget is not on the screen."""


class Hands:
    """Moves the mouse, clicks, turns the wheel and types.

    Attributes:
        clicks: Mouse buttons that were pressed, drags among them.
        keys: Keys that were pressed; a typed text counts as one.
    """

    def __init__(self) -> None:
        if shutil.which("xdotool") is None:
            raise NotSeen("xdotool is not installed; it sends the mouse and key events (Linux, X11)")
        self.clicks = self.keys = 0

    def until(self, so: Callable[[], Any], what: str, seconds: float = 60.0) -> None:
        """Process events until a condition holds.

        Raises:
            NotSeen: If it does not hold in time.
        """
        if not self._wait(so, seconds):
            raise NotSeen(f"waited {seconds:g} s without success for: {what}")

    def _wait(self, so: Callable[[], Any], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not so():
            if time.monotonic() > end:
                return False
            slicer.app.processEvents()
            time.sleep(STEP_SECONDS)
        return True

    def untilSteady(self, value: Callable[[], Any], what: str, seconds: float = REST_SECONDS) -> None:
        """Process events until a value stops changing, so that it can be clicked.

        Raises:
            NotSeen: If it keeps changing.
        """
        last, since = None, 0.0

        def rests() -> bool:
            nonlocal last, since
            now = value()
            if now != last:
                last, since = now, time.monotonic()
            return time.monotonic() - since > seconds

        self.until(rests, what)

    def pause(self, seconds: float) -> None:
        """Process events for a while, as while the user looks at it; nothing is checked."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            slicer.app.processEvents()
            time.sleep(STEP_SECONDS)

    def _send(self, *words: Any) -> None:
        process = subprocess.Popen(["xdotool", *map(str, words)])
        self.until(lambda: process.poll() is not None, "xdotool", 30)
        if process.returncode:
            raise NotSeen(f"xdotool {' '.join(map(str, words))}: exit code {process.returncode}")
        slicer.app.processEvents()

    # Keyboard

    def key(self, name: str) -> None:
        """Press a key, such as "ctrl+Return"."""
        self.keys += 1
        self._send("key", name)

    def type(self, text: str) -> None:
        """Type a text."""
        self.keys += 1
        self._send("type", "--delay", 4, text)

    # Mouse on widgets

    def click(self, widget: Any, *, reveal: Any = None) -> None:
        """Click into the middle of a widget.

        Args:
            widget: The widget; it must be seen and enabled.
            reveal: Scroll area in which to look for it with the wheel.

        Raises:
            NotSeen: If it does not come into view, or stays disabled.
        """
        if qt.QApplication.activePopupWidget() is not None:  # a list of completions takes the first click
            self.key("Escape")
            self.until(lambda: qt.QApplication.activePopupWidget() is None, "the list of completions closes")
        if reveal is not None:
            self.reveal(widget, reveal)
        self.until(lambda: widget.visible and widget.enabled, f"{widget.objectName} can be clicked")
        self.clickAt(*self._resting(widget))

    def _resting(self, widget: Any) -> tuple[int, int]:
        """Middle of a widget on the screen, once the panel has stopped moving."""

        def place() -> tuple[int, int]:
            middle = widget.mapToGlobal(qt.QPoint(widget.width // 2, widget.height // 2))
            return middle.x(), middle.y()

        self.untilSteady(place, f"{widget.objectName} stands still")
        return place()

    def clickAt(self, x: int, y: int) -> None:
        """Click at a place on the screen."""
        self.clicks += 1
        self._send("mousemove", x, y, "click", 1)

    def reveal(self, widget: Any, area: Any) -> None:
        """Turn the wheel over the margin of a scroll area until a widget is wholly in view."""
        viewport, bar = area.viewport(), area.verticalScrollBar()
        for _ in range(MOST_TURNS):
            self.until(lambda: widget.visible, f"{widget.objectName} is unfolded")
            self._resting(widget)
            top = widget.mapTo(viewport, qt.QPoint(0, 0)).y()
            if top >= 0 and top + widget.height <= viewport.height:
                return
            before = bar.value
            place = viewport.mapToGlobal(qt.QPoint(3, viewport.height // 2))
            self._send("mousemove", place.x(), place.y(), "click", WHEEL_UP if top < 0 else WHEEL_DOWN)
            self._wait(lambda before=before: bar.value != before, 2.0)
        raise NotSeen(f"{widget.objectName} does not come into view when scrolling")

    def fill(self, widget: Any, text: str, *, reveal: Any) -> None:
        """Replace the text of a line or a number box, which keeps the focus."""
        self.click(widget, reveal=reveal)
        self._send("key", "ctrl+a")
        self.type(text)

    # Mouse on places

    def wheel(self, place: tuple[int, int], up: bool) -> None:
        """Turn the wheel by one step over a place on the screen."""
        self._send("mousemove", *place, "click", WHEEL_UP if up else WHEEL_DOWN)

    def drag(self, places: Sequence[tuple[int, int]], seen: Callable[[int], bool], then: str = "") -> None:
        """Draw with the mouse.

        Args:
            places: Places on the screen, one after the other.
            seen: Whether, for a place by its number, Slicer has followed the mouse there.
            then: Key that is pressed at the very moment the mouse is let go, "" for none.
        """
        self.clicks += 1
        x, y = places[0]
        for away in range(1, MOST_NUDGES):  # a view does not receive the move that enters it, only the next one
            self._send("mousemove", x + away, y, "mousemove", x, y)
            self.pause(STEP_SECONDS)
            if seen(0):
                break
        self._send("mousedown", 1)
        for number, place in enumerate(places):
            self._send("mousemove", *place)
            self.until(lambda number=number: seen(number), f"the view follows the mouse to {place}", 30)
        if then:
            self.keys += 1
        self._send("mouseup", 1, *(("key", then) if then else ()))
