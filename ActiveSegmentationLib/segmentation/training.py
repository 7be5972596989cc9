"""Training a segmentation model: a fixed number of steps, with the same weights from the same seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import hash_json
from ActiveSegmentationLib.segmentation.examples import KEEP, Examples
from ActiveSegmentationLib.segmentation.learners import learner_class
from ActiveSegmentationLib.segmentation.model_files import FILES
from ActiveSegmentationLib.segmentation.predictor import TrainedModel
from ActiveSegmentationLib.segmentation.settings import TrainingSettings
from ActiveSegmentationLib.segmentation.slices import Slices


@dataclass(frozen=True)
class TrainingTask:
    """What a model is trained on, and how: equal tasks give bit-identical weights on the same computer's CPU.

    Attributes:
        stack: The cohort's slices.
        examples: Annotated slices.
        classes: Number of classes including background.
        settings: Settings of the training; epochs become steps, see ``TrainingSettings.for_slices``.
        seed: Seed of initial weights, batches, augmentation and dropout.
        validation: Slices that pick the best weights; used only if the settings select "best".
        initial: Model to start from; used only if the settings ask for a warm start.
        unlabelled: Rows of unlabelled slices, to learn from as well; used only by learners that can.
            Annotated slices among them are left out.
        names: Names of the classes after the background, for messages. Default: their numbers.

    Raises:
        BadInput: If there is nothing to learn from, the labels are not the classes, the best weights are wanted and
            there is nothing to validate on, or the initial model has another shape.
    """

    stack: Slices
    examples: Examples
    classes: int
    settings: TrainingSettings
    seed: int
    validation: Examples | None = None
    initial: TrainedModel | None = None
    unlabelled: np.ndarray | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        learner_class(self.settings.learner).check(self.settings)
        self.examples.check(self.classes, self.stack.grid_shape)
        object.__setattr__(self, "settings", self.settings.for_slices(len(self.examples)))
        object.__setattr__(self, "validation", self._used_validation())
        object.__setattr__(self, "initial", self._used_initial())
        object.__setattr__(self, "unlabelled", self._used_unlabelled())

    @cached_property
    def key(self) -> str:
        """Hash of everything the weights depend on, and so the key of the model; known before the training."""
        validation, initial = self.validation, self.initial
        settings = learner_class(self.settings.learner).key_of(self.settings)
        parts = [FILES.format, self.stack.key, self.examples.key, self.classes, settings, self.seed]
        parts += [validation.key if validation else None, initial.key if initial else None]
        return hash_json(parts if self.unlabelled is None else [*parts, self.unlabelled.tolist()])

    def _used_unlabelled(self) -> np.ndarray | None:
        if self.unlabelled is None or not learner_class(self.settings.learner).uses_unlabelled(self.settings):
            return None
        rows = np.setdiff1d(self.unlabelled, self.examples.rows)
        return rows if len(rows) else None

    def _used_validation(self) -> Examples | None:
        if self.settings.select == "last":
            return None
        if self.validation is None or not len(self.validation):
            advice = "Give some volumes the role 'validation' and masks, or keep the last weights."
            raise BadInput("There is nothing to choose the best weights on.", where="validation", advice=advice)
        self.validation.check(self.classes, self.stack.grid_shape)
        return self.validation

    def _used_initial(self) -> TrainedModel | None:
        initial, settings = self.initial, self.settings
        if initial is None or not settings.warm_start:
            return None
        learner = learner_class(settings.learner)
        if initial.settings.learner != settings.learner:
            advice = "Train without warm start, or with the same learner."
            message = f"The model to start from was trained by another learner, '{initial.settings.learner}'."
            raise BadInput(message, where="warm start", advice=advice)
        if initial.classes != self.classes or not learner.can_start_from(initial, settings, self.stack.channels):
            advice = "Train without warm start, or keep learner, channels, labels, features and norm as they were."
            raise BadInput("The model to start from has another shape.", where="warm start", advice=advice)
        return initial


def fit(
    task: TrainingTask,
    *,
    folder: Path,
    compute: Compute | None = None,
    stage: str = "Training",
    checkpoint_every: int = 100,
) -> TrainedModel:
    """Train a model; load it if this training is finished, resume it if it was interrupted.

    Args:
        task: What to train on and how.
        folder: Folder of the model, its checkpoint and ``history.json``; used by one training at a time.
        compute: Device and progress reporter. Default: the CPU.
        stage: What progress reports call this training.
        checkpoint_every: Number of steps between two checkpoints; the result does not depend on it.

    Raises:
        JobFailed: If the loss is not finite, or the disk is full.
        Cancelled: If the user asked to stop; the last checkpoint is kept.

    Example:
        >>> examples = examples_from_annotations(stack, annotations, labels)
        >>> task = TrainingTask(stack, examples, labels.classes, TrainingSettings(), seed=0)
        >>> model = fit(task, folder=Path("model"))
    """
    compute = compute or Compute()
    if FILES.saved_key(folder) == task.key:
        return load_model(folder)
    for message in _absent_classes(task):
        compute.progress.message(message)
    learner = learner_class(task.settings.learner)
    return learner.fit(task, folder=folder, compute=compute, stage=stage, checkpoint_every=checkpoint_every)


def load_model(folder: Path) -> TrainedModel:
    """Read a model that ``fit`` trained, of any learner.

    Raises:
        BadInput: If a file is missing or damaged, or the two do not belong together.
    """
    settings = TrainingSettings.from_json(FILES.read_description(folder)["settings"])
    return learner_class(settings.learner).load(folder)


def _absent_classes(task: TrainingTask) -> Iterator[str]:
    """Messages on the classes that the model cannot learn."""
    absent = task.examples.absent_classes(task.classes)
    lost = [number for number in absent if number in task.examples.lost]
    missing = [number for number in absent if number not in task.examples.lost]
    if lost:
        yield f"Annotated, but with no pixel left on the prepared slices: {_named(task, lost)}. {KEEP}"
    if missing:
        yield f"No annotated pixel shows {_named(task, missing)}: the model cannot learn that yet."


def _named(task: TrainingTask, classes: Iterable[int]) -> str:
    names = ("the background", *(task.names or (f"class {number}" for number in range(1, task.classes))))
    return ", ".join(names[number] for number in classes)
