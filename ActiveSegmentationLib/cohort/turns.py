"""Lossless turns of a plane: quarter turns and mirrors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True)
class Turn:
    """How the stored rows and columns of a plane are turned to the cohort's common orientation.

    The default leaves planes as they are stored.

    Attributes:
        transpose: Whether rows and columns change places; done first.
        flip_rows: Whether the rows' order is reversed.
        flip_columns: Whether the columns' order is reversed.
    """

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def __bool__(self) -> bool:
        return self != Turn()

    def pair(self, values: tuple[T, T]) -> tuple[T, T]:
        """A pair (of rows, of columns), such as a shape or a spacing, turned; applying it twice restores the pair."""
        return (values[1], values[0]) if self.transpose else values

    def apply(self, planes: np.ndarray) -> np.ndarray:
        """View stored planes (..., h, w) in the common orientation."""
        turned = planes.swapaxes(-1, -2) if self.transpose else planes
        return turned[..., :: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]

    def undo(self, planes: np.ndarray) -> np.ndarray:
        """Inverse of ``apply``."""
        turned = planes[..., :: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]
        return turned.swapaxes(-1, -2) if self.transpose else turned

    def to_json(self) -> list[bool]:
        """The turn as JSON values."""
        return [self.transpose, self.flip_rows, self.flip_columns]

    @classmethod
    def from_json(cls, value: list[bool] | None) -> Turn:
        """Inverse of ``to_json``; None, as in files of earlier versions, leaves planes as they are stored."""
        return cls() if value is None else cls(*(bool(part) for part in value))


AS_STORED = Turn()
"""Planes as they are stored."""
