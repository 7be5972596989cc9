"""Building a slice stack: in parallel, with progress, resumable volume by volume."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from ActiveSegmentationLib import __version__
from ActiveSegmentationLib.cohort.preprocessing import (
    StackSettings,
    is_whole,
    larger_than_grid,
    plane_zoom,
    resolve,
    settings_key,
)
from ActiveSegmentationLib.cohort.stack import SliceStack
from ActiveSegmentationLib.cohort.stack_checks import CHECKSUM, checksums, is_sound
from ActiveSegmentationLib.cohort.stack_contents import content_hashes, each_volume
from ActiveSegmentationLib.cohort.stack_files import (
    FORMAT,
    IMAGES,
    OWN,
    RECORD,
    own_checksum,
    truth_file,
    whole_file,
)
from ActiveSegmentationLib.cohort.stack_preparation import PreparedVolume, overview_grid, plane_grid, prepare_volume
from ActiveSegmentationLib.cohort.stack_reuse import (
    DONE,
    PARTIAL,
    Reusable,
    find_reusable,
    remove_superseded,
    take_back,
)
from ActiveSegmentationLib.cohort.types import Cohort, Volume
from ActiveSegmentationLib.common.durability import make_folder
from ActiveSegmentationLib.common.errors import BadInput, JobFailed
from ActiveSegmentationLib.common.files import atomic_path, explained, hash_json, read_json, remove_tree, write_json
from ActiveSegmentationLib.common.progress import Progress, or_silent

HASHES = "hashes.json"
"""File in the cache that remembers hashes of images."""

MEMORY = 8 << 30
"""Memory in bytes for all volumes in progress; large volumes are prepared by fewer threads at a time."""

NAMED = 20
"""Maximum number of volumes in a suggested exclude command."""

COPIES = 6
"""Peak memory of preparing a volume, in copies of it as float32."""


class UnusableVolumes(BadInput):
    """Some volumes of a cohort cannot be prepared; the others can.

    Attributes:
        problems: The error of each of them, by id.
    """

    def __init__(
        self,
        message: str,
        *,
        where: str | Path | None = None,
        advice: str = "",
        problems: Mapping[str, BadInput] | None = None,
    ) -> None:
        super().__init__(message, where=where, advice=advice)
        self.problems = dict(problems or {})


def build_stack(
    cohort: Cohort,
    settings: StackSettings,
    cache: Path,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    parts: Sequence[Path] = (),
) -> SliceStack:
    """The slice stack of a cohort: the one in the cache if its key matches, otherwise a new one.

    - The key depends on the content of the files, not on their paths, and on the settings.
    - Volumes that an interrupted run or another stack has prepared in the same way are reused.
    - If two processes need the same stack, one builds it and the other waits.

    Args:
        cohort: The cohort; volumes of every role are prepared.
        settings: How slices are prepared; automatic values are taken from the cohort.
        cache: Folder of stacks; each has a folder of its own, named by its key.
        workers: Threads that read and prepare. Default: one per processor core, fewer for large volumes.
        progress: Progress reporter, called after every volume; a cancel takes effect there.
        parts: Folders of parts that were prepared before, see ``parts_to_prepare``; they are copied.

    Raises:
        UnusableVolumes: If volumes differ in their channels, or some cannot be read: every such volume is named, and
            the others are kept.
        BadInput: If there is no volume.
        JobFailed: If the disk or the memory is insufficient.
        Cancelled: If the user cancelled; finished volumes are kept.
    """
    progress = or_silent(progress)
    cache = Path(cache)
    if not cohort.volumes:
        advice = "Look at what was found with: activesegmentation index COHORT."
        raise BadInput("There is no volume to prepare.", where=cohort.root, advice=advice)
    require_channels(cohort.volumes, settings)
    settings = resolve(settings, cohort.volumes)
    folder, built = _folder_of(cohort, settings, cache, parts, workers or _workers(cohort.volumes), progress)
    stack = SliceStack(folder, cohort)
    if built or settings.crop:
        _tell_large(cohort.volumes, settings, progress)
    _tell_problems(stack, progress)
    return stack


def _folder_of(
    cohort: Cohort, settings: StackSettings, cache: Path, parts: Sequence[Path], workers: int, progress: Progress
) -> tuple[Path, bool]:
    """The folder of the finished stack, and whether it was not in the cache before."""
    with explained(cache):
        make_folder(cache)
    contents, failures = content_hashes(
        cohort, cache / HASHES, others=[part / HASHES for part in parts], workers=workers, progress=progress
    )
    key = stack_key(cohort.volumes, settings, contents)
    folder = cache / key
    built = not is_sound(folder)
    if built:
        with _held(cache / f"{key}.lock", progress):
            if folder.is_dir() and not is_sound(folder):
                progress.message("Prepared slices in the cache are damaged; they are prepared again.")
                take_back(folder, cache / f"{key}{PARTIAL}")
            if not folder.is_dir():  # another process may have finished it
                _Builder(cohort, settings, cache, key, contents, parts).build(workers, failures, progress)
    return folder, built


def stack_key(volumes: Sequence[Volume], settings: StackSettings, contents: dict[str, str]) -> str:
    """Key of a stack, 24 hexadecimal digits.

    Args:
        volumes: Volumes in their order.
        settings: Resolved settings.
        contents: Content hash of each volume by its id.
    """
    identity = [[volume.id, volume.patient, contents[volume.id]] for volume in volumes]
    return hash_json([FORMAT, settings_key(settings, volumes), identity])[:24]


class _Builder:
    """Fills the folder of a stack; continues an interrupted run."""

    def __init__(
        self,
        cohort: Cohort,
        settings: StackSettings,
        cache: Path,
        key: str,
        contents: dict[str, str],
        parts: Sequence[Path],
    ) -> None:
        self._cohort, self._settings, self._cache, self._key, self._contents = cohort, settings, cache, key, contents
        self._folder, self._caches = cache / f"{key}{PARTIAL}", (cache, *parts)
        starts = np.cumsum([0, *(volume.slice_count for volume in cohort.volumes)])
        self._start = {v.id: int(start) for v, start in zip(cohort.volumes, starts[:-1], strict=True)}
        channels = len(settings.channels) if settings.channels is not None else _channel_count(cohort.volumes[0])
        self._shape = (int(starts[-1]), channels, *cast(tuple[int, int], settings.size))
        self._reusable: dict[str, Reusable] = {}
        self._header = 0

    def build(self, workers: int, failures: dict[str, BadInput], progress: Progress) -> None:
        """Prepare every volume that is not prepared yet, write the record and put the folder in place.

        Args:
            workers: Threads.
            failures: Volumes that are known to be unreadable, and why.
            progress: Progress reporter, called after every volume.

        Raises:
            UnusableVolumes: Naming every volume that could not be prepared.
        """
        self._remove_leftovers()
        self._reusable = find_reusable(self._caches, skip=self._folder)
        volumes = self._cohort.volumes
        waiting = [volume for volume in volumes if volume.id not in failures and not self._marker(volume).is_file()]
        self._require_space(waiting)
        self._make_images()
        done = len(volumes) - len(waiting) - len(failures)
        failures = failures | each_volume(
            self._fill, waiting, workers=workers, stage="Preparing slices", progress=progress, done=done
        )
        if failures:
            names = [volume.id for volume in volumes if volume.id in failures]
            lines = "\n".join(f"  {name}: {failures[name]}" for name in names)
            message = f"{len(failures)} of {len(volumes)} volume(s) cannot be used:\n{lines}\n"
            advice = (
                f"Repair these files, or leave the volumes out, and repeat: in a study with {_exclusion(names)}; in a "
                "benchmark with a --split that does not name them. The other volumes are prepared and kept."
            )
            raise UnusableVolumes(message, where=self._cohort.root, advice=advice, problems=failures)
        self._finish()

    def _fill(self, volume: Volume) -> None:
        """Add one volume to the stack; a copy if it was prepared in the same way before."""
        reusable = self._reusable.get(self._volume_key(volume))
        prepared = reusable.read() if reusable is not None else None
        try:
            self._store(volume, prepared or prepare_volume(self._cohort, volume, self._settings))
        except MemoryError as error:
            advice = "Close other programs, or use a computer with more memory."
            raise JobFailed("There is not enough memory for this volume.", where=volume.id, advice=advice) from error

    def _store(self, volume: Volume, prepared: PreparedVolume) -> None:
        start = self._start[volume.id]
        path = self._folder / IMAGES
        # Written, not mapped: with a memory map, a full disk would crash the process.
        with explained(path), open(path, "rb+") as file:
            file.seek(self._header + start * 2 * int(np.prod(self._shape[1:])))
            file.write(prepared.images.data)
            file.flush()
            os.fsync(file.fileno())
        if prepared.whole is not None:
            with atomic_path(whole_file(self._folder, volume.id)) as temporary, open(temporary, "wb") as file:
                np.save(file, prepared.whole)
        if prepared.truth:
            with atomic_path(truth_file(self._folder, volume.id)) as temporary, open(temporary, "wb") as file:
                np.savez_compressed(file, **cast(dict[str, Any], prepared.truth))
        write_json(self._marker(volume), self._record_of(volume, prepared))

    def _record_of(self, volume: Volume, prepared: PreparedVolume) -> dict[str, Any]:
        start = self._start[volume.id]
        return {
            "id": volume.id,
            "patient": volume.patient,
            "axis": volume.axis,
            "geometry": volume.geometry.to_json(),
            "start": start,
            "stop": start + volume.slice_count,
            "plane_shape": list(volume.plane_shape),
            "plane_spacing": list(volume.geometry.plane_spacing(volume.axis)),
            "zoom": list(plane_zoom(volume, self._settings)),
            **self._whole_record(volume),
            **({"turn": volume.turn.to_json()} if volume.turn else {}),
            "content": self._contents[volume.id],
            CHECKSUM: checksums(prepared.images, prepared.whole),
            "key": self._volume_key(volume),
            "labels": sorted(prepared.truth),
            "blank": np.flatnonzero(prepared.blank).tolist(),
            "problems": [vars(problem) for problem in prepared.problems],
        }

    def _whole_record(self, volume: Volume) -> dict[str, Any]:
        """Grid of planes that are kept whole, and the zoom of their smaller picture; nothing for all others."""
        if not is_whole(volume, self._settings):
            return {}
        zoom = overview_grid(volume, self._settings).zoom
        return {"whole": {"grid": list(plane_grid(volume, self._settings).grid), "overview_zoom": list(zoom)}}

    def _volume_key(self, volume: Volume) -> str:
        return hash_json([FORMAT, settings_key(self._settings, [volume]), volume.id, self._contents[volume.id]])

    def _marker(self, volume: Volume) -> Path:
        return self._folder / DONE / f"{volume.id}.json"

    def _remove_leftovers(self) -> None:
        """Remove temporary files of a killed run."""
        with explained(self._folder):
            for path in self._folder.rglob(".tmp-*"):
                path.unlink()

    def _require_space(self, volumes: Sequence[Volume]) -> None:
        slices = sum(volume.slice_count for volume in volumes)
        whole = [volume for volume in volumes if is_whole(volume, self._settings)]
        pixels = sum(v.slice_count * int(np.prod(plane_grid(v, self._settings).grid)) for v in whole)
        needed = 2 * self._shape[1] * (slices * int(np.prod(self._shape[2:])) + pixels)
        free = shutil.disk_usage(self._cache).free
        if needed > free:
            message = f"The prepared slices need {needed / 1e9:.2f} GB; the disk has {free / 1e9:.2f} GB left."
            advice = "Free some space, choose larger pixels (--spacing), or only the centre of large planes (--crop)."
            raise JobFailed(message, where=self._cache, advice=advice)

    def _make_images(self) -> None:
        path = self._folder / IMAGES
        if not path.is_file():
            with atomic_path(path) as temporary:
                np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=self._shape)
        with explained(path):
            self._header = np.load(path, mmap_mode="r").offset

    def _finish(self) -> None:
        record = {
            "format": FORMAT,
            "key": self._key,
            "settings": self._settings.to_json(),
            "shape": list(self._shape),
            "versions": _versions(),
            "volumes": [read_json(self._marker(volume)) for volume in self._cohort.volumes],
        }
        write_json(self._folder / RECORD, {**record, OWN: own_checksum(record)})
        folder = self._cache / self._key
        with explained(folder):
            os.replace(self._folder, folder)
            remove_tree(folder / DONE)  # only after the folder is in place, so that a kill does not lose work
        remove_superseded(self._cache, {self._volume_key(volume) for volume in self._cohort.volumes})


def _exclusion(names: Sequence[str]) -> str:
    """The command that leaves volumes out of a study."""
    return " ".join(["activesegmentation exclude STUDY", *names[:NAMED], *(["..."] if len(names) > NAMED else [])])


def _channel_count(volume: Volume) -> int:
    return len(volume.channels) * volume.components


def require_channels(volumes: Sequence[Volume], settings: StackSettings) -> None:
    """Refuse volumes that differ in their channels.

    Raises:
        UnusableVolumes: Unless all volumes have the same channels, or the ones that the settings choose.
    """
    counts = {volume.id: _channel_count(volume) for volume in volumes}
    if settings.channels is not None:
        expected = f"the channel(s) {', '.join(str(n) for n in settings.channels)} (counted from 0)"
        others = [name for name, count in counts.items() if count <= max(settings.channels)]
    else:
        usual = max(set(counts.values()), key=list(counts.values()).count)
        expected = f"{usual} channel(s) like the rest"
        others = [name for name, count in counts.items() if count != usual]
    if others:
        named = ", ".join(f"{name} ({counts[name]})" for name in others)
        advice = f"Leave them out ({_exclusion(others)}), or make a study of each kind."
        message = f"{len(others)} volume(s) do not have {expected}: {named}."
        problems = {
            name: BadInput(f"It has {counts[name]} channel(s), not {expected}.", where=name, advice="Leave it out.")
            for name in others
        }
        raise UnusableVolumes(message, where="channels", advice=advice, problems=problems)


def _workers(volumes: Sequence[Volume]) -> int:
    """Threads for the cohort: one per core, but no more than memory allows."""
    largest = max(_channel_count(volume) * int(np.prod(volume.geometry.size)) for volume in volumes)
    return max(1, min(os.cpu_count() or 1, MEMORY // (4 * COPIES * largest)))


@contextlib.contextmanager
def _held(path: Path, progress: Progress) -> Iterator[None]:
    """Hold a lock file; if another process holds it, report that and wait. The wait can be cancelled."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    with explained(path):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.message("Another process is preparing the same slices; waiting for it.")
            while not lock.is_locked:
                progress.update("Waiting for another process", 0, 1)
                with contextlib.suppress(Timeout):
                    lock.acquire(timeout=1)
    try:
        yield
    finally:
        lock.release()


