"""The two files with one annotator's annotations of one volume.

``<annotator>.slices.json`` is authoritative. The label map in ``<annotator>.seg.nrrd`` belongs to it if every committed
slice has the hash that the JSON file records. A commit takes three steps:

- It writes the new label map next to the old one, as ``<annotator>.pending.seg.nrrd``.
- It replaces the JSON file; from this moment the commit counts.
- It moves the label map into place. Until then, readers find it under its pending name.

Label values of replaced commits are kept in ``<annotator>.versions``.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.cohort import AnnotationKind, SliceId, Volume, slices_first
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import atomic_path, explained, hash_file, require_regular
from ActiveSegmentationLib.common.parsing import parsing
from ActiveSegmentationLib.study.annotations import SliceAnnotation, hash_labels
from ActiveSegmentationLib.study.labels import LabelSet
from ActiveSegmentationLib.study.ledger import sweep
from ActiveSegmentationLib.study.names import RESTORE, annotator_stem
from ActiveSegmentationLib.study.segment_file import Encoding, read_segments, write_segments
from ActiveSegmentationLib.study.slice_records import SliceFile

_ATTEMPTS = 5


@dataclass(frozen=True)
class CommittedSlices:
    """The committed slices of one annotator in one volume.

    Attributes:
        digest: SHA-256 of the slices file.
        file: The slices file.
        labels: By index (rows, columns) uint8 label values, 0 background, 255 unlabelled; read-only.
        path: Path of the label map.
    """

    digest: str
    file: SliceFile
    labels: dict[int, np.ndarray]
    path: Path

    def annotations(self) -> list[SliceAnnotation]:
        """The committed slices as annotations, in order."""
        return [
            SliceAnnotation(
                slice=SliceId(self.file.volume, index),
                labels=self.labels[index],
                kind=AnnotationKind(version.kind),
                annotator=self.file.annotator,
                round=version.round,
                seconds=version.seconds,
                committed_at=version.committed_at,
                prelabel=version.prelabel,
            )
            for index, version in self.file.committed().items()
        ]


@dataclass(frozen=True)
class AnnotationFiles:
    """Paths of one annotator's files in one volume.

    Attributes:
        folder: Folder of the volume's annotations.
        stem: File stem of the annotator.
    """

    folder: Path
    stem: str

    @property
    def slices(self) -> Path:
        """The JSON file with the record of each slice; it is authoritative."""
        return self.folder / f"{self.stem}.slices.json"

    @property
    def segments(self) -> Path:
        """The label map."""
        return self.folder / f"{self.stem}.seg.nrrd"

    @property
    def pending(self) -> Path:
        """The label map of a commit that is being made."""
        return self.folder / f"{self.stem}.pending.seg.nrrd"

    @property
    def versions(self) -> Path:
        """Folder with the label values of replaced commits."""
        return self.folder / f"{self.stem}.versions"

    def version(self, index: int, labels_sha256: str) -> Path:
        """Path of the label values of an earlier commit of a slice."""
        return self.versions / f"{index}-{labels_sha256[:16]}.npz"

    def keep_version(self, index: int, labels: np.ndarray) -> Path:
        """Keep the label values of a commit that is about to be replaced; returns the file."""
        path = self.version(index, hash_labels(labels))
        if not path.is_file():
            with atomic_path(path) as temporary:
                np.savez_compressed(temporary, labels=labels)
        return path

    def read_version(self, index: int, labels_sha256: str) -> np.ndarray:
        """Label values of an earlier commit of a slice, (rows, columns) uint8.

        Raises:
            BadInput: If they are damaged or were not kept, as in versions before they were.
        """
        path = self.version(index, labels_sha256)
        advice = "The latest commit of the slice is not affected."
        with parsing(path, "The earlier version is damaged.", advice), np.load(path, allow_pickle=False) as stored:
            labels = np.asarray(stored["labels"], dtype=np.uint8)
        if hash_labels(labels) != labels_sha256:
            raise BadInput("The earlier version differs from what was committed.", where=path, advice=advice)
        return labels

    def read_slices(self, volume: Volume) -> tuple[bytes, SliceFile] | None:
        """Content of the slices file, raw and parsed, or None if there is none.

        Raises:
            BadInput: If it is damaged or belongs to another volume, grid or annotator.
        """
        if self.slices.exists():
            require_regular(self.slices)
        with explained(self.slices):
            try:
                content = self.slices.read_bytes()
            except FileNotFoundError:
                return None
        file = SliceFile.from_bytes(content, self.slices).check(volume, self.slices)
        if annotator_stem(file.annotator) != unicodedata.normalize("NFC", self.stem):
            advice = "Move the file out of the study; 'audit' says whether it was ever committed."
            raise BadInput(f"The file names another annotator, '{file.annotator}'.", where=self.slices, advice=advice)
        return content, file

    def read_labels(self, volume: Volume) -> CommittedSlices:
        """The slices file with the label values of its committed slices.

        Raises:
            BadInput: If the label map is missing or was changed by another program.
        """
        found = None
        for _ in range(_ATTEMPTS):  # a commit between two reads makes them inconsistent
            before, found = found, self.read_slices(volume)
            if found is None:
                advice = RESTORE
                raise BadInput("The file is missing.", where=self.slices, advice=advice)
            content, file = found
            for path in (self.segments, self.pending):
                labels = _matching(path, file, volume)
                if labels is not None:
                    return CommittedSlices(digest(content), file, labels, path)
            if before is not None and before[0] == found[0]:
                break
        advice = (
            f"{RESTORE} To keep what was drawn elsewhere, move it and its .slices.json out of the study "
            "and import it as annotations."
        )
        raise BadInput("The label map is not the one that was committed.", where=self.segments, advice=advice)

    def read_stored(self, volume: Volume) -> np.ndarray:
        """The whole label map in stored values, (k, j, i) uint8, zero where nothing is committed.

        Requires the writer's lock: a pending label map is moved into place.

        Raises:
            BadInput: As ``read_labels``.
        """
        found = self.read_labels(volume)
        if found.path == self.pending:
            with explained(self.segments):
                os.replace(self.pending, self.segments)
        stored = np.zeros(volume.geometry.array_shape, dtype=np.uint8)
        planes = slices_first(stored, volume.axis)
        encoding = Encoding(found.file.background_value)
        for index, version in found.file.committed().items():
            planes[index] = encoding.encode(found.labels[index], AnnotationKind(version.kind))
        return stored

    def prepare(self, stored: np.ndarray, file: SliceFile, volume: Volume, labels: LabelSet) -> str:
        """Write a pending label map; returns its SHA-256."""
        encoding = Encoding(file.background_value)
        write_segments(self.pending, stored, volume.geometry, labels, encoding, file.annotator)
        return hash_file(self.pending)

    def clean(self) -> None:
        """Remove leftovers of killed writers of these files; requires the writer's lock."""
        sweep(self.slices, self.segments, self.pending)
        with explained(self.versions):
            for left in self.versions.glob(".tmp-*"):
                left.unlink()


def _matching(path: Path, file: SliceFile, volume: Volume) -> dict[int, np.ndarray] | None:
    """The committed slices of the label map, if each has the recorded hash."""
    if not file.committed():
        return {}
    if not path.is_file():
        return None
    try:
        planes = slices_first(read_segments(path, volume.geometry), volume.axis)
    except BadInput:
        if path.is_file():
            raise
        return None  # moved into place by its writer since it was looked up
    encoding = Encoding(file.background_value)
    labels = {}
    for index, version in file.committed().items():
        plane = np.array(encoding.decode(planes[index], AnnotationKind(version.kind)), order="C")
        if hash_labels(plane) != version.labels_sha256:
            return None
        plane.flags.writeable = False
        labels[index] = plane
    return labels


def digest(content: bytes) -> str:
    """SHA-256 of a file's content, the same as ``common.files.hash_file`` gives."""
    return hashlib.sha256(content).hexdigest()
