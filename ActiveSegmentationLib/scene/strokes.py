"""The strokes on one slice, by segment and with overlaps: for drafts, and to detect changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ActiveSegmentationLib.scene.layers import Layer, announce, layersOf, planeShape, readPlane, replacePlanes
from ActiveSegmentationLib.scene.segmentations import addSegment


def segmentPlanes(segmentationNode: Any, volumeNode: Any, axis: int, index: int) -> dict[str, np.ndarray]:
    """Read the pixels of each segment on a slice.

    Args:
        segmentationNode: The segmentation.
        volumeNode: The volume that it belongs to.
        axis: Image axis across which slices are counted (0 = i, 1 = j, 2 = k).
        index: 0-based index of the slice.

    Returns:
        (rows, columns) bool by segment id, for segments that are not empty there; transforms are ignored.

    Raises:
        BadInput: If the segmentation is on another grid.
    """
    planes: dict[str, np.ndarray] = {}
    for layer in layersOf(segmentationNode, volumeNode, asStored=True):
        planes |= layerPlanes(layer, volumeNode, axis, index)
    return planes


def layerPlanes(layer: Layer, volumeNode: Any, axis: int, index: int) -> dict[str, np.ndarray]:
    """Read the pixels of each segment of one label map on a slice; arguments and result as ``segmentPlanes``."""
    stored = readPlane(layer, volumeNode, axis, index)
    planes = {segmentId: stored == value for segmentId, value in layer.values.items()}
    return {segmentId: plane for segmentId, plane in planes.items() if plane.any()}


def writeSegmentPlanes(
    segmentationNode: Any, volumeNode: Any, axis: int, index: int, planes: Mapping[str, np.ndarray]
) -> None:
    """Replace the pixels of all segments on a slice; the inverse of ``segmentPlanes``.

    Args:
        segmentationNode: The segmentation.
        volumeNode: The volume that it belongs to.
        axis: Image axis across which slices are counted (0 = i, 1 = j, 2 = k).
        index: 0-based index of the slice.
        planes: (rows, columns) bool by segment id. Other segments are cleared on the slice, missing ones are added.

    Raises:
        BadInput: If the segmentation is on another grid.
    """
    segmentation = segmentationNode.GetSegmentation()
    for segmentId in planes:
        if segmentation.GetSegment(segmentId) is None:
            addSegment(segmentationNode, segmentId)
    for layer in layersOf(segmentationNode, volumeNode):
        taken = np.zeros(planeShape(volumeNode, axis), dtype=bool)
        for segmentId in layer.values:
            plane = planes.get(segmentId)
            if plane is not None and (plane & taken).any():
                segmentation.SeparateSegmentLabelmap(segmentId)  # one label map cannot store an overlap
            elif plane is not None:
                taken |= plane
    layers = layersOf(segmentationNode, volumeNode)
    for layer in layers:
        replacePlanes(layer, volumeNode, axis, {index: _stored(layer, planes, planeShape(volumeNode, axis))})
    announce(segmentationNode, layers)


def _stored(layer: Layer, planes: Mapping[str, np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    stored = np.zeros(shape, dtype=np.uint8)
    for segmentId, value in layer.values.items():
        if segmentId in planes:
            stored[planes[segmentId]] = value
    return stored
