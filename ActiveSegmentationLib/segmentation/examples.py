"""Training examples: annotated slices on the grid of the slice stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from scipy import ndimage

from ActiveSegmentationLib.cohort import BACKGROUND, IGNORE_LABEL, AnnotationKind, SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import hash_bytes, hash_json
from ActiveSegmentationLib.segmentation.slices import Slices

KEEP = (
    "Slices are prepared with cropping or with coarser pixels than the images'; prepare them without --crop or with a "
    "smaller --spacing."
)
"""Advice where annotated pixels are lost in preparation."""


class Annotation(Protocol):
    """One annotated slice: ``labels`` are (h, w) uint8 label values, 255 where unlabelled."""

    @property
    def labels(self) -> np.ndarray:
        """Label values of the slice's pixels."""

    @property
    def kind(self) -> AnnotationKind:
        """Mask or scribble."""


class Labels(Protocol):
    """The part of a label set that training needs: it maps label values to classes 0..C-1, and 255 to itself."""

    def to_classes(self, labels: np.ndarray, /) -> np.ndarray:
        """Classes of an array of label values."""


@dataclass(frozen=True)
class Examples:
    """Annotated slices as arrays.

    Attributes:
        rows: (n,) int64 rows of the stack, ascending and without repetition.
        labels: (n, H, W) uint8 classes on the stack's grid, 255 where unlabelled; all 255 for examples in ``whole``.
        dense: (n,) bool, whether the slice has a mask (every pixel labelled) instead of scribbles.
        whole: (h, w) uint8 classes of the examples whose plane is larger than the grid, by the number of the example.
        lost: Classes that were annotated, but that have no pixel left on the prepared slices.
        acquired: (h, w) uint8 classes of every example in its plane as it was acquired, 255 where unlabelled; empty
            unless they were asked for.
    """

    rows: np.ndarray
    labels: np.ndarray
    dense: np.ndarray
    whole: Mapping[int, np.ndarray] = field(default_factory=dict)
    lost: tuple[int, ...] = ()
    acquired: tuple[np.ndarray, ...] = ()

    def __post_init__(self) -> None:
        fits = self.rows.ndim == 1 and self.labels.ndim == 3 and self.dense.ndim == 1
        if not fits or not len(self.rows) == len(self.labels) == len(self.dense):
            raise ValueError("rows (n,), labels (n, H, W) and dense (n,) must have the same n")
        if self.acquired and len(self.acquired) != len(self.rows):
            raise ValueError("acquired must hold one plane for each row")
        if np.any(np.diff(self.rows) <= 0):
            raise ValueError("rows must be ascending and without repetition")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def key(self) -> str:
        """Hash of the content."""
        arrays: tuple[np.ndarray, ...] = (
            self.rows.astype("<i8"),
            self.labels.astype(np.uint8),
            self.dense.astype(np.uint8),
        )
        about: list = list(self.labels.shape)
        if self.whole:  # nothing is added where every plane fits, so that the keys of earlier models stay the same
            about += [[number, list(self.whole[number].shape)] for number in sorted(self.whole)]
            arrays += tuple(self.whole[number] for number in sorted(self.whole))
        if self.acquired:
            about += ["acquired", [list(plane.shape) for plane in self.acquired]]
            arrays += self.acquired
        return hash_bytes(hash_json(about), *(np.ascontiguousarray(a).tobytes() for a in arrays))

    def planes(self) -> list[np.ndarray]:
        """The labels of every example, at the size of its plane."""
        return [self.whole.get(number, self.labels[number]) for number in range(len(self))]

    def class_counts(self, classes: int) -> np.ndarray:
        """Number of labelled pixels of each class, (classes,) int64."""
        counts = [np.bincount(plane.ravel(), minlength=IGNORE_LABEL + 1)[:classes] for plane in self.planes()]
        return np.sum(counts, axis=0)

    def values(self) -> np.ndarray:
        """Classes that occur, ascending, and 255 where a pixel is unlabelled."""
        found = [np.unique(plane) for plane in self.planes()]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.uint8)

    def absent_classes(self, classes: int) -> list[int]:
        """Classes below ``classes`` that no labelled pixel has."""
        return sorted(set(range(classes)) - set(self.values().tolist()))

    def check(self, classes: int, grid_shape: tuple[int, int]) -> None:
        """Refuse examples that cannot be trained on.

        Raises:
            BadInput: If there is no example, no labelled pixel, or a label is not a class.
        """
        if not len(self):
            advice = "Annotate at least one slice, then train again."
            raise BadInput("There is nothing to learn from.", where="annotations", advice=advice)
        if self.labels.shape[1:] != tuple(grid_shape):
            raise ValueError(f"labels have shape {self.labels.shape[1:]}, the stack's grid is {tuple(grid_shape)}")
        found = self.values()
        if found[0] == IGNORE_LABEL and self.lost:
            raise BadInput("No annotated pixel is left on the prepared slices.", where="annotations", advice=KEEP)
        if found[0] == IGNORE_LABEL:
            advice = "Annotate at least one slice with a mask or a stroke inside of the image."
            raise BadInput("No pixel of any annotated slice is labelled.", where="annotations", advice=advice)
        unknown = found[(found >= classes) & (found != IGNORE_LABEL)].tolist()
        if unknown:
            advice = f"Use classes 0 to {classes - 1}, and {IGNORE_LABEL} for unlabelled pixels."
            raise BadInput(f"The labels have unknown classes: {unknown}.", where="annotations", advice=advice)


