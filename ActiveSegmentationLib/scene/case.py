"""One volume opened for annotation: its nodes, committed slices and uncommitted strokes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import slicer

from ActiveSegmentationLib.cohort import AnnotationKind, Cohort, SliceId, Volume
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.scene.contrast import Contrast
from ActiveSegmentationLib.scene.layers import BINARY_LABELMAP, Layer, layersOf
from ActiveSegmentationLib.scene.ownership import disown, markOwned, ownNodes, removeNodes
from ActiveSegmentationLib.scene.segmentations import (
    capturePlane,
    createSegmentation,
    drawnSlices,
    resolveOverlap,
    segmentId,
    slicesOf,
    writePlanes,
)
from ActiveSegmentationLib.scene.strokes import layerPlanes, segmentPlanes, writeSegmentPlanes
from ActiveSegmentationLib.scene.subjects import placeUnderPatient
from ActiveSegmentationLib.scene.volumeNodes import channelCount, gridNode, loadVolumeNode, readChannel, requireGrid
from ActiveSegmentationLib.study import (
    BACKGROUND_SEGMENT,
    UNLABELLED_SEGMENT_ID,
    Draft,
    SliceAnnotation,
    Study,
    hash_labels,
)

CHANNEL = "ActiveSegmentation.Channel"
"""Attribute of a volume node: the channel that it shows, 0-based."""


class Case:
    """A volume with the segmentation that one annotator draws on it.

    Nodes of the same study and volume that are already in the scene are reused if they still fit.

    Args:
        study: The study.
        volume: The volume.
        annotator: Whose annotations are shown and changed.
        channel: Channel of the image to show, 0-based; the last one if there are fewer.

    Attributes:
        volume: The volume.
        values: Label values in the order of the label set.
        channel: Channel that is shown, 0-based.
        channels: Number of channels; a colour image counts as one.
        contrast: Window and level of the image.
        kind: Masks or scribbles.
        volumeNode: Node of the image.
        segmentationNode: Node that is drawn on.
        restored: Slices whose uncommitted strokes were restored from drafts.
        drafted: Slices that have a draft in the study.
        known: By index, the hash of each committed slice's label values when it was last read.

    Raises:
        BadInput: If the image cannot be read or an annotation file is damaged; the scene is as before.
    """

    def __init__(self, study: Study, volume: Volume, annotator: str, channel: int = 0) -> None:
        self.volume = volume
        self.values = study.labels.values
        self.kind = study.annotation
        self.restored: tuple[int, ...] = ()
        self.drafted: set[int] = set()
        self.known: dict[int, str] = {}
        self._labels = study.labels
        self._grid = gridNode(volume.geometry, volume.id)  # independent of the image's node
        self._segments: dict[str, Any] = {}
        self._clean: dict[int, str] = {}
        self._prelabels: dict[int, str] = {}
        self._seconds: dict[int, float] = {}
        committed = {s.index: a for s, a in study.annotations(annotator, volume=volume.id).items()}
        drafts = {s.index: draft for s, draft in study.drafts.all(annotator, volume.id).items()}
        self.channels = channelCount(volume)
        self.channel = min(channel, self.channels - 1)
        self.volumeNode = self._volumeNode(study.cohort, study.id)
        self.contrast = Contrast(self.volumeNode, slicer.util.arrayFromVolume(self.volumeNode))
        try:
            self.segmentationNode = self._makeSegmentation(study.id)
            for node in self.nodes():
                placeUnderPatient(node, study.id, volume.patient)
            self._fill(committed, drafts)
        except Exception:
            self.remove()
            raise

    def _volumeNode(self, cohort: Cohort, studyId: str) -> Any:
        for node in ownNodes(studyId, self.volume.id):
            if node.IsA("vtkMRMLVolumeNode") and node.GetAttribute(CHANNEL) is not None and _fits(node, self.volume):
                if int(node.GetAttribute(CHANNEL)) != self.channel:
                    self._fillNode(node, cohort)
                return node
        removeNodes(ownNodes(studyId, self.volume.id))
        node = loadVolumeNode(cohort, self.volume, self.channel)
        node.SetAttribute(CHANNEL, str(self.channel))
        markOwned(node, studyId, self.volume.id)
        return node

    def _fillNode(self, node: Any, cohort: Cohort) -> None:
        slicer.util.updateVolumeFromArray(node, readChannel(cohort, self.volume, self.channel))
        node.SetAttribute(CHANNEL, str(self.channel))

    def setChannel(self, cohort: Cohort, channel: int) -> None:
        """Show another channel in the same node.

        Args:
            cohort: The cohort of the volume.
            channel: The channel, 0-based.

        Raises:
            BadInput: If there is no such channel, or the image cannot be read; the earlier one stays.
        """
        pixels = readChannel(cohort, self.volume, channel)
        self.channel = channel
        slicer.util.updateVolumeFromArray(self.volumeNode, pixels)
        self.volumeNode.SetAttribute(CHANNEL, str(channel))
        self.contrast = Contrast(self.volumeNode, pixels)

    def _makeSegmentation(self, studyId: str) -> Any:
        removeNodes(node for node in ownNodes(studyId, self.volume.id) if node.IsA("vtkMRMLSegmentationNode"))
        node = createSegmentation(self.volumeNode, self._labels, self.kind, f"{self.volume.id} annotation")
        markOwned(node, studyId, self.volume.id)
        return node

    def _fill(self, committed: Mapping[int, SliceAnnotation], drafts: Mapping[int, Draft]) -> None:
        self.write({index: annotation.labels for index, annotation in committed.items()})
        self.known = {index: hash_labels(annotation.labels) for index, annotation in committed.items()}
        for index, annotation in committed.items():
            self.markClean(index)
            if annotation.prelabel:
                self._prelabels[index] = annotation.prelabel
        self.drafted = set(drafts)
        for index, draft in drafts.items():
            writeSegmentPlanes(self.segmentationNode, self._grid, self.volume.axis, index, draft.planes)
            self._seconds[index] = draft.seconds
            if draft.prelabel:
                self._prelabels[index] = draft.prelabel
        self.restored = tuple(sorted(index for index in drafts if self.isDirty(index)))

    @property
    def intact(self) -> bool:
        """Whether both nodes are still in the scene."""
        return all(slicer.mrmlScene.IsNodePresent(node) for node in (self.volumeNode, self.segmentationNode))

    @property
    def needsReload(self) -> bool:
        """Whether the volume has to be opened again: nodes or segments are gone, or image or segmentation were moved.

        False if that would lose strokes: a segmentation on another grid stays until it is corrected.
        """
        if not self.intact:
            return True
        return not self._fits() and self._isReadable()

    def _fits(self) -> bool:
        try:
            self.requireImage()
            layersOf(self.segmentationNode, self._grid)
        except BadInput:
            return False
        return self._isWhole

    @property
    def _isWhole(self) -> bool:
        present = self.segmentationNode.GetSegmentation().GetSegmentIDs()
        return all(name in present for name in self._needed())

    def _needed(self) -> set[str]:
        """Ids of the required segments."""
        scribbles = self.kind == AnnotationKind.SCRIBBLE
        return {segmentId(value) for value in self._labels.values} | ({BACKGROUND_SEGMENT} if scribbles else set())

    def _isReadable(self) -> bool:
        try:
            self.dirtySlices()
        except BadInput:
            return False
        return True

    def requireImage(self) -> None:
        """Refuse an image whose voxels are not those of the cohort's volume.

        Raises:
            BadInput: If it was resampled, replaced or moved.
        """
        requireGrid(self.volumeNode, self.volume.geometry)

    def _removed(self) -> list[Layer]:
        """Label maps of removed segments of labels; the segment objects still hold them."""
        segmentation = self.segmentationNode.GetSegmentation()
        present = {name: segmentation.GetSegment(name) for name in segmentation.GetSegmentIDs()}
        self._segments |= {name: present[name] for name in self._needed() if name in present}
        used = [segment.GetRepresentation(BINARY_LABELMAP) for segment in present.values()]
        removed = []
        for name, segment in self._segments.items():
            image = segment.GetRepresentation(BINARY_LABELMAP)
            if name not in present and image is not None and image not in used:
                removed.append(Layer(image, {name: segment.GetLabelValue()}))
        return removed

    def sliceId(self, index: int) -> SliceId:
        """Identity of a slice of this volume."""
        return SliceId(self.volume.id, index)

    def capture(self, index: int) -> np.ndarray:
        """What is drawn on a slice as (rows, columns) uint8 label values, 255 unlabelled.

        Raises:
            BadInput: If it cannot be stored as it is (overlap, a segment that is not a label, another grid); the advice
                says what to do.
        """
        self.requireImage()
        return capturePlane(self.segmentationNode, self._grid, self._labels, self.kind, self.volume.axis, index)

    def planes(self, index: int) -> dict[str, np.ndarray]:
        """What is drawn on a slice: (rows, columns) bool for each segment id that is not empty there.

        Removed segments of labels count: they are restored when the slice is opened again.

        Raises:
            BadInput: If it cannot be read, because the segmentation is on another grid.
        """
        planes = segmentPlanes(self.segmentationNode, self._grid, self.volume.axis, index)
        for layer in self._removed():
            planes |= layerPlanes(layer, self._grid, self.volume.axis, index)
        return planes

    def write(self, planes: Mapping[int, np.ndarray]) -> None:
        """Replace what is drawn on slices.

        Args:
            planes: (rows, columns) uint8 label values by 0-based index of the slice, 255 unlabelled.
        """
        if planes:
            writePlanes(self.segmentationNode, self._grid, self._labels, self.kind, self.volume.axis, planes)

    def isDirty(self, index: int) -> bool:
        """Whether a slice differs from what was last committed; true where it cannot be read."""
        try:
            return self._differs(index)
        except BadInput:
            return True

    def _differs(self, index: int) -> bool:
        return _digest(self.planes(index)) != self._clean.get(index, _digest({}))

    def digest(self, index: int) -> str:
        """A digest of what is drawn on a slice.

        Raises:
            BadInput: If it cannot be read, because the segmentation is on another grid.
        """
        return _digest(self.planes(index))

    def isEmpty(self, index: int) -> bool:
        """Whether nothing is drawn on a slice; false if it cannot be read."""
        try:
            return not segmentPlanes(self.segmentationNode, self._grid, self.volume.axis, index)
        except BadInput:
            return False

    def dirtySlices(self) -> list[int]:
        """Slices with uncommitted changes, ascending.

        Raises:
            BadInput: If it cannot be read, because the segmentation is on another grid.
        """
        axis = self.volume.axis
        drawn = drawnSlices(self.segmentationNode, self._grid, axis)
        candidates = {*drawn, *slicesOf(self._removed(), self._grid, axis), *self._clean}
        return sorted(index for index in candidates if self._differs(index))

    def markClean(self, index: int) -> None:
        """Record that a slice is committed as it is drawn now."""
        self._clean[index] = _digest(self.planes(index))

    def revert(self, index: int, committed: np.ndarray | None) -> None:
        """Restore what was committed on a slice, or clear it."""
        writeSegmentPlanes(self.segmentationNode, self._grid, self.volume.axis, index, {})  # of any other segment too
        if committed is None:
            self._clean.pop(index, None)
            self.known.pop(index, None)
        else:
            self.write({index: committed})
            self.markClean(index)
            self.known[index] = hash_labels(committed)

    def resolveOverlap(self, index: int) -> None:
        """Assign pixels that several segments share to the label that comes last.

        Raises:
            BadInput: As ``capture``, but for the overlap.
        """
        resolveOverlap(self.segmentationNode, self._grid, self._labels, self.kind, self.volume.axis, index)

    def seconds(self, index: int) -> float:
        """Seconds spent on a slice before it was opened this time."""
        return self._seconds.get(index, 0.0)

    def setSeconds(self, index: int, seconds: float) -> None:
        """Set the seconds spent on a slice so far."""
        self._seconds[index] = seconds

    def prelabel(self, index: int) -> str | None:
        """Key of the model whose prediction was the starting point on a slice, or None."""
        return self._prelabels.get(index)

    def setPrelabel(self, index: int, model: str | None) -> None:
        """Set the model whose prediction was the starting point on a slice; None for none."""
        self._prelabels.pop(index, None)
        if model:
            self._prelabels[index] = model

    def draft(self, index: int) -> Draft:
        """What is drawn on a slice, as a draft."""
        planes = self._named(self.planes(index))
        return Draft(self.sliceId(index), self.kind, planes, self.seconds(index), self.prelabel(index))

    def _named(self, planes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Planes by segment id; by name for segments that the annotator added, which are restored under that name."""
        known = {segmentId(label.value) for label in self._labels.labels} | {BACKGROUND_SEGMENT, UNLABELLED_SEGMENT_ID}
        segmentation = self.segmentationNode.GetSegmentation()
        named: dict[str, np.ndarray] = {}
        for identity, plane in planes.items():
            name = identity if identity in known else segmentation.GetSegment(identity).GetName()
            taken = not name or name in named or (identity not in known and name in {*known, *planes})
            named[identity if taken else name] = plane
        return named

    def nodes(self) -> list[Any]:
        """The nodes that exist."""
        return [node for node in (getattr(self, "segmentationNode", None), self.volumeNode) if node is not None]

    def remove(self) -> None:
        """Remove the nodes from the scene."""
        removeNodes(self.nodes())

    def release(self) -> None:
        """Keep the nodes in the scene, no longer managed by the module, with the strokes that could not be saved."""
        for node in self.nodes():
            disown(node)


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
