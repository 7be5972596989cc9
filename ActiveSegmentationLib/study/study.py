"""A study: the annotation work on a cohort, kept in one folder."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.cohort import AnnotationKind, Cohort, SliceId
from ActiveSegmentationLib.common.durability import sweep_tree
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, tree_size
from ActiveSegmentationLib.study.annotation_store import AnnotationStore
from ActiveSegmentationLib.study.annotations import SliceAnnotation
from ActiveSegmentationLib.study.answers import closed_slices, flagged_slices, skipped_slices
from ActiveSegmentationLib.study.audit import Audit
from ActiveSegmentationLib.study.cache import remove_cache
from ActiveSegmentationLib.study.creation import check_empty, check_label_names, is_made, write_new
from ActiveSegmentationLib.study.drafts import DraftStore
from ActiveSegmentationLib.study.extents import ExtentStore
from ActiveSegmentationLib.study.image_record import ImageRecord
from ActiveSegmentationLib.study.labels import LabelSet
from ActiveSegmentationLib.study.ledger import Change, Ledger
from ActiveSegmentationLib.study.locks import StudyLock
from ActiveSegmentationLib.study.names import STUDY_STEM, annotator_stem, check_volume_ids
from ActiveSegmentationLib.study.repair import OtherRecords, Repairs
from ActiveSegmentationLib.study.requests import Request, RequestStore
from ActiveSegmentationLib.study.slice_records import SliceFile
from ActiveSegmentationLib.study.status import study_status
from ActiveSegmentationLib.study.study_file import (
    STUDY_FILE,
    StudyRecord,
    StudySettings,
    read_cohort,
    read_study,
    relative_root,
)
from ActiveSegmentationLib.study.times import now
from ActiveSegmentationLib.study.volumes import require_included, require_volume


class Study:
    """An open study, from ``Study.create`` or ``Study.open``.

    Several processes and annotators may have it open. Commits, skips and flags of different annotators do not wait for
    each other; ``lock`` is for jobs (suggest, train) that must not run at the same time.

    Attributes:
        folder: Folder of the study.
        id: UUID of the study.
        labels: The label set.
        annotation: Default kind of annotation, masks or scribbles.
        cohort: All volumes, including the excluded ones.
        requests: The rounds with their requests and other files.
        drafts: Uncommitted strokes.
        extents: The first and last slice of each volume that show a structure.
        images: Content hashes of the image files.
        audit: The audit trail.
        repairs: What can be repaired if files are damaged.

    Example:
        >>> study = Study.open("study")
        >>> study.annotation, len(study.cohort.volumes), len(study.annotations())
        (<AnnotationKind.MASK: 'mask'>, 8, 4)
    """

    def __init__(self, folder: Path, record: StudyRecord, cohort: Cohort) -> None:
        self.folder = folder
        self.id = record.id
        self.labels = record.labels
        self.annotation = record.annotation
        self.cohort = cohort
        self._ledger = Ledger(folder, record.id)
        self._lock = StudyLock(folder)
        self._volumes = volumes = {volume.id: volume for volume in cohort.volumes}
        self.images = ImageRecord(folder, cohort, self._ledger)
        self._store = AnnotationStore(
            folder / "annotations", volumes, record.labels, self._ledger, lambda volume: self.images.digest(volume.id)
        )
        self.requests = RequestStore(folder / "rounds", volumes, self._ledger, self.excluded)
        self.drafts = DraftStore(folder / "drafts", volumes)
        self.extents = ExtentStore(folder, volumes, self._ledger, self.excluded)
        self.audit = Audit(folder / "audit", self._ledger, self._store, self.images)
        others = OtherRecords(self.drafts, self.requests, self.extents)
        self.repairs = Repairs(folder, volumes, record.labels, self._ledger, self._store, self.audit, others)

    @classmethod
    def create(
        cls,
        folder: Path,
        cohort: Cohort,
        labels: LabelSet,
        annotation: AnnotationKind,
        *,
        settings: StudySettings | None = None,
    ) -> Study:
        """Create a study in an empty or new folder; if it fails, nothing is left behind.

        If the same study is there already and nothing was done in it, it is opened.

        Args:
            folder: Folder of the study.
            cohort: Its images; they are referred to, not copied.
            labels: The label set.
            annotation: Masks or scribbles.
            settings: JSON values in sections.

        Raises:
            BadInput: If the folder is not empty or cannot be written, or the cohort has no volume.
            JobFailed: If the disk is full.
        """
        folder = Path(os.path.abspath(folder))
        check_label_names(labels)
        check_volume_ids(volume.id for volume in cohort.volumes)
        if not cohort.volumes:
            advice = "Run the command index and repair the problems that it reports."
            raise BadInput("The cohort has no usable volume.", where=cohort.root, advice=advice)
        record = StudyRecord(
            id=str(uuid.uuid4()),
            created=now(),
            labels=labels,
            annotation=AnnotationKind(annotation),
            cohort_root=relative_root(cohort.root, folder),
            settings=settings or {},
        )
        cohort = cohort.with_labels(labels.names)
        if not is_made(folder, record, cohort):
            check_empty(folder)
            write_new(folder, record, cohort)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: str | Path) -> Study:
        """Open a study; interrupted changes are finished or undone, older versions are migrated.

        Raises:
            BadInput: If there is no study, it is damaged or made by a newer version, or its images are elsewhere.
        """
        folder = Path(os.path.abspath(folder))
        record = read_study(folder)
        study = cls(folder, record, read_cohort(folder, record))
        if os.access(folder, os.W_OK):  # read-only users see unfinished changes correctly in any case
            study.recover()
        return study

    def recover(self) -> None:
        """Finish or undo interrupted changes; changes in progress are left alone, damaged ones are noted."""
        self._ledger.recover()

    @contextlib.contextmanager
    def lock(self, wait: float = 0.0) -> Iterator[None]:
        """Lock the study against other jobs within a ``with`` block; re-entrant for the same object.

        Temporary files of killed commands are deleted first.

        Args:
            wait: Seconds to wait for another job.

        Raises:
            BadInput: On entering, if another process holds it; names the process and what to do.
            JobFailed: On entering, if locks are not available (package filelock missing).
        """
        with self._lock.held(wait):
            with explained(self.folder):
                sweep_tree(self.folder)
            yield

    @property
    def settings(self) -> StudySettings:
        """The settings, as they are on disk now."""
        return read_study(self.folder).settings

    def change_settings(self, settings: StudySettings) -> None:
        """Replace sections of the settings; the new sections are recorded.

        Args:
            settings: JSON values in sections; sections that are not given stay.

        Raises:
            BadInput: If the study cannot be written.
            JobFailed: If the disk is full.
        """
        event = {"event": "settings", "sections": dict(settings)}
        self._change(lambda record: replace(record, settings={**record.settings, **settings}), event)

    @property
    def cache_folder(self) -> Path:
        """Folder of the cache, which can be computed again; it may be deleted at any time."""
        return self.folder / "cache"

    def cache_size(self) -> int:
        """Size of the cache in bytes."""
        return tree_size(self.cache_folder)

    def clear_cache(self) -> int:
        """Delete the cache; it is computed again when needed.

        Returns:
            Bytes that were freed.

        Raises:
            BadInput: If another process holds the study's lock, or the folder cannot be removed.
        """
        with self.lock():
            return remove_cache(self.cache_folder)

    def commit(
        self, annotations: Sequence[SliceAnnotation], *, expected: Mapping[SliceId, str | None] | None = None
    ) -> None:
        """Store annotated slices; when this returns they are on disk.

        All are checked first, then stored volume by volume: after a crash, each volume has either all of its new
        commits or none. Label values of replaced commits are kept, see ``version_labels``.

        Args:
            annotations: What to store.
            expected: Expected current hash of the label values (``hash_labels``) of slices, None for not committed;
                other slices are not compared.

        Raises:
            ChangedMeanwhile: If a slice was committed under the same name since.
            BadInput: If one cannot be stored as it is: no such slice, another shape, values outside the label set,
                nothing drawn, an excluded volume.
            JobFailed: If the disk is full.
        """
        excluded = self.excluded()
        for annotation in annotations:
            require_included(annotation.slice.volume, excluded, self.folder)
        self._store.commit(annotations, expected)

    def version_labels(self, slice_id: SliceId, annotator: str, labels_sha256: str) -> np.ndarray:
        """Label values of an earlier commit of a slice, (rows, columns) uint8; see ``SliceRecord.versions``.

        Raises:
            BadInput: If there is no such slice, or the version is not kept or damaged.
        """
        return self._store.version(slice_id, annotator, labels_sha256)

    def skip(self, slice_id: SliceId, annotator: str, reason: str, *, round: int | None = None) -> None:
        """Skip a slice; it is not requested again.

        Args:
            slice_id: Which slice.
            annotator: Name of the annotator.
            reason: Why it is skipped.
            round: Round whose request is skipped, or None.

        Raises:
            BadInput: If there is no such slice, or this annotator has committed it.
        """
        require_included(slice_id.volume, self.excluded(), self.folder)
        self._store.skip(slice_id, annotator, reason, round)

    def flag(self, slice_id: SliceId, annotator: str, note: str) -> None:
        """Flag a slice for review; its pixels stay as they are.

        Raises:
            BadInput: If there is no such slice.
        """
        require_included(slice_id.volume, self.excluded(), self.folder)
        self._store.flag(slice_id, annotator, note)

    def require_output(self, out: Path, targets: Iterable[Path]) -> None:
        """Refuse to write to the folders of the cohort's images or of the study's records; call it before the first
        write.

        Args:
            out: Folder to write to.
            targets: Files to write.

        Raises:
            BadInput: If it is one of these folders.
        """
        self.cohort.require_apart(out, targets)
        own = [self.folder.resolve() / name for name in ("annotations", "rounds", "drafts", "audit", "cache")]
        if any(Path(out).resolve().is_relative_to(folder) for folder in own):
            advice = "Choose another folder for the output."
            raise BadInput("The study keeps its own records in this folder.", where=out, advice=advice)

    def annotations(
        self, annotator: str | None = None, *, include_excluded: bool = False, volume: str | None = None
    ) -> dict[SliceId, SliceAnnotation]:
        """The latest commit of every slice, in order of slices; the arrays are read-only.

        Args:
            annotator: Only commits of this annotator. Default: the latest commits of all annotators.
            include_excluded: Also commits on excluded volumes.
            volume: Only commits on this volume; no other file is read. Default: all volumes.

        Files that are damaged, were changed outside the study, or belong to no volume of the cohort are left out;
        ``damaged`` lists them.

        Raises:
            BadInput: If both an annotator and a volume are named, and this annotator's files of it are damaged.
        """
        stem = None if annotator is None else annotator_stem(annotator)
        excluded = {} if include_excluded else self.excluded()
        latest: dict[SliceId, SliceAnnotation] = {}
        for found in self._store.annotations(volume):
            if found.slice.volume in excluded or (stem is not None and annotator_stem(found.annotator) != stem):
                continue
            known = latest.get(found.slice)
            if known is None or _age(known) < _age(found):
                latest[found.slice] = found
        if volume is not None and stem is not None:
            self._store.require_usable(volume, stem)
        return dict(sorted(latest.items()))

    def damaged(self) -> list[BadInput]:
        """Files that were left out when the study was opened or its annotations were last read, and what to do."""
        return [*self._ledger.damaged, *self._store.damaged()]

    def skipped(self) -> dict[SliceId, str]:
        """The reason for each slice that is skipped and not committed, without excluded volumes."""
        return skipped_slices(self.slice_files())

    def flagged(self) -> dict[SliceId, str]:
        """The note on each flagged slice, without excluded volumes."""
        return flagged_slices(self.slice_files())

    def open_requests(self, number: int, annotator: str | None = None) -> list[Request]:
        """The open requests of a round, in their order.

        A commit or a skip answers a request if it was made for this round, a later one, or no specific round. Requests
        of excluded volumes are not open.

        Args:
            number: Number of the round.
            annotator: Count only answers of this annotator. Default: of all annotators.
        """
        closed, excluded = closed_slices(self.slice_files(), number, annotator), self.excluded()
        requests = self.requests.read(number).requests
        return [r for r in requests if r.slice not in closed and r.slice.volume not in excluded]

    def excluded(self) -> dict[str, str]:
        """The reason for each excluded volume, as it is on disk now."""
        return dict(read_study(self.folder).excluded)

    def exclude(self, volume_id: str, reason: str) -> None:
        """Exclude a volume from suggestions, training and prediction; its commits are kept.

        Raises:
            BadInput: If there is no such volume.
        """
        require_volume(self._volumes, volume_id)
        self._change(
            lambda record: replace(record, excluded={**record.excluded, volume_id: reason}),
            {"event": "exclude", "volume": volume_id, "reason": reason},
        )

    def include(self, volume_id: str) -> None:
        """Include an excluded volume again; does nothing if it is not excluded.

        Raises:
            BadInput: If there is no such volume.
        """
        require_volume(self._volumes, volume_id)
        self._change(
            lambda record: replace(record, excluded={k: v for k, v in record.excluded.items() if k != volume_id}),
            {"event": "include", "volume": volume_id},
        )

    def _change(self, change: Callable[[StudyRecord], StudyRecord], event: dict[str, Any]) -> None:
        with self._ledger.writing(STUDY_STEM) as writer:
            record = read_study(self.folder)
            changed = change(record)
            if changed != record:
                writer.apply(Change(self.folder / STUDY_FILE, changed.to_bytes(), [event]))

    def status(self) -> dict[str, Any]:
        """Counts of the study, as JSON values; reads no image and no label map.

        Returns:
            "volumes", "slices" (without excluded volumes), "excluded", "annotation", "annotated", "skipped",
            "flagged", "open" (requests of the latest round), "seconds" by kind, "rounds" (a list), "patients" and
            "annotators" (by name), "extents" (by volume; first and last slice, counted from 0), "damaged" (what was
            left out, one text each).
        """
        return study_status(self)

    def slice_files(self, volume: str | None = None) -> Iterable[SliceFile]:
        """Slice records, one file per annotator and volume, without excluded volumes. Default: of all volumes."""
        excluded = self.excluded()
        return (file for file in self._store.slice_files(volume) if file.volume not in excluded)


def _age(annotation: SliceAnnotation) -> tuple[str, str]:
    return annotation.committed_at, annotator_stem(annotation.annotator)
