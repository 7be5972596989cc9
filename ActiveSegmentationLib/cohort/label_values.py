"""Conversion of stored values to label values, with errors for ambiguous ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.cohort.types import AnnotationKind, LabelSource
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.labels import BACKGROUND, IGNORE_LABEL

ROUNDING = 1e-4
"""Values this close to a whole number are rounded: scaling in a header gives 1.0000001 for 1."""

_TABLE = 1 << 16
"""Whole numbers within a range of this size are looked up in a table."""

_ONE_LAYER = "Save it as one layer without overlaps (in Slicer: Segment Editor, Masking, forbid overlap)."


def one_component(array: np.ndarray, path: Path) -> np.ndarray:
    """The label map in a picture with components.

    Args:
        array: (k, j, i), or (k, j, i, C): colours, or layers of a segmentation.
        path: Its file.

    Returns:
        (k, j, i).

    Raises:
        BadInput: If the components differ; opaque transparency does not count.
    """
    if array.ndim == 3:
        return array
    count = array.shape[-1]
    if count in (2, 4) and array.dtype.kind == "u" and (array[..., -1] == np.iinfo(array.dtype).max).all():
        array = array[..., :-1]
    if all(np.array_equal(array[..., 0], array[..., n]) for n in range(1, array.shape[-1])):
        return array[..., 0]
    message = f"The label map has {count} components that differ: colours, or layers that may overlap."
    raise BadInput(message, where=path, advice=_ONE_LAYER)


def refuse_layers(components: int, path: Path) -> None:
    """Refuse a segmentation with several layers by its header; colours are checked when they are read.

    Raises:
        BadInput: Naming the number of layers.
    """
    if components > 1 and (components not in (3, 4) or path.name.lower().endswith(".seg.nrrd")):
        raise BadInput(f"The label map has {components} layers that may overlap.", where=path, advice=_ONE_LAYER)


def label_values(array: np.ndarray, labels: LabelSource, path: Path) -> np.ndarray:
    """Label values of stored values.

    Args:
        array: Stored values of any type, (k, j, i).
        labels: How they are to be read.
        path: Their file.

    Returns:
        uint8 array of the same shape, 255 where unlabelled.

    Raises:
        BadInput: Naming values that are not labels: NaN, fractions, negative, or above 254.
    """
    stored, places = distinct(array)
    whole = np.rint(stored) if stored.dtype.kind == "f" else stored
    mapping = dict(labels.values)
    if labels.ignore_label is not None:
        mapping[labels.ignore_label] = IGNORE_LABEL
    table = np.zeros(len(stored), dtype=np.uint8)
    bad = []
    for number, (value, near) in enumerate(zip(stored.tolist(), whole.tolist(), strict=True)):
        label = mapping.get(int(near), int(near)) if np.isfinite(value) and abs(value - near) <= ROUNDING else -1
        if not (0 <= label < IGNORE_LABEL or (label == IGNORE_LABEL and int(near) in mapping)):
            bad.append(value)
            continue
        table[number] = label
    if bad:
        named = ", ".join(f"{value:.10g}" for value in bad[:5]) + (" ..." if len(bad) > 5 else "")
        advice = "Labels are whole numbers from 0 to 254; save the label map with such values."
        raise BadInput(f"The label map has values that are not labels: {named}.", where=path, advice=advice)
    return looked_up(table, places)


def distinct(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values and the place of each element among them, as ``numpy.unique`` with ``return_inverse`` gives them.

    Label maps hold few whole numbers near each other: these are looked up in a table, where sorting hundreds of
    millions of voxels takes a minute.

    Args:
        array: Values of any real type.

    Returns:
        values: (n,) distinct values, ascending; whole numbers of a float type as int64.
        places: Integers 0..n-1 in the shape of the array.
    """
    low, high = (array.min(), array.max()) if array.size else (0, 0)
    near = bool(np.isfinite(low) and np.isfinite(high)) and float(high) - float(low) < _TABLE
    if not near or abs(float(low)) > 2**52 or not _are_whole(array):
        values, places = np.unique(array, return_inverse=True)
        return values, places.reshape(array.shape)
    present = np.zeros(int(high) - int(low) + 1, dtype=bool)
    for part in planes_of(array):
        present[part.astype(np.int64) - int(low)] = True
    ranks = (np.cumsum(present) - 1).astype(np.uint16)
    places = np.empty(array.shape, dtype=np.uint16)
    for part, place in zip(planes_of(array), planes_of(places), strict=True):
        place[...] = ranks[part.astype(np.int64) - int(low)]
    return np.flatnonzero(present) + int(low), places


def _are_whole(array: np.ndarray) -> bool:
    return array.dtype.kind != "f" or all(bool((part == np.rint(part)).all()) for part in planes_of(array))


def planes_of(array: np.ndarray) -> Iterable[np.ndarray]:
    """The planes of a volume along its first axis, or the array itself if it is smaller.

    NumPy converts indices to 64 bits; plane by plane this needs little memory.
    """
    return array if array.ndim > 2 else [array]


def looked_up(table: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The table's values at the places, in the shape of the places and the type of the table."""
    found = np.empty(places.shape, dtype=table.dtype)
    for part, place in zip(planes_of(places), planes_of(found), strict=True):
        place[...] = table[part]
    return found


def only_255(array: np.ndarray) -> bool:
    """Whether 255 is the only stored value other than 0, as in white masks."""
    return bool((array == IGNORE_LABEL).any()) and bool(np.isin(array, (BACKGROUND, IGNORE_LABEL)).all())


def require_scribbles(values: np.ndarray, labels: LabelSource, path: Path) -> None:
    """Refuse scribbles whose unlabelled pixels are not marked as such.

    Args:
        values: Label values, 255 where unlabelled.
        labels: How they were read.
        path: Their file.

    Raises:
        BadInput: If every pixel is labelled, or if 0 and 255 mean not drawn and drawn.
    """
    unlabelled = int((values == IGNORE_LABEL).sum())
    if not unlabelled:
        advice = f"Store {labels.ignore_label} where nothing was drawn, or use the map as a mask."
        raise BadInput("Scribbles were expected, but every pixel is labelled.", where=path, advice=advice)
    background = int((values == BACKGROUND).sum())
    if labels.ignore_label == IGNORE_LABEL and unlabelled < background and unlabelled + background == values.size:
        advice = "Store the label's own value where it was drawn, and 255 where nothing was."
        message = "255 means unlabelled in scribbles, but here 255 is drawn on a background of 0."
        raise BadInput(message, where=path, advice=advice)


def mask_kind(kind: AnnotationKind, labels: LabelSource) -> bool:
    """Whether every pixel of a label map counts as labelled, so that 255 in it can only be a label."""
    return kind == AnnotationKind.MASK and labels.ignore_label is None and IGNORE_LABEL not in dict(labels.values)
