"""A lock that one process holds while others wait."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ActiveSegmentationLib.common.progress import Progress


@contextlib.contextmanager
def sole_user(path: Path, report: Progress, what: str) -> Iterator[None]:
    """Hold a lock within this block; waiting for it can be cancelled.

    Args:
        path: The lock file; its folder must exist.
        report: Progress reporter, called while waiting.
        what: What the other process is doing, for the progress: "learns this metric".
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=1)
        except Timeout:
            report.update(f"Waiting for another process that {what}", 0, 1)
    try:
        yield
    finally:
        lock.release()
