"""A small world: discs and bars on noisy slices, held in memory."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from threads import one_thread

from ActiveSegmentationLib.cohort import IGNORE_LABEL, SliceId
from ActiveSegmentationLib.segmentation import Examples, TrainingSettings


class FakeStack:
    """Three volumes of eight slices; native planes are the middle of the grid, cut by a border of two pixels."""

    key = "fake"
    channels = 1
    grid_shape = (34, 40)
    border = 2
    volume_number = np.repeat(np.arange(3), 8)

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        rows, columns = np.mgrid[:34, :40]
        self.truth = np.zeros((24, 34, 40), dtype=np.uint8)
        for labels in self.truth:
            centre = rng.uniform(12, 22, 2)
            labels[(rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < rng.uniform(16, 40)] = 1
            labels[:, int(rng.integers(30, 34)) :][:, :4] = 2
        noise = rng.normal(0, 0.05, self.truth.shape)
        self.images = (np.array([0.2, 0.8, 0.5])[self.truth] + noise)[:, None].astype(np.float16)

    def __len__(self) -> int:
        return len(self.images)

    def voxel_spacing(self, number: int) -> tuple[float, float, float]:
        return 3.0, 1.0, 1.0

    def row(self, slice_id: SliceId) -> int:
        return 8 * ["a", "b", "c"].index(slice_id.volume) + slice_id.index

    def volume_rows(self, volume_id: str) -> np.ndarray:
        return self.row(SliceId(volume_id, 0)) + np.arange(8)

    def to_grid(self, labels: np.ndarray, volume_id: str) -> np.ndarray:
        return np.pad(labels, self.border, constant_values=IGNORE_LABEL)

    def inside(self, rows) -> np.ndarray:
        return np.ones((len(rows), *self.grid_shape), dtype=bool)

    def from_grid(self, values: np.ndarray, volume_id: str) -> np.ndarray:
        return values[..., self.border : -self.border, self.border : -self.border]

    def batches(self, rows, device="cpu") -> torch.Tensor:
        return torch.from_numpy(self.images[rows].astype(np.float32)).to(device)

    def examples(self, rows, *, dense: bool = True) -> Examples:
        """Masks of the rows, or scribbles: every ninth pixel of the masks."""
        rows = np.asarray(rows, dtype=np.int64)
        labels = self.truth[rows].copy()
        if not dense:
            thinned = np.full_like(labels, IGNORE_LABEL)
            thinned[:, ::3, ::3] = labels[:, ::3, ::3]
            labels = thinned
        return Examples(rows, labels, np.full(len(rows), dense))


@pytest.fixture(autouse=True)
def _one_thread():
    with one_thread():
        yield


@pytest.fixture(scope="session")
def stack() -> FakeStack:
    return FakeStack()


@pytest.fixture(scope="session")
def tiny() -> TrainingSettings:
    """Settings of a network that trains in a second or two."""
    return TrainingSettings(steps=12, batch_size=4, features=(8, 8, 8, 8, 8), learning_rate=1e-2)


@pytest.fixture
def labels() -> SimpleNamespace:
    """A label set of the values 5 and 85."""

    def to_classes(values: np.ndarray) -> np.ndarray:
        table = np.full(256, 254, dtype=np.uint8)
        table[[0, 5, 85, 255]] = [0, 1, 2, 255]
        return table[values]

    return SimpleNamespace(to_classes=to_classes, classes=3)