def _versions() -> dict[str, str]:
    versions = {"ActiveSegmentation": __version__, "python": platform.python_version()}
    for name in ("numpy", "scipy", "SimpleITK"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # 3D Slicer has its own SimpleITK without metadata
            versions[name] = "unknown"
    return versions


def _tell_large(volumes: Sequence[Volume], settings: StackSettings, progress: Progress) -> None:
    """Report the volumes whose planes are larger than the grid, and how they are handled."""
    large = [volume.id for volume in volumes if larger_than_grid(volume, settings)]
    if not large:
        return
    rows, columns = cast(tuple[int, int], settings.size)
    named = ", ".join(large[:5]) + (" ..." if len(large) > 5 else "")
    which = (
        f"the planes of {len(large)} of {len(volumes)} volume(s) are larger than {rows} x {columns} pixels ({named})"
    )
    if settings.crop:
        lost = "their borders are cropped away, neither learned nor predicted"
        advice = "Prepare slices without --crop to use whole planes, or with a larger --size or --spacing."
        progress.message(f"warning: {which}; {lost}. {advice}")
    else:
        progress.message(f"note: {which}; they are used whole, with a sliding window.")


def _tell_problems(stack: SliceStack, progress: Progress) -> None:
    for problem in stack.problems[:5]:
        progress.message(f"{problem.severity}: {problem.where}: {problem.message} {problem.advice}")
    if len(stack.problems) > 5:
        progress.message(f"warning: the reference labels of {len(stack.problems) - 5} more volume(s) cannot be used.")
