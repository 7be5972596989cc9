"""A small cohort on disk for the tests of nnU-Net: discs and bars, of two resolutions, slices along the first axis."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from ActiveSegmentationLib.cohort import (
    AnnotationKind,
    Cohort,
    Geometry,
    LabelSource,
    SliceId,
    SliceStack,
    Source,
    StackSettings,
    Volume,
    build_stack,
    volume_order,
    write_label_map,
    write_volume,
)
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.segmentation import Examples, TrainingSettings, examples_from_annotations

SMALL: dict = {"iterations": 2, "batch_size": 2, "memory": 0.5, "dropout": 0.1}
"""Options of a training of a few steps."""

LABELS = SimpleNamespace(to_classes=lambda values: values, classes=3)
AXIS = 0


def planes(seed: int, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Image (S, h, w) float32, 0 in a border of four pixels, and its classes."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[1], : shape[2]]
    labels = np.zeros(shape, dtype=np.uint8)
    for plane in labels:
        row, column = rng.uniform(0.4, 0.6, 2) * shape[1:]
        plane[(rows - row) ** 2 + (columns - column) ** 2 < (0.2 * shape[1]) ** 2] = 1
        plane[int(0.8 * shape[1]) :][:3, 6:-6] = 2
    image = np.array([40.0, 90.0, 160.0])[labels] + rng.normal(0, 8, shape)
    image[:, :4] = image[:, -4:] = image[:, :, :4] = image[:, :, -4:] = 0
    return image.astype(np.float32), labels


COARSE, FINE = ((5, 40, 36), (5, 1, 1)), ((6, 70, 60), (5, 0.8, 0.8))
"""Sizes and spacings of volumes; the finer one is larger."""


def write_cohort(root: Path, kinds: Sequence = (COARSE, COARSE, FINE)) -> Cohort:
    """Volumes of some sizes and spacings."""
    root.mkdir(parents=True, exist_ok=True)
    volumes = []
    for number, (shape, spacing) in enumerate(kinds):
        image, labels = planes(number, shape)
        name, size = f"v{number}", (shape[0], shape[2], shape[1])
        geometry = Geometry(size, (spacing[0], spacing[2], spacing[1]))
        write_volume(root / f"{name}_0000.nii.gz", volume_order(image, AXIS), geometry)
        write_label_map(root / f"{name}_mask.nii.gz", volume_order(labels, AXIS), geometry)
        sources = (Source("file", (f"{name}_0000.nii.gz",)),)
        mask = LabelSource(Source("file", (f"{name}_mask.nii.gz",)))
        volumes.append(Volume(name, f"p{number}", sources, geometry, AXIS, mask=mask))
    return Cohort(root, "test", tuple(volumes))


def make_stack(root: Path, settings: StackSettings | None = None, **kinds) -> SliceStack:
    """The stack of ``write_cohort``; its pixels are coarser than those of the images."""
    return build_stack(
        write_cohort(root / "c", **kinds), settings or StackSettings(spacing=1.25), root / "cache", workers=1
    )


def examples(stack: SliceStack, slices: list[tuple[str, int]], *, scribbles: bool = False) -> Examples:
    """Masks of slices, or scribbles: every ninth pixel of the masks."""
    given = {}
    for volume, index in slices:
        labels = stack.truth(volume, AnnotationKind.MASK)[index]
        if scribbles:
            thinned = np.full_like(labels, 255)
            thinned[::3, ::3] = labels[::3, ::3]
            labels = thinned
        kind = AnnotationKind.SCRIBBLE if scribbles else AnnotationKind.MASK
        given[SliceId(volume, index)] = SimpleNamespace(labels=labels, kind=kind)
    return examples_from_annotations(stack, given, LABELS, acquired=True)


@cache
def training(learner: str = "nnunet-2d", **options) -> TrainingSettings:
    """Settings of a training of four steps; ``warm_start`` and ``loss_head`` are training settings."""
    own = {name: options.pop(name) for name in ("warm_start", "loss_head") if name in options}
    return TrainingSettings(learner=learner, steps=4, options={**SMALL, **options}, **own)


class Recorder(Progress):
    """Records the reports, and cancels when a stage has reached a number of steps."""

    def __init__(self, cancel_at: int | None = None) -> None:
        super().__init__(lambda: cancel_at is not None and ("Training", cancel_at) in self.seen)
        self.seen: list[tuple[str, int]] = []
        self.messages: list[str] = []

    def show(self, stage, done, total, **values) -> None:
        self.seen.append((stage, done))

    def message(self, text: str) -> None:
        self.messages.append(text)
