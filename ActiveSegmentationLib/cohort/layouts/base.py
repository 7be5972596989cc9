"""What a layout is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ActiveSegmentationLib.cohort.assembly import Draft
from ActiveSegmentationLib.common.progress import Progress


@dataclass(frozen=True)
class Layout:
    """One way of laying out a cohort on disk.

    Attributes:
        name: Name under which people ask for it.
        summary: One line that describes it.
        recognises: Whether a path looks like it; cheap.
        read: Find the volumes below a path.
        read_slowly: The same with a progress, for layouts that open every file to find them.
    """

    name: str
    summary: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path], Draft]
    read_slowly: Callable[[Path, Progress], Draft] | None = None


def folders(path: Path) -> list[Path]:
    """Visible folders directly below a path, unsorted; none where the path is no folder."""
    return (
        [entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
        if path.is_dir()
        else []
    )
