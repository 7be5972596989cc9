"""Label maps inside a segmentation node: reading and replacing single slices of them.

Slicer stores segments that do not overlap in one shared label map (a layer), each with its own value, cropped to the
drawn part of the grid. Reading and writing only that part makes a slice of a large volume cheap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ActiveSegmentationLib.cohort import slices_first
from ActiveSegmentationLib.common.errors import BadInput, JobFailed

BINARY_LABELMAP = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
"""Slicer's name of the representation that is drawn in."""

NEAR = 0.05
"""Largest distance, in voxels, between corresponding voxels of two grids that count as equal."""


NOTHING = np.array([[0, -1]] * 3)
"""Extent of a label map that holds no voxel."""


@dataclass(frozen=True)
class Layer:
    """One label map of a segmentation.

    Attributes:
        image: The vtkOrientedImageData.
        values: Stored value of each segment in it, by segment id.
        others: Names of the segmentation's other representations (surfaces); the first change removes them, so
            ``announce`` needs their names from before.
    """

    image: Any
    values: dict[str, int]
    others: tuple[str, ...] = ()

    @property
    def extent(self) -> np.ndarray:
        """(3, 2) first and last index along (i, j, k); the last is below the first where nothing is stored."""
        return np.reshape(self.image.GetExtent(), (3, 2))

    @property
    def isEmpty(self) -> bool:
        """Whether nothing is stored."""
        return bool((self.extent[:, 1] < self.extent[:, 0]).any()) or self.image.GetPointData().GetScalars() is None

    def array(self) -> np.ndarray:
        """(k, j, i) view of the stored part; writing to it changes the image."""
        shape = (self.extent[:, 1] - self.extent[:, 0] + 1)[::-1]
        return vtk_to_numpy(self.image.GetPointData().GetScalars()).reshape(shape)


def layersOf(segmentationNode: Any, volumeNode: Any, asStored: bool = False) -> list[Layer]:
    """The label maps of a segmentation, after a check that they are on the grid of a volume.

    While Slicer undoes a change it emits events while some segments have no label map: those are left out.

    Args:
        segmentationNode: The segmentation.
        volumeNode: The volume.
        asStored: Also accept a segmentation that was moved by a transform or is to get another grid: enough for a
            draft, not for a commit.

    Raises:
        BadInput: If the segmentation is not stored as label maps, is moved by a transform, or is on another grid
            ("Specify geometry" of Slicer's editor).
    """
    _requireForm(segmentationNode)
    if not asStored:
        _requirePlace(segmentationNode, volumeNode)
    segmentation = segmentationNode.GetSegmentation()
    names: list[str] = []
    segmentation.GetContainedRepresentationNames(names)
    others = tuple(name for name in names if name != BINARY_LABELMAP)
    layers: dict[Any, Layer] = {}
    for segmentId in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segmentId)
        image = segment.GetRepresentation(BINARY_LABELMAP)
        if image is None:  # briefly during undo and redo
            continue
        layer = layers.setdefault(image, Layer(image, {}, others))
        layer.values[segmentId] = segment.GetLabelValue()
    for layer in layers.values():
        if not layer.isEmpty:
            _requireGrid(layer.image, segmentationNode, volumeNode)
    return list(layers.values())


def gridSize(volumeNode: Any) -> tuple[int, int, int]:
    """Voxels of a volume node along (i, j, k)."""
    i, j, k = volumeNode.GetImageData().GetDimensions()
    return i, j, k


def planeAxes(axis: int) -> tuple[int, int]:
    """Image axes along the rows' order and along the columns' order of a slice across image axis ``axis``."""
    rows, columns = (other for other in (2, 1, 0) if other != axis)
    return rows, columns


def planeShape(volumeNode: Any, axis: int) -> tuple[int, int]:
    """Rows and columns of a slice across image axis ``axis``."""
    size = gridSize(volumeNode)
    rows, columns = planeAxes(axis)
    return size[rows], size[columns]


