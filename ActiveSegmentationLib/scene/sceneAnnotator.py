"""A simulated annotator that draws into a segmentation and captures it, as in manual annotation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from ActiveSegmentationLib.cohort import BACKGROUND, IGNORE_LABEL, AnnotationKind, Cohort, SliceId
from ActiveSegmentationLib.common.errors import JobFailed
from ActiveSegmentationLib.scene.drawing import Brush
from ActiveSegmentationLib.scene.ownership import removeNodes
from ActiveSegmentationLib.scene.segmentations import addSegment, capturePlane, createSegmentation, segmentId
from ActiveSegmentationLib.scene.volumeNodes import loadVolumeNode
from ActiveSegmentationLib.study import BACKGROUND_SEGMENT, UNLABELLED_SEGMENT_ID, LabelSet, SliceAnnotation


class Oracle(Protocol):
    """Provides annotations, for example from reference masks."""

    def annotate(self, slices: Iterable[SliceId], round_number: int) -> list[SliceAnnotation]:
        """Annotate the slices, in order."""


class SceneAnnotator:
    """Draws the annotations of an oracle into the scene, stroke by stroke, and returns what it captures there.

    It is an annotator for the benchmark. Each call loads the volumes one after the other and removes every node that it
    created, so that the scene never holds more than one volume of the cohort.

    Args:
        oracle: Provides the annotations.
        cohort: The cohort whose volumes are drawn on.
        labels: The label set.
    """

    def __init__(self, oracle: Oracle, cohort: Cohort, labels: LabelSet) -> None:
        self._oracle, self._cohort, self._labels = oracle, cohort, labels

    def annotate(self, slices: Iterable[SliceId], round_number: int) -> list[SliceAnnotation]:
        """Annotate the slices, in order.

        Args:
            slices: The requested slices.
            round_number: The round of the request.

        Returns:
            The oracle's annotations with the labels that were captured.

        Raises:
            BadInput: If the oracle has no annotation, or a volume cannot be read.
            JobFailed: If what is captured differs from what was drawn.
        """
        answers = self._oracle.annotate(slices, round_number)
        captured: dict[SliceId, np.ndarray] = {}
        for volumeId in dict.fromkeys(answer.slice.volume for answer in answers):
            here = [answer for answer in answers if answer.slice.volume == volumeId]
            with self._drawing(volumeId, here[0].kind) as drawing:
                captured.update({answer.slice: drawing.redo(answer) for answer in here})
        return [replace(answer, labels=captured[answer.slice]) for answer in answers]

    @contextmanager
    def _drawing(self, volumeId: str, kind: AnnotationKind) -> Iterator[_Drawing]:
        volume = self._cohort.volume(volumeId)
        nodes = [loadVolumeNode(self._cohort, volume)]
        try:
            nodes.append(createSegmentation(nodes[0], self._labels, kind, f"{volumeId} annotation"))
            with Brush(nodes[1], nodes[0]) as brush:
                yield _Drawing(nodes[0], nodes[1], brush, self._labels, kind, volume.axis)
        finally:
            removeNodes(nodes)


class _Drawing:
    """A volume, the segmentation on it, and the brush."""

    def __init__(
        self, volumeNode: Any, segmentationNode: Any, brush: Brush, labels: LabelSet, kind: AnnotationKind, axis: int
    ) -> None:
        self._volumeNode, self._segmentationNode, self._brush = volumeNode, segmentationNode, brush
        self._labels, self._kind, self._axis = labels, kind, axis

    def redo(self, answer: SliceAnnotation) -> np.ndarray:
        """Draw an annotation, one stroke per segment, and capture the slice: (rows, columns) uint8 label values."""
        index = answer.slice.index
        for value, segment in self._segments().items():
            stroke = answer.labels == value
            if stroke.any():
                self._require(segment)
                self._brush.paint(segment, self._axis, index, stroke)
        labels = capturePlane(self._segmentationNode, self._volumeNode, self._labels, self._kind, self._axis, index)
        if not np.array_equal(labels, answer.labels):
            pixels = int(np.count_nonzero(labels != answer.labels))
            where = f"{answer.slice.volume}, slice {index + 1}"
            advice = "This is a bug: please report it with the versions of Slicer and the extension."
            raise JobFailed(f"{pixels} captured pixel(s) differ from what was drawn.", where=where, advice=advice)
        return labels

    def _segments(self) -> dict[int, str]:
        """Segment of each value that is drawn; background of masks and unlabelled pixels of scribbles are not."""
        masks = self._kind == AnnotationKind.MASK
        extra = {IGNORE_LABEL: UNLABELLED_SEGMENT_ID} if masks else {BACKGROUND: BACKGROUND_SEGMENT}
        return extra | {value: segmentId(value) for value in self._labels.values}

    def _require(self, segment: str) -> None:
        """Add the segment that a partial mask needs in addition to its labels."""
        segmentation = self._segmentationNode.GetSegmentation()
        if segment == UNLABELLED_SEGMENT_ID and segment not in segmentation.GetSegmentIDs():
            addSegment(self._segmentationNode, segment)
