"""Segmentation nodes for a label set: writing slices of label values into them and reading them back.

A segment is identified by its id: "Segment_<value>" for a label, "Background" for drawn background in scribbles, and
``UNLABELLED_SEGMENT_ID`` for unlabelled pixels of masks, which exists only where needed. The user may change names and
colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from ActiveSegmentationLib.cohort import IGNORE_LABEL, AnnotationKind, slices_first
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.scene.layers import (
    BINARY_LABELMAP,
    NOTHING,
    Layer,
    announce,
    gridSize,
    layersOf,
    newImage,
    planeShape,
    readPlane,
    replacePlanes,
)
from ActiveSegmentationLib.study import (
    BACKGROUND_SEGMENT,
    UNLABELLED_SEGMENT_ID,
    UNLABELLED_SEGMENT_NAME,
    Label,
    LabelSet,
)
from ActiveSegmentationLib.study.terminology import terminology_for

BACKGROUND_COLOR = (0.45, 0.45, 0.45)
"""Colour of drawn background, the same as in the study's files."""

UNLABELLED_COLOR = (0.9, 0.9, 0.9)
"""Colour of unlabelled pixels, the same as in the study's files."""


class OverlapError(BadInput):
    """Segments overlap on a slice, so that some pixels have no single label.

    Attributes:
        names: Names of the overlapping segments, in the order of the label set.
        pixels: Number of pixels in more than one segment.
    """

    def __init__(
        self,
        message: str,
        *,
        where: str | Path | None = None,
        advice: str = "",
        names: tuple[str, ...] = (),
        pixels: int = 0,
    ) -> None:
        super().__init__(message, where=where, advice=advice)
        self.names = names
        self.pixels = pixels


def segmentId(value: int) -> str:
    """Id of the segment of a label value."""
    return f"Segment_{value}"


def createSegmentation(volumeNode: Any, labels: LabelSet, kind: AnnotationKind, name: str) -> Any:
    """Add an empty segmentation on the grid of a volume, with one segment per label.

    Args:
        volumeNode: Volume to draw on.
        labels: The label set.
        kind: Mask or scribble; scribbles also get a segment "Background".
        name: Name of the node.

    Returns:
        The new vtkMRMLSegmentationNode.
    """
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    segmentation = node.GetSegmentation()
    segmentation.SetSourceRepresentationName(BINARY_LABELMAP)
    image = newImage(volumeNode, NOTHING)
    for label in labels.labels:
        segmentation.AddSegment(_segment(label, image), segmentId(label.value))
    if kind == AnnotationKind.SCRIBBLE:
        segment = _namedSegment(BACKGROUND_SEGMENT, BACKGROUND_COLOR, labels.background_value, image)
        segmentation.AddSegment(segment, BACKGROUND_SEGMENT)
    return node


def addSegment(segmentationNode: Any, identity: str) -> None:
    """Add an empty segment with this id, and the same name unless it is the segment of unlabelled pixels."""
    segmentation = segmentationNode.GetSegmentation()
    if identity == UNLABELLED_SEGMENT_ID:
        segmentation.AddEmptySegment(identity, UNLABELLED_SEGMENT_NAME, list(UNLABELLED_COLOR))
    else:
        segmentation.AddEmptySegment(identity, identity)


def writePlane(
    segmentationNode: Any,
    volumeNode: Any,
    labels: LabelSet,
    kind: AnnotationKind,
    axis: int,
    index: int,
    plane: np.ndarray,
) -> None:
    """Write label values of one slice into the segments; see ``writePlanes``.

    Args:
        segmentationNode: Segmentation of ``createSegmentation`` for this label set and kind.
        volumeNode: The volume that it belongs to.
        labels: The label set.
        kind: Mask or scribble.
        axis: Image axis across which slices are counted (0 = i, 1 = j, 2 = k).
        index: 0-based index of the slice in the stored array.
        plane: (rows, columns) uint8 label values in the array's order: 0 background, 255 unlabelled.

    Raises:
        BadInput: As ``writePlanes``.
    """
    writePlanes(segmentationNode, volumeNode, labels, kind, axis, {index: plane})


