"""The part of a slice stack that embeddings need, as a protocol."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ActiveSegmentationLib.training import ImageStack


class EmbeddableSlices(ImageStack, Protocol):
    """Slices on one grid with their patient, volume and index, such as ``cohort.SliceStack``."""

    @property
    def volume_number(self) -> np.ndarray:
        """(N,) int64 number of each slice's volume."""

    @property
    def patient_number(self) -> np.ndarray:
        """(N,) int64 number of each slice's patient."""

    @property
    def index(self) -> np.ndarray:
        """(N,) int64 0-based index of each slice in its volume."""
