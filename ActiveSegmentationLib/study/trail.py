"""What the files of a study must be, as its audit records say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ActiveSegmentationLib.study.extents import EXTENTS_FILE
from ActiveSegmentationLib.study.ledger import FILES
from ActiveSegmentationLib.study.slice_records import SliceFile, SliceRecord, SliceStatus, Version
from ActiveSegmentationLib.study.study_file import COHORT_FILE, STUDY_FILE

Record = dict[str, Any]

RESTATED = "restated"
"""Event after which a volume's slices, or files, are what the following records say, whatever was recorded before."""

_COMPARED = ("labels_sha256", "committed_at", "kind", "round", "seconds", "prelabel")
_STUDY_FILES = {
    "exclude": STUDY_FILE,
    "include": STUDY_FILE,
    "relocate": STUDY_FILE,
    "mark-extent": EXTENTS_FILE,
    "clear-extent": EXTENTS_FILE,
    "images": COHORT_FILE,
    "images-accepted": COHORT_FILE,
}
"""Files that events change, for records of older versions, which do not name them."""


@dataclass
class _Slice:
    """The records of one slice by one annotator."""

    commits: list[Record] = field(default_factory=list)
    skip: Record | None = None
    flag: Record | None = None


class Trail:
    """What the records of one chain say about the files of the study.

    Args:
        stem: File stem of the chain.
        records: Its records, oldest first.

    Attributes:
        files: SHA-256 of each file, by path in the study; None where a version without such hashes changed it last.
    """

    def __init__(self, stem: str, records: Iterable[Record]) -> None:
        self.stem = stem
        self.files: dict[str, str | None] = {}
        self._slices: dict[tuple[str, int], _Slice] = defaultdict(_Slice)
        for record in records:
            self._take(record)

    @property
    def volumes(self) -> set[str]:
        """Volumes in which the annotator has committed, skipped or flagged a slice."""
        return {volume for volume, _ in self._slices}

    def _take(self, record: Record) -> None:
        if record.get("event") == RESTATED:
            self._forget(record)
        files = record.get(FILES)
        if isinstance(files, dict):
            self.files |= {str(name): str(digest) for name, digest in files.items()}
        else:
            self.files |= dict.fromkeys(self._changed_by(record))
        event, volume, index = record.get("event"), record.get("volume"), record.get("slice")
        if event not in ("commit", "skip", "flag") or not isinstance(volume, str) or not isinstance(index, int):
            return
        found = self._slices[volume, index]
        if event == "commit":
            found.commits.append(record)
        elif event == "skip":
            found.skip = record
        else:
            found.flag = record

    def _forget(self, record: Record) -> None:
        """Take back what earlier records said: of a volume, or of files that are gone."""
        volume, gone = record.get("volume"), record.get("gone")
        if isinstance(volume, str):
            self._slices = defaultdict(_Slice, {key: one for key, one in self._slices.items() if key[0] != volume})
            place = f"annotations/{volume}/{self.stem}."
            self.files = {name: digest for name, digest in self.files.items() if not name.startswith(place)}
        for name in gone if isinstance(gone, list) else ():
            self.files.pop(name, None)

    def restored(self, empty: SliceFile) -> SliceFile:
        """The records of a volume's slices, put into a file without any."""
        file = empty
        for (volume, index), found in sorted(self._slices.items()):
            if volume == empty.volume:
                file = file.with_record(index, _restored(found))
        return file

    def annotator(self, volume: str) -> str | None:
        """The annotator's name in the last record of a volume, None if there is none."""
        found = [
            record
            for (name, _), one in self._slices.items()
            for record in (*one.commits, one.skip, one.flag)
            if name == volume and record is not None and "annotator" in record
        ]
        return str(max(found, key=_seq)["annotator"]) if found else None

    def _changed_by(self, record: Record) -> list[str]:
        event, volume = record.get("event"), record.get("volume")
        if "transaction" not in record:
            return []
        if event == "commit":
            return [f"annotations/{volume}/{self.stem}.{name}" for name in ("slices.json", "seg.nrrd")]
        if event in ("skip", "flag"):
            return [f"annotations/{volume}/{self.stem}.slices.json"]
        if event == "requests":
            return [f"rounds/{record.get('round')}/request.json"]
        return [_STUDY_FILES[event]] if event in _STUDY_FILES else []

    def slice_problems(self, volume: str, file: SliceFile | None) -> list[str]:
        """How the slices of a file differ from the records, one sentence each.

        Args:
            volume: The volume.
            file: The annotator's file, None if there is none.
        """
        recorded = {index: found for (name, index), found in self._slices.items() if name == volume}
        stored = {} if file is None else dict(file.slices)
        problems = []
        for index in sorted(recorded.keys() | stored.keys()):
            problem = _difference(recorded.get(index), stored.get(index))
            if problem:
                problems.append(f"{volume}, slice {index + 1}: what {self.stem} {problem}")
        commits = [record for found in recorded.values() for record in found.commits]
        named = {str(record["annotator"]) for record in commits if "annotator" in record}
        if file is not None and named and not problems and file.annotator not in named:
            problems.append(f"{volume}: the annotator is called '{file.annotator}', in the audit {sorted(named)}.")
        return problems

    def images(self, volume: str) -> tuple[str, int] | None:
        """Hash of the images on which the last commit of a volume was made, and how many of its commits were made on
        others; None if no commit recorded it.
        """
        commits = [record for (name, _), found in self._slices.items() if name == volume for record in found.commits]
        hashes = [str(r["images_sha256"]) for r in sorted(commits, key=_seq) if r.get("images_sha256")]
        return (hashes[-1], sum(digest != hashes[-1] for digest in hashes)) if hashes else None


