"""Window and level: a soft-tissue window for CT, Slicer's automatic one otherwise; the user's own choice is kept.

The user's choice is kept relative to the default of the volume, because the scale of MR intensities differs from volume
to volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

CT_WINDOW, CT_LEVEL = 400.0, 40.0
"""Soft tissue, in Hounsfield units."""

CT_AIR, CT_WATER = -500.0, 0.0
"""A volume with values below the first and above the second counts as CT."""


@dataclass(frozen=True)
class Choice:
    """Window and level relative to the default of a volume.

    Attributes:
        window: Window, as a multiple of the default window.
        level: Level minus the default level, as a multiple of the default window.
    """

    window: float
    level: float


def isCT(pixels: np.ndarray) -> bool:
    """Whether pixels look like Hounsfield units: air far below zero, tissue above it.

    Args:
        pixels: Array of any shape.
    """
    if not pixels.size or not (np.issubdtype(pixels.dtype, np.signedinteger) or pixels.dtype.kind == "f"):
        return False
    return float(pixels.min()) <= CT_AIR and float(pixels.max()) > CT_WATER


class Contrast:
    """Window and level of one volume node.

    Args:
        volumeNode: The volume node, with a display node.
        pixels: Its pixels.
    """

    def __init__(self, volumeNode: Any, pixels: np.ndarray) -> None:
        self._node = volumeNode
        self._isColor = not volumeNode.GetDisplayNode().IsA("vtkMRMLScalarVolumeDisplayNode") or volumeNode.IsA(
            "vtkMRMLVectorVolumeNode"
        )
        self._default = (CT_WINDOW, CT_LEVEL) if isCT(pixels) else self._automatic()
        self._shown = self._default

    def _automatic(self) -> tuple[float, float]:
        display = self._node.GetDisplayNode()
        display.AutoWindowLevelOn()
        return float(display.GetWindow()), float(display.GetLevel())

    def apply(self, choice: Choice | None) -> None:
        """Apply the user's choice on another volume; None for the default."""
        if self._isColor:
            return
        window, level = self._default
        if choice is not None:
            level += choice.level * window
            window *= choice.window
        display = self._node.GetDisplayNode()
        if (window, level) == self._automatic():
            self._shown = window, level
            return
        display.AutoWindowLevelOff()
        display.SetWindowLevel(window, level)
        self._shown = window, level

    def choice(self, before: Choice | None) -> Choice | None:
        """The user's choice, or the earlier one where window and level were not changed."""
        display = self._node.GetDisplayNode()
        if self._isColor or display is None:
            return before
        window, level = float(display.GetWindow()), float(display.GetLevel())
        if np.allclose((window, level), self._shown, rtol=1e-6, atol=1e-9) or self._default[0] <= 0:
            return before
        return Choice(window / self._default[0], (level - self._default[1]) / self._default[0])
