"""One volume opened for annotation: its nodes, what was committed on it, and what has been drawn since."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import slicer

from ActiveSegmentationLib.cohort import Cohort, SliceId, Volume
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.scene.segmentations import (
    capturePlane,
    createSegmentation,
    drawnSlices,
    segmentId,
    writePlanes,
)
from ActiveSegmentationLib.scene.strokes import segmentPlanes, writeSegmentPlanes
from ActiveSegmentationLib.scene.volumeNodes import loadVolumeNode, requireGrid
from ActiveSegmentationLib.study import BACKGROUND_SEGMENT, UNDECIDED_SEGMENT, Draft, SliceAnnotation, Study

OWNER = "ActiveSegmentation.Study"
VOLUME = "ActiveSegmentation.Volume"
"""Attributes of our nodes: id of the study and of the volume."""


class Case:
    """A volume with the segmentation that one annotator draws on it.

    Nodes of the same study and volume that are in the scene already are used again when they still fit.

    Args:
        study: The study.
        volume: The volume.
        annotator: Whose annotations are shown and changed.

    Attributes:
        volume: The volume.
        kind: Masks or scribbles.
        volumeNode: Node of the image.
        segmentationNode: Node that is drawn on.
        restored: Slices whose strokes were not committed when they were last seen, and were drawn again.

    Raises:
        BadInput: If the image cannot be read or an annotation file is damaged; the scene is as before.
    """

    def __init__(self, study: Study, volume: Volume, annotator: str) -> None:
        self.volume = volume
        self.kind = study.annotation
        self.restored: tuple[int, ...] = ()
        self._labels = study.labels
        self._clean: dict[int, str] = {}
        self._prelabels: dict[int, str] = {}
        self._seconds: dict[int, float] = {}
        committed = {s.index: a for s, a in study.annotations(annotator).items() if s.volume == volume.id}
        drafts = {s.index: draft for s, draft in study.drafts(annotator).items() if s.volume == volume.id}
        self.volumeNode = self._volumeNode(study.cohort, study.id)
        try:
            self.segmentationNode = self._makeSegmentation(study.id)
            self._fill(committed, drafts)
        except Exception:
            self.remove()
            raise

    def _volumeNode(self, cohort: Cohort, studyId: str) -> Any:
        for node in ownNodes(studyId, self.volume.id):
            if node.IsA("vtkMRMLVolumeNode") and _fits(node, self.volume):
                return node
        removeNodes(ownNodes(studyId, self.volume.id))
        node = loadVolumeNode(cohort, self.volume)
        markOwned(node, studyId, self.volume.id)
        return node

    def _makeSegmentation(self, studyId: str) -> Any:
        removeNodes(node for node in ownNodes(studyId, self.volume.id) if node.IsA("vtkMRMLSegmentationNode"))
        node = createSegmentation(self.volumeNode, self._labels, self.kind, f"{self.volume.id} annotation")
        markOwned(node, studyId, self.volume.id)
        return node

    def _fill(self, committed: Mapping[int, SliceAnnotation], drafts: Mapping[int, Draft]) -> None:
        self.write({index: annotation.labels for index, annotation in committed.items()})
        for index in committed:
            self.markClean(index)
        for index, draft in drafts.items():
            writeSegmentPlanes(self.segmentationNode, self.volumeNode, self.volume.axis, index, draft.planes)
            self._seconds[index] = draft.seconds
            if draft.prelabel:
                self._prelabels[index] = draft.prelabel
        self.restored = tuple(sorted(index for index in drafts if self.isDirty(index)))

    @property
    def intact(self) -> bool:
        """Whether both nodes are still in the scene."""
        return all(slicer.mrmlScene.IsNodePresent(node) for node in (self.volumeNode, self.segmentationNode))

    @property
    def isWhole(self) -> bool:
        """Whether the segmentation still has the segments of all labels."""
        present = self.segmentationNode.GetSegmentation().GetSegmentIDs()
        return all(segmentId(label.value) in present for label in self._labels.labels)

    def sliceId(self, index: int) -> SliceId:
        """Identity of a slice of this volume."""
        return SliceId(self.volume.id, index)

    def capture(self, index: int) -> np.ndarray:
        """What is drawn on a slice as (rows, columns) uint8 label values, 255 undecided.

        Raises:
            BadInput: If it cannot be stored as it is (overlap, a segment that is no label, another grid); the advice
                names the ways out.
        """
        return capturePlane(self.segmentationNode, self.volumeNode, self._labels, self.kind, self.volume.axis, index)

    def planes(self, index: int) -> dict[str, np.ndarray]:
        """What is drawn on a slice, (rows, columns) bool for each segment id that has something there."""
        return segmentPlanes(self.segmentationNode, self.volumeNode, self.volume.axis, index)

    def write(self, planes: Mapping[int, np.ndarray]) -> None:
        """Replace what is drawn on slices.

        Args:
            planes: (rows, columns) uint8 label values by 0-based index of the slice, 255 undecided.
        """
        if planes:
            writePlanes(self.segmentationNode, self.volumeNode, self._labels, self.kind, self.volume.axis, planes)

    def isDirty(self, index: int) -> bool:
        """Whether a slice shows something else than what was last committed on it."""
        return _digest(self.planes(index)) != self._clean.get(index, _digest({}))

    def isEmpty(self, index: int) -> bool:
        """Whether nothing is drawn on a slice."""
        return not self.planes(index)

    def dirtySlices(self) -> list[int]:
        """Slices with changes that are not committed, ascending."""
        candidates = {*drawnSlices(self.segmentationNode, self.volumeNode, self.volume.axis), *self._clean}
        return sorted(index for index in candidates if self.isDirty(index))

    def markClean(self, index: int) -> None:
        """Note that what a slice shows now is what is stored of it."""
        self._clean[index] = _digest(self.planes(index))

    def revert(self, index: int, committed: np.ndarray | None) -> None:
        """Show again what was committed on a slice, or nothing."""
        if committed is None:
            writeSegmentPlanes(self.segmentationNode, self.volumeNode, self.volume.axis, index, {})
            self._clean.pop(index, None)
        else:
            self.write({index: committed})
            self.markClean(index)

    def seconds(self, index: int) -> float:
        """Seconds spent on a slice before it was opened this time."""
        return self._seconds.get(index, 0.0)

    def setSeconds(self, index: int, seconds: float) -> None:
        """Note the seconds spent on a slice so far."""
        self._seconds[index] = seconds

    def prelabel(self, index: int) -> str | None:
        """Key of the model whose prediction was taken as a start on a slice."""
        return self._prelabels.get(index)

    def setPrelabel(self, index: int, model: str) -> None:
        """Note that a model's prediction was taken as a start."""
        self._prelabels[index] = model

    def draft(self, index: int) -> Draft:
        """What is drawn on a slice, to be kept until it is committed."""
        return Draft(self.sliceId(index), self.kind, self.planes(index), self.seconds(index), self.prelabel(index))

    def foreignSegments(self) -> list[str]:
        """Names of segments that the annotator added and that are no label; they exist nowhere but in the scene."""
        segmentation = self.segmentationNode.GetSegmentation()
        known = {segmentId(label.value) for label in self._labels.labels} | {BACKGROUND_SEGMENT, UNDECIDED_SEGMENT}
        ids = [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]
        return [segmentation.GetSegment(i).GetName() for i in ids if i not in known]

    def remove(self) -> None:
        """Take the nodes out of the scene; a segmentation with segments of the annotator's own stays."""
        nodes = [node for node in (getattr(self, "segmentationNode", None), self.volumeNode) if node is not None]
        if len(nodes) == 2 and slicer.mrmlScene.IsNodePresent(nodes[0]) and self.foreignSegments():
            for node in nodes:
                node.RemoveAttribute(OWNER)
            return
        removeNodes(nodes)