def _restored(recorded: _Slice) -> SliceRecord:
    versions = [
        Version(
            labels_sha256=record["labels_sha256"],
            committed_at=record.get("committed_at") or record["time"],
            kind=record["kind"],
            round=record.get("round"),
            seconds=record.get("seconds", 0.0),
            prelabel=record.get("prelabel"),
        )
        for record in recorded.commits
    ]
    skip, flag = recorded.skip or {}, recorded.flag or {}
    return SliceRecord(
        status=_status_of(recorded),
        committed=versions[-1] if versions else None,
        versions=tuple(versions[:-1]),
        skipped_at=skip.get("time", ""),
        skip_reason=skip.get("reason", ""),
        skip_round=skip.get("round"),
        flagged_at=flag.get("time", ""),
        flag_note=flag.get("note", ""),
    )


def _seq(record: Record) -> int:
    seq = record.get("seq")
    return seq if isinstance(seq, int) else 0


def _difference(recorded: _Slice | None, stored: SliceRecord | None) -> str:
    recorded = recorded or _Slice()
    stored = stored or SliceRecord(_status_of(recorded))
    problem = _commit_difference(recorded.commits, stored)
    problem = problem or _remark_difference("skipped", recorded.skip, "reason", stored.skipped_at, stored.skip_reason)
    problem = problem or _remark_difference("flagged", recorded.flag, "note", stored.flagged_at, stored.flag_note)
    if not problem and stored.status != _status_of(recorded):
        return f"did is recorded as '{stored.status}', in the audit as '{_status_of(recorded)}'."
    return problem


def _commit_difference(commits: Sequence[Record], stored: SliceRecord) -> str:
    if not commits and stored.committed is not None:
        return "committed has no audit record."
    if commits and stored.committed is None:
        return "committed is in the audit but no longer in the study."
    versions = [*stored.versions, *([stored.committed] if stored.committed else [])]
    return "" if _same_versions(commits, versions) else "committed is not what the audit recorded."


def _remark_difference(did: str, record: Record | None, name: str, at: str, text: str) -> str:
    if record is None:
        return f"{did} has no audit record." if at else ""
    if not at:
        return f"{did} is in the audit but no longer in the study."
    return "" if record.get(name, text) == text else f"{did} is not what the audit recorded."


def _same_versions(commits: Sequence[Record], versions: Sequence[Version]) -> bool:
    return len(commits) == len(versions) and all(
        all(getattr(version, name) == record[name] for name in _COMPARED if name in record)
        for record, version in zip(commits, versions, strict=True)
    )


def _status_of(recorded: _Slice) -> SliceStatus:
    if recorded.commits:
        return SliceStatus.COMMITTED
    return SliceStatus.SKIPPED if recorded.skip else SliceStatus.FLAGGED
