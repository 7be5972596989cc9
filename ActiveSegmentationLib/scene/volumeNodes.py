"""Volumes of a cohort as volume nodes, and the check that a node still has the cohort's grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk

from ActiveSegmentationLib.cohort import Cohort, Geometry, Volume, read_image
from ActiveSegmentationLib.common.errors import BadInput

COLOR_COMPONENTS = 3
"""Components of a volume that is shown in colour."""

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


def addVolumeNode(array: np.ndarray, geometry: Geometry, name: str) -> Any:
    """Add a volume to the scene with its display node, without showing it.

    Slices stay in the order of the array, even if the grid is left-handed. Slicer's own readers reverse the slices of
    such files, so that slice indices in their nodes differ from those in the study.

    Args:
        array: (k, j, i) pixels, or (k, j, i, C) for a vector volume; copied.
        geometry: Grid of the volume (LPS, millimetres).
        name: Name of the node.

    Returns:
        The new vtkMRMLScalarVolumeNode or vtkMRMLVectorVolumeNode.

    Raises:
        BadInput: If the array does not have the size of the grid.
    """
    if array.ndim not in (3, 4) or array.shape[:3] != geometry.array_shape:
        found, expected = (" x ".join(map(str, shape)) for shape in (array.shape, geometry.array_shape))
        advice = "Index the cohort again."
        raise BadInput(f"The pixels have shape {found}, the volume {expected}.", where=name, advice=advice)
    kind = "vtkMRMLVectorVolumeNode" if array.ndim == 4 else "vtkMRMLScalarVolumeNode"
    node = slicer.util.addVolumeFromArray(np.ascontiguousarray(array), nodeClassName=kind, name=name)
    node.SetIJKToRASMatrix(ijkToRas(geometry))
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().AutoWindowLevelOn()
    return node


def loadVolumeNode(cohort: Cohort, volume: Volume, channel: int = 0) -> Any:
    """Read a volume of a cohort and add it to the scene.

    Args:
        cohort: The cohort.
        volume: One of its volumes.
        channel: The channel, 0-based; for a colour volume, the source.

    Returns:
        A vtkMRMLVectorVolumeNode where the volume has three components, else a vtkMRMLScalarVolumeNode.

    Raises:
        BadInput: If the files cannot be read, are not what was indexed, hold pixels that are not finite numbers,
            or there is no such channel.
    """
    return addVolumeNode(readChannel(cohort, volume, channel), volume.geometry, volume.id)


def channelCount(volume: Volume) -> int:
    """Number of channels of a volume that can be shown; three components of a colour count as one."""
    return len(volume.channels) * (1 if volume.components == COLOR_COMPONENTS else volume.components)


def readChannel(cohort: Cohort, volume: Volume, channel: int) -> np.ndarray:
    """Read the pixels of a channel: (k, j, i), or (k, j, i, 3) for a colour volume.

    Args:
        cohort: The cohort.
        volume: One of its volumes.
        channel: The channel, 0-based; for a colour volume, the source.

    Raises:
        BadInput: As ``loadVolumeNode``.
    """
    pixels = read_image(cohort, volume)
    step = COLOR_COMPONENTS if volume.components == COLOR_COMPONENTS else 1
    count = len(pixels) // step
    if not 0 <= channel < count:
        advice = f"Use a number from 0 to {count - 1}."
        raise BadInput(f"There is no channel with number {channel}.", where=volume.id, advice=advice)
    if step == 1:
        return pixels[channel]
    return _asBytes(np.moveaxis(pixels[channel * step : (channel + 1) * step], 0, -1))


def ijkToRas(geometry: Geometry) -> vtk.vtkMatrix4x4:
    """The matrix from voxel indices (i, j, k) to RAS millimetres of a grid given in LPS."""
    matrix = np.eye(4)
    matrix[:3, :3] = _LPS_TO_RAS @ np.reshape(geometry.direction, (3, 3)) * geometry.spacing
    matrix[:3, 3] = _LPS_TO_RAS @ geometry.origin
    return slicer.util.vtkMatrixFromArray(matrix)


def gridNode(geometry: Geometry, name: str) -> Any:
    """A volume node outside any scene, with the grid of a volume and without pixels.

    Args:
        geometry: The grid (LPS, millimetres).
        name: Name of the node.
    """
    image = vtk.vtkImageData()
    image.SetDimensions(*geometry.size)
    node = slicer.vtkMRMLScalarVolumeNode()
    node.SetName(name)
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(ijkToRas(geometry))
    return node


def nodeGeometry(node: Any) -> Geometry:
    """Grid of a volume node (LPS, millimetres), ignoring its parent transform.

    Raises:
        BadInput: If the node holds no image.
    """
    if node.GetImageData() is None:
        raise BadInput("The volume node holds no image.", where=node.GetName(), advice="Load the case again.")
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    columns = _LPS_TO_RAS @ slicer.util.arrayFromVTKMatrix(matrix)[:3]
    spacing = np.linalg.norm(columns[:, :3], axis=0)
    direction = columns[:, :3] / spacing
    return Geometry(
        size=tuple(int(size) for size in node.GetImageData().GetDimensions()),  # type: ignore[arg-type]
        spacing=tuple(float(step) for step in spacing),  # type: ignore[arg-type]
        origin=tuple(float(value) for value in columns[:, 3]),  # type: ignore[arg-type]
        direction=tuple(float(value) for value in direction.ravel()),
    )


def requireGrid(node: Any, geometry: Geometry) -> None:
    """Refuse a volume node whose voxels are no longer those of the cohort's volume.

    Args:
        node: Volume node.
        geometry: The grid it must have.

    Raises:
        BadInput: If the node was resampled or replaced, or is moved by a transform.
    """
    if node.GetParentTransformNode() is not None:
        name = node.GetParentTransformNode().GetName()
        advice = "In the Data module, take the volume out of the transform (do not harden it), or open the slice again."
        raise BadInput(f"The volume is moved by the transform '{name}'.", where=node.GetName(), advice=advice)
    difference = geometry.difference(nodeGeometry(node))
    if difference is not None:
        advice = (
            "It was resampled, replaced or loaded by 'Add data', which may reverse slices: load the case again here."
        )
        raise BadInput(f"The volume has another grid than its file: {difference}.", where=node.GetName(), advice=advice)


def _asBytes(color: np.ndarray) -> np.ndarray:
    """The same colours as uint8 where that is lossless; other values stay as they are."""
    exact = color.size and color.min() >= 0 and color.max() <= 255 and np.array_equal(color, np.rint(color))
    return color.astype(np.uint8) if exact else color
