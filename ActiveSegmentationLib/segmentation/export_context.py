"""What a model must be exported with: what its classes mean, and how its images were prepared."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ActiveSegmentationLib.cohort import Geometry, SliceStack, StackSettings, StackVolume

MEASURED = 20
"""Volumes whose smallest value is measured, at most."""

_ANATOMICAL = (("R", "L"), ("A", "P"), ("I", "S"))
"""Letters of the negative and the positive end of the axes left, posterior and superior."""


@dataclass(frozen=True)
class ExportContext:
    """What a program that predicts with an exported model needs to know.

    Attributes:
        labels: Label value and name of every class but background, in the order of the classes.
        preparation: How slices are prepared, with every automatic value resolved.
        grid: Rows and columns of prepared slices.
        orientation: Where rows, columns and slices of prepared images run to, as letters such as ("P", "L", "S").
        alike: Whether the volumes of the cohort have all this orientation.
        spacings: Smallest and largest pixel size of the volumes in mm, of rows and columns.
        fill: Value of the padding around planes that are smaller than the grid.
    """

    labels: tuple[tuple[int, str], ...]
    preparation: StackSettings
    grid: tuple[int, int]
    orientation: tuple[str, str, str]
    alike: bool
    spacings: tuple[float, float]
    fill: float

    @classmethod
    def of(cls, stack: SliceStack, labels: Sequence[tuple[int, str]]) -> ExportContext:
        """What exports need of a stack.

        Args:
            stack: The cohort's slices.
            labels: Label value and name of every class but background.
        """
        found = Counter(_orientation(volume) for volume in stack.volumes)
        planes = Counter(letters[:2] for letters in found.elements())
        pixels = list(itertools.chain.from_iterable(volume.plane_spacing for volume in stack.volumes))
        return cls(
            labels=tuple(labels),
            preparation=stack.settings,
            grid=stack.grid_shape,
            orientation=found.most_common(1)[0][0],
            alike=len(planes) == 1,
            spacings=(min(pixels), max(pixels)),
            fill=_fill(stack),
        )

    @property
    def resamples(self) -> bool:
        """Whether preparing slices changes the size of pixels of some volume."""
        settings = self.preparation
        low, high = self.spacings
        own = not settings.spacing or max(abs(settings.spacing / each - 1) for each in (low, high)) < 1e-3
        return settings.stretch or not own

    def names(self) -> dict[str, str]:
        """Names of all classes by their number as text, background included."""
        return {"0": "background"} | {str(number): name for number, (_, name) in enumerate(self.labels, 1)}

    def to_json(self) -> dict[str, Any]:
        """The context as JSON values."""
        return {
            "labels": [{"value": value, "name": name} for value, name in self.labels],
            "preparation": self.preparation.to_json(),
            "grid": list(self.grid),
            "orientation of rows, columns and slices": list(self.orientation),
        }


def _fill(stack: SliceStack) -> float:
    """The value around planes; with z-scores, which have a smallest value of their own in each volume, their median."""
    usual = {"percentile": 0.0, "window": -1.0}
    if stack.settings.normalisation in usual:
        return usual[stack.settings.normalisation]
    return float(np.median([stack.images[volume.start : volume.stop].min() for volume in stack.volumes[:MEASURED]]))


def _orientation(volume: StackVolume) -> tuple[str, str, str]:
    """Letters of the directions in which rows, columns and slices of a volume's prepared images are counted."""
    letters = _letters(volume.geometry)
    down, right = (axis for axis in (2, 1, 0) if axis != volume.axis)
    turn = volume.grid.turn
    rows, columns = turn.pair((letters[down], letters[right]))
    rows, columns = (
        (_opposite(rows) if turn.flip_rows else rows),
        (_opposite(columns) if turn.flip_columns else columns),
    )
    return rows, columns, letters[volume.axis]


def _letters(geometry: Geometry) -> tuple[str, str, str]:
    """The letter of the direction in which each image axis (i, j, k) runs, each anatomical axis once."""
    direction = np.reshape(geometry.direction, (3, 3))  # rows: left, posterior, superior; columns: image axes
    orders = list(itertools.permutations(range(3)))
    best = max(orders, key=lambda order: sum(abs(direction[order[axis], axis]) for axis in range(3)))
    first, second, third = (_ANATOMICAL[best[axis]][int(direction[best[axis], axis] > 0)] for axis in range(3))
    return first, second, third


def _opposite(letter: str) -> str:
    return next(pair[1 - pair.index(letter)] for pair in _ANATOMICAL if letter in pair)
