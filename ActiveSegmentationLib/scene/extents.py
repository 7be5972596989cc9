"""Extents: the first and last slice of a volume that show a structure, as they are marked one after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ActiveSegmentationLib.study.extents import Extents as VolumeExtents

if TYPE_CHECKING:
    from ActiveSegmentationLib.scene.session import Session


class Extents:
    """The extents of the open study, as of the last ``read``: panels use them at every stroke, which must not read
    files.

    Args:
        session: The session.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._extents: VolumeExtents = {}
        self._swapped: tuple[str, str, int, tuple[int, int] | None] | None = None

    @property
    def current(self) -> tuple[int, int] | None:
        """Extent of the open volume (0-based), or None if there is none."""
        case = self._session.case
        return self._extents.get(case.volume.id) if case is not None else None

    def reset(self) -> None:
        """Forget all extents: the study is closed."""
        self._extents, self._swapped = {}, None

    def read(self) -> None:
        """Read the extents again.

        Raises:
            BadInput: If no study is open, or the file is damaged.
        """
        with self._changing():
            self._extents = self._session.requireStudy().extents.all()

    def mark(self, volumeId: str, first: int, last: int) -> None:
        """Set the extent of a volume; arguments as of ``Study.extents.mark``.

        Raises:
            BadInput: If no study is open, and as ``Study.extents.mark`` says.
        """
        self._session.requireStudy().extents.mark(volumeId, first, last)
        self._swapped = None
        self.read()
        self._session.changed.emit()

    def clear(self, volumeId: str) -> None:
        """Delete the extent of a volume.

        Raises:
            BadInput: If no study is open, and as ``Study.extents.clear`` says.
        """
        self._session.requireStudy().extents.clear(volumeId)
        self._swapped = None
        self.read()
        self._session.changed.emit()

    def markSlice(self, which: str, index: int) -> bool:
        """Mark the first or the last slice of the open volume. Default for the other one: that of the volume itself.

        Where the first slice would come after the last, the two are swapped.

        Args:
            which: "first" or "last".
            index: The slice, counted from 0.

        Returns:
            Whether the two were swapped.

        Raises:
            BadInput: If no slice is open, the volume is excluded, or the study cannot be written.
        """
        volume = self._session.cases.require().volume
        self.read()
        known = self._extents.get(volume.id)
        if (volume.id, which, index, known) == self._swapped:  # a double click, whose second half would undo the first
            return True
        first, last = known or (0, volume.slice_count - 1)
        first, last = (index, last) if which == "first" else (first, index)
        self.mark(volume.id, min(first, last), max(first, last))
        self._swapped = (volume.id, which, index, self._extents.get(volume.id)) if first > last else None
        return first > last

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Extents change within this block; afterwards strategies may find what they need, or miss it."""
        before = bool(self._extents)
        yield
        if bool(self._extents) != before:
            self._session.strategiesOutdated.emit()
