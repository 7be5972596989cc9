"""A study: one piece of work on a cohort, kept in one folder that this room alone writes."""

from __future__ import annotations

import contextlib
import copy
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.cohort import AnnotationKind, Cohort, SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, remove_tree, tree_size
from ActiveSegmentationLib.study.annotation_store import AnnotationStore
from ActiveSegmentationLib.study.annotations import SliceAnnotation, check_slice
from ActiveSegmentationLib.study.audit import Audit
from ActiveSegmentationLib.study.creation import check_empty, write_new
from ActiveSegmentationLib.study.drafts import Draft, DraftStore
from ActiveSegmentationLib.study.extents import Extents, ExtentStore
from ActiveSegmentationLib.study.image_record import ImageHashes, ImageRecord
from ActiveSegmentationLib.study.labels import LabelSet
from ActiveSegmentationLib.study.ledger import Change, Ledger
from ActiveSegmentationLib.study.locks import StudyLock
from ActiveSegmentationLib.study.names import STUDY_STEM, annotator_stem, check_volume_ids
from ActiveSegmentationLib.study.requests import Request, RequestList, RequestStore
from ActiveSegmentationLib.study.slice_records import SliceFile, SliceRecord, SliceStatus
from ActiveSegmentationLib.study.status import study_status
from ActiveSegmentationLib.study.study_file import (
    STUDY_FILE,
    StudyRecord,
    StudySettings,
    read_cohort,
    read_study,
    relative_root,
    relocated,
)
from ActiveSegmentationLib.study.times import now

IMAGES_ADVICE = (
    "Restore the files, or leave the volumes out (activesegmentation exclude STUDY VOLUME). If the change is wanted: "
    "activesegmentation relocate STUDY COHORT --accept-changed."
)


