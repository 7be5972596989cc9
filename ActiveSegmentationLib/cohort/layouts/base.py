"""The interface of a layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ActiveSegmentationLib.cohort.assembly import Draft
from ActiveSegmentationLib.common.progress import Progress


@dataclass(frozen=True)
class Layout:
    """A layout of cohorts on disk.

    Attributes:
        name: Name for ``--layout``.
        summary: One line that describes it.
        recognises: Whether a path looks like it; fast.
        read: Find the volumes below a path.
        read_slowly: The same with a progress reporter, for layouts that open every file.
    """

    name: str
    summary: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path], Draft]
    read_slowly: Callable[[Path, Progress], Draft] | None = None


def folders(path: Path) -> list[Path]:
    """Visible folders in a folder, unsorted; none if the path is not a folder."""
    return (
        [entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
        if path.is_dir()
        else []
    )
