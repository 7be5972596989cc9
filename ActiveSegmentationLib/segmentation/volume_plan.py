"""How a 3D network fits a cohort: the size of its patches, and along which directions each level halves its maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import pydantic
from pydantic import Field

from ActiveSegmentationLib.segmentation.slices import Slices, whole_planes
from ActiveSegmentationLib.training import Settings, settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ActiveSegmentationLib.segmentation.settings import Option

Size = tuple[int, int, int]
"""Slices, rows and columns."""

PATCH_VOXELS = {"cpu": 2**17, "gpu": 2**20}
"""Voxels of an automatic patch, at most, by the kind of device."""

COARSEST = 4
"""Voxels of the coarsest map along a direction that is halved, at least."""

ALIKE = 2.0
"""Directions whose voxels are less than this many times as long as the shortest are treated like it."""

FEWEST_LEVELS = 3
"""Levels that the network has at least."""


@settings
class VolumeOptions(Settings):
    """Options of the learner "unet3d"; those that are automatic are decided from the cohort, and kept with the model.

    Attributes:
        patch_slices: Slices of a patch; 0 for automatic.
        patch_rows: Rows of a patch; 0 for automatic.
        patch_columns: Columns of a patch; 0 for automatic.
        pooling: Factors by which each level but the coarsest shrinks slices, rows and columns, 1 or 2, finest level
            first, such as "1x2x2 2x2x2"; empty for automatic.
        kernels: Size of the convolutions of every level, such as "1x3x3 3x3x3 3x3x3"; empty for automatic.
        flip_slices: Whether the augmentation mirrors the order of slices.
    """

    where: ClassVar[str] = "learner options"

    patch_slices: int = Field(default=0, ge=0, le=1024)
    patch_rows: int = Field(default=0, ge=0, le=1024)
    patch_columns: int = Field(default=0, ge=0, le=1024)
    pooling: str = ""
    kernels: str = ""
    flip_slices: bool = False

    @pydantic.model_validator(mode="after")
    def _complete(self) -> Self:
        for name, allowed in (("pooling", {1, 2}), ("kernels", {1, 3})):
            if any(len(size) != 3 or not set(size) <= allowed for size in sizes(getattr(self, name))):
                raise ValueError(f"'{name}' must be sizes such as 1x2x2, of the numbers {sorted(allowed)}.")
        if len({bool(self.pooling), bool(self.kernels)}) > 1 or (
            self.pooling and len(sizes(self.kernels)) != len(sizes(self.pooling)) + 1
        ):
            raise ValueError("'kernels' must have one size more than 'pooling', or both must be empty.")
        if len({bool(length) for length in self.patch}) > 1:
            raise ValueError("'patch_slices', 'patch_rows' and 'patch_columns' must all be given, or none.")
        if any(length % factor for length, factor in zip(self.patch, shrinking(sizes(self.pooling)), strict=True)):
            raise ValueError("The size of a patch must be divisible by the product of the factors of 'pooling'.")
        return self

    @property
    def patch(self) -> Size:
        """Slices, rows and columns of a patch; zeros for automatic."""
        return self.patch_slices, self.patch_rows, self.patch_columns


@dataclass(frozen=True)
class VolumePlan:
    """Patches and levels of a 3D network.

    Attributes:
        patch: Slices, rows and columns of a patch.
        pooling: Factors of every level but the coarsest, finest first.
        kernels: Size of the convolutions of every level.
    """

    patch: Size
    pooling: tuple[Size, ...]
    kernels: tuple[Size, ...]

    def options(self, before: Mapping[str, Option]) -> dict[str, Option]:
        """Options of the learner that fix this plan; others stay as they were."""
        names = ("patch_slices", "patch_rows", "patch_columns")
        found: dict[str, Option] = dict(zip(names, self.patch, strict=True))
        return {**before, **found, "pooling": text(self.pooling), "kernels": text(self.kernels)}


def sizes(written: str) -> tuple[tuple[int, ...], ...]:
    """Sizes such as "1x2x2 2x2x2" as numbers; a part that is not a number is 0."""
    words = written.split()
    return tuple(tuple(int(n) if n.isdecimal() else 0 for n in word.split("x")) for word in words)


def text(numbers: Sequence[Sequence[int]]) -> str:
    """Inverse of ``sizes``."""
    return " ".join("x".join(map(str, size)) for size in numbers)


def shrinking(pooling: Sequence[Sequence[int]]) -> Size:
    """Factors by which all levels together shrink slices, rows and columns."""
    slices, rows, columns = np.prod(np.array(pooling, dtype=int).reshape(-1, 3), axis=0).tolist()
    return slices, rows, columns


def plan_for(stack: Slices, levels: int, options: VolumeOptions, *, device: str) -> VolumePlan:
    """The plan for a cohort, by the medians of its volumes' sizes and voxels.

    - A patch is as near to a cube in millimetres as the volumes allow, of ``PATCH_VOXELS``, then rounded to what the
      levels can halve.
    - A level halves the directions whose voxels are then about as long as the shortest (``ALIKE``) and that have
      enough voxels (``COARSEST``). Convolutions do not reach along the others until their voxels are alike, so that
      thick slices are not mixed before rows and columns are as coarse as they (nnU-Net's rule, Isensee et al. 2021).

    Args:
        stack: The cohort's slices.
        levels: Levels that the network has at most.
        options: What is given, and not automatic.
        device: PyTorch device.
    """
    shapes, spacings = volume_sizes(stack)
    spacing = np.median(spacings, axis=0)
    shape = np.median(shapes, axis=0).astype(int)
    patch = np.array(options.patch)
    automatic = not patch.all()
    if automatic:
        patch = cube(shape, spacing, PATCH_VOXELS["cpu" if device == "cpu" else "gpu"])
    pooling, kernels = _given(options)
    if not pooling:
        pooling, kernels = _levels(patch, spacing, levels)
    if automatic:
        factors = np.array(shrinking(pooling))
        multiples = np.where(patch == shape, np.ceil(patch / factors), np.round(patch / factors))
        patch = np.maximum(1, multiples.astype(int)) * factors
    return VolumePlan(_size(patch), pooling, kernels)


def _given(options: VolumeOptions) -> tuple[tuple[Size, ...], tuple[Size, ...]]:
    pooling, kernels = (
        tuple(_size(np.array(size)) for size in sizes(each)) for each in (options.pooling, options.kernels)
    )
    return pooling, kernels


def volume_sizes(stack: Slices) -> tuple[np.ndarray, np.ndarray]:
    """Slices, rows and columns of every volume on the grid, and their voxels in mm: (V, 3) int64 and (V, 3) float."""
    numbers, first, counts = np.unique(stack.volume_number, return_index=True, return_counts=True)
    large = whole_planes(stack)
    shapes = []
    for row, count in zip(first.tolist(), counts.tolist(), strict=True):
        own = large is not None and bool(large.holds(np.array([row]))[0])
        shapes.append((count, *(large.shape(row) if own and large is not None else stack.grid_shape)))
    return np.array(shapes), np.array([stack.voxel_spacing(int(number)) for number in numbers])


def cube(shape: np.ndarray, spacing: np.ndarray, voxels: int) -> np.ndarray:
    """The size of a patch that is as near to a cube in millimetres as a volume allows.

    Args:
        shape: (3,) voxels of the volume.
        spacing: (3,) millimetres of a voxel.
        voxels: Voxels of the patch, at most (more only if it would have none along a direction).

    Returns:
        (3,) int64, at most ``shape``.
    """
    low, high = 0.0, float((shape * spacing).max())
    for _ in range(60):
        middle = (low + high) / 2
        fits = math.prod(_box(shape, spacing, middle).tolist()) <= voxels
        low, high = (middle, high) if fits else (low, middle)
    return _box(shape, spacing, high if math.prod(_box(shape, spacing, high).tolist()) <= voxels else low)


def _box(shape: np.ndarray, spacing: np.ndarray, side: float) -> np.ndarray:
    return np.clip((side / spacing + 1e-6).astype(int), 1, shape)


def _levels(patch: np.ndarray, spacing: np.ndarray, levels: int) -> tuple[tuple[Size, ...], tuple[Size, ...]]:
    """Pooling and kernels of at most so many levels, and of ``FEWEST_LEVELS`` at least."""
    size, length = patch.astype(float), spacing.astype(float)
    pooling: list[Size] = []
    kernels: list[Size] = []
    for level in range(max(levels, FEWEST_LEVELS)):
        alike = length < ALIKE * length.min() * (1 + 1e-6)
        kernels.append(_size(np.where(alike, 3, 1)))
        halved = alike & (size >= 2 * COARSEST)
        if level + 1 == max(levels, FEWEST_LEVELS) or (level + 1 >= FEWEST_LEVELS and not halved.any()):
            break
        pooling.append(_size(np.where(halved, 2, 1)))
        size, length = np.where(halved, size // 2, size), np.where(halved, 2 * length, length)
    return tuple(pooling), tuple(kernels)


def _size(numbers: np.ndarray) -> Size:
    slices, rows, columns = numbers.tolist()
    return slices, rows, columns
