"""One process at a time, where the others wait."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ActiveSegmentationLib.common.progress import Progress


@contextlib.contextmanager
def sole_user(path: Path, report: Progress, what: str) -> Iterator[None]:
    """Within the block no other process holds the same lock; waiting for it can be cancelled.

    Args:
        path: The lock file; its folder must be there.
        report: Told while waiting.
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
