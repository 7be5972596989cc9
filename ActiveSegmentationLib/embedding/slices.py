"""The part of a slice stack that embeddings need, as a protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch


class EmbeddableSlices(Protocol):
    """Slices on one grid with their patient, volume and index, such as ``cohort.SliceStack``."""

    @property
    def key(self) -> str:
        """Hash of the content."""

    @property
    def grid_shape(self) -> tuple[int, int]:
        """Rows and columns (H, W) of the grid."""

    @property
    def channels(self) -> int:
        """Channels C of the images."""

    @property
    def volume_number(self) -> np.ndarray:
        """(N,) int64 number of each slice's volume."""

    @property
    def patient_number(self) -> np.ndarray:
        """(N,) int64 number of each slice's patient."""

    @property
    def index(self) -> np.ndarray:
        """(N,) int64 0-based index of each slice in its volume."""

    def batches(self, rows: Any, device: Any = "cpu", /) -> torch.Tensor:
        """Images of the rows: float32 (n, C, H, W) on the device."""
