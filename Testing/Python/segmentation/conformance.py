"""Small cohorts on disk and trainings on them, for the tests that every learner must pass."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np

from ActiveSegmentationLib.cohort import AnnotationKind, SliceStack, StackSettings, build_stack, discover
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.labels import IGNORE_LABEL
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.segmentation import (
    Examples,
    TrainedModel,
    TrainingSettings,
    TrainingTask,
    examples_from_annotations,
    fit,
    learner_class,
)
from ActiveSegmentationLib.segmentation.learner_choice import training_for

VOLUMES, SLICES = 2, 4
"""Number of volumes, and slices of each, unless a test asks for others."""


@dataclass(frozen=True)
class World:
    """A cohort whose truth is known.

    Attributes:
        stack: Its slices.
        truth: (volumes, slices, H, W) uint8 classes.
        classes: Classes including background.
    """

    stack: SliceStack
    truth: np.ndarray
    classes: int

    def rows(self, count: int) -> np.ndarray:
        """The middle slice of every volume, then the next ones: ``count`` rows, ascending."""
        slices = self.truth.shape[1]
        order = sorted(range(self.truth[..., 0, 0].size), key=lambda row: (abs(row % slices - slices // 2), row))
        return np.sort(np.array(order[:count], dtype=np.int64))

    def true_labels(self, rows: np.ndarray) -> np.ndarray:
        """Classes (n, H, W) of rows."""
        return self.truth.reshape(-1, *self.truth.shape[2:])[rows]

    def examples(self, rows: np.ndarray, *, kinds: str = "mask", bands: bool = False) -> Examples:
        """Annotations of rows.

        Args:
            rows: Rows of the stack.
            kinds: "mask", "scribble" (every third pixel in both directions), or "mixed" in turns.
            bands: Whether only every other band of rows is annotated, see ``unlabelled_rows``.
        """
        annotations = {}
        for place, (row, labels) in enumerate(zip(rows, self.true_labels(rows), strict=True)):
            scribbled = kinds == "scribble" or (kinds == "mixed" and place % 2 == 1)
            drawn = np.full_like(labels, IGNORE_LABEL)
            step = 3 if scribbled else 1
            drawn[::step, ::step] = labels[::step, ::step]
            if bands:
                drawn[unlabelled_rows(len(drawn))] = IGNORE_LABEL
            slice_id = self.stack.slice_id(int(row))
            kind = AnnotationKind.SCRIBBLE if scribbled or bands else AnnotationKind.MASK
            annotations[slice_id] = SimpleNamespace(labels=drawn, kind=kind)
        labels = SimpleNamespace(to_classes=lambda values: values)
        return examples_from_annotations(self.stack, annotations, labels, acquired=True)


def unlabelled_rows(rows: int) -> np.ndarray:
    """Which of a slice's rows are in bands without annotation: (rows,) bool."""
    return np.arange(rows) // 6 % 2 == 1


def make_world(
    folder: Path,
    *,
    shape: tuple[int, int] = (34, 40),
    channels: int = 1,
    classes: int = 3,
    volumes: int = VOLUMES,
    slices: int = SLICES,
) -> World:
    """Write a cohort in nnU-Net's layout and prepare its slices at native size.

    Every foreground class is a rectangle of its own in a table over the plane, and shows in every channel with another
    intensity; rectangles shift a little from slice to slice.
    """
    rng = np.random.default_rng(0)
    truth = np.zeros((volumes, slices, *shape), dtype=np.uint8)
    columns = int(np.ceil(np.sqrt(classes - 1)))
    cell = (shape[0] // -(-(classes - 1) // columns), shape[1] // columns)
    for labels in truth.reshape(-1, *shape):
        for c in range(1, classes):
            row, column = divmod(c - 1, columns)
            # at least one pixel of background around every rectangle
            top, left = (
                i * n + 1 + int(rng.integers(0, max(1, n // 5))) for i, n in zip((row, column), cell, strict=True)
            )
            labels[top : (row + 1) * cell[0] - 1, left : (column + 1) * cell[1] - 1] = c
    tones = rng.permuted(np.tile(np.linspace(0.2, 1.0, classes - 1), (channels, 1)), axis=1)
    levels = np.concatenate([np.zeros((channels, 1)), tones], axis=1)
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for number, labels in enumerate(truth):
        for channel in range(channels):
            image = 1000 * (levels[channel][labels] + rng.normal(0, 0.02, labels.shape))
            _write(folder / "imagesTr" / f"case_{number:03}_{channel:04}.nii.gz", image.astype(np.int16))
        _write(folder / "labelsTr" / f"case_{number:03}.nii.gz", labels)
    about = {
        "channel_names": {str(channel): f"MR{channel}" for channel in range(channels)},
        "labels": {"background": 0} | {f"class {c}": c for c in range(1, classes)},
        "numTraining": volumes,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(about))
    stack = build_stack(discover(folder), StackSettings(spacing=0), folder / "cache")
    return World(stack, truth, classes)


def _write(path: Path, volume: np.ndarray) -> None:
    """Write (slices, rows, columns) as an image of 1 x 1 x 5 mm."""
    nibabel.save(nibabel.Nifti1Image(volume.T, np.diag([1.0, 1.0, 5.0, 1.0])), path)


class Listener(Progress):
    """Keeps what is reported, and cancels after ``limit`` reports of steps."""

    def __init__(self, limit: int | None = None) -> None:
        super().__init__(lambda: limit is not None and len(self.steps) >= limit)
        self.steps: list[int] = []
        self.texts: list[str] = []

    def show(self, stage, done, total, **values):
        if "loss" in values:
            self.steps.append(done)

    def message(self, text):
        self.texts.append(text)


@dataclass(frozen=True)
class Trained:
    """A trained model and what it came from."""

    model: TrainedModel
    task: TrainingTask
    folder: Path


def small_settings(name: str, **changes: Any) -> TrainingSettings:
    """The learner's own settings in small, without augmentation."""
    settings = replace(training_for(learner=name), learner=name, augment=False, **learner_class(name).small)
    known = vars(learner_class(name).options())
    own = {
        field: changes.pop(field) for field in ("batch_size", "learning_rate") if field in known and field in changes
    }
    options = {**settings.options, **changes.pop("options", {}), **own}
    return replace(settings, options=options, **changes)


def task_of(
    name: str, world: World, rows: int = 2, *, kinds: str = "mask", bands: bool = False, **changes: Any
) -> TrainingTask:
    """A training on some annotated slices."""
    examples = world.examples(world.rows(rows), kinds=kinds, bands=bands)
    return TrainingTask(world.stack, examples, world.classes, small_settings(name, **changes), seed=3)


def train(task: TrainingTask, folder: Path, *, listener: Listener | None = None, every: int = 100) -> Trained:
    """Train, without a GPU."""
    model = fit(task, folder=folder, compute=Compute(progress=listener or Listener()), checkpoint_every=every)
    return Trained(model, task, folder)
