"""The part of a slice stack that every learner needs, as a protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch


class ImageStack(Protocol):
    """Images of slices on one grid."""

    @property
    def key(self) -> str:
        """Hash of the content."""

    @property
    def grid_shape(self) -> tuple[int, int]:
        """Rows and columns (H, W) of the grid."""

    @property
    def channels(self) -> int:
        """Number of channels C of the images."""

    def batches(self, rows: Any, device: Any = "cpu", /) -> torch.Tensor:
        """Images of the rows: float32 (n, C, H, W) on the device."""
