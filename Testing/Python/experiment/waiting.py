"""Waiting in tests for what other processes do."""

from __future__ import annotations

import os
import time


def is_alive(process: int, *, group: bool = False) -> bool:
    """Whether a process, or any process of a group, is running."""
    try:
        (os.killpg if group else os.kill)(process, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition, seconds: float) -> None:
    """Wait until a condition holds; fails if it does not in time."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    assert condition()
