"""Nodes for overlays: uncertainty in colour, and a predicted label map as a segmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer

from ActiveSegmentationLib.cohort import AnnotationKind, Geometry, read_label_map, slices_first
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.scene.segmentations import createSegmentation, writePlanes
from ActiveSegmentationLib.scene.volumeNodes import addVolumeNode
from ActiveSegmentationLib.study import LabelSet

COLORS = "ActiveSegmentation uncertainty"
"""Name of the colour table node."""

LEAST_SHOWN = 0.15
"""Uncertainty (0 to 1) below which nothing is shown, so that the image stays visible."""

_STEPS = 256


def addUncertaintyNode(path: Path, geometry: Geometry, name: str) -> Any:
    """Add an uncertainty map to the scene, prepared as a foreground layer but not shown yet.

    Args:
        path: Scalar image, values from 0 (certain) to 1.
        geometry: Grid of the volume that it belongs to.
        name: Name of the node.

    Returns:
        The new vtkMRMLScalarVolumeNode.

    Raises:
        BadInput: If the file cannot be read or has another size.
    """
    node = addVolumeNode(readScalars(path, geometry), geometry, name)
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(_colorTable().GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0.0, 1.0)
    display.SetLowerThreshold(LEAST_SHOWN)
    display.SetUpperThreshold(1.0)
    display.ApplyThresholdOn()
    return node


def readScalars(path: Path, geometry: Geometry) -> np.ndarray:
    """The pixels of a scalar image, (k, j, i) float32.

    Raises:
        BadInput: If the file cannot be read or has another size.
    """
    import SimpleITK

    advice = "Predict the volume again (Review)."
    try:
        array = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    except RuntimeError as error:
        raise BadInput("The uncertainty cannot be read.", where=path, advice=advice) from error
    if array.shape != geometry.array_shape:
        raise BadInput("The uncertainty has another size than the volume.", where=path, advice=advice)
    return array.astype(np.float32)


def _colorTable() -> Any:
    node = slicer.mrmlScene.GetFirstNodeByName(COLORS)
    if node is not None:
        return node
    node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLColorTableNode")
    node.UnRegister(None)  # the scene keeps it
    node.SetName(COLORS)
    node.SetTypeToUser()
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    node.SetNumberOfColors(_STEPS)
    for step in range(_STEPS):
        share = step / (_STEPS - 1)
        node.SetColor(step, f"{share:.2f}", 1.0, 1.0 - 0.9 * share, 0.2 * (1.0 - share), 1.0)  # yellow to red
    slicer.mrmlScene.AddNode(node)
    return node


def removeColors() -> None:
    """Remove the colour table from the scene, once no uncertainty is shown."""
    node = slicer.mrmlScene.GetFirstNodeByName(COLORS)
    if node is not None:
        slicer.mrmlScene.RemoveNode(node)


def readPrediction(path: Path, geometry: Geometry, axis: int) -> np.ndarray:
    """Label values that a model predicted, (slices, rows, columns) uint8.

    Raises:
        BadInput: If the file cannot be read, or has another grid.
    """
    return slices_first(read_label_map(path, geometry), axis)


def addPredictionNode(path: Path, volumeNode: Any, geometry: Geometry, axis: int, labels: LabelSet, name: str) -> Any:
    """Add a predicted label map to the scene as a segmentation shown in outline.

    Args:
        path: The label map.
        volumeNode: Node of the volume.
        geometry: Grid of the volume.
        axis: Image axis across which slices are counted.
        labels: The label set.
        name: Name of the node.

    Returns:
        The new vtkMRMLSegmentationNode.

    Raises:
        BadInput: If the file cannot be read, or has another grid.
    """
    planes = readPrediction(path, geometry, axis)
    node = createSegmentation(volumeNode, labels, AnnotationKind.MASK, name)
    drawn = {index: plane for index, plane in enumerate(planes) if plane.any()}
    writePlanes(node, volumeNode, labels, AnnotationKind.MASK, axis, drawn)
    display = node.GetDisplayNode()
    display.SetAllSegmentsVisibility2DFill(False)
    display.SetAllSegmentsVisibility2DOutline(True)
    return node
