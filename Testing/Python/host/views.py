"""A slice view drawn offscreen by Slicer's own slice logic and displayable managers, for tests of pictures."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if sys.platform == "linux":  # elsewhere the default window draws offscreen as well
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from . import qtshim

qt = qtshim.build()

DISPLAYABLE_MANAGERS = (
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
)


class SliceView:
    """One slice view without a window.

    Choose what it shows through ``compositeNode``, where through ``sliceNode`` and ``sliceLogic``, and add actors of
    your own to ``renderer``. Call ``close`` at the end, or use it in a ``with`` statement.
    """

    def __init__(
        self, scene: slicer.vtkMRMLScene | None = None, name: str = "Red", size: tuple[int, int] = (400, 300)
    ) -> None:
        scene = scene or slicer.mrmlScene
        application = slicer.app.applicationLogic()
        self.size = size
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.SetSize(*size)
        self.renderer = vtk.vtkRenderer()
        self.window.AddRenderer(self.renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self.window)

        self.sliceLogic = slicer.vtkMRMLSliceLogic()
        self.sliceLogic.SetMRMLApplicationLogic(application)
        self.sliceLogic.SetMRMLScene(scene)
        self.sliceNode = self.sliceLogic.AddSliceNode(name)
        self.compositeNode = self.sliceLogic.GetSliceCompositeNode()
        application.GetSliceLogics().AddItem(self.sliceLogic)
        self.sliceLogic.ResizeSliceNode(*size)

        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(application)
        for manager in DISPLAYABLE_MANAGERS:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self._managers = factory.InstantiateDisplayableManagers(self.renderer)
        self._managers.SetMRMLDisplayableNode(self.sliceNode)
        self._addImage()

    def _addImage(self) -> None:
        """Put the blended image of the slice behind everything else, as the Qt part of Slicer's view does."""
        mapper = vtk.vtkImageMapper()
        mapper.SetColorWindow(255)
        mapper.SetColorLevel(127.5)
        self._image = vtk.vtkActor2D()
        self._image.SetMapper(mapper)
        self._image.GetProperty().SetDisplayLocationToBackground()

    def showVolume(self, volume: slicer.vtkMRMLVolumeNode, k: int | None = None) -> None:
        """Show a volume as the background, along its own axes; with ``k``, the centre of that slice of the array."""
        self.compositeNode.SetBackgroundVolumeID(volume.GetID())
        self.sliceNode.RotateToVolumePlane(volume)
        self.sliceLogic.FitSliceToBackground()
        if k is not None:
            columns, rows, _slices = volume.GetImageData().GetDimensions()
            toRas = vtk.vtkMatrix4x4()
            volume.GetIJKToRASMatrix(toRas)
            self.sliceNode.JumpSliceByOffsetting(*toRas.MultiplyPoint([(columns - 1) / 2, (rows - 1) / 2, k, 1])[:3])

    def render(self) -> np.ndarray:
        """Draw the view; returns rows (top first) x columns x RGB."""
        self.sliceLogic.UpdatePipeline()
        connection = self.sliceLogic.GetImageDataConnection()
        self.renderer.RemoveViewProp(self._image)
        if connection is not None:
            self._image.GetMapper().SetInputConnection(connection)
            self.renderer.AddViewProp(self._image)
        self.window.Render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(self.window)
        grabber.SetInputBufferTypeToRGB()
        grabber.ReadFrontBufferOff()
        grabber.Update()
        image = grabber.GetOutput()
        columns, rows, _one = image.GetDimensions()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, 3)[::-1].copy()

    def save(self, path: str | Path) -> None:
        """Draw the view into a PNG file."""
        picture = self.render()
        rows, columns, _channels = picture.shape
        pixmap = qt.QPixmap()
        pixmap.loadFromData(b"P6 %d %d 255\n" % (columns, rows) + picture.tobytes(), "PPM")
        if not pixmap.save(str(path)):
            raise OSError(f"the picture {path} cannot be written")

    def close(self) -> None:
        """Take the view out of the scene and free the graphics memory."""
        scene = self.sliceNode.GetScene()
        slicer.app.applicationLogic().GetSliceLogics().RemoveItem(self.sliceLogic)
        self._managers.SetMRMLDisplayableNode(None)
        self._managers.SetRenderer(None)
        self.sliceLogic.SetMRMLScene(None)
        for node in (self.sliceNode, self.compositeNode):
            if scene is not None and scene.IsNodePresent(node):
                scene.RemoveNode(node)
        self.window.Finalize()

    def __enter__(self) -> SliceView:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
