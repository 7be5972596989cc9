"""The annotation of one slice."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace

import numpy as np

from ActiveSegmentationLib.cohort import IGNORE_LABEL, AnnotationKind, SliceId, Volume
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.study.labels import LabelSet
from ActiveSegmentationLib.study.names import clean_annotator
from ActiveSegmentationLib.study.times import as_utc


@dataclass(frozen=True, eq=False)
class SliceAnnotation:
    """One committed slice.

    - A mask labels every pixel; an empty mask means that all pixels are background. Pixels of value 255 are unlabelled
    (a partial mask).
    - A scribble labels only the drawn pixels, which may be background; all others are 255.

    Attributes:
        slice: Which slice.
        labels: (rows, columns) uint8 label values in the array order of the volume: 0 background, 255 unlabelled.
        kind: Mask or scribble.
        annotator: Name of the annotator.
        round: Number of the round that requested it, or None if it was not requested.
        seconds: Time spent on it, 0 or more.
        committed_at: Time in ISO 8601. Default: the time of the commit.
        prelabel: Key of the model whose prediction was the starting point, or None.
    """

    slice: SliceId
    labels: np.ndarray
    kind: AnnotationKind
    annotator: str
    round: int | None
    seconds: float
    committed_at: str
    prelabel: str | None = None


def hash_labels(labels: np.ndarray) -> str:
    """SHA-256 of a slice's uint8 label values in row-major order, as 64 hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(labels, dtype=np.uint8).tobytes()).hexdigest()


def checked(annotation: SliceAnnotation, volume: Volume, labels: LabelSet) -> SliceAnnotation:
    """Check an annotation and return it in the form in which it is stored.

    Raises:
        BadInput: If the slice does not exist, the array has another shape or type, holds values outside the label set
            or labels no pixel, or the time, the seconds or the round are invalid.
    """
    where = f"{volume.id}, slice {annotation.slice.index + 1}"
    check_slice(annotation.slice, volume)
    _check_numbers(annotation, where)
    array = _as_labels(annotation.labels, volume, where)
    labels.check(array, where)
    if (array == IGNORE_LABEL).all():
        advice = "Draw something, or use skip."
        raise BadInput("Nothing is drawn on this slice.", where=where, advice=advice)
    return replace(
        annotation,
        slice=SliceId(volume.id, int(annotation.slice.index)),
        labels=array,
        kind=AnnotationKind(annotation.kind),
        annotator=clean_annotator(annotation.annotator),
        round=None if annotation.round is None else int(annotation.round),
        seconds=float(annotation.seconds),
        committed_at=as_utc(annotation.committed_at),
    )


def check_slice(slice_id: SliceId, volume: Volume) -> None:
    """Refuse an index outside the volume.

    Raises:
        BadInput: If there is no such slice; the advice says how many there are.
    """
    if not 0 <= slice_id.index < volume.slice_count:
        advice = f"Its slices are 1 to {volume.slice_count}."
        raise BadInput(f"There is no slice {slice_id.index + 1}.", where=volume.id, advice=advice)


def _check_numbers(annotation: SliceAnnotation, where: str) -> None:
    if not (math.isfinite(annotation.seconds) and annotation.seconds >= 0):
        raise BadInput(
            f"{annotation.seconds} seconds is not a duration.", where=where, advice="Give 0 or more seconds."
        )
    if annotation.round is not None and annotation.round < 0:
        raise BadInput(f"There is no round {annotation.round}.", where=where, advice="Give 0 or more, or None.")
    if annotation.kind not in tuple(AnnotationKind):
        raise BadInput(f"There is no kind '{annotation.kind}'.", where=where, advice="Use mask or scribble.")


def _as_labels(array: np.ndarray, volume: Volume, where: str) -> np.ndarray:
    """A read-only uint8 copy."""
    array = np.asarray(array)
    if array.shape != volume.plane_shape:
        expected, found = (" x ".join(map(str, shape)) for shape in (volume.plane_shape, array.shape))
        advice = "Draw on the slice plane of the volume, in the order of its array."
        raise BadInput(f"The labels have shape {found}, the slice has {expected}.", where=where, advice=advice)
    if array.dtype.kind not in "biu":
        advice = "Give whole numbers from 0 to 255."
        raise BadInput(f"Labels cannot be of type {array.dtype}.", where=where, advice=advice)
    if array.size and not (array.min() >= 0 and array.max() <= IGNORE_LABEL):
        advice = "Give whole numbers from 0 to 255."
        raise BadInput(f"Label values from {array.min()} to {array.max()}.", where=where, advice=advice)
    labels = np.array(array, dtype=np.uint8, order="C")
    labels.flags.writeable = False
    return labels