def writePlanes(
    segmentationNode: Any,
    volumeNode: Any,
    labels: LabelSet,
    kind: AnnotationKind,
    axis: int,
    planes: Mapping[int, np.ndarray],
) -> None:
    """Write label values of some slices into the segments; other slices stay as they are.

    - Masks: background pixels are in no segment; unlabelled pixels go to a segment "Unlabelled", added if needed.
    - Scribbles: unlabelled pixels are in no segment; background goes to the segment "Background".

    Save the editor's state first if the user should be able to undo it.

    Args:
        segmentationNode: Segmentation of ``createSegmentation`` for this label set and kind.
        volumeNode: The volume that it belongs to.
        labels: The label set.
        kind: Mask or scribble.
        axis: Image axis across which slices are counted (0 = i, 1 = j, 2 = k).
        planes: (rows, columns) uint8 label values (0 background, 255 unlabelled) of each slice, by 0-based index.

    Raises:
        BadInput: If a plane has another shape or type or values outside the label set, there is no such slice, a
            segment is missing, another segment has pixels on one of the slices, or the segmentation is on another grid.
            Nothing is written then.
    """
    for index, plane in planes.items():
        _checkPlane(volumeNode, labels, axis, index, plane)
    layers = layersOf(segmentationNode, volumeNode)
    known = _requireSegments(segmentationNode, labels, kind)
    for index in planes:
        _requireNoForeignPixels(segmentationNode, volumeNode, layers, known, axis, index)
    unlabelled = kind == AnnotationKind.MASK and any((plane == IGNORE_LABEL).any() for plane in planes.values())
    if unlabelled and UNLABELLED_SEGMENT_ID not in segmentationNode.GetSegmentation().GetSegmentIDs():
        addSegment(segmentationNode, UNLABELLED_SEGMENT_ID)
        layers = layersOf(segmentationNode, volumeNode)
    for layer in layers:
        table = _storedValues(layer, known)
        replacePlanes(layer, volumeNode, axis, {index: table[plane] for index, plane in planes.items()})
    announce(segmentationNode, layers)


def capturePlane(
    segmentationNode: Any, volumeNode: Any, labels: LabelSet, kind: AnnotationKind, axis: int, index: int
) -> np.ndarray:
    """Read label values of one slice from the segments, the inverse of ``writePlane``.

    Args:
        segmentationNode: Segmentation of ``createSegmentation`` for this label set and kind.
        volumeNode: The volume that it belongs to.
        labels: The label set.
        kind: Pixels in no segment are background (0) in masks, unlabelled (255) in scribbles.
        axis: Image axis across which slices are counted (0 = i, 1 = j, 2 = k).
        index: 0-based index of the slice in the stored array.

    Returns:
        (rows, columns) uint8 label values in the array's order: 0 background, 255 unlabelled.

    Raises:
        OverlapError: If segments overlap on the slice.
        BadInput: If there is no such slice, a segment is missing, another segment has pixels on the slice, or the
            segmentation is on another grid.
    """
    plane, overlap, names = _readSlice(segmentationNode, volumeNode, labels, kind, axis, index)
    pixels = int(np.count_nonzero(overlap))
    if pixels:
        quoted = ", ".join(f"'{name}'" for name in names)
        message = f"Segments overlap in {pixels} pixel(s): {quoted}."
        advice = (
            "Erase these pixels from all but one segment, and in the Segment Editor set Masking, "
            "Modify other segments to 'Overwrite all'."
        )
        raise OverlapError(message, where=_where(volumeNode, index), advice=advice, names=names, pixels=pixels)
    return plane


