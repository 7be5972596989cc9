"""How far the requests of the latest round and the slices of a study are, for lists, maps and counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.study import Request, RequestList, Study

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


class RequestRows:
    """What was asked for in the latest round of a study, and what became of every slice, as of the last ``read``.

    Attributes:
        round: Number of the latest round with requests, 0 before the first.
        rows: Its requests.
    """

    def __init__(self) -> None:
        self.round = 0
        self.rows: list[RequestRow] = []
        self._statuses: dict[SliceId, str] = {}
        self._thumbnails: dict[SliceId, str] = {}

    def read(self, study: Study) -> None:
        """Read everything anew.

        Raises:
            BadInput: If the study is damaged or gone.
        """
        self._statuses = _statuses(study)
        self.round = max(study.rounds(), default=0)
        if self.round == 0:
            self.rows = []
            return
        flagged = set(study.flagged())
        waiting = {request.slice for request in study.open_requests(self.round)}
        self.rows = [
            RequestRow(
                number=number,
                request=request,
                status=OPEN if request.slice in waiting else self._statuses.get(request.slice, SKIPPED),
                flagged=request.slice in flagged,
                thumbnail=self._thumbnails.get(request.slice),
            )
            for number, request in enumerate(study.requests(self.round).requests, start=1)
        ]

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
        return next((row for row in self.rows if row.request.slice == sliceId), None)

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
        return {DONE: "annotated", SKIPPED: "skipped"}.get(self._statuses.get(sliceId, ""), "not annotated")

    @property
    def annotatedCount(self) -> int:
        """Number of slices that somebody committed."""
        return sum(status == DONE for status in self._statuses.values())

    def annotated(self) -> list[SliceId]:
        """The slices that somebody committed, in order."""
        return sorted(sliceId for sliceId, status in self._statuses.items() if status == DONE)


def _statuses(study: Study) -> dict[SliceId, str]:
    """What was said of each slice by anybody: a commit counts more than a skip."""
    found: dict[SliceId, str] = {}
    for file in study.slice_files():
        for index, record in file.slices.items():
            sliceId = SliceId(file.volume, index)
            if record.committed:
                found[sliceId] = DONE
            elif record.skipped_at:
                found.setdefault(sliceId, SKIPPED)
    return found
