"""All annotations of a study: commits, skips and flags of every annotator."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.cohort import AnnotationKind, SliceId, Volume, slices_first
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, hash_file
from ActiveSegmentationLib.study.annotation_files import AnnotationFiles, digest
from ActiveSegmentationLib.study.annotations import SliceAnnotation, check_slice, checked, hash_labels
from ActiveSegmentationLib.study.labels import LabelSet
from ActiveSegmentationLib.study.ledger import Change, Ledger
from ActiveSegmentationLib.study.names import annotator_stem, clean_annotator
from ActiveSegmentationLib.study.segment_file import Encoding
from ActiveSegmentationLib.study.slice_records import SliceFile, SliceRecord, SliceStatus, Version
from ActiveSegmentationLib.study.times import just_after, now
from ActiveSegmentationLib.study.volumes import require_volume

_SLICES = ".slices.json"


class ChangedMeanwhile(BadInput):
    """A slice was committed under the same name since it was last read: by another Slicer, most likely.

    Attributes:
        version: The commit that would be replaced, or None if the slice is no longer committed.
    """

    def __init__(
        self, message: str, *, where: str | Path | None = None, advice: str = "", version: Version | None = None
    ) -> None:
        super().__init__(message, where=where, advice=advice)
        self.version = version


class AnnotationStore:
    """The ``annotations`` folder of a study.

    Args:
        folder: The folder.
        volumes: The cohort's volumes by id.
        labels: The label set.
        ledger: Makes the changes.
        images: Hash of a volume's image files, None if they cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        volumes: Mapping[str, Volume],
        labels: LabelSet,
        ledger: Ledger,
        images: Callable[[Volume], str | None],
    ) -> None:
        self._folder = folder
        self._volumes = volumes
        self._labels = labels
        self._ledger = ledger
        self._images = images
        self._known: dict[Path, tuple[str, list[SliceAnnotation]]] = {}
        self._files: dict[Path, tuple[tuple[int, int, int], SliceFile]] = {}
        self._damaged: dict[Path, BadInput] = {}

    def commit(
        self, annotations: Sequence[SliceAnnotation], expected: Mapping[SliceId, str | None] | None = None
    ) -> None:
        """Store annotations, with one atomic write per volume and annotator; all are checked before the first is
        stored.

        Args:
            annotations: What to store.
            expected: See ``Study.commit``.

        Raises:
            ChangedMeanwhile: If a slice is not as expected.
            BadInput: If one cannot be stored as it is, or a slice occurs twice for one annotator.
            JobFailed: If the disk is full.
        """
        groups: dict[tuple[str, str], list[SliceAnnotation]] = {}
        untimed: set[tuple[str, SliceId]] = set()
        for given in annotations:
            volume = require_volume(self._volumes, given.slice.volume)
            annotation = checked(given, volume, self._labels)
            stem = annotator_stem(annotation.annotator)
            untimed |= set() if given.committed_at else {(stem, annotation.slice)}
            groups.setdefault((volume.id, stem), []).append(annotation)
        for (volume_id, _), group in groups.items():
            indices = [annotation.slice.index for annotation in group]
            twice = sorted({index + 1 for index in indices if indices.count(index) > 1})
            if twice:
                where = f"{volume_id}, slice {twice[0]}"
                advice = "Commit each slice only once."
                raise BadInput("The slice occurs twice in one commit.", where=where, advice=advice)
        for (volume_id, stem), group in groups.items():
            self._commit(self._volumes[volume_id], stem, group, untimed, expected or {})

    def _after_the_others(self, annotation: SliceAnnotation) -> SliceAnnotation:
        """The annotation with a time after every commit of the slice that is here, whatever the clock says."""
        known = [
            file.committed()[annotation.slice.index].committed_at
            for file in self.slice_files(annotation.slice.volume)
            if annotation.slice.index in file.committed()
        ]
        latest = max(known, default="")
        return annotation if annotation.committed_at > latest else replace(annotation, committed_at=just_after(latest))

    def _commit(
        self,
        volume: Volume,
        stem: str,
        group: Sequence[SliceAnnotation],
        untimed: Set[tuple[str, SliceId]],
        expected: Mapping[SliceId, str | None],
    ) -> None:
        files = AnnotationFiles(self._folder / volume.id, stem)
        with self._ledger.writing(stem) as writer:
            # here, where no other process can commit under this name with a later time meanwhile
            group = [self._after_the_others(one) if (stem, one.slice) in untimed else one for one in group]
            files.clean()
            file = self._current(files, volume, group[0].annotator)
            for annotation in group:
                _require_expected(file, annotation.slice, expected)
            kept = self._keep_versions(files, file, volume, group)
            stored = files.read_stored(volume) if file.committed() else _nothing(volume)
            planes, encoding = slices_first(stored, volume.axis), Encoding(file.background_value)
            for annotation in group:
                planes[annotation.slice.index] = encoding.encode(annotation.labels, annotation.kind)
                record = file.record(annotation.slice.index).with_commit(annotation)
                file = file.with_record(annotation.slice.index, record)
            file = replace(file, segments_sha256=files.prepare(stored, file, volume, self._labels))
            images = {"images_sha256": self._images(volume)}
            events = [{**commit_events(file, annotation.slice.index)[-1], **images} for annotation in group]
            moves = [(files.pending, files.segments)]
            writer.apply(Change(files.slices, file.to_bytes(), events, moves, kept))

    def _keep_versions(
        self, files: AnnotationFiles, file: SliceFile, volume: Volume, group: Sequence[SliceAnnotation]
    ) -> list[Path]:
        """Keep the pixels of commits that are about to be replaced; returns the files that hold them."""
        known = file.committed()
        replaced = [
            annotation.slice.index
            for annotation in group
            if annotation.slice.index in known
            and known[annotation.slice.index].labels_sha256 != hash_labels(annotation.labels)
        ]
        if replaced:
            labels = files.read_labels(volume).labels
            return [files.keep_version(index, labels[index]) for index in replaced]
        return []

    def version(self, slice_id: SliceId, annotator: str, labels_sha256: str) -> np.ndarray:
        """Label values of an earlier commit; see ``Study.version_labels``."""
        volume = require_volume(self._volumes, slice_id.volume)
        check_slice(slice_id, volume)
        files = AnnotationFiles(self._folder / volume.id, annotator_stem(annotator))
        return files.read_version(slice_id.index, labels_sha256)

    def skip(self, slice_id: SliceId, annotator: str, reason: str, round_number: int | None) -> None:
        """Record that an annotator skips a slice; see ``Study.skip``."""

        def change(record: SliceRecord) -> SliceRecord:
            if record.committed:
                where = f"{slice_id.volume}, slice {slice_id.index + 1}"
                advice = "Flag it instead, or commit it again."
                raise BadInput("The slice is committed already and cannot be skipped.", where=where, advice=advice)
            return replace(
                record, status=SliceStatus.SKIPPED, skipped_at=now(), skip_reason=reason, skip_round=round_number
            )

        self._say(slice_id, annotator, {"event": "skip", "reason": reason, "round": round_number}, change)

    def flag(self, slice_id: SliceId, annotator: str, note: str) -> None:
        """Record that a slice is flagged for review; see ``Study.flag``."""

        def change(record: SliceRecord) -> SliceRecord:
            return replace(record, flagged_at=now(), flag_note=note)

        self._say(slice_id, annotator, {"event": "flag", "note": note}, change)

    def _say(
        self, slice_id: SliceId, annotator: str, event: dict, change: Callable[[SliceRecord], SliceRecord]
    ) -> None:
        volume = require_volume(self._volumes, slice_id.volume)
        check_slice(slice_id, volume)
        stem, name = annotator_stem(annotator), clean_annotator(annotator)
        files = AnnotationFiles(self._folder / volume.id, stem)
        with self._ledger.writing(stem) as writer:
            files.clean()
            file = self._current(files, volume, name)
            file = file.with_record(slice_id.index, change(file.record(slice_id.index)))
            event = {**event, "annotator": file.annotator, "volume": volume.id, "slice": slice_id.index}
            writer.apply(Change(files.slices, file.to_bytes(), [event]))

    def _current(self, files: AnnotationFiles, volume: Volume, annotator: str) -> SliceFile:
        found = files.read_slices(volume)
        if found is not None:
            return found[1]
        return SliceFile(
            volume=volume.id,
            annotator=annotator,
            axis=volume.axis,
            geometry=volume.geometry.fingerprint(),
            background_value=self._labels.background_value,
        )

    def files(self, volume_id: str | None = None) -> Iterator[tuple[AnnotationFiles, Volume]]:
        """The files of every annotator in every volume, or in one volume, in order of their names.

        Folders of volumes that the cohort does not have are left out, see ``unknown_volumes``.

        Raises:
            BadInput: If ``volume_id`` is not a volume.
        """
        for name in self._known_volumes() if volume_id is None else [volume_id]:
            for file in _names(self._folder / name):
                if file.endswith(_SLICES) and not file.startswith("."):
                    yield (
                        AnnotationFiles(self._folder / name, file.removesuffix(_SLICES)),
                        require_volume(self._volumes, name),
                    )

    def _known_volumes(self) -> list[str]:
        return [name for name in _names(self._folder) if name in self._volumes]

    def unknown_volumes(self) -> list[str]:
        """Names of folders with annotations of volumes that the cohort does not have."""
        others = [name for name in _names(self._folder) if name not in self._volumes]
        return [name for name in others if any(file.endswith(_SLICES) for file in _names(self._folder / name))]

    def stems(self) -> set[str]:
        """File stems of all annotators that have files."""
        return {files.stem for files, _ in self.files()}

    def slice_files(self, volume_id: str | None = None) -> Iterator[SliceFile]:
        """The slice records of every annotator and volume, or of one volume; reads no label map.

        Unchanged files are not read again. Damaged files are left out, see ``damaged``.
        """
        for files, volume in self.files(volume_id):
            found = None
            with self._setting_damage_aside(files.slices):
                found = self._parsed(files, volume)
            if found is not None:
                yield found

    def check(self) -> None:
        """Look for damage in every file without reading the pixels of those that are as committed; see ``damaged``."""
        for files, volume in self.files():
            with self._setting_damage_aside(files.slices):
                file = self._parsed(files, volume)
                if file is not None and file.committed():
                    wanted = file.segments_sha256
                    if not any(
                        path.is_file() and hash_file(path) == wanted for path in (files.segments, files.pending)
                    ):
                        files.read_labels(volume)

    @contextlib.contextmanager
    def _setting_damage_aside(self, path: Path) -> Iterator[None]:
        """Within this block a file that cannot be used is noted; it does not stop the others."""
        try:
            yield
        except BadInput as problem:
            self._damaged[path] = problem
        else:
            self._damaged.pop(path, None)

    def damaged(self) -> list[BadInput]:
        """What could not be used when the annotations were last read, with what to do about it."""
        unknown = [
            BadInput(
                f"The study has no volume '{name}'; its annotations are not used.",
                where=self._folder / name,
                advice="Index the cohort as it was when they were made, or move the folder out of the study.",
            )
            for name in self.unknown_volumes()
        ]
        return [*unknown, *(self._damaged[path] for path in sorted(self._damaged))]

    def _parsed(self, files: AnnotationFiles, volume: Volume) -> SliceFile | None:
        with explained(files.slices):
            try:
                stat = os.stat(files.slices)
            except FileNotFoundError:
                return None
        signature = stat.st_mtime_ns, stat.st_size, stat.st_ino  # a file is replaced, never changed in place
        known = self._files.get(files.slices)
        if known is not None and known[0] == signature:
            return known[1]
        found = files.read_slices(volume)
        if found is None:
            return None
        self._files[files.slices] = signature, found[1]
        return found[1]

    def annotations(self, volume_id: str | None = None) -> Iterator[SliceAnnotation]:
        """Every annotator's latest commit of every slice, or of one volume's.

        Unchanged files are not read again. Damaged files are left out, see ``damaged``.
        """
        for files, volume in self.files(volume_id):
            found: list[SliceAnnotation] = []
            with self._setting_damage_aside(files.slices):
                found = self._annotations_of(files, volume)
            yield from found

    def _annotations_of(self, files: AnnotationFiles, volume: Volume) -> list[SliceAnnotation]:
        found = files.read_slices(volume)
        if found is None:
            return []
        known = self._known.get(files.slices)
        if known is None or known[0] != digest(found[0]):
            committed = files.read_labels(volume)
            known = committed.digest, committed.annotations()
            self._known[files.slices] = known
        return known[1]

    def require_usable(self, volume_id: str, stem: str) -> None:
        """Refuse a volume in which the files of an annotator are damaged.

        Raises:
            BadInput: Naming the file and what to do.
        """
        problem = self._damaged.get(AnnotationFiles(self._folder / volume_id, stem).slices)
        if problem is not None:
            raise problem


