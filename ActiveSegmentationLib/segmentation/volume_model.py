"""A trained 3D model, which predicts slices from whole volumes, slab by slab."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.segmentation.model_files import FILES
from ActiveSegmentationLib.segmentation.predictor import Batch
from ActiveSegmentationLib.segmentation.segmentation_model import SegmentationModel, read_network_model
from ActiveSegmentationLib.segmentation.settings import TrainingSettings
from ActiveSegmentationLib.segmentation.slabs import Slab, slabs, window_starts
from ActiveSegmentationLib.segmentation.slices import Slices, plane_images, same_shape_runs
from ActiveSegmentationLib.segmentation.volume_network import VolumeNetwork, build_volume_network
from ActiveSegmentationLib.segmentation.volume_plan import Size, VolumeOptions
from ActiveSegmentationLib.segmentation.windows import OVERLAP

VOXELS_PER_BATCH = 2**17
"""Voxels that the network takes at once, unless a single window has more."""


@dataclass
class VolumeModel(SegmentationModel):
    """A trained 3D network with a record of its training.

    Its inputs are slabs of volumes, (1, channels, S, H, W). The windows that cover a volume have fixed places, so the
    prediction of a slice does not depend on the slices that are asked for with it.

    Attributes:
        planned: Settings of its training with the plan that they were completed by; None if they had one.
    """

    planned: TrainingSettings | None = None

    @property
    def patch(self) -> Size:
        """Slices, rows and columns of a window, which are those of the training's patches."""
        return VolumeOptions.from_json((self.planned or self.settings).options).patch

    def describe(self) -> dict[str, Any]:
        """The description that is saved with the weights, as JSON values."""
        return super().describe() | ({"planned": self.planned.to_json()} if self.planned else {})

    def batches(
        self, stack: Slices, rows: np.ndarray, compute: Compute | None = None, *, stage: str = "Reading slices"
    ) -> Iterator[Batch]:
        """Slabs that hold the rows, see ``Predictor.batches``; a slab is given once for successive rows in it."""
        compute = compute or Compute()
        rows = np.asarray(rows, dtype=np.int64)
        self.to(compute.device)
        self.network.eval()
        done = 0
        for first, slab, chosen in self._slabs_of(stack, rows):
            planes = plane_images(stack, first + np.arange(slab.first, slab.last), compute.device)
            kept = torch.from_numpy(chosen - first - slab.first).to(compute.device)
            yield Batch(chosen, planes.transpose(0, 1)[None].contiguous(), kept)
            done += len(chosen)
            if news := self.parts.news():
                compute.progress.message(news)
            compute.progress.update(stage, done, len(rows))

    def _slabs_of(self, stack: Slices, rows: np.ndarray) -> Iterator[tuple[int, Slab, np.ndarray]]:
        """First row of a volume, a slab of it, and the successive rows that it predicts; all rows in their order."""
        numbers = stack.volume_number
        place = 0
        while place < len(rows):
            number = numbers[rows[place]]
            first, last = (int(np.searchsorted(numbers, number, side)) for side in ("left", "right"))
            _, (height, width) = next(same_shape_runs(stack, rows[place : place + 1]))
            own = slabs(last - first, self.patch[0], height * width * self.classes)
            slab = next(each for each in own if first + each.begin <= rows[place] < first + each.end)
            inside = (rows[place:] >= first + slab.begin) & (rows[place:] < first + slab.end)
            count = len(inside) if inside.all() else int(inside.argmin())
            yield first, slab, rows[place : place + count]
            place += count

    @torch.no_grad()
    def predict(self, slab: torch.Tensor) -> torch.Tensor:
        """A slab (1, channels, S, H, W) float32 -> probabilities (S, classes, H, W) float32 of its slices.

        Only those of the slices that a batch keeps are complete.
        """
        from monai.inferers.utils import sliding_window_inference  # slow to import

        together = max(1, VOXELS_PER_BATCH // int(np.prod(self.patch)))
        network = partial(self.parts.compute, self._probabilities)
        found = sliding_window_inference(
            slab, self.patch, together, network, overlap=OVERLAP, mode="gaussian", padding_mode="replicate"
        )
        assert isinstance(found, torch.Tensor)
        return found[0].transpose(0, 1)

    @torch.no_grad()
    def features(
        self, stack: Slices, rows: np.ndarray, *, flatten: bool = False, compute: Compute | None = None
    ) -> np.ndarray:
        """Features of slices from the coarsest map of the encoder, without dropout.

        A slice has the plane of the map that lies at its position; where several windows cover it, their mean.

        Args:
            stack: The cohort's slices.
            rows: (n,) rows of the stack.
            flatten: Whether to keep every position of the plane, instead of the mean over positions.
            compute: Device and progress reporter. Default: the CPU.

        Returns:
            (n, features) float32, or (n, features * h * w) with ``flatten``.
        """
        found = []
        for batch in self.batches(stack, rows, compute, stage="Computing features"):
            found.append(batch.of_rows(self._slab_features(batch.inputs, flatten=flatten)).cpu().numpy())
        return np.concatenate(found) if found else self._no_features(stack, flatten)

    def _no_features(self, stack: Slices, flatten: bool) -> np.ndarray:
        device = next(self.network.parameters()).device
        width = self._slab_features(torch.zeros(1, self.channels, *self.patch, device=device), flatten=flatten).shape[1]
        return np.zeros((0, width), dtype=np.float32)

    def _slab_features(self, slab: torch.Tensor, *, flatten: bool) -> torch.Tensor:
        """Features (S, d) of the slices of a slab (1, channels, S, H, W)."""
        depth = slab.shape[2]
        padded = _padded(slab, self.patch)
        total, count = torch.zeros(()), torch.zeros(padded.shape[2], 1, device=slab.device)
        for first, top, left in _corners(padded, self.patch):
            window = padded[:, :, first : first + self.patch[0], top : top + self.patch[1], left : left + self.patch[2]]
            maps = self.network.bottleneck(window)[0].transpose(0, 1)
            planes = maps.flatten(1) if flatten else maps.mean((2, 3))
            if not total.ndim:
                total = torch.zeros(len(count), planes.shape[1], device=slab.device)
            places = torch.arange(self.patch[0], device=slab.device) * len(planes) // self.patch[0]
            total[first : first + self.patch[0]] += planes[places]
            count[first : first + self.patch[0]] += 1
        return (total / count)[:depth]


def read_volume_model(folder: Path) -> VolumeModel:
    """Read a model that ``VolumeModel.save`` wrote.

    Raises:
        BadInput: If a file is missing or damaged, or the two do not belong together.
    """
    about = FILES.read_description(folder)
    planned = TrainingSettings.from_json(about["planned"]) if "planned" in about else None

    def build(channels: int, classes: int, settings: TrainingSettings, *, seed: int) -> VolumeNetwork:
        return build_volume_network(channels, classes, planned or settings, seed=seed)

    found = read_network_model(folder, build)
    made = {each.name: getattr(found, each.name) for each in fields(found)}
    return VolumeModel(**made, planned=planned)


def _padded(slab: torch.Tensor, size: Size) -> torch.Tensor:
    """The slab, continued at its far borders to at least a size."""
    missing = [max(0, side - length) for side, length in zip(size, slab.shape[2:], strict=True)]
    if not any(missing):
        return slab
    return torch.nn.functional.pad(slab, (0, missing[2], 0, missing[1], 0, missing[0]), mode="replicate")


def _corners(slab: torch.Tensor, size: Size) -> Iterator[tuple[int, int, int]]:
    """First slice, row and column of the windows that cover a slab."""
    starts = [window_starts(length, side) for length, side in zip(slab.shape[2:], size, strict=True)]
    for first in starts[0]:
        for top in starts[1]:
            for left in starts[2]:
                yield first, top, left