class Study:
    """An opened study; made by ``Study.create`` and ``Study.open``.

    Several processes and annotators may have it open. Commits, skips and flags of different annotators do not wait for
    each other; ``lock`` is for jobs (suggest, train) of which one should run at a time.

    Attributes:
        folder: Folder of the study.
        id: UUID of the study.
        labels: The label set.
        annotation: How annotators of this study mark a slice unless told otherwise.
        cohort: All volumes, those that are excluded among them.
        audit: Who did what and when.
    """

    def __init__(self, folder: Path, record: StudyRecord, cohort: Cohort) -> None:
        self.folder = folder
        self.id = record.id
        self.labels = record.labels
        self.annotation = record.annotation
        self.cohort = cohort
        self._settings = record.settings
        self._ledger = Ledger(folder, record.id)
        volumes = {volume.id: volume for volume in cohort.volumes}
        self._store = AnnotationStore(folder / "annotations", volumes, record.labels, self._ledger)
        self._requests = RequestStore(folder / "rounds", volumes, self._ledger)
        self._drafts = DraftStore(folder / "drafts", volumes)
        self._extents = ExtentStore(folder, volumes, self._ledger)
        self._images = ImageRecord(folder, self._ledger)
        self._lock = StudyLock(folder)
        self.audit = Audit(folder / "audit", self._ledger, self._store)

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
        """Make a study in a folder that is empty or not there yet; if it fails, nothing is left behind.

        Args:
            folder: Folder of the study.
            cohort: Its images; they are referred to, not copied.
            labels: What is to be annotated.
            annotation: Masks or scribbles.
            settings: JSON values in sections.

        Raises:
            BadInput: If the folder holds something, cannot be written, or the cohort has no volume.
            JobFailed: If the disk is full.
        """
        folder = Path(os.path.abspath(folder))
        check_empty(folder)
        check_volume_ids(volume.id for volume in cohort.volumes)
        if not cohort.volumes:
            advice = "Look at the problems that indexing it reports."
            raise BadInput("The cohort has no usable volume.", where=cohort.root, advice=advice)
        record = StudyRecord(
            id=str(uuid.uuid4()),
            created=now(),
            labels=labels,
            annotation=AnnotationKind(annotation),
            cohort_root=relative_root(cohort.root, folder),
            settings=copy.deepcopy(settings or {}),
        )
        write_new(folder, record, cohort.with_labels(labels.names))
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Study:
        """Open a study; what a crash left unfinished is settled, an older version brought up to date.

        Raises:
            BadInput: If there is no study, it is damaged or made by a newer version, or its images are elsewhere.
        """
        folder = Path(os.path.abspath(folder))
        record = read_study(folder)
        study = cls(folder, record, read_cohort(folder, record))
        if os.access(folder, os.W_OK):  # one who may only read sees unfinished changes rightly all the same
            study.recover()
        return study

    def recover(self) -> None:
        """Finish or undo the changes that crashes interrupted; changes that are being made now are left alone.

        Raises:
            BadInput: If there is something to settle and the study cannot be written.
        """
        self._ledger.recover()

    def lock(self, wait: float = 0.0) -> contextlib.AbstractContextManager[None]:
        """Keep other jobs out of the study within a ``with`` block; may be entered again by the same object.

        Args:
            wait: Seconds to wait for another job.

        Raises:
            BadInput: On entering, if another process holds it; names the process and what to do.
            JobFailed: On entering, if locks are not to be had (package filelock missing).
        """
        return self._lock.held(wait)

    @property
    def settings(self) -> StudySettings:
        """A copy of the settings."""
        return copy.deepcopy(self._settings)

    @property
    def cache_folder(self) -> Path:
        """Where what can be computed again is kept; may be deleted at any time."""
        return self.folder / "cache"

    def cache_size(self) -> int:
        """Bytes that the cache takes on the disk."""
        return tree_size(self.cache_folder)

    def clear_cache(self) -> int:
        """Remove the cache; whoever needs something of it makes it again.

        Returns:
            Bytes that were freed.

        Raises:
            BadInput: If another process holds the study's lock, or the folder cannot be removed.
        """
        with self.lock(), explained(self.cache_folder):
            freed = self.cache_size()
            place = self.cache_folder.resolve()
            remove_tree(place)
            for leftover in place.parent.glob(f".tmp-removed-{place.name}-*"):  # of a removal that was killed
                freed += tree_size(leftover)
                shutil.rmtree(leftover)
            if self.cache_folder.is_symlink():  # somebody keeps it on another disk, and it is to stay there
                place.mkdir()
        return freed

    def commit(
        self, annotations: Sequence[SliceAnnotation], *, expected: Mapping[SliceId, str | None] | None = None
    ) -> None:
        """Store annotated slices; when this returns they are on disk.

        All are checked first. Then they are stored volume by volume: a crash in between leaves each volume as before
        or after, and what was stored earlier is never lost: label values that are replaced are kept, see
        ``version_labels``.

        Args:
            annotations: What to store.
            expected: Hash of the label values (``hash_labels``) that each slice is believed to have now, None for one
                that is not committed; slices that are not named are not compared.

        Raises:
            ChangedMeanwhile: If somebody else has committed a slice under the same name since.
            BadInput: If one cannot be stored as it is: no such slice, another shape, values outside the label set,
                nothing drawn, an excluded volume.
            JobFailed: If the disk is full.
        """
        excluded = self.excluded()
        for annotation in annotations:
            self._check_included(annotation.slice, excluded)
        self._store.commit(annotations, expected)

    def version_labels(self, slice_id: SliceId, annotator: str, labels_sha256: str) -> np.ndarray:
        """Label values of an earlier commit of a slice, (rows, columns) uint8; see ``SliceRecord.versions``.

        Raises:
            BadInput: If there is no such slice, or the version is not kept or damaged.
        """
        return self._store.version(slice_id, annotator, labels_sha256)

    def skip(self, slice_id: SliceId, annotator: str, reason: str, *, round: int | None = None) -> None:
        """Leave a slice out; it is not asked for again unless somebody commits it.

        Args:
            slice_id: Which slice.
            annotator: Who says so.
            reason: Why, for the record.
            round: Round whose request is skipped, or None.

        Raises:
            BadInput: If there is no such slice, or this annotator has committed it.
        """
        self._check_included(slice_id, self.excluded())
        self._store.skip(slice_id, annotator, reason, round)

    def flag(self, slice_id: SliceId, annotator: str, note: str) -> None:
        """Mark a slice to be looked at again; says nothing about its pixels.

        Raises:
            BadInput: If there is no such slice.
        """
        self._check_included(slice_id, self.excluded())
        self._store.flag(slice_id, annotator, note)

    def save_draft(self, draft: Draft, annotator: str) -> str:
        """Keep what an annotator has drawn on a slice without committing it; replaces an earlier draft of the slice.

        A draft that another process has written since it was read here is not replaced.

        Returns:
            Under which name it is kept: the annotator's, or where that draft is another process's, "NAME 2" or so.

        Raises:
            BadInput: If there is no such slice, a plane has another shape, or the folder cannot be written.
            JobFailed: If the disk is full.
        """
        check_slice(draft.slice, self._store.volume(draft.slice.volume))
        return self._drafts.save(draft, annotator)

    def drafts(self, annotator: str, volume: str | None = None) -> dict[SliceId, Draft]:
        """What an annotator has drawn and neither committed nor discarded, in order of slices; of one volume if named.

        Raises:
            BadInput: If a draft is damaged; it names the file.
        """
        return self._drafts.all(annotator, volume)

    def discard_draft(self, slice_id: SliceId, annotator: str) -> None:
        """Forget the draft of a slice; does nothing where there is none, or another process has written it since."""
        self._drafts.discard(slice_id, annotator)

    def _check_included(self, slice_id: SliceId, excluded: Mapping[str, str]) -> None:
        self._check_volume_included(slice_id.volume, excluded)

    def _check_volume_included(self, volume_id: str, excluded: Mapping[str, str]) -> None:
        if volume_id in excluded:
            advice = "Take it back first (exclude --undo)."
            raise BadInput(f"Volume '{volume_id}' is excluded.", where=self.folder, advice=advice)

    def require_output(self, out: Path, targets: Iterable[Path]) -> None:
        """Refuse to write where the cohort's images or the study's own records are; called before the first write.

        Args:
            out: Folder that is to be written to.
            targets: Files that are to be written.

        Raises:
            BadInput: If it is the folder of the cohort, of the study, or one that the study keeps its records in.
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
            annotator: Only this annotator's commits; None for the latest over all annotators.
            include_excluded: Also those of excluded volumes.
            volume: Only those of this volume; no other file is read.

        Raises:
            BadInput: If a file is damaged, was changed outside of the study, or belongs to no volume of the cohort.
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
        return dict(sorted(latest.items()))

    def skipped(self) -> dict[SliceId, str]:
        """The reason for each slice that somebody skipped and nobody committed, without excluded volumes."""
        committed: set[SliceId] = set()
        reasons: dict[SliceId, str] = {}
        for slice_id, record, _ in self._records():
            if record.committed:
                committed.add(slice_id)
            elif record.status == SliceStatus.SKIPPED:
                reasons[slice_id] = record.skip_reason
        return {slice_id: reason for slice_id, reason in sorted(reasons.items()) if slice_id not in committed}

    def flagged(self) -> dict[SliceId, str]:
        """The note on each flagged slice, without excluded volumes."""
        notes = {slice_id: record.flag_note for slice_id, record, _ in self._records() if record.flagged_at}
        return dict(sorted(notes.items()))

    def _records(self) -> Iterator[tuple[SliceId, SliceRecord, str]]:
        excluded = self.excluded()
        for file in self._store.slice_files():
            if file.volume not in excluded:
                for index, record in file.slices.items():
                    yield SliceId(file.volume, index), record, file.annotator

    def rounds(self) -> list[int]:
        """Numbers of the rounds that have requests, ascending."""
        return self._requests.rounds()

    def next_round(self) -> int:
        """Number of the round that the next requests belong to, from 1."""
        return max(self.rounds(), default=0) + 1

    def write_requests(self, requests: RequestList) -> None:
        """Store the requests of a round for good; writing the same again does nothing.

        Raises:
            BadInput: If the round has other requests, is not the next one, or a request is not of this study.
        """
        self._requests.write(requests, self.excluded())

    def requests(self, number: int) -> RequestList:
        """The requests of a round.

        Raises:
            BadInput: If the round has none, or the file is damaged.
        """
        return self._requests.read(number)

    def open_requests(self, number: int, annotator: str | None = None) -> list[Request]:
        """The requests of a round that nobody answered since, in their order.

        A commit or a skip answers a request if it was made for this round or a later one, or for none in particular.
        Requests of volumes that were excluded later are not open.

        Args:
            number: Number of the round.
            annotator: Count only this annotator's answers; None for anybody's.
        """
        stem = None if annotator is None else annotator_stem(annotator)
        answered = set(self.excluded())
        closed = {
            slice_id
            for slice_id, record, name in self._records()
            if (stem is None or annotator_stem(name) == stem) and record.answers(number)
        }
        requests = self.requests(number).requests
        return [r for r in requests if r.slice not in closed and r.slice.volume not in answered]

    def round_folder(self, number: int) -> Path:
        """Folder of a round, for its model and log; it need not exist yet. Round 0 is before the first requests."""
        return self._requests.round_folder(number)

    def write_record(self, number: int, name: str, value: Mapping[str, Any]) -> Path:
        """Write ``<name>.json`` ("config", "metrics") of a round, replacing an earlier one; its path.

        Raises:
            BadInput: If the name is no plain word, or "request".
        """
        return self._requests.write_record(number, name, value)

    def read_record(self, number: int, name: str) -> dict[str, Any] | None:
        """Read ``<name>.json`` of a round, or None where there is none."""
        return self._requests.read_record(number, name)

    def excluded(self) -> dict[str, str]:
        """The reason for each volume that is left out of everything, as it is on disk now."""
        return dict(read_study(self.folder).excluded)

    def exclude(self, volume_id: str, reason: str) -> None:
        """Leave a volume out of everything; what was committed on it is kept.

        Raises:
            BadInput: If there is no such volume.
        """
        self._store.volume(volume_id)
        self._change_excluded(
            lambda excluded: {**excluded, volume_id: reason},
            {"event": "exclude", "volume": volume_id, "reason": reason},
        )

    def include(self, volume_id: str) -> None:
        """Take an excluded volume back; does nothing where it is not excluded.

        Raises:
            BadInput: If there is no such volume.
        """
        self._store.volume(volume_id)
        self._change_excluded(
            lambda excluded: {name: reason for name, reason in excluded.items() if name != volume_id},
            {"event": "include", "volume": volume_id},
        )

    def _change_excluded(self, change: Callable[[dict[str, str]], dict[str, str]], event: dict[str, Any]) -> None:
        with self._ledger.writing(STUDY_STEM) as writer:
            record = read_study(self.folder)
            changed = replace(record, excluded=change(dict(record.excluded)))
            if changed != record:
                writer.apply(Change(self.folder / STUDY_FILE, changed.to_bytes(), [event]))

    def mark_extent(self, volume_id: str, first: int, last: int) -> None:
        """Say which slices of a volume show any structure; replaces what was said before.

        Args:
            volume_id: The volume.
            first: First slice that shows any, counted from 0.
            last: Last slice that does, not before ``first``.

        Raises:
            BadInput: If there is no such volume or slice, the volume is excluded, or the study cannot be written.
        """
        self._store.volume(volume_id)
        self._check_volume_included(volume_id, self.excluded())
        self._extents.mark(volume_id, first, last)

    def clear_extent(self, volume_id: str) -> None:
        """Take back what was marked in a volume; does nothing where nothing was.

        Raises:
            BadInput: If there is no such volume, or the study cannot be written.
        """
        self._store.volume(volume_id)
        self._extents.clear(volume_id)

    def extents(self) -> Extents:
        """Of every marked volume the first and the last slice that show any structure, without excluded volumes.

        Raises:
            BadInput: If the file is damaged.
        """
        excluded = self.excluded()
        return {volume: both for volume, both in self._extents.all().items() if volume not in excluded}

    def check_images(self, hashes: ImageHashes) -> None:
        """Compare the content of image files with what ``record_images`` kept; volumes it knows nothing of are fine.

        Args:
            hashes: For each volume the SHA-256 of each of its image files, see ``cohort.image_hashes``.

        Raises:
            BadInput: If files have changed since: what was annotated and learned would belong to other images.
        """
        changed = self._images.changed(hashes)
        if changed:
            lines = [f"  {volume}: {_shortened(paths)}" for volume, paths in changed.items()]
            message = f"The images of {len(changed)} volume(s) changed since this study first used them:\n"
            raise BadInput(message + "\n".join(lines) + "\n", where=self.cohort.root, advice=IMAGES_ADVICE)

    def record_images(self, hashes: ImageHashes) -> None:
        """Keep the content of the image files of volumes that nothing is known of yet; to be called once they are used.

        Before that, a file that cannot be read may still be repaired.
        """
        if os.access(self.folder, os.W_OK):  # one who may only read works with the images all the same
            self._images.add(hashes)

    def changed_images(self, hashes: ImageHashes) -> dict[str, list[str]]:
        """Image files, by volume, whose content is not what ``record_images`` kept."""
        return self._images.changed(hashes)

    def accept_images(self, volume_ids: Iterable[str]) -> None:
        """Take the image files of some volumes as they are now; what was committed on them is kept.

        Raises:
            BadInput: If there is no such volume.
        """
        volume_ids = tuple(volume_ids)
        for volume_id in volume_ids:
            self._store.volume(volume_id)
        self._images.drop(volume_ids)

    def status(self) -> dict[str, Any]:
        """Counts for people and programs, as JSON values; reads no image and no label map.

        Returns:
            "volumes", "slices" (of the volumes that take part), "excluded", "annotation", "annotated", "skipped",
            "flagged", "open" (requests of the latest round), "seconds" by kind, "rounds" (a list), "patients" and
            "annotators" (by name), "extents" (by volume; first and last slice, counted from 0).
        """
        return study_status(self)

    def slice_files(self, volume: str | None = None) -> Iterable[SliceFile]:
        """What is known of the slices, one file an annotator and volume, without excluded volumes; of one if named."""
        excluded = self.excluded()
        return (file for file in self._store.slice_files(volume) if file.volume not in excluded)


def relocate(folder: Path, cohort_root: Path) -> Study:
    """Tell a study where its images are now, and open it.

    Args:
        folder: Folder of the study.
        cohort_root: Where the cohort's root is now.

    Raises:
        BadInput: If there is no study, or images of the cohort are missing there.
    """
    folder = Path(os.path.abspath(folder))
    with Ledger(folder, read_study(folder).id).writing(STUDY_STEM) as writer:
        moved = relocated(folder, read_study(folder), Path(cohort_root))
        writer.apply(Change(folder / STUDY_FILE, moved.to_bytes(), [{"event": "relocate"}]))
    return Study.open(folder)


def _age(annotation: SliceAnnotation) -> tuple[str, str]:
    return annotation.committed_at, annotator_stem(annotation.annotator)


def _shortened(paths: Sequence[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
