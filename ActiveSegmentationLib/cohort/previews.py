"""Small grey pictures of slices in radiological orientation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.cohort.io import read_image
from ActiveSegmentationLib.cohort.types import Cohort, Geometry, SliceId, Volume, slices_first
from ActiveSegmentationLib.common.errors import ActiveSegmentationError
from ActiveSegmentationLib.common.files import atomic_path
from ActiveSegmentationLib.common.itk import simpleitk

LONGEST_SIDE = 96
"""Pixels of the longer side of a thumbnail."""

PREVIEW_SIDE = 160
"""Pixels of the longer side of a preview."""


@dataclass(frozen=True)
class Preview:
    """A sampled slice of a cohort, for a check before a study is created.

    Attributes:
        slice: The slice.
        file: Its picture (PNG), or None if the image cannot be read.
        lowest: Smallest value of the volume, 0 where it cannot be read.
        highest: Largest value of the volume, 0 where it cannot be read.
        problem: Why the image cannot be read, "" if it can.
    """

    slice: SliceId
    file: Path | None
    lowest: float
    highest: float
    problem: str

    def to_json(self) -> dict[str, Any]:
        """The preview as JSON values."""
        return {**asdict(self), "slice": list(self.slice), "file": str(self.file) if self.file else None}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Preview:
        """Inverse of ``to_json``."""
        volume, index = value["slice"]
        file = Path(value["file"]) if value["file"] else None
        return cls(SliceId(volume, int(index)), file, value["lowest"], value["highest"], value["problem"])


def write_previews(cohort: Cohort, folder: Path, count: int = 3) -> list[Preview]:
    """Write pictures of the middle slices of a few volumes, spread over the cohort.

    Args:
        cohort: The cohort; only the sampled volumes are read.
        folder: Where to write the pictures.
        count: Maximum number of volumes.

    Raises:
        BadInput: If the folder cannot be written. A volume that cannot be read is reported in its ``Preview``.
    """
    places = np.unique(np.linspace(0, len(cohort.volumes) - 1, count).round().astype(int)) if cohort.volumes else ()
    return [_preview(cohort, cohort.volumes[place], folder / f"{place}.png") for place in places]


def _preview(cohort: Cohort, volume: Volume, path: Path) -> Preview:
    identity = SliceId(volume.id, volume.slice_count // 2)
    try:
        image = read_image(cohort, volume)[0]
    except (ActiveSegmentationError, OSError, RuntimeError) as error:  # SimpleITK raises RuntimeError
        return Preview(identity, None, 0.0, 0.0, str(error))
    plane = slices_first(image, volume.axis)[identity.index].astype(np.float32)
    picture = small_picture(plane, np.array(volume.geometry.plane_spacing(volume.axis)), PREVIEW_SIDE)
    write_picture(path, upright(picture, volume.geometry, volume.axis))
    return Preview(identity, path, float(image.min()), float(image.max()), "")


def upright(plane: np.ndarray, geometry: Geometry, axis: int) -> np.ndarray:
    """Turn a slice so that patient right is left, anterior or superior is up, as slice views show it.

    Args:
        plane: (rows, columns) pixels in the order of the volume's array.
        geometry: Grid of the volume.
        axis: Image axis along which its slices are counted.
    """
    rows, columns = (a for a in (2, 1, 0) if a != axis)
    direction = np.reshape(geometry.direction, (3, 3))
    down, right = direction[:, rows], direction[:, columns]  # LPS
    # On a screen, down is posterior or inferior and right is left (of the patient) or, seen from the side, posterior.
    vertical, horizontal = (_main(down), _main(right))
    if (horizontal[0] == 2) or (vertical[0] == 0):
        plane, vertical, horizontal = plane.T, horizontal, vertical
    if vertical[1] < 0 if vertical[0] == 1 else vertical[1] > 0:
        plane = plane[::-1]
    if horizontal[1] < 0:
        plane = plane[:, ::-1]
    return plane


def _main(vector: np.ndarray) -> tuple[int, float]:
    """The anatomical axis (0 left, 1 posterior, 2 superior) that a direction is nearest to, and its sign."""
    axis = int(np.abs(vector).argmax())
    return axis, float(np.sign(vector[axis]))


def small_picture(plane: np.ndarray, pixel: np.ndarray, longest_side: int = LONGEST_SIDE) -> np.ndarray:
    """Grey values (uint8) of a plane with square pixels.

    Args:
        plane: (rows, columns) float pixels.
        pixel: Millimetres between rows and between columns.
        longest_side: Pixels of the longer side of the picture.
    """
    sitk = simpleitk()

    low, high = np.percentile(plane, (1, 99.5))
    scaled = np.clip((plane - low) / max(float(high - low), 1e-6), 0, 1)
    image = sitk.GetImageFromArray((scaled * 255).astype(np.uint8))
    extent = np.array(image.GetSize()) * pixel[::-1]
    size = [max(1, int(n)) for n in np.rint(extent / extent.max() * longest_side)]
    step = [old / new for old, new in zip(image.GetSize(), size, strict=True)]
    first = [(length - 1) / 2 for length in step]
    small = sitk.Resample(image, size, sitk.Transform(), sitk.sitkLinear, first, step)
    return sitk.GetArrayFromImage(small)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write grey values (rows, columns) uint8 as a PNG file."""
    sitk = simpleitk()

    with atomic_path(path) as temporary:
        sitk.WriteImage(sitk.GetImageFromArray(np.ascontiguousarray(picture)), str(temporary))
