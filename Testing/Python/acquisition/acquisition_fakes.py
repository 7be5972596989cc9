"""A stack without files, for strategies that look at nothing but identities and embeddings."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from ActiveSegmentationLib.acquisition import Constraints, Pool
from ActiveSegmentationLib.cohort import SliceId


class FakeStack:
    """``slices`` slices of each of ``volumes`` volumes; every two volumes are of one patient."""

    def __init__(self, volumes: int = 6, slices: int = 10, blank: tuple[int, ...] = ()) -> None:
        self.volumes = [SimpleNamespace(id=f"volume{v:02d}", patient=f"patient{v // 2:02d}") for v in range(volumes)]
        self.patients = tuple(dict.fromkeys(volume.patient for volume in self.volumes))
        self.volume_number = np.repeat(np.arange(volumes), slices)
        self.patient_number = self.volume_number // 2
        self.index = np.tile(np.arange(slices), volumes)
        self.position = (self.index + 0.5) / slices
        self.blank = np.isin(np.arange(volumes * slices), blank)

    def __len__(self) -> int:
        return len(self.index)

    def slice_id(self, row: int) -> SliceId:
        return SliceId(self.volumes[self.volume_number[row]].id, int(self.index[row]))


def random_features(stack: FakeStack, *, seed: int = 0, width: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(len(stack), width)).astype(np.float32)


def fake_pool(stack: FakeStack | None = None, **options) -> Pool:
    """A pool over all of the stack with random embeddings; ``rows`` and ``features`` may be given."""
    stack = stack or FakeStack()
    features = options.pop("features", None)
    features = random_features(stack) if features is None else features
    rows = options.pop("rows", np.arange(len(stack)))
    embedders = {kind: lambda wanted: features[wanted] for kind in ("pixels", "segmenter", "learned")}
    constraints = options.pop("constraints", Constraints())
    return Pool(stack, rows, constraints=constraints, embedders=options.pop("embedders", embedders), **options)
