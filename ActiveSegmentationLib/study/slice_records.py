"""The records of one annotator's slices in one volume: the content of a ``.slices.json`` file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.cohort import AnnotationKind, Volume
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.parsing import parsing, require_types
from ActiveSegmentationLib.study.annotations import SliceAnnotation, hash_labels
from ActiveSegmentationLib.study.names import RESTORE

SLICES_SCHEMA = 1
"""Version of the file format."""


class SliceStatus(StrEnum):
    """Status of a slice."""

    COMMITTED = "committed"
    SKIPPED = "skipped"
    FLAGGED = "flagged"


@dataclass(frozen=True)
class Version:
    """A commit of a slice; pixels of earlier commits are stored separately, see ``Study.version_labels``.

    Attributes:
        labels_sha256: Hash of its label values.
        committed_at: When, ISO 8601 in UTC.
        kind: "mask" or "scribble".
        round: Round that requested it, or None.
        seconds: Time spent.
        prelabel: Key of the model whose prediction was the starting point, or None.
    """

    labels_sha256: str
    committed_at: str
    kind: str
    round: int | None
    seconds: float
    prelabel: str | None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Version:
        """A commit from JSON values.

        Raises:
            ValueError, TypeError: If a value is missing, unknown, or of another type.
        """
        found = cls(**value)
        AnnotationKind(found.kind)
        texts = {"labels_sha256": str, "committed_at": str, "prelabel": str | None}
        require_types(found, {**texts, "round": int | None, "seconds": int | float})
        return found


@dataclass(frozen=True)
class SliceRecord:
    """The record of one slice by one annotator.

    Attributes:
        status: Committed, skipped, or only flagged.
        committed: The latest commit, or None.
        versions: Earlier commits, oldest first.
        skipped_at: When it was skipped, or "".
        skip_reason: Why.
        skip_round: Round whose request was skipped, or None.
        flagged_at: When it was flagged, or "".
        flag_note: What to check.
    """

    status: SliceStatus
    committed: Version | None = None
    versions: tuple[Version, ...] = ()
    skipped_at: str = ""
    skip_reason: str = ""
    skip_round: int | None = None
    flagged_at: str = ""
    flag_note: str = ""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SliceRecord:
        """A record from JSON values."""
        fields = dict(value)
        committed = fields.pop("committed")
        versions = tuple(Version.from_json(version) for version in fields.pop("versions"))
        status = SliceStatus(fields.pop("status"))
        return cls(status, None if committed is None else Version.from_json(committed), versions, **fields)

    def answers(self, round_number: int) -> bool:
        """Whether it answers a request of this round: it was made for this round, a later one, or no specific round."""
        rounds = [self.committed.round] if self.committed else []
        if self.skipped_at:
            rounds.append(self.skip_round)
        return any(number is None or number >= round_number for number in rounds)

    def with_commit(self, annotation: SliceAnnotation) -> SliceRecord:
        """The record after another commit."""
        version = Version(
            labels_sha256=hash_labels(annotation.labels),
            committed_at=annotation.committed_at,
            kind=str(annotation.kind),
            round=annotation.round,
            seconds=annotation.seconds,
            prelabel=annotation.prelabel,
        )
        earlier = (*self.versions, self.committed) if self.committed else self.versions
        return replace(self, status=SliceStatus.COMMITTED, committed=version, versions=earlier)


@dataclass(frozen=True)
class SliceFile:
    """The content of a ``.slices.json`` file.

    Attributes:
        volume: Id of the volume.
        annotator: Name as it is shown.
        axis: Image axis along which slices are counted.
        geometry: Fingerprint of the volume's grid.
        background_value: Stored value of drawn background in the label map.
        segments_sha256: Hash of the ``.seg.nrrd`` file that belongs to it, or None before the first commit.
        slices: Records by 0-based index.
    """

    volume: str
    annotator: str
    axis: int
    geometry: str
    background_value: int
    segments_sha256: str | None = None
    slices: Mapping[int, SliceRecord] = field(default_factory=dict)

    def record(self, index: int) -> SliceRecord:
        """The record of a slice, an empty one if there is none."""
        return self.slices.get(index, SliceRecord(SliceStatus.FLAGGED))

    def with_record(self, index: int, record: SliceRecord) -> SliceFile:
        """The same file with another record of one slice."""
        return replace(self, slices={**self.slices, index: record})

    def committed(self) -> dict[int, Version]:
        """The latest commit of every committed slice by index, in order."""
        return {index: record.committed for index, record in sorted(self.slices.items()) if record.committed}

    def to_bytes(self) -> bytes:
        """The file's content."""
        value = {
            "schema": SLICES_SCHEMA,
            "volume": self.volume,
            "annotator": self.annotator,
            "axis": self.axis,
            "geometry": self.geometry,
            "background_value": self.background_value,
            "segments_sha256": self.segments_sha256,
            "slices": {str(index): asdict(self.slices[index]) for index in sorted(self.slices)},
        }
        return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")

    @classmethod
    def from_bytes(cls, content: bytes, path: Path) -> SliceFile:
        """Inverse of ``to_bytes``.

        Raises:
            BadInput: If the content is damaged, or made by a newer version; names ``path``.
        """
        with parsing(path, "The file is damaged.", RESTORE):
            value = json.loads(content)
            if value["schema"] > SLICES_SCHEMA:
                advice = "Update ActiveSegmentation."
                raise BadInput("The file was made by a newer version.", where=path, advice=advice)
            return cls(
                volume=value["volume"],
                annotator=value["annotator"],
                axis=int(value["axis"]),
                geometry=value["geometry"],
                background_value=int(value["background_value"]),
                segments_sha256=value["segments_sha256"],
                slices={int(index): SliceRecord.from_json(record) for index, record in value["slices"].items()},
            )

    def check(self, volume: Volume, path: Path) -> SliceFile:
        """This file, if it belongs to the volume as it is now.

        Raises:
            BadInput: If the volume's grid or slice axis is another one than when the slices were committed.
        """
        if self.volume != volume.id:
            advice = "Move the file back to the folder of its volume."
            raise BadInput(f"The file belongs to volume '{self.volume}'.", where=path, advice=advice)
        if self.geometry != volume.geometry.fingerprint() or self.axis != volume.axis:
            advice = "Index the cohort as it was when the slices were committed, or import them into a new study."
            raise BadInput("The volume's grid or slice axis changed since the commit.", where=path, advice=advice)
        if any(not 0 <= index < volume.slice_count for index in self.slices):
            raise BadInput("The file names slices that do not exist.", where=path, advice=RESTORE)
        return self
