"""The first and the last slice of a volume that show any structure, as somebody marks them one after the other."""

from __future__ import annotations

from ActiveSegmentationLib.cohort import Volume
from ActiveSegmentationLib.study import Study
from ActiveSegmentationLib.study.extents import Extents


class ExtentMarks:
    """What is marked in a study, as of the last ``read``: what is shown is derived at every stroke, which must not read
    files.
    """

    def __init__(self) -> None:
        self._extents: Extents = {}
        self._swapped: tuple[str, str, int, tuple[int, int] | None] | None = None

    def __bool__(self) -> bool:
        return bool(self._extents)

    def of(self, volumeId: str) -> tuple[int, int] | None:
        """First and last slice of a volume that show any structure (0-based), None where nothing is marked."""
        return self._extents.get(volumeId)

    def read(self, study: Study) -> None:
        """Read anew what is marked.

        Raises:
            BadInput: If the marks are damaged.
        """
        self._extents = study.extents.all()

    def mark(self, study: Study, volumeId: str, first: int, last: int) -> None:
        """Mark both ends, as ``Study.extents.mark`` does, with its errors."""
        study.extents.mark(volumeId, first, last)
        self._swapped = None
        self.read(study)

    def clear(self, study: Study, volumeId: str) -> None:
        """Take back what is marked, as ``Study.extents.clear`` does, with its errors."""
        study.extents.clear(volumeId)
        self._swapped = None
        self.read(study)

    def markEnd(self, study: Study, volume: Volume, end: str, index: int) -> bool:
        """Mark one end. The other stays, or is the volume's own where nothing is marked.

        Where the two would be the wrong way round they are swapped: people who scroll through the volume from its other
        end mean the same slices.

        Args:
            study: The study.
            volume: The volume.
            end: "first" or "last".
            index: The slice, counted from 0.

        Returns:
            Whether the ends were swapped.

        Raises:
            BadInput: As ``Study.extents.mark`` does, or if the marks are damaged.
        """
        self.read(study)
        call = (volume.id, end, index, self.of(volume.id))
        if call == self._swapped:  # a double click, whose second half would make one slice of the two ends
            return True
        first, last = self.of(volume.id) or (0, volume.slice_count - 1)
        first, last = (index, last) if end == "first" else (first, index)
        self.mark(study, volume.id, min(first, last), max(first, last))
        self._swapped = (volume.id, end, index, self.of(volume.id)) if first > last else None
        return first > last
