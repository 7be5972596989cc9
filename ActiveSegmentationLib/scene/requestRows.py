"""The requests of the latest round and the status of every slice, for lists, maps and counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.study import Request, RequestList, SliceFile, Study

OPEN, DONE, SKIPPED = "open", "committed", "skipped"
"""Statuses of a request."""


@dataclass(frozen=True)
class RequestRow:
    """A request as a list shows it.

    Attributes:
        number: Its number in the round, from 1.
        request: The request.
        status: "open", "committed" or "skipped".
        flagged: Whether it is flagged for review.
        thumbnail: Path of a thumbnail, or None.
    """

    number: int
    request: Request
    status: str
    flagged: bool
    thumbnail: str | None

    @property
    def isOpen(self) -> bool:
        """Whether the request is neither committed nor skipped."""
        return self.status == OPEN


@dataclass
class _VolumeStatus:
    """The status of the slices of a volume, over all annotators.

    Attributes:
        statuses: Committed or skipped; a commit takes precedence over a skip.
        flagged: Slices flagged for review.
        answered: Slices whose request of the latest round is answered.
    """

    statuses: dict[SliceId, str]
    flagged: set[SliceId]
    answered: set[SliceId]


class RequestRows:
    """The requests of the latest round of a study and the status of every slice, as of the last ``read``.

    Attributes:
        round: Number of the latest round with requests, 0 before the first.
        rows: Its requests.
        excluded: Why each excluded volume is excluded, by id.
    """

    def __init__(self) -> None:
        self.round = 0
        self.rows: list[RequestRow] = []
        self.excluded: dict[str, str] = {}
        self._requests: tuple[Request, ...] = ()
        self._volumes: dict[str, _VolumeStatus] = {}
        self._rowOf: dict[SliceId, RequestRow] = {}
        self._thumbnails: dict[SliceId, str] = {}

    def read(self, study: Study) -> None:
        """Read everything again.

        Raises:
            BadInput: If the study is damaged or gone.
        """
        latest = max(study.requests.rounds(), default=0)
        self._requests = study.requests.read(latest).requests if latest else ()
        self.round = latest
        self.excluded = study.excluded()
        files: dict[str, list[SliceFile]] = {}
        for file in study.slice_files():
            files.setdefault(file.volume, []).append(file)
        self._volumes = {volume: self._statusesOf(found) for volume, found in files.items()}
        self._makeRows()

    def readVolume(self, study: Study, volumeId: str) -> None:
        """Read the status of the slices of one volume again; no other file is read.

        Raises:
            BadInput: If the study is damaged or gone.
        """
        self._volumes[volumeId] = self._statusesOf(study.slice_files(volumeId))
        self._makeRows()

    def _statusesOf(self, files: Iterable[SliceFile]) -> _VolumeStatus:
        found = _VolumeStatus({}, set(), set())
        for file in files:
            for index, record in file.slices.items():
                sliceId = SliceId(file.volume, index)
                if record.committed:
                    found.statuses[sliceId] = DONE
                elif record.skipped_at:
                    found.statuses.setdefault(sliceId, SKIPPED)
                if record.flagged_at:
                    found.flagged.add(sliceId)
                if record.answers(self.round):
                    found.answered.add(sliceId)
        return found

    def _makeRows(self) -> None:
        self.rows = [self._row(number, request) for number, request in enumerate(self._requests, start=1)]
        self._rowOf = {row.request.slice: row for row in reversed(self.rows)}

    def _row(self, number: int, request: Request) -> RequestRow:
        wanted = request.slice
        found = self._volumes.get(wanted.volume, _VolumeStatus({}, set(), set()))
        isOpen = wanted not in found.answered and wanted.volume not in self.excluded
        status = OPEN if isOpen else found.statuses.get(wanted, SKIPPED)
        return RequestRow(number, request, status, wanted in found.flagged, self._thumbnails.get(wanted))

    def setThumbnails(self, requests: RequestList, files: Sequence[str]) -> None:
        """Set the thumbnails of the requests of a round; rows have them from the next ``read`` on."""
        self._thumbnails |= {r.slice: f for r, f in zip(requests.requests, files, strict=True)}

    def row(self, number: int) -> RequestRow:
        """The request with this number, from 1.

        Raises:
            BadInput: If there is none.
        """
        if not 1 <= number <= len(self.rows):
            advice = "Suggest slices first (Suggest)." if not self.rows else f"Use 1 to {len(self.rows)}."
            raise BadInput(f"There is no request {number}.", where="requests", advice=advice)
        return self.rows[number - 1]

    def rowOf(self, sliceId: SliceId) -> RequestRow | None:
        """The request of a slice, or None if this round does not request it."""
        return self._rowOf.get(sliceId)

    def next(self, here: int, step: int = 1) -> RequestRow | None:
        """The next open request after number ``here``, cyclically; None if all are answered.

        Args:
            here: Number to start from, 0 for the beginning.
            step: 1 for forwards, -1 for backwards.
        """
        waiting = [row for row in self.rows if row.status == OPEN]
        if not waiting:
            return None
        if step > 0:
            return next((row for row in waiting if row.number > here), waiting[0])
        return next((row for row in reversed(waiting) if row.number < here), waiting[-1])

    def statusOf(self, sliceId: SliceId) -> str:
        """Status of any slice: "requested", "annotated", "skipped" or "not annotated"."""
        row = self.rowOf(sliceId)
        if row is not None and row.status == OPEN:
            return "requested"
        return {DONE: "annotated", SKIPPED: "skipped"}.get(self._statusOf(sliceId), "not annotated")

    def _statusOf(self, sliceId: SliceId) -> str:
        found = self._volumes.get(sliceId.volume)
        return found.statuses.get(sliceId, "") if found is not None else ""

    @property
    def annotatedCount(self) -> int:
        """Number of committed slices."""
        return sum(status == DONE for found in self._volumes.values() for status in found.statuses.values())

    def annotated(self) -> list[SliceId]:
        """The committed slices, in order."""
        known = (item for found in self._volumes.values() for item in found.statuses.items())
        return sorted(sliceId for sliceId, status in known if status == DONE)
