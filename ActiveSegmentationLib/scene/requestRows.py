"""How far the requests of the latest round and the slices of a study are, for lists, maps and counts."""

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
        number: Its place in the round, from 1.
        request: The request.
        status: "open", "committed" or "skipped".
        flagged: Whether somebody wants it looked at again.
        thumbnail: File of a small picture, or None.
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
class _Said:
    """What was said of the slices of a volume by anybody.

    Attributes:
        statuses: Committed or skipped; a commit counts more than a skip.
        flagged: Slices to be looked at again.
        answered: Slices whose request of the latest round is answered.
    """

    statuses: dict[SliceId, str]
    flagged: set[SliceId]
    answered: set[SliceId]


class RequestRows:
    """What was asked for in the latest round of a study, and what became of every slice, as of the last ``read``.

    Attributes:
        round: Number of the latest round with requests, 0 before the first.
        rows: Its requests.
        excluded: Why each volume that is left out is so, by id.
    """

    def __init__(self) -> None:
        self.round = 0
        self.rows: list[RequestRow] = []
        self.excluded: dict[str, str] = {}
        self._requests: tuple[Request, ...] = ()
        self._said: dict[str, _Said] = {}
        self._rowOf: dict[SliceId, RequestRow] = {}
        self._thumbnails: dict[SliceId, str] = {}

    def read(self, study: Study) -> None:
        """Read everything anew.

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
        self._said = {volume: self._sayingsOf(found) for volume, found in files.items()}
        self._makeRows()

    def readVolume(self, study: Study, volumeId: str) -> None:
        """Read anew what was said of one volume; no file of the others is looked at.

        Raises:
            BadInput: If the study is damaged or gone.
        """
        self._said[volumeId] = self._sayingsOf(study.slice_files(volumeId))
        self._makeRows()

    def _sayingsOf(self, files: Iterable[SliceFile]) -> _Said:
        said = _Said({}, set(), set())
        for file in files:
            for index, record in file.slices.items():
                sliceId = SliceId(file.volume, index)
                if record.committed:
                    said.statuses[sliceId] = DONE
                elif record.skipped_at:
                    said.statuses.setdefault(sliceId, SKIPPED)
                if record.flagged_at:
                    said.flagged.add(sliceId)
                if record.answers(self.round):
                    said.answered.add(sliceId)
        return said

    def _makeRows(self) -> None:
        self.rows = [self._row(number, request) for number, request in enumerate(self._requests, start=1)]
        self._rowOf = {row.request.slice: row for row in reversed(self.rows)}

    def _row(self, number: int, request: Request) -> RequestRow:
        wanted = request.slice
        said = self._said.get(wanted.volume, _Said({}, set(), set()))
        isOpen = wanted not in said.answered and wanted.volume not in self.excluded
        status = OPEN if isOpen else said.statuses.get(wanted, SKIPPED)
        return RequestRow(number, request, status, wanted in said.flagged, self._thumbnails.get(wanted))

    def setThumbnails(self, requests: RequestList, files: Sequence[str]) -> None:
        """Note the pictures of the requests of a round; rows bear them from the next ``read`` on."""
        self._thumbnails |= {r.slice: f for r, f in zip(requests.requests, files, strict=True)}

    def row(self, number: int) -> RequestRow:
        """The request of this number, from 1.

        Raises:
            BadInput: If there is none.
        """
        if not 1 <= number <= len(self.rows):
            advice = "Ask for slices first (Suggest)." if not self.rows else f"Use 1 to {len(self.rows)}."
            raise BadInput(f"There is no request {number}.", where="requests", advice=advice)
        return self.rows[number - 1]

    def rowOf(self, sliceId: SliceId) -> RequestRow | None:
        """The request of a slice, or None where this round does not ask for it."""
        return self._rowOf.get(sliceId)

    def next(self, here: int, step: int = 1) -> RequestRow | None:
        """The next open request after number ``here``, going round at the end; None where all are done.

        Args:
            here: Number to go on from, 0 for the beginning.
            step: 1 forwards, -1 backwards.
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
        said = self._said.get(sliceId.volume)
        return said.statuses.get(sliceId, "") if said is not None else ""

    @property
    def annotatedCount(self) -> int:
        """Number of slices that somebody committed."""
        return sum(status == DONE for said in self._said.values() for status in said.statuses.values())

    def annotated(self) -> list[SliceId]:
        """The slices that somebody committed, in order."""
        known = (found for said in self._said.values() for found in said.statuses.items())
        return sorted(sliceId for sliceId, status in known if status == DONE)
