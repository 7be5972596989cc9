"""The requested slice fills its view and the brush fits the slice, on axis-aligned images as scanners make them.

Checks of ``contract.py``: in the test host and, unchanged, in a real Slicer.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import slicer

HEAD, ACROSS, FRONT = np.eye(3), np.eye(3)[[2, 0, 1]], np.eye(3)[[0, 2, 1]] * [1, -1, 1]


@dataclass(frozen=True)
class Straight:
    """An axis-aligned image.

    Attributes:
        size: Voxels along (i, j, k).
        spacing: Millimetres along (i, j, k).
        origin: LPS position of the first voxel; "middle" puts 0, 0, 0 into the middle of the volume.
        direction: 3 x 3 matrix, LPS.
        channels: Values a voxel.
        ct: Whether values are Hounsfield units.
    """

    size: tuple
    spacing: tuple
    origin: tuple | str = "middle"
    direction: np.ndarray = None
    channels: int = 1
    ct: bool = False

    def geometry(self):
        """Its grid."""
        from ActiveSegmentationLib.cohort import Geometry

        matrix = HEAD if self.direction is None else self.direction
        half = (np.array(self.size) - 1) / 2 * self.spacing
        origin = tuple(float(value) for value in -matrix @ half) if self.origin == "middle" else self.origin
        return Geometry(self.size, self.spacing, origin, tuple(float(value) for value in matrix.ravel()))


IMAGES = {
    "a-ct": Straight((256, 256, 6), (0.8, 0.8, 5.0), ct=True),
    "b-tiny": Straight((24, 30, 8), (1.0, 1.0, 1.5), (0.0, 0.0, 0.0)),
    "c-far": Straight((216, 256, 7), (1.5, 1.5, 10.0), (-400.0, 350.0, 900.0)),
    "d-micro": Straight((96, 64, 40), (0.1, 0.1, 0.15)),
    "e-coarse": Straight((40, 36, 30), (4.9, 4.9, 5.0)),
    "f-large": Straight((1024, 1024, 3), (0.2, 0.2, 3.0)),
    "g-sagittal": Straight((12, 160, 144), (4.0, 1.1, 1.1)),
    "h-coronal": Straight((150, 10, 128), (0.7, 3.3, 0.7)),
    "i-across": Straight((128, 128, 9), (0.9, 0.9, 4.0), direction=ACROSS),
    "j-front": Straight((90, 110, 12), (1.2, 1.2, 3.0), (30.0, -10.0, 5.0), FRONT),
    "k-wide": Straight((320, 60, 5), (0.5, 0.5, 4.0)),
    "l-channels": Straight((64, 72, 6), (1.0, 1.0, 3.0), channels=2),
}
"""Images of a cohort, in the order of their names."""


def writeCohort(folder, names=tuple(IMAGES)):
    """Write images as files; returns the folder."""
    import SimpleITK

    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        image, random = IMAGES[name], np.random.default_rng(number)
        geometry = image.geometry()
        shape = geometry.array_shape + ((image.channels,) if image.channels > 1 else ())
        pixels = random.integers(0, 400 + 300 * number, size=shape).astype(np.int16)
        if image.ct:
            pixels -= 1000
            pixels[:, 40:200, 40:200] += 1040
        picture = SimpleITK.GetImageFromArray(pixels, isVector=image.channels > 1)
        picture.SetSpacing(geometry.spacing)
        picture.SetOrigin(geometry.origin)
        picture.SetDirection(geometry.direction)
        SimpleITK.WriteImage(picture, str(folder / f"{name}.nrrd"))
    return folder


def openCohort(module, folder, views, editor=None):
    """A logic with a study of such images open, in these views."""
    logic = module.ActiveSegmentationLogic(views, editor)
    logic.createStudy(folder / "study", writeCohort(folder / "cohort"), labels="1=one,2=two")
    return logic


_NUMBERS = itertools.count()


class OneView:
    """A slice view of Slicer's own classes without a window."""

    headless = False

    def __init__(self, size=(400, 300)):
        self.sliceLogic = slicer.vtkMRMLSliceLogic()
        self.sliceLogic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self.sliceLogic.SetMRMLScene(slicer.mrmlScene)
        self.sliceNode = self.sliceLogic.AddSliceNode(f"contract{next(_NUMBERS)}")  # a closed scene keeps the earlier
        self.sliceLogic.ResizeSliceNode(*size)

    def annotationView(self):
        from ActiveSegmentationLib.scene.views import View

        return View(self.sliceNode, self.sliceLogic, None, lambda: None)

    def others(self):
        return []

    def close(self):
        composite = self.sliceLogic.GetSliceCompositeNode()
        self.sliceLogic.SetMRMLScene(None)
        for node in (self.sliceNode, composite):
            slicer.mrmlScene.RemoveNode(node)


def brushEditor():
    """An editor that remembers its brush."""
    from ActiveSegmentationLib.scene.editor import Editor

    class BrushEditor(Editor):
        diameter = 0.0

        def brush(self):
            return self.diameter

        def setBrush(self, diameter):
            self.diameter = diameter

    return BrushEditor()


def shareOf(node, volume, index):
    """The visible part of a slice's area, 0 to 1, and the size of the whole slice relative to the view."""
    from ActiveSegmentationLib.scene.fitting import sliceCorners

    corners = sliceCorners(node, volume.geometry, volume.axis, index)
    size = np.array(node.GetDimensions()[:2], dtype=float)
    low, high = corners.min(axis=0), corners.max(axis=0)
    inside = np.clip(np.minimum(high, size) - np.maximum(low, 0.0), 0.0, None)
    return float(np.prod(inside) / np.prod(high - low)), float(((high - low) / size).max())


