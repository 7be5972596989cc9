"""Active time on a slice: pauses do not count."""

from __future__ import annotations

import time
from collections.abc import Callable

IDLE_SECONDS = 30.0
"""A longer time without any action counts as a pause."""


class ActivityTimer:
    """Adds up the time between actions that are less than ``IDLE_SECONDS`` apart.

    Args:
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds = 0.0
        self._last: float | None = None

    def start(self, seconds: float = 0.0) -> None:
        """Start again, with ``seconds`` spent earlier; counts as an action."""
        self._seconds = seconds
        self._last = self._clock()

    def touch(self) -> None:
        """Note an action (a stroke, another slice, a key); does nothing before ``start`` and after ``stop``."""
        if self._last is None:
            return
        now = self._clock()
        if now - self._last <= IDLE_SECONDS:
            self._seconds += now - self._last
        self._last = now

    def stop(self) -> float:
        """Stop; returns the total seconds."""
        self.touch()
        self._last = None
        return self._seconds

    @property
    def seconds(self) -> float:
        """Seconds so far, with those since the last action unless that has become a pause."""
        if self._last is None:
            return self._seconds
        since = self._clock() - self._last
        return self._seconds + (since if since <= IDLE_SECONDS else 0.0)
