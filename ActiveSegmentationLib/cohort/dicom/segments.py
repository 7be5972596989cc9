"""Pixels of DICOM segmentations on the grid of an image; read with highdicom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.cohort.dicom.data_sets import read_data_set
from ActiveSegmentationLib.cohort.dicom.segment_repair import completed
from ActiveSegmentationLib.cohort.dicom.tags import damaged, quiet
from ActiveSegmentationLib.cohort.types import Geometry
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained

FILE_STEP = 1000
"""Offset of the segment numbers of each further file of a volume's labels."""

INSTALL = "Install highdicom (pip install highdicom; in Slicer's Python console slicer.util.pip_install('highdicom'))."


def require_grid(paths: Sequence[Path], geometry: Geometry) -> None:
    """Refuse segmentations that are not on the grid of an image; no pixel is read.

    Raises:
        BadInput: As ``read_segmentations``, as far as this can be checked without pixels.
    """
    for path in paths:
        segmentation = _opened(path, geometry)
        if str(segmentation.get("SegmentsOverlap", "")) == "YES":
            raise BadInput("The segments overlap.", where=path, advice=_NO_OVERLAP)
        with quiet():
            try:
                found = segmentation.get_volume_geometry(allow_missing_positions=True)
            except damaged() as error:
                raise BadInput(f"The segmentation cannot be read ({error}).", where=path, advice=_AGAIN) from error
            if found is None:
                message = "The slices of the segmentation do not form a regular stack."
                raise BadInput(message, where=path, advice=_ON_GRID)
            _matched(path, found, geometry)


def read_segmentations(paths: Sequence[Path], geometry: Geometry) -> np.ndarray:
    """Read segmentations on the grid of an image.

    Args:
        paths: The files.
        geometry: Grid of the image.

    Returns:
        (k, j, i) int32: 0 if there is no segment, otherwise its number, ``FILE_STEP`` higher with each further file.

    Raises:
        BadInput: Naming the file, if it cannot be read, has overlapping segments or another grid.
    """
    merged = np.zeros(geometry.array_shape, np.int32)
    for place, path in enumerate(paths):
        array = _one(path, geometry).astype(np.int32)
        drawn = array > 0
        if (merged[drawn] > 0).any():
            advice = "Keep one of the segmentations, or export them without overlaps."
            raise BadInput("Segments of several files overlap.", where=path, advice=advice)
        merged[drawn] = array[drawn] + place * FILE_STEP
    return merged


def _one(path: Path, geometry: Geometry) -> np.ndarray:
    segmentation = _opened(path, geometry)
    with quiet():
        try:
            volume = segmentation.get_volume(combine_segments=True, allow_missing_positions=True)
        except damaged() as error:
            if "overlap" in str(error).lower():
                raise BadInput("The segments overlap.", where=path, advice=_NO_OVERLAP) from error
            raise BadInput(f"The segmentation cannot be read ({error}).", where=path, advice=_AGAIN) from error
        return np.asarray(_matched(path, volume, geometry).array)


def _opened(path: Path, geometry: Geometry) -> Any:
    try:
        import highdicom
    except ImportError as error:
        raise BadInput("DICOM segmentations need the package highdicom.", where=path, advice=INSTALL) from error
    with explained(path), open(path, "rb"):
        pass
    with quiet():
        try:
            return highdicom.seg.Segmentation.from_dataset(
                completed(read_data_set(path), geometry.spacing[2]), copy=False
            )
        except damaged() as error:
            raise BadInput(f"The segmentation cannot be read ({error}).", where=path, advice=_AGAIN) from error


def _matched(path: Path, found: Any, geometry: Geometry) -> Any:
    """The volume (or the grid alone) turned, cropped and padded to the grid of the image."""
    import highdicom

    try:
        return found.match_geometry(_grid(geometry, highdicom), tol=1e-2)
    except damaged() as error:
        message = f"The segmentation has another grid than the image ({error})."
        raise BadInput(message, where=path, advice=_ON_GRID) from error


_NO_OVERLAP = "Export the segmentation without overlaps."
_AGAIN = "Export the segmentation again."
_ON_GRID = "Export the segmentation on the grid of the image."


def _grid(geometry: Geometry, highdicom: Any) -> Any:
    """The grid as highdicom's volume geometry, array axes (k, j, i)."""
    affine = np.eye(4)
    affine[:3, :3] = (np.reshape(geometry.direction, (3, 3)) * geometry.spacing)[:, ::-1]
    affine[:3, 3] = geometry.origin
    return highdicom.VolumeGeometry(affine, geometry.array_shape, coordinate_system="PATIENT")
