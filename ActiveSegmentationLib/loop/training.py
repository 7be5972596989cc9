"""From annotations to a model, and from a model to label maps and scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.cohort import AnnotationKind, SliceId, SliceStack, volume_order
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.progress import Progress, or_silent
from ActiveSegmentationLib.evaluation import AbsentRule, volume_metrics
from ActiveSegmentationLib.loop.settings import LoopSettings
from ActiveSegmentationLib.segmentation import (
    Ensemble,
    Examples,
    examples_from_annotations,
    fit_ensemble,
    predict_volume,
)
from ActiveSegmentationLib.study import LabelSet, SliceAnnotation


@dataclass(frozen=True)
class VolumeScore:
    """One metric of one class in one volume; ``value`` is NaN where the metric is undefined."""

    volume: str
    class_name: str
    metric: str
    value: float


def train(
    stack: SliceStack,
    annotations: Mapping[SliceId, SliceAnnotation],
    labels: LabelSet,
    settings: LoopSettings,
    *,
    seed: int,
    folder: Path,
    device: str,
    validation_rows: np.ndarray,
    initial: Ensemble | None = None,
    progress: Progress | None = None,
) -> Ensemble:
    """Train the round's models on everything annotated so far.

    Args:
        stack: The cohort's slices.
        annotations: All annotations, masks and scribbles mixed as they are.
        labels: The label set.
        settings: Settings of the loop.
        seed: Seed of initial weights, batches and augmentation.
        folder: Where the models and their checkpoints live; a finished training is loaded, an interrupted one resumed,
            and until it is finished an earlier model stays in use.
        device: Torch device.
        validation_rows: Slices with reference masks that pick the best weights; used only where the settings say so.
        initial: Models to start from instead of random weights.
        progress: Told of every step.

    Raises:
        BadInput: If nothing is annotated, or the best weights are to be kept and there is nothing to validate on.
    """
    validation = _validation_examples(stack, validation_rows, labels, settings)
    return fit_ensemble(
        stack,
        examples_from_annotations(stack, annotations, labels, close_background=settings.training.close_background),
        labels.classes,
        settings.training,
        members=settings.ensemble_members,
        seed=seed,
        folder=folder,
        device=device,
        validation=validation,
        initial=initial,
        progress=progress,
    )


def _validation_examples(
    stack: SliceStack, rows: np.ndarray, labels: LabelSet, settings: LoopSettings
) -> Examples | None:
    if settings.training.select != "best":
        return None
    slices = [stack.slice_id(int(row)) for row in rows]
    known = {volume for volume in {s.volume for s in slices} if stack.truth(volume, AnnotationKind.MASK) is not None}
    if not known:
        advice = "Give the cohort validation volumes with masks, or keep the last weights (--select last)."
        raise BadInput("There is no volume to choose the best weights on.", where="validation", advice=advice)
    truths = {volume: stack.truth(volume, AnnotationKind.MASK) for volume in sorted(known)}
    masks = {s: truths[s.volume][s.index] for s in slices if s.volume in known}  # type: ignore[index]
    annotations = {
        slice_id: SliceAnnotation(slice_id, mask, AnnotationKind.MASK, "reference", None, 0.0, "")
        for slice_id, mask in masks.items()
    }
    return examples_from_annotations(stack, annotations, labels)


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
    device: str,
    progress: Progress | None = None,
) -> list[VolumeScore]:
    """Score a model against the reference masks of the volumes that ``rows`` belong to, in their own geometry.

    ``absent`` says what the Dice of a class is that neither reference nor prediction has, see ``volume_metrics``.
    Volumes without usable reference masks are left out and named to ``progress``.

    Raises:
        BadInput: If none of them has reference masks.
    """
    asked = volumes_of(stack, rows)
    volumes = [volume for volume in asked if stack.truth(volume, AnnotationKind.MASK) is not None]
    if not volumes:
        advice = "Use a cohort with reference masks for the volumes to be scored."
        raise BadInput("There are no reference masks to score against.", where="evaluation", advice=advice)
    tell_left_out([volume for volume in asked if volume not in volumes], progress)
    return [
        score
        for volume in volumes
        for score in _score(model, stack, volume, volumes, labels, metrics, absent, device, progress)
    ]


def tell_left_out(volumes: Sequence[str], progress: Progress | None) -> None:
    """Name the volumes that cannot be scored, if there are any."""
    if volumes:
        named = ", ".join(volumes[:5]) + (" ..." if len(volumes) > 5 else "")
        message = f"{len(volumes)} volume(s) have no usable reference masks and are not scored: {named}."
        or_silent(progress).message(message)


def _score(
    model: Ensemble,
    stack: SliceStack,
    volume_id: str,
    volumes: Sequence[str],
    labels: LabelSet,
    metrics: Sequence[str],
    absent: AbsentRule,
    device: str,
    progress: Progress | None,
) -> Iterator[VolumeScore]:
    or_silent(progress).update("Scoring volumes", volumes.index(volume_id), len(volumes))
    volume = stack.volume(volume_id)
    truth = stack.truth(volume_id, AnnotationKind.MASK)
    assert truth is not None  # the caller took only volumes that have it
    predicted = predict_volume(model, stack, volume_id, device=device, keep_probabilities=False).labels
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
    or_silent(progress).update("Scoring volumes", volumes.index(volume_id) + 1, len(volumes))
