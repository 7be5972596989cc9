"""A slice stack in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch


class FakeStack:
    """Slices of patients with volumes of given lengths; each volume has a pattern of its own that changes along it.

    Args:
        patients: For each patient the slice counts of the volumes.
    """

    def __init__(self, patients: Sequence[Sequence[int]], *, grid=(16, 16), channels=1, seed=0, key="fake") -> None:
        volumes = [(patient, count) for patient, counts in enumerate(patients) for count in counts]
        lengths = [count for _, count in volumes]
        self.key, self.grid_shape, self.channels = key, grid, channels
        self.patient_number = np.repeat([patient for patient, _ in volumes], lengths)
        self.volume_number = np.repeat(np.arange(len(volumes)), lengths)
        self.index = np.concatenate([np.arange(count) for count in lengths])
        self.images = self._draw(np.random.default_rng(seed), len(volumes)).astype(np.float16)

    def _draw(self, rng: np.random.Generator, volumes: int) -> np.ndarray:
        base, along = (self._patches(rng.random((volumes, self.channels, 4, 4))) for _ in range(2))
        place = self.index[:, None, None, None] / 10
        return np.clip(base[self.volume_number] * 0.7 + along[self.volume_number] * place, 0, 1)

    def _patches(self, coarse: np.ndarray) -> np.ndarray:
        """Enlarge (..., 4, 4) values to the grid."""
        rows, columns = ((np.arange(length) * 4) // length for length in self.grid_shape)
        return coarse[..., rows[:, None], columns[None, :]]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def rows(self) -> np.ndarray:
        return np.arange(len(self))

    def batches(self, rows, device="cpu", /) -> torch.Tensor:
        return torch.from_numpy(self.images[np.asarray(rows)].astype(np.float32)).to(device)
