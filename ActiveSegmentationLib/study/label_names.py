"""The labels of a study or an experiment: given by the user, or found in the cohort."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ActiveSegmentationLib.cohort import IGNORE_LABEL, AnnotationKind, Cohort, SliceStack, Volume, read_labels
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.progress import Progress, or_silent
from ActiveSegmentationLib.study.labels import LabelSet
from ActiveSegmentationLib.study.terminology import TISSUE, terminology_for


def label_set_for(cohort: Cohort, text: str | None = None, progress: Progress | None = None) -> LabelSet:
    """The label set that the user has given, or that of the cohort.

    Args:
        cohort: The cohort; its layout may name the labels, otherwise the values found in its reference labels are used.
        text: "1=NAME,2=NAME". Default: the labels of the cohort.
        progress: Progress reporter for reading reference labels.

    Raises:
        BadInput: If the text is malformed, or no label is known and the cohort has no reference labels.
    """
    if text is not None:
        return LabelSet.from_names(_parse(text))
    names = {value: name for value, name in cohort.labels.items() if value not in (0, IGNORE_LABEL)}
    if not names:
        names = {value: f"label {value}" for value in _values_in(cohort, or_silent(progress))}
    if not names:
        advice = "Name the labels, for example: --labels 1=liver,2=tumour."
        message = "The cohort names no labels and has no reference labels."
        if any(volume.mask is not None for volume in cohort.volumes):
            message = "The cohort names no labels, and its reference labels are all empty."
        raise BadInput(message, where=cohort.root, advice=advice)
    return _with_terminology(LabelSet.from_names(names), cohort.root.name)


def _with_terminology(labels: LabelSet, place: str) -> LabelSet:
    """The labels with terminology entries derived from their names and the cohort's name."""
    found = ((label, terminology_for(label.name, place)) for label in labels.labels)
    return LabelSet(tuple(replace(label, terminology="" if entry == TISSUE else entry) for label, entry in found))


def check_reference(cohort: Cohort, stack: SliceStack, volume: Volume, kind: AnnotationKind, labels: LabelSet) -> None:
    """Refuse a volume whose reference labels have values outside the label set; a volume without them is accepted.

    Raises:
        BadInput: Naming the volume, its file and the values.
    """
    truth, source = stack.truth(volume.id, kind), volume.labels(kind)
    if truth is not None and source is not None:
        labels.check(truth, f"volume {volume.id}, {cohort.path(source.source.paths[0])}")


def _parse(text: str) -> dict[int, str]:
    names: dict[int, str] = {}
    for part in text.split(","):
        value, equals, name = (piece.strip() for piece in part.partition("="))
        if not equals or not value.isdecimal() or not name or not 0 < int(value) < IGNORE_LABEL or int(value) in names:
            advice = "Write VALUE=NAME pairs with different values from 1 to 254, for example 1=liver,2=tumour."
            raise BadInput(f"'{part}' is not a label.", where="labels", advice=advice)
        names[int(value)] = name
    return names


def _values_in(cohort: Cohort, progress: Progress) -> list[int]:
    found: set[int] = set()
    cohort = cohort.with_labels({1: "label 1"})  # so that 255 as the only value is read as the one label
    labelled = [volume for volume in cohort.volumes if volume.mask is not None]
    for number, volume in enumerate(labelled):
        progress.update("Reading label values", number, len(labelled))
        mask = read_labels(cohort, volume, AnnotationKind.MASK)
        if mask is not None:
            found.update(int(value) for value in np.unique(mask))
    return sorted(found - {0, IGNORE_LABEL})
