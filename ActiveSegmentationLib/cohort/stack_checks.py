"""Checksums of prepared slices: which volumes of a stack are damaged on disk.

A checksum of all pixels needs one reading of the file, which costs little for a small stack and up to a minute for one
of tens of gigabytes that is not in memory. Therefore a large stack is checked when a file of it has changed, and
otherwise once a day, because a bit that flips on the disk changes no time.
"""

from __future__ import annotations

import contextlib
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.cohort.stack_files import (
    IMAGES,
    REBUILD,
    RECORD,
    StackVolume,
    map_array,
    map_images,
    read_record,
    volume_from_record,
    whole_file,
)
from ActiveSegmentationLib.common.errors import ActiveSegmentationError, BadInput
from ActiveSegmentationLib.common.files import explained, read_json, write_json
from ActiveSegmentationLib.common.parsing import parsing

CHECKSUM = "crc32"
"""Field of a volume's record; stacks of older versions have none and are not checked."""

CHECKED = "checked.json"
"""File of a stack with the state of its files when they were last found to be sound."""

SMALL = 256 << 20
"""Bytes up to which a stack is checked whenever it is opened."""

INTERVAL = 24 * 3600.0
"""Seconds after which a large stack is checked again."""


def checksums(images: np.ndarray, whole: np.ndarray | None) -> list[int]:
    """CRC-32 of a volume's prepared slices, and of its whole planes if it has them.

    Args:
        images: (S, C, H, W) float16.
        whole: (S, C, h, w) float16, or None.
    """
    arrays = [images] if whole is None else [images, whole]
    return [zlib.crc32(np.ascontiguousarray(array).data.cast("B")) for array in arrays]


def damaged_volumes(folder: Path) -> list[str]:
    """Ids of the volumes of a stack whose slices are not what was prepared.

    Args:
        folder: Folder of a finished stack.

    Raises:
        BadInput: If its files cannot be used at all.
    """
    record = read_record(folder)
    with parsing(folder / RECORD, "The record of the prepared slices is damaged.", REBUILD):
        size = record["shape"][2], record["shape"][3]
        volumes = [volume_from_record(value, size) for value in record["volumes"]]
        wanted = [value.get(CHECKSUM) for value in record["volumes"]]
        shape = [int(number) for number in record["shape"]]
    images = map_images(folder, shape)
    whole = [_whole_planes(folder, volume, shape[1]) for volume in volumes]
    large = [whole_file(folder, volume.id) for volume, planes in zip(volumes, whole, strict=True) if planes is not None]
    state = _state([folder / IMAGES, *large])
    is_large = sum(file[1] for file in state) > SMALL
    if is_large and _was_checked(folder, state):
        return []
    damaged = [
        volume.id
        for volume, planes, known in zip(volumes, whole, wanted, strict=True)
        if known is not None and checksums(images[volume.start : volume.stop], planes) != known
    ]
    if is_large and not damaged:
        with contextlib.suppress(ActiveSegmentationError):  # who may only read checks again next time
            write_json(folder / CHECKED, {"files": state, "time": time.time()})
    return damaged


def is_sound(folder: Path) -> bool:
    """Whether there is a stack whose files are as they were written."""
    try:
        return folder.is_dir() and not damaged_volumes(folder)
    except BadInput:
        return False


def _whole_planes(folder: Path, volume: StackVolume, channels: int) -> np.ndarray | None:
    if volume.overview == volume.grid:
        return None
    return map_array(whole_file(folder, volume.id), (volume.slice_count, channels, *volume.grid.grid))


def _state(files: Sequence[Path]) -> list[list]:
    """Name, size and times of files; the second time is one that programs cannot set."""
    found = []
    for path in files:
        with explained(path):
            stat = path.stat()
        found.append([path.name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns])
    return found


def _was_checked(folder: Path, state: list[list]) -> bool:
    try:
        known = read_json(folder / CHECKED)
        return known["files"] == state and 0 <= time.time() - known["time"] < INTERVAL
    except (ActiveSegmentationError, KeyError, TypeError):  # never checked, or damaged
        return False
