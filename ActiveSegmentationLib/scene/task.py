"""The slice that is being annotated."""

from __future__ import annotations

from dataclasses import dataclass

from ActiveSegmentationLib.cohort import SliceId, Volume
from ActiveSegmentationLib.scene.requestRows import RequestRow


@dataclass(frozen=True)
class Task:
    """The slice that is being annotated.

    Attributes:
        slice: Which slice.
        row: The request it answers, or None if the user chose the slice.
        round: Round that requested it, or None.
    """

    slice: SliceId
    row: RequestRow | None
    round: int | None

    @property
    def isAnswered(self) -> bool:
        """Whether it is a request that was committed or skipped already."""
        return self.row is not None and not self.row.isOpen

    @property
    def where(self) -> str:
        """The slice as an error names it."""
        return f"{self.slice.volume}, slice {self.slice.index + 1}"

    def describe(self, volume: Volume, requests: int, longest: int = 1000) -> str:
        """One line, such as "Slice 6 of 8 · patient005 · request 1 of 10".

        Args:
            volume: The volume of the slice.
            requests: Number of requests in the latest round.
            longest: Number of letters of patient and volume that are shown; the middle of longer ones is left out.
        """
        name = volume.id if volume.patient in volume.id else f"{volume.patient}, {volume.id}"
        if len(name) > longest:
            name = f"{name[: longest // 2]}…{name[-(longest // 2) :]}"
        request = "your choice" if self.row is None else f"request {self.row.number} of {requests}"
        state = f" ({self.row.status})" if self.row is not None and self.isAnswered else ""
        return f"Slice {self.slice.index + 1} of {volume.slice_count} · {name} · {request}{state}"
