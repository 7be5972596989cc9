"""Prequential score: test a model on slices that were annotated after its training, then train on them.

Every new annotation is first a test of the model, then training data ("test, then train"), which gives a learning curve
without reference masks. The slices are those that a strategy requested, often the hard ones, so this is a cautious
estimate and does not replace the score of a fixed test set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ActiveSegmentationLib.cohort import SliceId, SliceStack
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.labels import IGNORE_LABEL
from ActiveSegmentationLib.segmentation import Ensemble
from ActiveSegmentationLib.study import LabelSet, SliceAnnotation


@dataclass(frozen=True)
class PrequentialScore:
    """Agreement of a model with annotations that it was not trained on.

    Attributes:
        slices: Number of slices.
        dice: Dice of each class over the labelled pixels of all slices together (0..1), None if neither has the class.
    """

    slices: int
    dice: dict[str, float | None]

    @property
    def mean(self) -> float | None:
        """Mean over the classes that have a Dice, or None if none has."""
        known = [value for value in self.dice.values() if value is not None]
        return float(np.mean(known)) if known else None

    def to_json(self) -> dict[str, Any]:
        """The score as JSON values."""
        return {"slices": self.slices, "dice": self.dice, "mean": self.mean}


@torch.no_grad()
def prequential_score(
    model: Ensemble,
    stack: SliceStack,
    annotations: Mapping[SliceId, SliceAnnotation],
    labels: LabelSet,
    compute: Compute | None = None,
) -> PrequentialScore:
    """Compare a model's predictions with annotations that came after its training.

    Args:
        model: The model, trained without them.
        stack: The cohort's slices.
        annotations: Masks or scribbles; only labelled pixels count.
        labels: The label set.
        compute: Device and progress reporter. Default: the CPU.
    """
    compute = compute or Compute()
    both, total = np.zeros(labels.classes), np.zeros(labels.classes)
    for number, (slice_id, annotation) in enumerate(sorted(annotations.items())):
        compute.progress.update("Testing the model on the new slices", number, len(annotations))
        row = np.array([stack.row(slice_id)])
        batch = next(model.batches(stack, row, Compute(compute.device)))
        probabilities = model.planes(stack, slice_id.volume, batch.of_rows(model.predict(batch.inputs)))[0]
        truth = labels.to_classes(annotation.labels)
        labelled = truth != IGNORE_LABEL
        predicted, truth = probabilities.argmax(0)[labelled], truth[labelled]
        for class_number in range(1, labels.classes):
            found, wanted = predicted == class_number, truth == class_number
            both[class_number] += np.count_nonzero(found & wanted)
            total[class_number] += np.count_nonzero(found) + np.count_nonzero(wanted)
    dice = {label.name: float(2 * both[n] / total[n]) if total[n] else None for n, label in enumerate(labels.labels, 1)}
    return PrequentialScore(len(annotations), dice)