def examples_from_annotations(
    stack: Slices,
    annotations: Mapping[SliceId, Annotation],
    labels: Labels,
    *,
    close_background: bool = False,
    acquired: bool = False,
) -> Examples:
    """Resample annotations to the stack's grid.

    Args:
        stack: The cohort's slices.
        annotations: Annotations by slice, masks and scribbles mixed as they are; may be empty.
        labels: The label set that maps label values to classes.
        close_background: Whether scribbles are completed by ``closed_background``, at the images' own resolution.
        acquired: Whether to also keep the classes in the planes as they were acquired.

    Returns:
        The examples, sorted by row, so that they do not depend on the order of annotation. Pixels of the grid outside
        of the image are unlabelled. Planes larger than the grid are kept whole.

    Raises:
        BadInput: If an annotation holds a label value outside the label set.
    """
    ordered = sorted((stack.row(slice_id), slice_id) for slice_id in annotations)
    dense = np.array([annotations[s].kind == AnnotationKind.MASK for _, s in ordered], dtype=bool)
    grids = np.full((len(ordered), *stack.grid_shape), IGNORE_LABEL, dtype=np.uint8)
    whole: dict[int, np.ndarray] = {}
    annotated: set[int] = set()
    planes: list[np.ndarray] = []
    for position, (_, slice_id) in enumerate(ordered):
        classes = labels.to_classes(annotations[slice_id].labels)
        if close_background and not dense[position]:
            classes = closed_background(classes)
        annotated |= set(np.unique(classes).tolist())
        planes += [classes] if acquired else []
        on_grid = stack.to_grid(classes, slice_id.volume)
        if on_grid.shape == stack.grid_shape:
            grids[position] = on_grid
        else:
            whole[position] = on_grid
    rows = np.array([row for row, _ in ordered], dtype=np.int64)
    examples = Examples(rows, grids, dense, whole, acquired=tuple(planes))
    lost = annotated - {IGNORE_LABEL} - set(examples.values().tolist())
    return replace(examples, lost=tuple(sorted(lost)))


def closed_background(classes: np.ndarray) -> np.ndarray:
    """Scribbles completed by background on the outer side of closed background strokes.

    Annotators who circle the organs with one background stroke mean that everything outside is background, which a loss
    of the drawn pixels alone does not use. Connected parts of the slice that background strokes cut off, and in which
    no foreground is drawn, become background. The part around the drawn foreground stays unlabelled, and a slice
    without drawn foreground is not changed.

    This is correct if every organ on a slice with strokes has a stroke of its own.

    Args:
        classes: (h, w) uint8 classes, 0 where a background stroke was drawn, 255 where unlabelled.

    Returns:
        A new array of the same shape and type.
    """
    closed = classes.copy()
    drawn = (classes != BACKGROUND) & (classes != IGNORE_LABEL)
    if drawn.any():
        # Pixels that touch only at a corner are not connected, so that a diagonal stroke is a border.
        parts, _ = ndimage.label(classes != BACKGROUND)
        closed[~np.isin(parts, np.unique(parts[drawn]))] = BACKGROUND
    return closed
