"""Slices, models and pools in memory, for strategies that need no files."""

from __future__ import annotations

import dataclasses
import functools
from types import SimpleNamespace

import numpy as np
import torch

from ActiveSegmentationLib.acquisition import Constraints, Pool, PoolStatistics, RoundPlan, Sources
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.segmentation import Ensemble, SegmentationModel, TrainingSettings
from ActiveSegmentationLib.segmentation.network import build_network

CLASSES = 3
"""Classes of the fake models and annotations, background first."""


class FakeStack:
    """``slices`` slices of each of ``volumes`` volumes; every two volumes are of one patient.

    Images are smooth random patterns, equal for equal ``seed``; ``constant`` makes all of them the same flat image.
    """

    channels = 1

    def __init__(
        self,
        volumes: int = 6,
        slices: int = 10,
        blank: tuple[int, ...] = (),
        *,
        constant: bool = False,
        seed: int = 0,
        side: int = 32,
    ) -> None:
        self.volumes = [SimpleNamespace(id=f"volume{v:02d}", patient=f"patient{v // 2:02d}") for v in range(volumes)]
        self.patients = tuple(dict.fromkeys(volume.patient for volume in self.volumes))
        self.volume_number = np.repeat(np.arange(volumes), slices)
        self.patient_number = self.volume_number // 2
        self.index = np.tile(np.arange(slices), volumes)
        self.position = (self.index + 0.5) / slices
        self.blank = np.isin(np.arange(volumes * slices), blank)
        self.grid_shape = (side, side)
        self.key = f"fake-{volumes}-{slices}-{constant}-{seed}-{side}"
        self._images = None
        self._constant, self._seed = constant, seed

    def __len__(self) -> int:
        return len(self.index)

    def slice_id(self, row: int) -> SliceId:
        return SliceId(self.volumes[self.volume_number[row]].id, int(self.index[row]))

    def inside(self, rows) -> np.ndarray:
        return np.ones((len(rows), *self.grid_shape), dtype=bool)

    def batches(self, rows, device="cpu") -> torch.Tensor:
        if self._images is None:
            coarse = np.random.default_rng(self._seed).normal(size=(len(self), 1, 4, 4)).astype(np.float32)
            coarse *= 0.0 if self._constant else 1.0
            fine = torch.nn.functional.interpolate(torch.from_numpy(coarse), self.grid_shape, mode="bilinear")
            self._images = fine.contiguous()
        return self._images[torch.as_tensor(np.asarray(rows), dtype=torch.long)].to(device)


def random_features(stack: FakeStack, *, seed: int = 0, width: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(len(stack), width)).astype(np.float32)


@functools.cache
def fake_model(members: int = 2, seed: int = 0) -> Ensemble:
    """Untrained networks with dropout and loss heads: they predict, disagree and have gradients like trained ones."""
    settings = TrainingSettings(features=(4, 4, 8, 8, 8), loss_head=True)
    networks = [build_network(1, CLASSES, settings, seed=seed + number).eval() for number in range(members)]
    return Ensemble(
        tuple(SegmentationModel(n, 1, CLASSES, settings, f"fake-{seed}-{i}") for i, n in enumerate(networks))
    )


def fake_statistics(stack: FakeStack, annotated=(), *, classes=(0, 1, 2)) -> PoolStatistics:
    """Pixel counts of the annotated slices, extents of the first two volumes and the true classes of every slice."""
    pixels = np.zeros(CLASSES, dtype=np.int64)
    pixels[list(classes)] = 100
    truth = np.zeros((len(stack), CLASSES), dtype=bool)
    truth[:, 0] = True
    truth[:, list(classes)] |= (stack.index >= 3)[:, None] & (stack.index <= 6)[:, None]
    return PoolStatistics(
        class_pixels={slice_id: pixels.copy() for slice_id in annotated},
        seconds={slice_id: 30.0 for slice_id in annotated},
        extents={volume.id: (2, 6) for volume in stack.volumes[:2]},
        truth=lambda rows: truth[rows],
    )


def fake_pool(stack: FakeStack | None = None, *, strategy=None, **options) -> Pool:
    """A pool over all of the stack with random embeddings; ``rows`` and ``features`` may be given.

    ``strategy`` declares its scores and embeddings; ``statistics`` are as of a study by default. All other options are
    those of ``Pool``, ``RoundPlan``, ``Sources`` and ``Compute``.
    """
    stack = stack or FakeStack()
    features = options.pop("features", None)
    features = random_features(stack) if features is None else features
    kinds = {"pixels", "segmenter", "learned", "learned:nt-xent=1", *(strategy.embeddings if strategy else ())}
    options.setdefault("embedders", {kind: lambda wanted: features[wanted] for kind in kinds})
    options.setdefault("score_specs", strategy.score_specs if strategy else ())
    options.setdefault("statistics", fake_statistics(stack, options.get("annotated", ())))
    options.setdefault("constraints", Constraints())
    compute = {name: options.pop(name) for name in ("device", "progress") if name in options}
    options.setdefault("compute", Compute(**compute))
    rows = options.pop("rows", np.arange(len(stack)))
    plan = RoundPlan(**{name: options.pop(name) for name in PLAN if name in options})
    sources = Sources(**{name: options.pop(name) for name in SOURCES if name in options})
    return Pool(stack, rows, plan=plan, sources=sources, **options)


PLAN = [field.name for field in dataclasses.fields(RoundPlan)]
SOURCES = [field.name for field in dataclasses.fields(Sources)]
