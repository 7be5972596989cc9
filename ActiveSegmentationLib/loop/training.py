"""Train a model on annotations, and score it against reference masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.cohort import AnnotationKind, SliceId, SliceStack, volume_order
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.evaluation import AbsentRule, volume_metrics
from ActiveSegmentationLib.loop.settings import LoopSettings
from ActiveSegmentationLib.loop.validation import nothing_to_choose_on
from ActiveSegmentationLib.segmentation import (
    CleanUp,
    Ensemble,
    Examples,
    TrainingTask,
    cleaned,
    examples_from_annotations,
    fit_ensemble,
    learner_class,
    planned_settings,
    predict_volume,
)
from ActiveSegmentationLib.study import LabelSet, SliceAnnotation


@dataclass(frozen=True)
class VolumeScore:
    """One evaluation metric of one class in one volume; ``value`` is NaN if the metric is undefined."""

    volume: str
    class_name: str
    metric: str
    value: float


@dataclass(frozen=True)
class TrainingData:
    """Slices and labels that a model is trained on.

    Attributes:
        stack: The cohort's slices.
        annotations: All annotations, masks and scribbles mixed as they are.
        labels: The label set.
        validation_rows: Slices with reference masks that pick the best weights; used only if the settings ask for
            it.
        pool_rows: Slices of the pool; those that are not annotated are used only by learners that learn from them.
    """

    stack: SliceStack
    annotations: Mapping[SliceId, SliceAnnotation]
    labels: LabelSet
    validation_rows: np.ndarray
    pool_rows: np.ndarray


def train(
    data: TrainingData,
    settings: LoopSettings,
    *,
    folder: Path,
    compute: Compute | None = None,
    initial: Ensemble | None = None,
) -> Ensemble:
    """Train the models of a round on everything annotated so far.

    Args:
        data: Slices and labels to train on.
        settings: Settings of the loop; its seed is that of initial weights, batches and augmentation.
        folder: Folder of the models and their checkpoints. A finished training is loaded, an interrupted one is
            resumed, and until it is finished an earlier model stays in use.
        compute: Device and progress reporter. Default: the CPU.
        initial: Models to start from if the settings ask for a warm start.

    Raises:
        BadInput: If nothing is annotated, or the best weights are wanted and there is nothing to validate on.
    """
    compute = compute or Compute()
    stack, classes, close = data.stack, data.labels.classes, settings.training.close_background
    acquired = learner_class(settings.training.learner).as_acquired
    examples = examples_from_annotations(
        stack, data.annotations, data.labels, close_background=close, acquired=acquired
    )
    training = planned_settings(settings.training, stack, examples, classes, folder=folder, compute=compute)
    task = TrainingTask(
        stack,
        examples,
        classes,
        training,
        seed=settings.seed,
        validation=_validation_examples(data) if settings.training.select == "best" else None,
        unlabelled=data.pool_rows,
        names=tuple(label.name for label in data.labels.labels),
    )
    return fit_ensemble(task, settings.ensemble_members, folder=folder, compute=compute, initial=initial)


def decided_settings(model: Ensemble, settings: LoopSettings) -> dict[str, Any]:
    """For records: the settings that a model was trained with, if its learner decided on others than were asked for."""
    used = model.members[0].settings
    return {} if used == settings.training else {"training settings": used.to_json()}


def _validation_examples(data: TrainingData) -> Examples:
    stack = data.stack
    slices = [stack.slice_id(int(row)) for row in data.validation_rows]
    truths = {volume: stack.truth(volume, AnnotationKind.MASK) for volume in sorted({s.volume for s in slices})}
    known = {volume: masks for volume, masks in truths.items() if masks is not None}
    if not known:
        raise nothing_to_choose_on()
    annotations = {
        s: SliceAnnotation(s, known[s.volume][s.index], AnnotationKind.MASK, "reference", None, 0.0, "")
        for s in slices
        if s.volume in known
    }
    return examples_from_annotations(stack, annotations, data.labels)


def volumes_of(stack: SliceStack, rows: np.ndarray) -> list[str]:
    """Ids of the volumes that the rows belong to, in the order of the stack."""
    numbers = np.unique(stack.volume_number[np.asarray(rows, dtype=np.int64)])
    return [stack.volumes[int(number)].id for number in numbers]


def evaluate_volumes(
    model: Ensemble,
    stack: SliceStack,
    rows: np.ndarray,
    labels: LabelSet,
    *,
    metrics: Sequence[str],
    absent: AbsentRule = "nan",
    clean_up: CleanUp | None = None,
    compute: Compute | None = None,
) -> list[VolumeScore]:
    """Score a model against the reference masks of volumes, at their own pixel size.

    Args:
        model: The model.
        stack: The cohort's slices with their reference masks.
        rows: Rows of the stack; the volumes that they belong to are scored. Volumes without usable reference masks are
            left out, and a message names them.
        labels: The label set.
        metrics: Names of the evaluation metrics.
        absent: Dice of a class that neither reference nor prediction has, see ``volume_metrics``.
        clean_up: What is changed in predicted label maps. Default: nothing.
        compute: Device and progress reporter. Default: the CPU.

    Raises:
        BadInput: If none of the volumes has reference masks.
    """
    compute = compute or Compute()
    asked = volumes_of(stack, rows)
    volumes = [volume for volume in asked if stack.has_truth(volume, AnnotationKind.MASK)]
    if not volumes:
        advice = "Use a cohort with reference masks for the volumes to be scored."
        raise BadInput("There are no reference masks to score against.", where="evaluation", advice=advice)
    report_left_out([volume for volume in asked if volume not in volumes], compute.progress)
    scores: list[VolumeScore] = []
    for number, volume_id in enumerate(volumes):
        compute.progress.update("Scoring volumes", number, len(volumes))
        predicted = predict_volume(
            model, stack, volume_id, keep_probabilities=False, compute=Compute(compute.device)
        ).labels
        predicted = cleaned(predicted, clean_up or CleanUp())
        scores += _scores(predicted, stack, volume_id, labels, metrics=metrics, absent=absent)
    compute.progress.update("Scoring volumes", len(volumes), len(volumes))
    return scores


def report_left_out(volumes: Sequence[str], progress: Progress) -> None:
    """Name the volumes that cannot be scored, if there are any."""
    if volumes:
        named = ", ".join(volumes[:5]) + (" ..." if len(volumes) > 5 else "")
        progress.message(f"{len(volumes)} volume(s) have no usable reference masks and are not scored: {named}.")


def _scores(
    predicted: np.ndarray,
    stack: SliceStack,
    volume_id: str,
    labels: LabelSet,
    *,
    metrics: Sequence[str],
    absent: AbsentRule,
) -> Iterator[VolumeScore]:
    volume = stack.volume(volume_id)
    truth = stack.truth(volume_id, AnnotationKind.MASK)
    assert truth is not None  # the caller took only volumes that have it
    found = volume_metrics(
        volume_order(predicted, volume.axis),
        volume_order(labels.to_classes(truth), volume.axis),
        classes={number: label.name for number, label in enumerate(labels.labels, start=1)},
        spacing=tuple(reversed(volume.geometry.spacing)),
        slice_axis=2 - volume.axis,
        metrics=metrics,
        absent=absent,
    )
    for value in found:
        yield VolumeScore(volume_id, value.class_name, value.metric, float(value.value))
