"""The audit trail of a study: who did what and when, and checks that the files still agree with it."""

from __future__ import annotations

import itertools
import os
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.cohort import Volume
from ActiveSegmentationLib.common.errors import ActiveSegmentationError, BadInput
from ActiveSegmentationLib.common.files import hash_file
from ActiveSegmentationLib.study.anchor import Anchor
from ActiveSegmentationLib.study.annotation_files import AnnotationFiles
from ActiveSegmentationLib.study.annotation_store import AnnotationStore
from ActiveSegmentationLib.study.image_record import ImageRecord
from ActiveSegmentationLib.study.ledger import WAIT, Ledger
from ActiveSegmentationLib.study.names import STUDY_STEM, annotator_stem, clean_annotator
from ActiveSegmentationLib.study.slice_records import SliceFile
from ActiveSegmentationLib.study.study_file import COHORT_FILE, STUDY_FILE, read_study
from ActiveSegmentationLib.study.trail import Trail

_ATTEMPTS = 3


class Audit:
    """Hash-chained records of everything done in a study: one file per annotator and one for the study itself.

    Args:
        folder: The ``audit`` folder.
        ledger: Writes the chains.
        store: The annotations that the records describe.
        images: The recorded content of the images.
    """

    def __init__(self, folder: Path, ledger: Ledger, store: AnnotationStore, images: ImageRecord) -> None:
        self.folder = folder
        self._study = folder.parent
        self._ledger = ledger
        self._store = store
        self._images = images

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

    def anchor(self) -> Anchor:
        """The present end of every chain, to be kept elsewhere; see ``Anchor``."""
        return Anchor.of(self._ledger)

    def verify(self, *, images: bool = False, anchor: Anchor | None = None) -> list[str]:
        """Compare every file of the study with the records, and check the records themselves.

        What changes meanwhile is read again.

        Args:
            images: Whether to read the images of annotated volumes and compare them with what was recorded.
            anchor: An earlier end of every chain; the records must continue from there.

        Returns:
            One sentence per problem; empty if the trail is complete and nothing was changed outside it. Without an
            anchor, a study whose files and records were replaced by a consistent older or forged state is not noticed.
        """
        problems = [
            f"annotations/{name}: the cohort has no such volume; its annotations are not used."
            for name in self._store.unknown_volumes()
        ]
        for stem in sorted({*self._ledger.stems(), *self._store.stems(), STUDY_STEM}):
            problems += self._settled(stem, lambda stem=stem: self._problems_of(stem))  # type: ignore[misc]
        if anchor is not None:
            problems += anchor.problems(self._ledger)
        if images:
            problems += self._image_problems()
        return problems

    def _settled(self, stem: str, check: Callable[[], list[str]]) -> list[str]:
        """The problems of a chain and its files, while nobody changes them.

        The first look needs no lock. If it finds something, the chain is looked at again while no other process can
        write to it; a reader who may not write looks until nothing changes between two looks.
        """
        problems = check()
        if problems and os.access(self.folder, os.W_OK):
            try:
                with self._ledger.reading(stem, WAIT):
                    return check()
            except ActiveSegmentationError as problem:
                return [*problems, str(problem)]
        for _ in range(_ATTEMPTS if problems else 0):
            before = self._state(stem)
            problems = check()
            if not problems or self._state(stem) == before:
                break
        return problems

    def _state(self, stem: str) -> list[tuple[str, int, int]]:
        paths = [*self.folder.glob("*.json*"), *self._study.glob("*.json"), *self._study.glob("rounds/*/request.json")]
        paths += [path for files, _ in self._files_of(stem) for path in (files.slices, files.segments, files.pending)]
        stats = [(path, path.stat()) for path in paths if path.is_file()]
        return sorted((str(path), stat.st_mtime_ns, stat.st_ino) for path, stat in stats)

    def _problems_of(self, stem: str) -> list[str]:
        chain = self._ledger.chain(stem)
        try:
            problems, trail = chain.problems(), Trail(stem, chain.records())
        except BadInput as problem:
            return [str(problem)]
        if stem in self._ledger.interrupted():
            problems.append(
                f"{stem}: a change was interrupted; it is finished or undone when the study is opened for writing."
            )
        if stem == STUDY_STEM:
            return [*problems, *self.study_problems(trail)]
        return [*problems, *itertools.chain(*self.volume_problems(trail).values())]

    def volume_problems(self, trail: Trail) -> dict[str, list[str]]:
        """How the annotator's files of each volume differ from the records; volumes without a problem are left out."""
        problems: dict[str, list[str]] = {}
        seen = set()
        for files, volume in self._files_of(trail.stem):
            seen.add(files.folder.name)
            problems.setdefault(volume.id, []).extend(self._volume_problems(trail, files, volume))
        problems |= {name: trail.slice_problems(name, None) for name in sorted(trail.volumes - seen)}
        return {name: found for name, found in problems.items() if found}

    def _files_of(self, stem: str) -> list[tuple[AnnotationFiles, Volume]]:
        wanted = unicodedata.normalize("NFC", stem)
        return [found for found in self._store.files() if unicodedata.normalize("NFC", found[0].stem) == wanted]

    def _volume_problems(self, trail: Trail, files: AnnotationFiles, volume: Volume) -> list[str]:
        """Problems of one annotator's files of one volume; hashes of files are compared if nothing else is wrong."""
        problems: list[str] = []
        file: SliceFile | None = None
        try:
            found = files.read_slices(volume)
            file = None if found is None else found[1]
        except BadInput as problem:
            return [str(problem)]
        try:
            if file is not None:
                files.read_labels(volume)
                problems += self._version_problems(files, file)
        except BadInput as problem:
            problems.append(str(problem))
        problems += trail.slice_problems(volume.id, file)
        return problems or self._file_problems(trail, files, file)

    def _version_problems(self, files: AnnotationFiles, file: SliceFile) -> Iterator[str]:
        for index, record in file.slices.items():
            for version in record.versions:
                if files.version(index, version.labels_sha256).exists():
                    try:
                        files.read_version(index, version.labels_sha256)
                    except BadInput as problem:
                        yield str(problem)

    def _file_problems(self, trail: Trail, files: AnnotationFiles, file: SliceFile | None) -> list[str]:
        place = f"annotations/{files.folder.name}/{files.stem}."
        own = {name: digest for name, digest in trail.files.items() if name.startswith(place)}
        segments = file.segments_sha256 if file is not None else None
        if segments is not None:
            own = {f"{place}seg.nrrd": segments, **{name: digest for name, digest in own.items() if digest is not None}}
        return self._differing(own, {f"{place}seg.nrrd": files.pending})

    def _differing(self, files: Mapping[str, str | None], otherwise: Mapping[str, Path]) -> list[str]:
        """Files that are not what was recorded; ``otherwise`` says where a file may be instead."""
        problems = []
        for name, digest in sorted(files.items()):
            path = self._study / name
            places = [place for place in (path, otherwise.get(name)) if place is not None and place.is_file()]
            if not places:
                problems.append(f"{name}: the file is in the audit but no longer in the study.")
            elif digest is not None and digest not in map(hash_file, places):
                problems.append(f"{name}: the file is not what the audit recorded.")
        return problems

    def study_problems(self, trail: Trail) -> list[str]:
        """How the files of the study itself differ from its records."""
        problems = self._differing(trail.files, {})
        created = next((record for record in self.records() if record.get("event") == "created"), None)
        record = read_study(self._study)
        if created is None:
            problems.append(f"{STUDY_FILE}: the creation of the study has no audit record.")
        elif (created.get("study"), created.get("annotation")) != (record.id, str(record.annotation)):
            problems.append(f"{STUDY_FILE}: id or kind of annotation is not what the audit recorded.")
        for name in self.study_files():
            if name not in (STUDY_FILE, COHORT_FILE) and name not in trail.files:
                problems.append(f"{name}: the file has no audit record.")
        return problems

    def study_files(self) -> list[str]:
        """The files of the study itself that the audit covers, as paths in the study."""
        there = [path for path in self._study.glob("*.json") if path.is_file()]
        there = [path for path in there if not path.name.startswith((".", f"{STUDY_FILE[:-5]}.schema-"))]
        found = sorted([*there, *self._study.glob("rounds/*/request.json")])
        return [path.relative_to(self._study).as_posix() for path in found]

    def _image_problems(self) -> list[str]:
        trails = [Trail(stem, self._ledger.chain(stem).records()) for stem in self._ledger.stems()]
        volumes = sorted({volume for trail in trails for volume in trail.volumes})
        problems = self._images.problems(volumes)
        known = {problem.partition(":")[0] for problem in problems}
        for volume in volumes:
            now = self._images.digest(volume)
            for trail in trails:
                found = trail.images(volume)
                if found is None or now is None or volume in known:
                    continue
                if found[0] != now:
                    problems.append(f"{volume}: {trail.stem} annotated other images than those that are there now.")
                elif found[1]:
                    problems.append(f"{volume}: {found[1]} commits of {trail.stem} were made on other images.")
        return problems