def _require_expected(file: SliceFile, slice_id: SliceId, expected: Mapping[SliceId, str | None]) -> None:
    """Refuse to replace a commit that the committing program has not read."""
    if slice_id not in expected:
        return
    found = file.committed().get(slice_id.index)
    if (None if found is None else found.labels_sha256) == expected[slice_id]:
        return
    when = "" if found is None else f" at {found.committed_at}"
    message = f"'{file.annotator}' committed this slice{when}, after it was opened here; another Slicer uses this name."
    advice = (
        "Commit again to replace it (the other version is kept), or Revert to see it. "
        "Give every annotator a different name."
    )
    where = f"{slice_id.volume}, slice {slice_id.index + 1}"
    raise ChangedMeanwhile(message, where=where, advice=advice, version=found)


def _names(folder: Path) -> list[str]:
    """Sorted names in a folder; none if the folder does not exist."""
    with explained(folder):
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def _nothing(volume: Volume) -> np.ndarray:
    return np.zeros(volume.geometry.array_shape, dtype=np.uint8)


def commit_events(file: SliceFile, index: int) -> list[dict]:
    """The audit records of all commits of a slice, oldest first."""
    record = file.slices[index]
    commits = [*record.versions, *([record.committed] if record.committed else [])]
    return [
        {
            "event": "commit",
            "annotator": file.annotator,
            "volume": file.volume,
            "slice": index,
            "axis": file.axis,
            "kind": str(AnnotationKind(version.kind)),
            "round": version.round,
            "seconds": version.seconds,
            "committed_at": version.committed_at,
            "prelabel": version.prelabel,
            "labels_sha256": version.labels_sha256,
            "versions": number,
        }
        for number, version in enumerate(commits, start=1)
    ]
