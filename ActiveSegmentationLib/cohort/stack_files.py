"""The files of a stack: their paths, and reading them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.cohort.grid import PlaneGrid
from ActiveSegmentationLib.cohort.turns import Turn
from ActiveSegmentationLib.cohort.types import Geometry
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import hash_json, read_json
from ActiveSegmentationLib.common.parsing import parsing

FORMAT = 1
"""Version of the files of a stack; to be increased when their content or meaning changes."""

RECORD, IMAGES, TRUTH, WHOLE = "stack.json", "images.npy", "truth", "whole"
"""Names of the files and the folders that make up a stack."""

OWN = "sha256"
"""Field of a stack's record with the checksum of the record itself."""

REBUILD = "Delete this folder; it is built again from the images."
"""What to do about a stack that cannot be used."""


@dataclass(frozen=True)
class StackVolume:
    """One volume of a stack.

    Attributes:
        id: Id of the volume.
        patient: Id of its patient.
        axis: Image axis (0 = i, 1 = j, 2 = k) across which the slices lie.
        geometry: Grid of the image.
        start: Its first row in the stack.
        stop: One past its last row.
        grid: Map between its planes and the stack's grid, or its own larger grid where they do not fit.
        overview: Map between its planes and the stack's grid, which shows all of each plane; ``grid`` where they fit.
        content: Hash of its files and of how they are read.
    """

    id: str
    patient: str
    axis: int
    geometry: Geometry
    start: int
    stop: int
    grid: PlaneGrid
    overview: PlaneGrid
    content: str

    @property
    def slice_count(self) -> int:
        """Number of slices."""
        return self.stop - self.start

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Rows and columns of an acquired slice."""
        return self.grid.native

    @property
    def plane_spacing(self) -> tuple[float, float]:
        """Millimetres between rows and between columns of an acquired slice."""
        return self.geometry.plane_spacing(self.axis)


def truth_file(folder: Path, volume_id: str) -> Path:
    """File of a volume's reference labels in the folder of a stack."""
    return folder / TRUTH / f"{volume_id}.npz"


def whole_file(folder: Path, volume_id: str) -> Path:
    """File of a volume's planes that are larger than the grid, in the folder of a stack."""
    return folder / WHOLE / f"{volume_id}.npy"


def map_images(folder: Path, shape: Iterable[int]) -> np.ndarray:
    """Map the slices (N, C, H, W) of a stack into memory, read only; see ``map_array``."""
    return map_array(folder / IMAGES, shape)


def map_array(path: Path, shape: Iterable[int]) -> np.ndarray:
    """Map a float16 array into memory, read only.

    Args:
        path: The file.
        shape: Shape that it must have.

    Raises:
        BadInput: If the file is missing, truncated, or has other content.
    """
    with parsing(path, "The prepared slices are damaged.", REBUILD):
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    if images.shape != tuple(shape) or images.dtype != np.float16:
        raise BadInput("The prepared slices are damaged (unexpected size).", where=path, advice=REBUILD)
    return images


def read_record(folder: Path) -> dict[str, Any]:
    """Read the record of a stack, ``stack.json``.

    Raises:
        BadInput: If there is none, it is damaged, or another version of the program made it.
    """
    path = folder / RECORD
    if not path.is_file():
        advice = "Check the path, or build the stack."
        raise BadInput("There are no prepared slices here.", where=folder, advice=advice)
    record = read_json(path)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise BadInput("The slices were prepared by another version of this program.", where=folder, advice=REBUILD)
    if OWN in record and record[OWN] != own_checksum(record):
        raise BadInput("The record of the prepared slices is damaged.", where=path, advice=REBUILD)
    return record


def own_checksum(record: dict[str, Any]) -> str:
    """SHA-256 of the other fields of a record; records of older versions do not hold it."""
    return hash_json({name: value for name, value in record.items() if name != OWN})


def volume_from_record(value: dict[str, Any], size: tuple[int, int]) -> StackVolume:
    """One volume of a stack's record.

    Args:
        value: Its entry under "volumes".
        size: Rows and columns (H, W) of a prepared slice.
    """
    geometry = Geometry.from_json(value["geometry"])
    rows, columns = value["zoom"]
    turn = Turn.from_json(value.get("turn"))
    grid = overview = PlaneGrid(geometry.plane_shape(value["axis"]), size, (rows, columns), turn)
    if "whole" in value:
        (height, width), (down, right) = value["whole"]["grid"], value["whole"]["overview_zoom"]
        grid, overview = replace(grid, grid=(height, width)), replace(grid, zoom=(down, right))
    return StackVolume(
        id=value["id"],
        patient=value["patient"],
        axis=value["axis"],
        geometry=geometry,
        start=value["start"],
        stop=value["stop"],
        grid=grid,
        overview=overview,
        content=value["content"],
    )


def truth_kinds(folder: Path, volume_id: str) -> tuple[str, ...]:
    """The kinds of reference labels that a volume has, "mask" or "scribble" or both; none if it has no file.

    Args as of ``read_truth``.

    Raises:
        BadInput: If the file is damaged.
    """
    path = truth_file(folder, volume_id)
    if not path.is_file():
        return ()
    with parsing(path, "The reference labels are damaged.", REBUILD), np.load(path, allow_pickle=False) as arrays:
        return tuple(arrays.files)


def read_truth(folder: Path, volume_id: str, kind: str) -> np.ndarray | None:
    """Read reference labels of a volume, (S, h, w) uint8, read only; None if it has none of this kind.

    Args:
        folder: Folder of the stack.
        volume_id: The volume.
        kind: "mask" or "scribble".

    Raises:
        BadInput: If the file is damaged.
    """
    path = truth_file(folder, volume_id)
    if not path.is_file():
        return None
    with parsing(path, "The reference labels are damaged.", REBUILD), np.load(path, allow_pickle=False) as arrays:
        labels = arrays.get(kind)
    if labels is not None:
        labels.setflags(write=False)  # it is cached
    return labels