def resolveOverlap(
    segmentationNode: Any, volumeNode: Any, labels: LabelSet, kind: AnnotationKind, axis: int, index: int
) -> int:
    """Assign pixels of one slice that several segments share to the label that comes last in the label set.

    Labels take precedence over drawn background and unlabelled pixels. Other slices stay as they are.

    Args:
        segmentationNode: Segmentation of ``createSegmentation`` for this label set and kind.
        volumeNode: The volume that it belongs to.
        labels: The label set.
        kind: Mask or scribble.
        axis: Image axis across which slices are counted (0 = i, 1 = j, 2 = k).
        index: 0-based index of the slice in the stored array.

    Returns:
        Number of shared pixels.

    Raises:
        BadInput: As ``capturePlane``.
    """
    plane, overlap, _ = _readSlice(segmentationNode, volumeNode, labels, kind, axis, index)
    pixels = int(np.count_nonzero(overlap))
    if pixels:
        writePlane(segmentationNode, volumeNode, labels, kind, axis, index, plane)
    return pixels


def drawnSlices(segmentationNode: Any, volumeNode: Any, axis: int) -> list[int]:
    """0-based indices, in order, of the slices on which any segment has a voxel; transforms are ignored.

    Args:
        segmentationNode: The segmentation.
        volumeNode: The volume that it belongs to.
        axis: Image axis across which slices are counted (0 = i, 1 = j, 2 = k).

    Raises:
        BadInput: If the segmentation lies on another grid.
    """
    return slicesOf(layersOf(segmentationNode, volumeNode, asStored=True), volumeNode, axis)


def slicesOf(layers: Iterable[Layer], volumeNode: Any, axis: int) -> list[int]:
    """0-based indices, in order, of the slices on which any of some label maps holds a voxel."""
    drawn: set[int] = set()
    for layer in layers:
        if not layer.isEmpty:
            largest = slices_first(layer.array(), axis).max(axis=(1, 2))
            drawn.update((np.flatnonzero(largest) + layer.extent[axis, 0]).tolist())
    return sorted(drawn & set(range(gridSize(volumeNode)[axis])))


def _segment(label: Label, image: Any) -> Any:
    segment = _namedSegment(label.name, label.color, label.value, image)
    entry = label.terminology or terminology_for(label.name)
    segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), entry)
    return segment


def _namedSegment(name: str, color: tuple[float, float, float], value: int, image: Any) -> Any:
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.SetNameAutoGenerated(False)
    segment.SetColor(color)
    segment.SetColorAutoGenerated(False)
    segment.SetLabelValue(value)
    segment.AddRepresentation(BINARY_LABELMAP, image)
    return segment


def _known(labels: LabelSet, kind: AnnotationKind) -> dict[str, int]:
    """Label value of each segment id; where segments overlap, later ones take precedence."""
    extra = {UNLABELLED_SEGMENT_ID: IGNORE_LABEL} if kind == AnnotationKind.MASK else {BACKGROUND_SEGMENT: 0}
    return extra | {segmentId(label.value): label.value for label in labels.labels}


def _where(volumeNode: Any, index: int) -> str:
    return f"{volumeNode.GetName()}, slice {index + 1}"


def _checkIndex(volumeNode: Any, axis: int, index: int) -> None:
    count = gridSize(volumeNode)[axis]
    if not 0 <= index < count:
        advice = f"Use an index from 0 to {count - 1}."
        raise BadInput(f"There is no slice with index {index}.", where=volumeNode.GetName(), advice=advice)


def _checkPlane(volumeNode: Any, labels: LabelSet, axis: int, index: int, plane: np.ndarray) -> None:
    _checkIndex(volumeNode, axis, index)
    where = _where(volumeNode, index)
    expected = planeShape(volumeNode, axis)
    if plane.shape != expected or plane.dtype != np.uint8:
        found, wanted = (" x ".join(map(str, shape)) for shape in (plane.shape, expected))
        message = f"The labels are {found} values of type {plane.dtype}, the slice needs {wanted} of type uint8."
        raise BadInput(message, where=where, advice="Give label values in the order of the volume's array.")
    labels.check(plane, where)


