"""Repair of one annotator's files in one volume: restored from the audit, or recorded as they are."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.cohort import AnnotationKind, Volume, slices_first
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained
from ActiveSegmentationLib.study.annotation_files import AnnotationFiles
from ActiveSegmentationLib.study.annotation_store import commit_events
from ActiveSegmentationLib.study.annotations import hash_labels
from ActiveSegmentationLib.study.labels import LabelSet
from ActiveSegmentationLib.study.ledger import Change, Ledger, Writer
from ActiveSegmentationLib.study.segment_file import Encoding, read_segments
from ActiveSegmentationLib.study.slice_records import SliceFile
from ActiveSegmentationLib.study.trail import RESTATED, Trail


@dataclass(frozen=True)
class Found:
    """What is left of an annotator's slices in a volume.

    Attributes:
        file: The records of the slices.
        planes: Label values, (rows, columns) uint8, of the committed slices that can be read, by index.
    """

    file: SliceFile
    planes: dict[int, np.ndarray]

    @property
    def lost(self) -> list[int]:
        """Indices of the committed slices whose pixels are not those that were committed."""
        return sorted(self.file.committed().keys() - self.planes.keys())


class AnnotationRepair:
    """Repairs the files of an annotator in a volume.

    Args:
        study: Folder of the study.
        labels: The label set.
        ledger: Makes the changes.
        keep: Copies files; returns where they are.
    """

    def __init__(self, study: Path, labels: LabelSet, ledger: Ledger, keep: Callable[[Iterable[Path]], str]) -> None:
        self._study = study
        self._labels = labels
        self._ledger = ledger
        self._keep = keep

    def recorded(self, stem: str, volume: Volume, trail: Trail) -> Found:
        """What the audit recorded, with the pixels that agree with it."""
        files = self._files(stem, volume)
        background = self._labels.background_value
        try:
            there = files.read_slices(volume)
            background = background if there is None else there[1].background_value
        except BadInput:
            pass  # damaged; the label set has the same value
        name = trail.annotator(volume.id) or stem
        empty = SliceFile(volume.id, name, volume.axis, volume.geometry.fingerprint(), background)
        file = trail.restored(empty)
        return Found(file, _planes(files, file, volume))

    def stored(self, stem: str, volume: Volume) -> Found | None:
        """What the files hold, None if they cannot be used."""
        files = self._files(stem, volume)
        try:
            if not files.slices.is_file():
                return None
            found = files.read_labels(volume)
        except BadInput:
            return None
        return Found(found.file, dict(found.labels))

    def restore(self, stem: str, volume: Volume) -> None:
        """Replace the files by what the audit recorded; slices whose pixels cannot be read are no longer committed.

        Raises:
            BadInput: If the study cannot be written.
            JobFailed: If the disk is full.
        """
        with self._ledger.writing(stem) as writer:
            found = self.recorded(stem, volume, Trail(stem, self._ledger.chain(stem).records()))
            slices = {index: record for index, record in found.file.slices.items() if index not in found.lost}
            if found.file.slices:
                self._rewrite(writer, stem, volume, Found(replace(found.file, slices=slices), found.planes))
            else:  # files that no record explains
                paths = _all_of(self._files(stem, volume))
                writer.append([self._event(volume, self._keep(path for path in paths if path.exists()))])
                for path in paths:
                    with explained(path):
                        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def accept(self, stem: str, volume: Volume) -> None:
        """Record what the files hold.

        Raises:
            BadInput: If they cannot be used, or the study cannot be written.
            JobFailed: If the disk is full.
        """
        with self._ledger.writing(stem) as writer:
            found = self.stored(stem, volume)
            if found is not None:
                self._rewrite(writer, stem, volume, found)

    def _rewrite(self, writer: Writer, stem: str, volume: Volume, found: Found) -> None:
        files, file = self._files(stem, volume), found.file
        kept = self._keep(path for path in _all_of(files) if path.exists())
        versions = self._sound_versions(files, file)
        stored = np.zeros(volume.geometry.array_shape, dtype=np.uint8)
        planes, encoding = slices_first(stored, volume.axis), Encoding(file.background_value)
        for index, version in file.committed().items():
            planes[index] = encoding.encode(found.planes[index], AnnotationKind(version.kind))
        file = replace(file, segments_sha256=files.prepare(stored, file, volume, self._labels))
        events = [self._event(volume, kept), *_events(file)]
        writer.apply(Change(files.slices, file.to_bytes(), events, [(files.pending, files.segments)], versions))

    @staticmethod
    def _event(volume: Volume, kept: str) -> dict:
        return {"event": RESTATED, "volume": volume.id, "kept": kept}

    @staticmethod
    def _sound_versions(files: AnnotationFiles, file: SliceFile) -> list[Path]:
        """Files with earlier versions of slices; those that are damaged are deleted, a copy was kept."""
        sound = []
        for index, record in file.slices.items():
            for version in record.versions:
                path = files.version(index, version.labels_sha256)
                try:
                    files.read_version(index, version.labels_sha256)
                    sound.append(path)
                except BadInput:
                    with explained(path):
                        path.unlink(missing_ok=True)
        return sorted(set(sound))

    def _files(self, stem: str, volume: Volume) -> AnnotationFiles:
        return AnnotationFiles(self._study / "annotations" / volume.id, stem)


def _all_of(files: AnnotationFiles) -> tuple[Path, ...]:
    return files.slices, files.segments, files.pending, files.versions


def _planes(files: AnnotationFiles, file: SliceFile, volume: Volume) -> dict[int, np.ndarray]:
    """The committed slices whose pixels have the recorded hash, in either label map."""
    found: dict[int, np.ndarray] = {}
    encoding = Encoding(file.background_value)
    for path in (files.segments, files.pending):
        try:
            stored = slices_first(read_segments(path, volume.geometry), volume.axis)
        except BadInput:
            continue  # said by the audit
        for index, version in file.committed().items():
            plane = np.array(encoding.decode(stored[index], AnnotationKind(version.kind)), order="C")
            if hash_labels(plane) == version.labels_sha256:
                found[index] = plane
    return found


def _events(file: SliceFile) -> list[dict]:
    """The audit records that say what a file holds."""
    events = []
    for index, record in sorted(file.slices.items()):
        about = {"annotator": file.annotator, "volume": file.volume, "slice": index}
        if record.skipped_at:
            skip = {"event": "skip", "reason": record.skip_reason, "round": record.skip_round, **about}
            events.append({**skip, "time": record.skipped_at})
        events += commit_events(file, index)
        if record.flagged_at:
            events.append({"event": "flag", "note": record.flag_note, "time": record.flagged_at, **about})
    return events
