"""Small cohorts on disk for the tests of the slice stack."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.cohort.io import write_label_map, write_volume
from ActiveSegmentationLib.cohort.types import Cohort, Geometry, LabelSource, Source, Volume
from ActiveSegmentationLib.common.progress import Progress

STORED_IGNORE_LABEL = 4
"""Value of unlabelled pixels in the scribble files."""

OBLIQUE = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)


def pixels(seed: int, shape: Sequence[int]) -> np.ndarray:
    """Float32 noise with whole values 0..999."""
    return np.random.default_rng(seed).integers(0, 1000, tuple(shape)).astype(np.float32)


def labels(seed: int, shape: Sequence[int], largest: int) -> np.ndarray:
    return np.random.default_rng([seed, 7]).integers(0, largest + 1, tuple(shape)).astype(np.uint8)


def add_volume(
    root: Path,
    name: str,
    array: np.ndarray,
    *,
    spacing: tuple[float, float, float] = (1.0, 1.0, 5.0),
    direction: tuple[float, ...] = OBLIQUE,
    axis: int = 2,
    patient: str | None = None,
    mask: np.ndarray | None = None,
    scribble: np.ndarray | None = None,
) -> Volume:
    """Write an image (k, j, i) or (c, k, j, i) and its labels, one file a channel."""
    channels = array if array.ndim == 4 else array[None]
    k, j, i = channels.shape[1:]
    geometry = Geometry((i, j, k), spacing, (10.0, -20.0, 30.0), direction)
    names = [f"{name}_{number:04d}.nii.gz" for number in range(len(channels))]
    for file, channel in zip(names, channels, strict=True):
        write_volume(root / file, channel, geometry)
    sources = {}
    for kind, values, ignore_label in (("mask", mask, None), ("scribble", scribble, STORED_IGNORE_LABEL)):
        if values is not None:
            write_label_map(root / f"{name}_{kind}.nii.gz", values, geometry)
            sources[kind] = LabelSource(Source("file", (f"{name}_{kind}.nii.gz",)), ignore_label)
    files = tuple(Source("file", (file,)) for file in names)
    return Volume(name, patient or name, files, geometry, axis, **sources)


def small_cohort(root: Path, count: int = 4) -> Cohort:
    """Volumes of 3, 4, 5, ... slices of 20 x 24 pixels, two a patient, with masks and scribbles."""
    volumes = []
    for number in range(count):
        shape = (3 + number, 20, 24)
        volumes.append(
            add_volume(
                root,
                f"v{number}",
                pixels(number, shape),
                patient=f"p{number // 2}",
                mask=labels(number, shape, 3),
                scribble=labels(number, shape, STORED_IGNORE_LABEL),
            )
        )
    return Cohort(root, "folder", tuple(volumes))


def content_of(folder: Path) -> dict[str, bytes]:
    """Content of every file in a folder, by its relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class Recorder(Progress):
    """Progress reporter that records its calls, and can cancel after a number of reports of one stage."""

    def __init__(self, cancel_stage: str = "", cancel_at: int = 0) -> None:
        super().__init__(lambda: bool(cancel_stage) and self.count(cancel_stage) >= cancel_at)
        self.reports: list[tuple[str, int, int]] = []
        self.messages: list[str] = []

    def count(self, stage: str) -> int:
        return sum(report[0] == stage for report in self.reports)

    def show(self, stage, done, total, **values) -> None:
        self.reports.append((stage, done, total))

    def message(self, text: str) -> None:
        self.messages.append(text)
