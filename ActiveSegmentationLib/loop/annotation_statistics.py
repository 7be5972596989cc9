"""Pool statistics for strategies: from annotations, and in experiments from reference masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ActiveSegmentationLib.acquisition import PoolStatistics
from ActiveSegmentationLib.cohort import IGNORE_LABEL, AnnotationKind, SliceId, SliceStack
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.study import LabelSet, SliceAnnotation


def pool_statistics(
    annotations: Mapping[SliceId, SliceAnnotation],
    labels: LabelSet,
    *,
    extents: Mapping[str, tuple[int, int]] | None = None,
    truth: Callable[[np.ndarray], np.ndarray] | None = None,
) -> PoolStatistics:
    """Count the annotated pixels of each class, and collect the times and the names of the classes.

    Args:
        annotations: Annotated slices.
        labels: The label set.
        extents: First and last slice index that show a structure, for the volumes in which a person marked them.
        truth: See ``PoolStatistics.truth``; ``true_classes`` makes one.
    """
    pixels = {}
    for slice_id, annotation in annotations.items():
        classes = labels.to_classes(annotation.labels)
        pixels[slice_id] = np.bincount(classes[classes != IGNORE_LABEL].ravel(), minlength=labels.classes)
    seconds = {key: annotation.seconds for key, annotation in annotations.items() if annotation.seconds > 0}
    names = ("background", *(label.name for label in labels.labels))
    return PoolStatistics(pixels, seconds, extents, truth, names)


def true_classes(stack: SliceStack, labels: LabelSet) -> Callable[[np.ndarray], np.ndarray]:
    """The true classes of slices, for experiments: a function from rows of the stack (n,) to (n, C) bool.

    Args:
        stack: The cohort's slices with their reference masks.
        labels: The label set.

    Returns:
        A function that raises ``BadInput`` if a volume has no reference mask.
    """
    known: dict[str, np.ndarray] = {}

    def of_volume(volume_id: str) -> np.ndarray:
        if volume_id not in known:
            masks = stack.truth(volume_id, AnnotationKind.MASK)
            if masks is None:
                advice = "Choose another strategy, or leave this volume out."
                raise BadInput("The volume has no reference mask.", where=volume_id, advice=advice)
            classes = labels.to_classes(masks)
            values = np.arange(labels.classes)
            known[volume_id] = np.stack([np.isin(values, plane) for plane in classes])
        return known[volume_id]

    def of_rows(rows: np.ndarray) -> np.ndarray:
        ids = [stack.slice_id(int(row)) for row in rows]
        return np.stack([of_volume(slice_id.volume)[slice_id.index] for slice_id in ids])

    return of_rows


def true_extents(
    stack: SliceStack, rows: np.ndarray, truth: Callable[[np.ndarray], np.ndarray]
) -> dict[str, tuple[int, int]]:
    """The extents that a person who knows the volumes would mark.

    Args:
        stack: The cohort's slices.
        rows: (n,) rows of the slices to use.
        truth: See ``true_classes``.

    Returns:
        First and last slice index with any foreground, for every volume that has some.
    """
    found: dict[str, tuple[int, int]] = {}
    for row in rows[truth(rows)[:, 1:].any(axis=1)]:
        volume, index = stack.slice_id(int(row))
        first, last = found.get(volume, (index, index))
        found[volume] = min(first, index), max(last, index)
    return found