def requireFilled(session, index):
    """The view shows exactly this slice, whole, and as large as it can be; the brush is 1 to 8 voxels wide."""
    from ActiveSegmentationLib.scene import shownSlice
    from ActiveSegmentationLib.scene.fitting import voxelSize

    volume, node = session.case.volume, session.display.views.annotationView().sliceNode
    assert shownSlice(node, volume.geometry, volume.axis) == index, volume.id
    visible, fill = shareOf(node, volume, index)
    assert visible > 0.999, (volume.id, visible)
    assert 0.9 <= fill <= 1.0, (volume.id, fill)
    brush = session.editor.brush()
    assert brush is not None, volume.id
    assert 1 <= brush / voxelSize(volume.geometry, volume.axis) <= 8.01, (volume.id, brush)


def visitAll(logic):
    """Open slices of every volume, twice, zooming into each."""
    session = logic.session
    node = session.display.views.annotationView().sliceNode
    volumes = session.study.cohort.volumes
    for volume in (*volumes, *reversed(volumes[:-1])):
        session.openSlice(volumeSlice(volume, volume.slice_count // 3))
        requireFilled(session, volume.slice_count // 3)
        width, height, depth = node.GetFieldOfView()
        node.SetFieldOfView(width / 7, height / 7, depth)
        session.openSlice(volumeSlice(volume, volume.slice_count - 1))
        assert np.allclose(node.GetFieldOfView()[:2], (width / 7, height / 7)), volume.id
        assert session.view.index == volume.slice_count - 1


def volumeSlice(volume, index):
    """Identity of a slice."""
    from ActiveSegmentationLib.cohort import SliceId

    return SliceId(volume.id, index)


def checkSlicesFillTheView(module, folder):
    """On every new volume the requested slice fills the view; within a volume the user's zoom stays."""
    for size in ((400, 300), (300, 520)):
        views = OneView(size)
        logic = openCohort(module, folder / str(size[0]), views, brushEditor())
        visitAll(logic)
        logic.close()
        views.close()


def checkViewsOfAnotherShape(module, folder):
    """A resized view is fitted again, unless the user has zoomed."""
    views = OneView((500, 400))
    logic = openCohort(module, folder, views, brushEditor())
    session, node = logic.session, views.sliceNode
    for volume in session.study.cohort.volumes:
        session.openSlice(volumeSlice(volume, 1))
        for size in ((900, 300), (200, 700), (500, 400)):
            views.sliceLogic.ResizeSliceNode(*size)
            session.view.settle()
            requireFilled(session, 1)
        node.SetFieldOfView(*(side / 3 for side in node.GetFieldOfView()))
        before = shareOf(node, volume, 1)[1]
        views.sliceLogic.ResizeSliceNode(500, 900)
        session.view.settle()
        assert shareOf(node, volume, 1)[1] > before / 3
        assert session.view.index == 1
        views.sliceLogic.ResizeSliceNode(500, 400)
    logic.close()
    views.close()


def checkContrast(module, folder):
    """CT has a CT window; the user's window survives the change of volume and of slice; channels can be switched."""
    views = OneView()
    logic = openCohort(module, folder, views)
    session = logic.session
    volumes = {volume.id: volume for volume in session.study.cohort.volumes}

    def window():
        display = session.case.volumeNode.GetDisplayNode()
        return display.GetWindow(), display.GetLevel()

    session.openSlice(volumeSlice(volumes["a-ct"], 1))
    assert window() == (400.0, 40.0)
    session.openSlice(volumeSlice(volumes["c-far"], 1))
    default = window()
    assert session.case.volumeNode.GetDisplayNode().GetAutoWindowLevel()
    session.case.volumeNode.GetDisplayNode().AutoWindowLevelOff()
    session.case.volumeNode.GetDisplayNode().SetWindowLevel(default[0] / 2, default[1] + 10)
    session.openSlice(volumeSlice(volumes["a-ct"], 1))
    assert window()[0] == 200.0
    session.openSlice(volumeSlice(volumes["c-far"], 2))
    assert np.allclose(window(), (default[0] / 2, default[1] + 10))
    session.openSlice(volumeSlice(volumes["l-channels"], 2))
    assert session.case.channels == 2
    pixels = [np.array(slicer.util.arrayFromVolume(session.case.volumeNode))]
    session.cases.setChannel(1)
    pixels.append(np.array(slicer.util.arrayFromVolume(session.case.volumeNode)))
    assert not np.array_equal(*pixels)
    session.openSlice(volumeSlice(volumes["b-tiny"], 2))
    assert session.case.channels == 1
    session.openSlice(volumeSlice(volumes["l-channels"], 3))
    assert np.array_equal(slicer.util.arrayFromVolume(session.case.volumeNode), pixels[1])
    logic.close()
    views.close()


def checkWindowIsFilled(module, folder):
    """The same in Slicer's window, with its Segment Editor."""
    slicer.util.selectModule("ActiveSegmentation")
    logic = slicer.modules.ActiveSegmentationWidget.logic
    logic.createStudy(folder / "study", writeCohort(folder / "cohort"), labels="1=one,2=two")
    visitAll(logic)
    logic.session.closeStudy()


CHECKS = (checkSlicesFillTheView, checkViewsOfAnotherShape, checkContrast)
WINDOW_CHECKS = (checkWindowIsFilled,)