def _requireSegments(segmentationNode: Any, labels: LabelSet, kind: AnnotationKind) -> dict[str, int]:
    """Label value of each segment id.

    Raises:
        BadInput: If a segment is missing.
    """
    known = _known(labels, kind)
    names = {segmentId(label.value): label.name for label in labels.labels}
    present = segmentationNode.GetSegmentation().GetSegmentIDs()
    missing = [names.get(identity, identity) for identity in known if identity not in (*present, UNLABELLED_SEGMENT_ID)]
    if missing:
        quoted = ", ".join(f"'{name}'" for name in missing)
        advice = "Undo the removal, or open the slice again; a new segment of the same name does not replace it."
        raise BadInput(f"Segments were removed: {quoted}.", where=segmentationNode.GetName(), advice=advice)
    return known


def _requireNoForeignPixels(
    segmentationNode: Any, volumeNode: Any, layers: list[Layer], known: dict[str, int], axis: int, index: int
) -> None:
    segmentation = segmentationNode.GetSegmentation()
    names = []
    for layer in layers:
        foreign = {identity: value for identity, value in layer.values.items() if identity not in known}
        if foreign:
            stored = readPlane(layer, volumeNode, axis, index)
            names += [segmentation.GetSegment(i).GetName() for i, value in foreign.items() if value in stored]
    if names:
        quoted = ", ".join(f"'{name}'" for name in names)
        advice = (
            "Move these pixels to a segment of the label set (Segment Editor, Logical operators, Add), erase them, "
            "or remove the segment."
        )
        message = f"Segments that are not in the label set hold pixels of this slice: {quoted}."
        raise BadInput(message, where=_where(volumeNode, index), advice=advice)


def _storedValues(layer: Layer, known: dict[str, int]) -> np.ndarray:
    """Stored value in a layer of each label value 0 to 255; 0 for those of other layers."""
    table = np.zeros(IGNORE_LABEL + 1, dtype=np.min_scalar_type(max(layer.values.values())))
    for identity, value in layer.values.items():
        if identity in known:
            table[known[identity]] = value
    return table


def _readSlice(
    segmentationNode: Any, volumeNode: Any, labels: LabelSet, kind: AnnotationKind, axis: int, index: int
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Label values of a slice (the last in the order of ``_known`` wins), overlap, names of overlapping segments."""
    _checkIndex(volumeNode, axis, index)
    layers = layersOf(segmentationNode, volumeNode)
    known = _requireSegments(segmentationNode, labels, kind)
    _requireNoForeignPixels(segmentationNode, volumeNode, layers, known, axis, index)
    claims = np.stack([_claims(layer, volumeNode, list(known), axis, index) for layer in layers])
    overlap = np.count_nonzero(claims, axis=0) > 1
    undrawn = 0 if kind == AnnotationKind.MASK else IGNORE_LABEL
    plane = np.array([undrawn, *known.values()], dtype=np.uint8)[claims.max(axis=0)]
    ranks = sorted({int(rank) for rank in np.unique(claims[:, overlap])} - {0})
    segmentation = segmentationNode.GetSegmentation()
    return plane, overlap, tuple(segmentation.GetSegment(list(known)[rank - 1]).GetName() for rank in ranks)


def _claims(layer: Layer, volumeNode: Any, order: list[str], axis: int, index: int) -> np.ndarray:
    """Which segment of a layer holds each pixel: its 1-based place in the order, 0 where none does."""
    stored = readPlane(layer, volumeNode, axis, index)
    claims = np.zeros(stored.shape, dtype=np.uint8)
    for identity, value in layer.values.items():
        if identity in order:
            claims[stored == value] = order.index(identity) + 1
    return claims