def ownNodes(studyId: str, volumeId: str) -> list[Any]:
    """Nodes of the scene that belong to a volume of a study."""
    return [
        node
        for node in slicer.util.getNodesByClass("vtkMRMLDisplayableNode")
        if node.GetAttribute(OWNER) == studyId and node.GetAttribute(VOLUME) == volumeId
    ]


def removeNodes(nodes: Iterable[Any]) -> None:
    """Remove nodes from the scene where they are in it, with their display and storage nodes.

    Those would stay otherwise, and the display node of a volume keeps its pixels in memory.
    """
    scene = slicer.mrmlScene
    for node in list(nodes):
        parts = [node]
        if node.IsA("vtkMRMLDisplayableNode"):
            parts += [node.GetNthDisplayNode(number) for number in range(node.GetNumberOfDisplayNodes())]
        if node.IsA("vtkMRMLStorableNode"):
            parts += [node.GetNthStorageNode(number) for number in range(node.GetNumberOfStorageNodes())]
        for part in parts:
            if part is not None and scene.IsNodePresent(part):
                scene.RemoveNode(part)


def markOwned(node: Any, studyId: str, volumeId: str) -> None:
    """Note on a node that it belongs to a volume of a study."""
    node.SetAttribute(OWNER, studyId)
    node.SetAttribute(VOLUME, volumeId)


def _fits(node: Any, volume: Volume) -> bool:
    try:
        requireGrid(node, volume.geometry)
    except BadInput:
        return False
    return True


def _digest(planes: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for segment in sorted(planes):
        if planes[segment].any():
            digest.update(segment.encode("utf-8") + b"\0")
            digest.update(np.packbits(planes[segment]).tobytes())
    return digest.hexdigest()
