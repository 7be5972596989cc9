"""Label maps, probabilities and uncertainty maps of a volume, written as they are predicted, slice by slice."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.cohort import SliceStack, Volume, VolumeFormat, volume_writer
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.segmentation import CleanUp, Predictor, cleaned, predict_planes
from ActiveSegmentationLib.study import LabelSet

NOTHING = CleanUp()
"""No clean-up."""


class SliceProgress(Progress):
    """Reports the slices of one volume as values of a report on all volumes, where a cancel takes effect too.

    Args:
        progress: Progress reporter of the work on all volumes.
        stage: Name of that work.
        number: Volumes that are done.
        total: Number of all volumes.
    """

    def __init__(self, progress: Progress, stage: str, number: int, total: int) -> None:
        super().__init__()
        self._report = lambda slices: progress.update(stage, number, total, slices=slices)

    def update(self, stage: str, done: int, total: int, **values: float | str) -> None:
        """Report ``done`` of ``total`` slices; see ``Progress.update``."""
        self._report(f"{done} of {total}")


@dataclass(frozen=True)
class VolumeMap:
    """One file with a value, or several, for every voxel of a volume.

    Attributes:
        path: The file.
        dtype: Type of the values.
        compute: Values (n, h, w), or (n, components, h, w), from probabilities (n, classes, h, w).
        components: Values of each voxel; 0 for an image without components.
        finish: What is done to all values (S, h, w) before they are written, which are then kept in memory; or None.
    """

    path: Path
    dtype: np.dtype
    compute: Callable[[np.ndarray], np.ndarray]
    components: int = 0
    finish: Callable[[np.ndarray], np.ndarray] | None = None


def label_map(path: Path, labels: LabelSet, clean_up: CleanUp = NOTHING) -> VolumeMap:
    """The label values of the most probable classes as a file (uint8).

    Args:
        path: The file.
        labels: The label set.
        clean_up: What is changed in them.
    """
    if not clean_up:
        return VolumeMap(path, np.dtype(np.uint8), lambda planes: labels.to_values(planes.argmax(1).astype(np.uint8)))
    return VolumeMap(
        path,
        np.dtype(np.uint8),
        lambda planes: planes.argmax(1).astype(np.uint8),
        finish=lambda classes: labels.to_values(cleaned(classes, clean_up)),
    )


def write_maps(
    model: Predictor,
    stack: SliceStack,
    volume: Volume,
    maps: Sequence[VolumeMap],
    *,
    compute: Compute,
    transforms: bool = True,
) -> None:
    """Predict a volume and write its maps in its own geometry, all of them or none.

    The memory that is needed does not depend on the number of slices, but for maps with ``VolumeMap.finish``.

    Args:
        model: The model.
        stack: The cohort's slices.
        volume: The volume.
        maps: The files to write.
        compute: Device and progress reporter.
        transforms: Whether NIfTI files get the transforms of a NIfTI image, see ``write_volume``.

    Raises:
        BadInput: If a file cannot be written.
        JobFailed: If the disk is full.
    """
    with contextlib.ExitStack() as files:
        writers = []
        for each in maps:
            own = volume.transforms if transforms else None
            content = VolumeFormat(volume.geometry, volume.axis, each.dtype, each.components, own)
            writers.append(files.enter_context(volume_writer(each.path, content)))
        kept: list[list[np.ndarray]] = [[] for _ in maps]
        for planes in predict_planes(model, stack, volume.id, compute=compute):
            for each, writer, parts in zip(maps, writers, kept, strict=True):
                if each.finish is None:
                    writer.add(each.compute(planes))
                else:
                    parts.append(each.compute(planes))
        for each, writer, parts in zip(maps, writers, kept, strict=True):
            if each.finish is not None:
                writer.add(each.finish(np.concatenate(parts)))
