"""What this room needs of a slice stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ActiveSegmentationLib.cohort import SliceId

if TYPE_CHECKING:
    import torch


class Slices(Protocol):
    """Slices on one grid; ``cohort.SliceStack`` is one, and tests make small ones in memory."""

    @property
    def key(self) -> str:
        """Hash of the content."""

    @property
    def grid_shape(self) -> tuple[int, int]:
        """Rows and columns (H, W) of the grid."""

    @property
    def channels(self) -> int:
        """Channels C of the images."""

    def row(self, slice_id: SliceId, /) -> int:
        """Row of a slice."""

    def volume_rows(self, volume_id: str, /) -> np.ndarray:
        """Rows of a volume's slices, in their order."""

    def to_grid(self, labels: Any, volume_id: str, /) -> np.ndarray:
        """(h, w) uint8 labels of a slice -> (H, W) uint8, nearest neighbour; 255 outside of the image."""

    def inside(self, rows: Any, /) -> np.ndarray:
        """Which pixels of the rows show the image, the others are padding: (n, H, W) bool."""

    def from_grid(self, values: Any, volume_id: str, /) -> np.ndarray:
        """(n, C, H, W) float32 probabilities -> (n, C, h, w) in the volume's plane; background outside of the grid."""

    def batches(self, rows: Any, device: Any = "cpu", /) -> torch.Tensor:
        """Images of the rows: float32 (n, C, H, W) on the device."""
