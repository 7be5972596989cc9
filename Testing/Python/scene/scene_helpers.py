"""A minimal MRML application without Qt, and small grids, drawings and reference implementations."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import slicer
import vtk

from ActiveSegmentationLib.cohort import AnnotationKind, Geometry
from ActiveSegmentationLib.scene import addVolumeNode, createSegmentation
from ActiveSegmentationLib.study import LabelSet


class Application:
    """Scene, application logic and the module logics in use, as the real application sets them up."""

    def __init__(self) -> None:
        self.scene = slicer.vtkMRMLScene()
        self.logic = slicer.vtkSlicerApplicationLogic()
        self.logic.SetMRMLScene(self.scene)
        self.colors = self.logic.GetColorLogic()
        self.colors.SetMRMLScene(self.scene)
        self.colors.AddDefaultColorNodes()
        self.logic.SetSliceLogics(vtk.vtkCollection())
        self.logic.SetViewLogics(vtk.vtkCollection())
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)
        self.logic.SetModuleLogic("Colors", self.colors)
        self.modules = types.SimpleNamespace()
        for name, kind in (
            ("Segmentations", slicer.vtkSlicerSegmentationsModuleLogic),
            ("Volumes", slicer.vtkSlicerVolumesLogic),
        ):
            self._addModule(name, kind())

    def _addModule(self, name: str, logic: Any) -> None:
        logic.SetMRMLApplicationLogic(self.logic)
        logic.SetMRMLScene(self.scene)
        self.logic.SetModuleLogic(name, logic)
        setattr(self.modules, name.lower(), types.SimpleNamespace(logic=lambda: logic))

    def addSliceNode(self, orientation: str = "Axial") -> Any:
        node = self.scene.AddNewNodeByClass("vtkMRMLSliceNode", f"{orientation} view")
        node.SetLayoutName(node.GetID())
        node.SetOrientation(orientation)
        return node

    def clear(self) -> None:
        self.scene.Clear(0)
        slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)  # always there in the application


def rotation(seed: int, flip: bool = False) -> np.ndarray:
    """A random orthonormal 3 x 3 matrix, of determinant -1 where it is to flip."""
    random = np.random.default_rng(seed)
    matrix, upper = np.linalg.qr(random.normal(size=(3, 3)))
    matrix = matrix * np.sign(np.diag(upper))
    if (np.linalg.det(matrix) < 0) != flip:
        matrix[:, random.integers(3)] *= -1
    return matrix


def grid(
    size: tuple[int, int, int] = (9, 7, 5),
    spacing: tuple[float, float, float] = (0.7, 1.3, 4.0),
    origin: tuple[float, float, float] = (-31.5, 12.25, 7.0),
    direction: np.ndarray | None = None,
) -> Geometry:
    matrix = np.eye(3) if direction is None else direction
    return Geometry(size, spacing, origin, tuple(float(value) for value in matrix.ravel()))


def randomGrid(seed: int, flip: bool | None = None) -> Geometry:
    """A grid of any rotation, flip, size and anisotropy; every fourth is aligned with the patient's axes."""
    random = np.random.default_rng(seed)
    flips = bool(random.integers(2)) if flip is None else flip
    direction = rotation(seed, flips)
    if flip is None and seed % 4 == 0:
        direction = np.eye(3)[random.permutation(3)] * random.choice([-1.0, 1.0], size=3)
    size = tuple(int(count) for count in random.integers(5, 14, size=3))
    spacing = tuple(float(step) for step in random.uniform(0.4, 6.0, size=3))
    origin = tuple(float(value) for value in random.uniform(-150, 150, size=3))
    return grid(size, spacing, origin, direction)  # type: ignore[arg-type]


def sitkImage(array: np.ndarray, geometry: Geometry, vector: bool = False) -> Any:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(array, isVector=vector)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    return image


def viewMatrix(sliceNode: Any) -> np.ndarray:
    return slicer.util.arrayFromVTKMatrix(sliceNode.GetSliceToRAS())


def voxelsOfView(sliceNode: Any, geometry: Geometry, step: int = 16) -> np.ndarray:
    """(N, 3) continuous voxel indices (i, j, k) of pixels of the view, from its own XYToRAS matrix."""
    columns, rows, _ = sliceNode.GetDimensions()
    x, y = np.meshgrid(np.arange(0, columns + 1, step), np.arange(0, rows + 1, step))
    xy = np.stack([x.ravel(), y.ravel(), np.zeros(x.size), np.ones(x.size)])
    ras = slicer.util.arrayFromVTKMatrix(sliceNode.GetXYToRAS()) @ xy
    lps = np.diag([-1.0, -1.0, 1.0]) @ ras[:3] - np.reshape(geometry.origin, (3, 1))
    return (np.reshape(geometry.direction, (3, 3)).T @ lps / np.reshape(geometry.spacing, (3, 1))).T


def makeCase(geometry: Geometry, labels: LabelSet, kind: AnnotationKind) -> tuple[Geometry, Any, Any]:
    """A grid, a volume node with random pixels on it, and an empty segmentation for it."""
    pixels = np.random.default_rng(0).integers(0, 250, size=geometry.array_shape).astype(np.int16)
    volume = addVolumeNode(pixels, geometry, "case")
    return geometry, volume, createSegmentation(volume, labels, kind, "drawing")


def segmentArray(segmentation: Any, segmentId: str, volume: Any) -> np.ndarray:
    """(k, j, i) of one segment by Slicer's own export: slow, and independent of ours."""
    return np.asarray(slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segmentId, volume) > 0, np.uint8)


def setSegmentArray(array: np.ndarray, segmentation: Any, segmentId: str, volume: Any) -> None:
    """Slicer's own write of a whole segment, on a layer of its own where it overlaps others."""
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, segmentation, segmentId, volume)


def brushInView(sliceNode: Any, segmentation: Any, volume: Any, segmentId: str) -> None:
    """A stroke with a square brush in the middle of a view, by Slicer's editor logic and the view's own matrices.

    Written from the screen to the voxels, independent of ``Brush``.
    """
    editorNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(slicer.mrmlScene)
    logic.SetSegmentEditorNode(editorNode)
    logic.SetSegmentationNode(segmentation)
    logic.SetSourceVolumeNode(volume)
    logic.UpdateReferenceGeometryImage()
    editorNode.SetSelectedSegmentID(segmentId)
    logic.UpdateSelectedSegmentLabelmap()
    logic.ResetModifierLabelmapToDefault()
    modifier = logic.GetModifierLabelmap()
    worldToImage = vtk.vtkMatrix4x4()
    modifier.GetWorldToImageMatrix(worldToImage)
    xyToImage = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Multiply4x4(worldToImage, sliceNode.GetXYToRAS(), xyToImage)
    columns, rows, _ = sliceNode.GetDimensions()
    extent = np.reshape(modifier.GetExtent(), (3, 2))
    for x in range(columns // 4, 3 * columns // 4, 4):
        for y in range(rows // 4, 3 * rows // 4, 4):
            voxel = np.rint(xyToImage.MultiplyPoint((x, y, 0, 1))[:3]).astype(int)
            if (voxel >= extent[:, 0]).all() and (voxel <= extent[:, 1]).all():
                modifier.SetScalarComponentFromDouble(*(int(part) for part in voxel), 0, 1)
    modifier.Modified()
    logic.SaveStateForUndo()
    logic.ModifySegmentByLabelmap(segmentation, segmentId, modifier, logic.ModificationModeAdd, False, False)
    logic.SetSegmentationNode(None)
    logic.SetSegmentEditorNode(None)
    slicer.mrmlScene.RemoveNode(editorNode)
