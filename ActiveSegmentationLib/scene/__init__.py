"""The MRML side of the extension: volumes as nodes, slice views, segmentations. No Qt here.

Importing it needs 3D Slicer, or the ``slicer-core`` package that the tests run on.
"""

from ActiveSegmentationLib.scene.drawing import Brush, paint
from ActiveSegmentationLib.scene.segmentations import (
    BACKGROUND_COLOR,
    UNLABELLED_COLOR,
    OverlapError,
    capturePlane,
    createSegmentation,
    drawnSlices,
    resolveOverlap,
    segmentId,
    writePlane,
    writePlanes,
)
from ActiveSegmentationLib.scene.sliceViews import SavedView, alignToSlice, restoreView, saveView, shownSlice
from ActiveSegmentationLib.scene.volumeNodes import addVolumeNode, ijkToRas, loadVolumeNode, nodeGeometry, requireGrid

__all__ = [
    "BACKGROUND_COLOR",
    "UNLABELLED_COLOR",
    "Brush",
    "OverlapError",
    "SavedView",
    "addVolumeNode",
    "alignToSlice",
    "capturePlane",
    "createSegmentation",
    "drawnSlices",
    "ijkToRas",
    "loadVolumeNode",
    "nodeGeometry",
    "paint",
    "requireGrid",
    "resolveOverlap",
    "restoreView",
    "saveView",
    "segmentId",
    "shownSlice",
    "writePlane",
    "writePlanes",
]
