"""How well a model does on slices that were annotated after it was trained: a learning curve without reference masks.

Every new annotation is first a test of the model before it, then training data ("test, then train"). The slices are
those a strategy asked for, often the hard ones, so this is a cautious estimate, and no score of a fixed test part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ActiveSegmentationLib.cohort import IGNORE_LABEL, SliceId, SliceStack
from ActiveSegmentationLib.common.progress import Progress, or_silent
from ActiveSegmentationLib.segmentation import Ensemble, iterate_images
from ActiveSegmentationLib.study import LabelSet, SliceAnnotation


@dataclass(frozen=True)
class PrequentialScore:
    """Agreement of a model with annotations it was not trained on.

    Attributes:
        slices: Number of slices.
        dice: Dice of each class over the decided pixels of all slices together (0..1), None where neither has it.
    """

    slices: int
    dice: dict[str, float | None]

    @property
    def mean(self) -> float | None:
        """Mean over the classes that have a Dice, or None where none has."""
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
    *,
    device: str,
    progress: Progress | None = None,
) -> PrequentialScore:
    """Compare a model's predictions with annotations that came after it.

    Args:
        model: The model, trained without them.
        stack: The cohort's slices.
        annotations: Masks or scribbles; only decided pixels count.
        labels: The label set.
        device: Torch device.
        progress: Told of every slice.
    """
    both, total = np.zeros(labels.classes), np.zeros(labels.classes)
    for number, (slice_id, annotation) in enumerate(sorted(annotations.items())):
        or_silent(progress).update("Testing the model before on the new slices", number, len(annotations))
        _, images = next(iterate_images(model, stack, np.array([stack.row(slice_id)]), device))
        probabilities = stack.from_grid(model.predict(images).cpu().numpy(), slice_id.volume)[0]
        truth = labels.to_classes(annotation.labels)
        decided = truth != IGNORE_LABEL
        predicted = probabilities.argmax(0)[decided]
        truth = truth[decided]
        for class_number in range(1, labels.classes):
            found, wanted = predicted == class_number, truth == class_number
            both[class_number] += np.count_nonzero(found & wanted)
            total[class_number] += np.count_nonzero(found) + np.count_nonzero(wanted)
    dice = {label.name: float(2 * both[n] / total[n]) if total[n] else None for n, label in enumerate(labels.labels, 1)}
    return PrequentialScore(len(annotations), dice)
