"""Content hashes of the files of volumes, and a loop over volumes in threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from ActiveSegmentationLib.cohort.headers import data_files
from ActiveSegmentationLib.cohort.types import Cohort, LabelSource, Source, Volume
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, hash_file, hash_json, read_fields, write_json
from ActiveSegmentationLib.common.progress import Progress, or_silent

UNREADABLE = "unreadable"
"""Stands for the hash of a file that cannot be read."""


class FileHashes:
    """Hashes of files' contents, remembered on disk; a file is read again only when its size or a time has changed.

    Next to the time of the last change there is one that programs cannot set, so that a file is read again that was
    replaced by another of equal size and time.

    Thread-safe. If several processes use the same file at once, each may lose entries of the other, which only costs
    time.

    Args:
        path: JSON file to store them in. Default: they are remembered only as long as this object.
        others: Further such files, of other processes; what they know is stored too.
    """

    def __init__(self, path: Path | None = None, others: Sequence[Path] = ()) -> None:
        self._path = path
        self._known = {file: text for known in (*others, path) for file, text in _remembered(known).items()}
        self._changed = bool(others)
        self._lock = threading.Lock()

    def of(self, file: Path) -> str:
        """SHA-256 of an image's content as 64 hexadecimal digits, including separate files with pixels.

        Raises:
            BadInput: If a file cannot be read.
        """
        others = data_files(file)
        own = self._of_one(file)
        return own if not others else hash_json([own, *(self._of_one(other) for other in others)])

    def _of_one(self, file: Path) -> str:
        with explained(file):
            state = file.stat()
        stamp = f"{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}"
        known = self._known.get(str(file), "")
        if known.rpartition(" ")[0] != stamp:
            known = f"{stamp} {self._read(file)}"
            with self._lock:
                self._known[str(file)] = known
                self._changed = True
        return known.rpartition(" ")[2]

    def _read(self, file: Path) -> str:
        return hash_file(file)

    def save(self) -> None:
        """Save new hashes.

        Raises:
            BadInput: If the file cannot be written.
            JobFailed: If the disk is full.
        """
        if self._changed and self._path is not None:
            write_json(self._path, self._known)
            self._changed = False


class _Unknown(Exception):
    """A hash that is not remembered."""


class _OnlyRemembered(FileHashes):
    """Reads no file."""

    def _read(self, file: Path) -> str:
        raise _Unknown


def known_hashes(cohort: Cohort, path: Path) -> dict[str, str] | None:
    """As ``content_hashes``, from what is remembered in ``path`` alone; None if that is not enough."""
    files = _OnlyRemembered(path)
    try:
        return {volume.id: _content(cohort, volume, files) for volume in cohort.volumes}
    except (_Unknown, BadInput):
        return None


def _remembered(path: Path | None) -> dict[str, str]:
    """The hashes in a file; none if it is missing or damaged, which costs a reading of the images."""
    try:
        known = read_fields(path) if path is not None and path.is_file() else {}
    except BadInput:
        return {}
    return {file: text for file, text in known.items() if isinstance(text, str)}


def content_hashes(
    cohort: Cohort, path: Path, *, workers: int, progress: Progress, others: Sequence[Path] = ()
) -> tuple[dict[str, str], dict[str, BadInput]]:
    """Hash what each volume's slices and labels depend on: content of the files and how they are read, not their paths.

    Args:
        cohort: The cohort.
        path: JSON file that remembers hashes of files.
        workers: Threads.
        progress: Progress reporter, called after every volume.
        others: Further such files, see ``FileHashes``.

    Returns:
        The hash of every volume by its id, and the errors of volumes whose image cannot be read.
    """
    files = FileHashes(path, others)
    hashes: dict[str, str] = {}

    def task(volume: Volume) -> None:
        hashes[volume.id] = UNREADABLE
        hashes[volume.id] = _content(cohort, volume, files)

    try:
        failures = each_volume(task, cohort.volumes, workers=workers, stage="Checking files", progress=progress)
    finally:
        files.save()
    return hashes, failures


def image_hashes(
    cohort: Cohort, path: Path, *, workers: int | None = None, progress: Progress | None = None
) -> dict[str, dict[str, str]]:
    """SHA-256 of every image file, by volume and by path in the cohort; reference labels are not included.

    Args:
        cohort: The cohort; volumes with a file that cannot be read are left out.
        path: JSON file that remembers hashes of files; ``build_stack`` keeps it as ``hashes.json`` in its cache.
        workers: Threads. Default: one per processor core.
        progress: Progress reporter, called after every volume.
    """
    files = FileHashes(path)
    hashes: dict[str, dict[str, str]] = {}

    def task(volume: Volume) -> None:
        hashes[volume.id] = hashes_of_volume(cohort, volume, files)

    workers = workers or os.cpu_count() or 1
    try:
        each_volume(task, cohort.volumes, workers=workers, stage="Checking files", progress=or_silent(progress))
    finally:
        files.save()
    return {volume.id: hashes[volume.id] for volume in cohort.volumes if volume.id in hashes}


def hashes_of_volume(cohort: Cohort, volume: Volume, files: FileHashes) -> dict[str, str]:
    """SHA-256 of the image files of one volume, by path in the cohort.

    Raises:
        BadInput: If a file cannot be read.
    """
    paths = [path for source in volume.channels for path in source.paths]
    return {path: files.of(cohort.path(path)) for path in paths}


def each_volume(
    task: Callable[[Volume], None],
    volumes: Sequence[Volume],
    *,
    workers: int,
    stage: str,
    progress: Progress,
    done: int = 0,
) -> dict[str, BadInput]:
    """Run a task for every volume in threads; a volume that cannot be used does not stop the others.

    Threads rather than processes: reading, unpacking and filtering happen in compiled code that lets other threads run,
    and no pixel has to be sent between processes.

    Args:
        task: What to do with a volume.
        volumes: The volumes.
        workers: Threads.
        stage: Name of the work in the progress.
        progress: Progress reporter, called after every volume. On a cancel, volumes in progress are finished and no
            other is started.
        done: Volumes finished before, for the progress.

    Returns:
        The ``BadInput`` of each volume whose task raised one, by id; all other errors are raised.
    """
    failures: dict[str, BadInput] = {}
    total = done + len(volumes)

    def run(volume: Volume) -> None:
        try:
            task(volume)
        except BadInput as error:
            failures[volume.id] = error

    progress.update(stage, done, total)
    with ThreadPoolExecutor(workers) as pool:  # leaving it waits for volumes in progress, also after an error
        waiting = [pool.submit(run, volume) for volume in volumes]
        try:
            for finished in as_completed(waiting):
                finished.result()
                done += 1
                progress.update(stage, done, total)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {volume.id: failures[volume.id] for volume in volumes if volume.id in failures}


def _content(cohort: Cohort, volume: Volume, files: FileHashes) -> str:
    return hash_json(
        {
            "channels": [[*_reading(source), _digests(cohort, source, files)] for source in volume.channels],
            "components": volume.components,
            "geometry": volume.geometry.to_json(),
            "axis": volume.axis,
            **({"turn": volume.turn.to_json()} if volume.turn else {}),
            "mask": _label_content(cohort, volume.mask, files),
            "scribble": _label_content(cohort, volume.scribble, files),
        }
    )


def _reading(source: Source) -> list:
    """How a source is read; a series is named with the version of its reader, whose values depend on it."""
    return [source.kind, 2, list(source.frames)] if source.kind == "series" else [source.kind]


def _digests(cohort: Cohort, source: Source, files: FileHashes) -> list[str]:
    return [files.of(cohort.path(path)) for path in source.paths]


def _label_content(cohort: Cohort, labels: LabelSource | None, files: FileHashes) -> list | None:
    if labels is None:
        return None
    try:
        digests = _digests(cohort, labels.source, files)
    except BadInput:  # reported as the volume's problem when the labels are read
        digests = [UNREADABLE]
    only = list(cohort.labels) if len(cohort.labels) == 1 else []  # what 255 stands for where it is the only value
    return [labels.source.kind, digests, labels.ignore_label, [list(pair) for pair in labels.values], *only]