def readPlane(layer: Layer, volumeNode: Any, axis: int, index: int) -> np.ndarray:
    """Stored values of one slice: (rows, columns), 0 where nothing is drawn; voxels outside the volume are left out.

    Args:
        layer: The label map.
        volumeNode: Volume whose grid it has.
        axis: Image axis across which slices are counted (0 = i, 1 = j, 2 = k).
        index: 0-based index of the slice.
    """
    if layer.isEmpty:
        return np.zeros(planeShape(volumeNode, axis), dtype=np.uint8)
    plane = np.zeros(planeShape(volumeNode, axis), dtype=layer.array().dtype)
    stored, inPlane = _storedPlane(layer, plane.shape, axis, index)
    if stored is not None:
        plane[inPlane] = stored
    return plane


def replacePlanes(layer: Layer, volumeNode: Any, axis: int, planes: Mapping[int, np.ndarray]) -> None:
    """Replace whole slices of a label map; other slices stay. Emits no events, see ``announce``.

    Args:
        layer: The label map.
        volumeNode: Volume whose grid it has.
        axis: Image axis across which slices are counted (0 = i, 1 = j, 2 = k).
        planes: (rows, columns) stored values of each slice, by 0-based index.
    """
    needed = _boundingBox(planes, axis)
    target = layer if needed is None else _reachingOver(layer, volumeNode, needed)
    if target.isEmpty:
        return
    for index, plane in planes.items():
        stored, inPlane = _storedPlane(target, plane.shape, axis, index)
        if stored is not None:
            stored[...] = plane[inPlane]
    if target is not layer:  # only now, so that no observer sees voxels that are not yet written
        layer.image.ShallowCopy(target.image)


def announce(segmentationNode: Any, layers: list[Layer]) -> None:
    """Notify views, tables and undo of changed label maps, and create the segmentation's surfaces again.

    Args:
        segmentationNode: The segmentation.
        layers: The label maps, looked up before they were changed.

    Raises:
        JobFailed: If Slicer cannot make a surface.
    """
    segmentation = segmentationNode.GetSegmentation()
    for layer in layers:
        if not layer.isEmpty:
            layer.image.GetPointData().GetScalars().Modified()
        layer.image.Modified()  # removes all other representations, which are out of date now
    for name in {name for layer in layers for name in layer.others}:
        if not segmentation.CreateRepresentation(name, True):
            advice = "In the Segmentations module, under Representations, remove it and create it again."
            raise JobFailed(f"'{name}' could not be updated.", where=segmentationNode.GetName(), advice=advice)
    for layer in layers:
        # the segmentation does not observe the label map of a segment that was added last;
        # the second event is the one that slice views wait for
        segmentId = next(iter(layer.values))
        segmentation.InvokeEvent(slicer.vtkSegmentation.SourceRepresentationModified, segmentId)
        segmentation.InvokeEvent(slicer.vtkSegmentation.RepresentationModified, segmentId)


def newImage(volumeNode: Any, box: np.ndarray, scalarType: int = vtk.VTK_UNSIGNED_CHAR) -> Any:
    """A label map of zeros on the grid of a volume: vtkOrientedImageData.

    Args:
        volumeNode: The volume.
        box: (3, 2) first and last index along (i, j, k); ``NOTHING`` for a label map that holds no voxel yet.
        scalarType: VTK's number of the type of the stored values.
    """
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    image = slicer.vtkOrientedImageData()
    image.SetExtent([int(value) for value in box.ravel()])
    image.AllocateScalars(scalarType, 1)
    image.SetGeometryFromImageToWorldMatrix(matrix)
    vtk_to_numpy(image.GetPointData().GetScalars())[:] = 0
    return image


