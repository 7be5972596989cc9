"""The audit trail of a study: who did what and when, and checks that the files still agree with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.study.annotation_store import AnnotationStore
from ActiveSegmentationLib.study.ledger import Ledger
from ActiveSegmentationLib.study.names import STUDY_STEM, annotator_stem, clean_annotator
from ActiveSegmentationLib.study.slice_records import SliceFile

_ATTEMPTS = 3

_Committed = dict[tuple[str, str, int], str]


class Audit:
    """Hash-chained records of everything done in a study: one file per annotator and one for the study itself.

    Args:
        folder: The ``audit`` folder.
        ledger: Writes the chains.
        store: The annotations that the records describe.
    """

    def __init__(self, folder: Path, ledger: Ledger, store: AnnotationStore) -> None:
        self.folder = folder
        self._ledger = ledger
        self._store = store

    def append(self, event: str, *, annotator: str | None = None, **fields: Any) -> None:
        """Add a record of an event that changes no annotation (a training, a prediction, an export).

        Args:
            event: What happened, one word.
            annotator: Whose chain. Default: the chain of the study.
            fields: Further JSON values; no names of patients.

        Raises:
            BadInput: If the study cannot be written, or the last record is damaged.
        """
        stem = STUDY_STEM if annotator is None else annotator_stem(annotator)
        name = {} if annotator is None else {"annotator": clean_annotator(annotator)}
        with self._ledger.writing(stem) as writer:
            writer.append([{"event": event, **name, **fields}])

    def records(self, annotator: str | None = None) -> list[dict[str, Any]]:
        """The records of an annotator, or of the study itself, oldest first."""
        return self._ledger.chain(STUDY_STEM if annotator is None else annotator_stem(annotator)).records()

    def verify(self) -> list[str]:
        """Check every chain, and every committed slice against its record.

        Returns:
            One sentence per problem; empty if the trail is complete and nothing was changed outside it. Records
            that were cut off the end of a chain are detected by stored slices without a record.
        """
        problems: list[str] = []
        for _ in range(_ATTEMPTS):  # a commit may be in progress
            before = self._state()
            problems = [*self._chain_problems(), *_collected(self._store.problems), *self._slice_problems()]
            if not problems or self._state() == before:
                break
        return problems

    def _state(self) -> list[tuple[str, int]]:
        paths = sorted(self.folder.glob("*.json*"))
        return [(path.name, path.stat().st_mtime_ns) for path in paths if path.is_file()]

    def _chain_problems(self) -> list[str]:
        problems = [problem for stem in self._ledger.stems() for problem in self._ledger.chain(stem).problems()]
        for stem in self._ledger.interrupted():
            problems.append(
                f"{stem}: a change was interrupted; it is finished or undone when the study is opened for writing."
            )
        return problems

    def _slice_problems(self) -> list[str]:
        recorded: _Committed = {}
        for stem in self._ledger.stems():
            for record in self._ledger.chain(stem).records():
                if record.get("event") == "commit":
                    key = (stem, str(record.get("volume")), int(record.get("slice", -1)))
                    recorded[key] = str(record.get("labels_sha256"))
        try:
            files = list(self._store.slice_files())
        except BadInput as problem:
            return [str(problem)]
        stored = _committed(files)
        return [
            f"{volume}, slice {index + 1}: what {stem} committed {_mismatch(recorded.get(key), stored.get(key))}"
            for key in sorted(recorded.keys() | stored.keys())
            if recorded.get(key) != stored.get(key)
            for stem, volume, index in [key]
        ]


def _committed(files: list[SliceFile]) -> _Committed:
    return {
        (annotator_stem(file.annotator), file.volume, index): version.labels_sha256
        for file in files
        for index, version in file.committed().items()
    }


def _mismatch(recorded: str | None, stored: str | None) -> str:
    if recorded is None:
        return "has no audit record."
    if stored is None:
        return "is in the audit but no longer in the study."
    return "is not what the audit recorded."


def _collected(problems: Callable[[], Any]) -> list[str]:
    try:
        return list(problems())
    except BadInput as problem:
        return [str(problem)]
