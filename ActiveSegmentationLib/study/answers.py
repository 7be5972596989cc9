"""What the records of slices say: which slices are skipped or flagged, and which requests are answered."""

from __future__ import annotations

from collections.abc import Iterable

from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.study.names import annotator_stem
from ActiveSegmentationLib.study.slice_records import SliceFile, SliceStatus


def skipped_slices(files: Iterable[SliceFile]) -> dict[SliceId, str]:
    """The reason for each slice that is skipped and committed by no annotator, in order of slices."""
    committed: set[SliceId] = set()
    reasons: dict[SliceId, str] = {}
    for file in files:
        for index, record in file.slices.items():
            if record.committed:
                committed.add(SliceId(file.volume, index))
            elif record.status == SliceStatus.SKIPPED:
                reasons[SliceId(file.volume, index)] = record.skip_reason
    return {slice_id: reason for slice_id, reason in sorted(reasons.items()) if slice_id not in committed}


def flagged_slices(files: Iterable[SliceFile]) -> dict[SliceId, str]:
    """The note on each flagged slice, in order of slices."""
    notes = {
        SliceId(file.volume, index): record.flag_note
        for file in files
        for index, record in file.slices.items()
        if record.flagged_at
    }
    return dict(sorted(notes.items()))


def closed_slices(files: Iterable[SliceFile], number: int, annotator: str | None) -> set[SliceId]:
    """Slices whose request of a round is answered.

    Args:
        files: Records of slices.
        number: Number of the round.
        annotator: Whose answers count, or None for those of all annotators.
    """
    stem = None if annotator is None else annotator_stem(annotator)
    return {
        SliceId(file.volume, index)
        for file in files
        if stem is None or annotator_stem(file.annotator) == stem
        for index, record in file.slices.items()
        if record.answers(number)
    }