def _storedPlane(layer: Layer, shape: tuple[int, ...], axis: int, index: int) -> tuple[Any, Any]:
    """View of the stored part of a slice and its place in the plane; (None, None) where nothing is stored."""
    extent = layer.extent
    if not extent[axis, 0] <= index <= extent[axis, 1]:
        return None, None
    part = slices_first(layer.array(), axis)[index - extent[axis, 0]]
    inPart, inPlane = [], []
    for other, count in zip(planeAxes(axis), shape, strict=True):
        first, last = extent[other]
        start, stop = max(int(first), 0), min(int(last) + 1, count)
        if start >= stop:
            return None, None
        inPlane.append(slice(start, stop))
        inPart.append(slice(start - int(first), stop - int(first)))
    return part[tuple(inPart)], tuple(inPlane)


def _boundingBox(planes: Mapping[int, np.ndarray], axis: int) -> np.ndarray | None:
    """(3, 2) first and last index along (i, j, k) of nonzero pixels, or None if all are 0."""
    drawn = [index for index, plane in planes.items() if plane.any()]
    if not drawn:
        return None
    box = np.empty((3, 2), dtype=int)
    box[axis] = min(drawn), max(drawn)
    for number, other in enumerate(planeAxes(axis)):
        used = np.flatnonzero(np.any([planes[index].any(axis=1 - number) for index in drawn], axis=0))
        box[other] = used[0], used[-1]
    return box


def _reachingOver(layer: Layer, volumeNode: Any, needed: np.ndarray) -> Layer:
    """The label map itself where it covers a box, else a larger copy."""
    if layer.isEmpty:
        image = newImage(volumeNode, needed)
        slicer.vtkOrientedImageDataResample.CastImageForValue(image, max(layer.values.values()))
        return Layer(image, layer.values)
    old = layer.extent
    box = np.stack([np.minimum(old[:, 0], needed[:, 0]), np.maximum(old[:, 1], needed[:, 1])], axis=1)
    if np.array_equal(box, old):
        return layer
    larger = Layer(newImage(volumeNode, box, layer.image.GetScalarType()), layer.values)
    (i, j, k), (iStop, jStop, kStop) = old[:, 0] - box[:, 0], old[:, 1] - box[:, 0] + 1
    larger.array()[k:kStop, j:jStop, i:iStop] = layer.array()
    return larger


def _requireForm(segmentationNode: Any) -> None:
    name = segmentationNode.GetName()
    source = segmentationNode.GetSegmentation().GetSourceRepresentationName()
    if source != BINARY_LABELMAP:
        advice = "In the Segmentations module, under Representations, make 'Binary labelmap' the source again."
        raise BadInput(f"The segmentation is stored as '{source}'.", where=name, advice=advice)


def _requirePlace(segmentationNode: Any, volumeNode: Any) -> None:
    """Refuse a segmentation that is moved or resampled away from the grid of the volume."""
    name = segmentationNode.GetName()
    if segmentationNode.GetParentTransformNode() is not volumeNode.GetParentTransformNode():
        advice = "In the Data module, take both out of their transforms (do not harden them)."
        raise BadInput("The segmentation and the volume are under different transforms.", where=name, advice=advice)
    text = segmentationNode.GetSegmentation().GetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    )
    reference = slicer.vtkOrientedImageData()
    if text and slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, reference, False):
        _requireGrid(reference, segmentationNode, volumeNode)


def _requireGrid(image: Any, segmentationNode: Any, volumeNode: Any) -> None:
    """Refuse an image whose voxels are not those of the volume."""
    imageToWorld, ijkToWorld = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(imageToWorld)
    volumeNode.GetIJKToRASMatrix(ijkToWorld)
    found, expected = (slicer.util.arrayFromVTKMatrix(matrix) for matrix in (imageToWorld, ijkToWorld))
    last = np.array(gridSize(volumeNode)) - 1
    corners = np.array([[i, j, k, 1] for i in (0, last[0]) for j in (0, last[1]) for k in (0, last[2])]).T
    if np.abs(np.linalg.solve(expected, found @ corners) - corners).max() > NEAR:
        volume = volumeNode.GetName()
        message = f"The segmentation is on another grid than the volume '{volume}'."
        advice = f"In the Segment Editor, use 'Specify geometry' with '{volume}' as source geometry."
        raise BadInput(message, where=segmentationNode.GetName(), advice=advice)
