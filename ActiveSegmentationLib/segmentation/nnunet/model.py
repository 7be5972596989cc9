"""A trained nnU-Net: predictions in the acquired planes and on the stack's grid, features, and its files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation.learner import FEATURES
from ActiveSegmentationLib.segmentation.model_files import FILES
from ActiveSegmentationLib.segmentation.nnunet.network import NnunetNetwork, build_network
from ActiveSegmentationLib.segmentation.nnunet.options import NnunetOptions
from ActiveSegmentationLib.segmentation.nnunet.plans import Plan, read_plan
from ActiveSegmentationLib.segmentation.nnunet.prepared import PreparedImage, prepared_image
from ActiveSegmentationLib.segmentation.nnunet.windows import first_slices, mirrored, padded, window_logits
from ActiveSegmentationLib.segmentation.predictor import Batch
from ActiveSegmentationLib.segmentation.settings import TrainingSettings
from ActiveSegmentationLib.segmentation.single_network import SingleNetworkModel
from ActiveSegmentationLib.segmentation.slabs import Slab, slabs
from ActiveSegmentationLib.segmentation.slices import Slices
from ActiveSegmentationLib.segmentation.windows import PIXELS_PER_BATCH, mean_over_windows


class NnunetInputs(NamedTuple):
    """Slices of one volume that nnU-Net predicts together.

    Attributes:
        stack: The cohort's slices.
        volume: Id of the volume.
        indexes: (n,) int64 slices of the volume, from 0.
        acquired: Whether probabilities are wanted in the planes as they were acquired, instead of on the stack's grid.
        slab: Slices of the prepared image that a 3D network predicts for them; not used in 2D.
    """

    stack: Slices
    volume: str
    indexes: np.ndarray
    acquired: bool
    slab: Slab | None = None


@dataclass
class NnunetModel(SingleNetworkModel):
    """A trained nnU-Net with its plan.

    Attributes:
        network: The network.
        plan: nnU-Net's plan.
        settings: Settings of its training.
        identity: Hash of everything it was made from.
        record: Seed, device, seconds, versions and final losses of the training; JSON values.
    """

    network: NnunetNetwork
    plan: Plan
    settings: TrainingSettings
    identity: str
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> NnunetOptions:
        """Options of the learner."""
        return NnunetOptions.from_json(self.settings.options)

    @property
    def classes(self) -> int:
        """Number of classes including background."""
        return self.plan.classes

    def batches(
        self, stack: Slices, rows: np.ndarray, compute: Compute | None = None, *, stage: str = "Reading slices"
    ) -> Iterator[Batch]:
        """Slices of one volume at a time; of a 3D plan all of a slab that follow each other in ``rows``."""
        yield from self._batches(stack, rows, compute, stage, acquired=False)

    def plane_batches(self, stack: Slices, volume_id: str, compute: Compute | None = None) -> Iterator[Batch]:
        """The slices of a volume, predicted in its acquired planes."""
        rows = stack.volume_rows(volume_id)
        yield from self._batches(stack, rows, compute, "Predicting slices", acquired=True)

    def planes(self, stack: Slices, volume_id: str, predicted: torch.Tensor) -> np.ndarray:
        """The predictions as they are, because they are made in the acquired planes."""
        return predicted.cpu().numpy()

    @torch.no_grad()
    def predict(self, inputs: NnunetInputs) -> torch.Tensor:
        """Probabilities of slices (n, classes, H, W) float32 on the network's device; see ``Predictor.predict``."""
        image = prepared_image(inputs.stack, inputs.volume, self.plan)
        planes = self._planes_3d(image, inputs) if self.plan.is_3d else self._planes_2d(image, inputs)
        if not inputs.acquired:
            planes = inputs.stack.planes_to_grid(planes, inputs.volume)
        return torch.from_numpy(np.ascontiguousarray(planes)).to(self._device)

    @torch.no_grad()
    def predict_loss(self, images: torch.Tensor) -> torch.Tensor:
        """Predicted losses of slices as the network takes them; see ``Predictor.predict_loss``."""
        if self.network.loss_head is None:
            return super().predict_loss(images)
        return self.network.loss_head(self.network.encode(images))

    def largest_slice(self, stack: Slices) -> tuple[int, int]:
        """Rows and columns of the plan's patch."""
        rows, columns = self.plan.patch[-2:]
        return rows, columns

    def network_slices(
        self, stack: Slices, rows: np.ndarray, compute: Compute | None = None, *, stage: str = "Reading slices"
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Slices as a 2D network takes them, at least as large as a patch; see ``Predictor.network_slices``."""
        for batch in self._batches(stack, rows, compute, stage, acquired=False):
            image = prepared_image(stack, batch.inputs.volume, self.plan)
            slices, within = image.slices(batch.inputs.indexes)
            whole = torch.zeros((len(within), *image.data.shape[:1], *image.data.shape[2:]))
            whole[torch.from_numpy(within)] = slices
            images, place = padded(whole, self.plan.patch)
            inside = torch.zeros((len(within), *images.shape[2:]), dtype=torch.bool)
            inside[(slice(None), *place)] = torch.from_numpy(within)[:, None, None]
            yield images.to(self._device), inside.to(self._device)

    @torch.no_grad()
    def features(
        self, stack: Slices, rows: np.ndarray, *, flatten: bool = False, compute: Compute | None = None
    ) -> np.ndarray:
        """Features of slices from the coarsest map of a 2D network's encoder; see ``Predictor.features``.

        Returns:
            (n, features) float32, or (n, features * h * w) with ``flatten``; of slices larger than a patch the mean
            over their windows.
        """
        if FEATURES not in self.capabilities:
            advice = "Choose another strategy, or the learner nnunet-2d."
            raise BadInput("This model gives no features of single slices.", where="model", advice=advice)
        found = []
        for images, _ in self.network_slices(stack, rows, compute, stage="Computing features"):
            maps = mean_over_windows(self.network.bottleneck, images, self.largest_slice(stack))
            found.append((maps.flatten(1) if flatten else maps.mean((2, 3))).cpu().numpy())
        width = self.plan.bottleneck_width * (self.plan.bottleneck_pixels if flatten else 1)
        return np.concatenate(found) if found else np.zeros((0, width), dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write weights, plan and description; the description comes last, so that a model that has one is complete.

        Raises:
            BadInput: If the folder cannot be written.
            JobFailed: If the disk is full.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.plan.save(folder)
        about = {"key": self.key, "configuration": self.plan.configuration, "settings": self.settings.to_json()}
        FILES.write(folder, self.network, about | {"training": self.record})

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    def _batches(
        self, stack: Slices, rows: np.ndarray, compute: Compute | None, stage: str, *, acquired: bool
    ) -> Iterator[Batch]:
        compute, rows = compute or Compute(), np.asarray(rows, dtype=np.int64)
        self.to(compute.device)
        self.network.eval()
        done = 0
        for volume, run in _runs(stack, rows):
            image, first = prepared_image(stack, volume, self.plan), int(stack.volume_rows(volume)[0])
            parts = self._slabs(image, run - first) if self.plan.is_3d else _pieces(image, len(run), compute.batch_size)
            for slab, part in parts:
                yield Batch(run[part], NnunetInputs(stack, volume, run[part] - first, acquired, slab))
                done += len(run[part])
                compute.progress.update(stage, done, len(rows))

    def _slabs(self, image: PreparedImage, indexes: np.ndarray) -> Iterator[tuple[Slab, slice]]:
        """The slabs that a 3D network predicts for slices of a volume, in their order, and for which of them.

        A volume that is resampled across its slices is one slab.
        """
        (low, _), length, window = image.box[0], image.data.shape[1], self.plan.patch[0]
        if image.resampled_across:
            yield Slab(0, length, 0, length), slice(0, len(indexes))
            return
        pixels = max(int(np.prod(image.data.shape[2:])), int(np.prod(image.properties["shape_before_cropping"][1:])))
        found = slabs(length, window, pixels * self.plan.classes, first_slices(length, window))
        ends = [slab.end for slab in found]
        numbers = np.searchsorted(ends, np.clip(indexes - low, 0, length - 1), side="right")
        for part in _equal_runs(numbers):
            yield found[numbers[part.start]], part

    def _planes_2d(self, image: PreparedImage, inputs: NnunetInputs) -> np.ndarray:
        slices, within = image.slices(inputs.indexes)
        planes = image.background(len(within))
        if within.any():
            planes[within] = image.restore(self._logits(slices).swapaxes(0, 1))
        return planes

    def _planes_3d(self, image: PreparedImage, inputs: NnunetInputs) -> np.ndarray:
        slab, (low, high) = inputs.slab, image.box[0]
        assert slab is not None
        within = (inputs.indexes >= low) & (inputs.indexes < high)
        planes = image.background(len(within))
        if within.any():
            begin = 0 if image.resampled_across else slab.begin
            found = image.restore(self._slab_logits(image, slab))
            planes[within] = found[inputs.indexes[within] - low - begin]
        return planes

    def _slab_logits(self, image: PreparedImage, slab: Slab) -> torch.Tensor:
        """Logits (classes, s, H, W) of the slices of a slab whose prediction is complete."""
        window, length = self.plan.patch[0], image.data.shape[1]
        last = max(slab.last, slab.first + window)  # of a padded volume
        starts = [at - slab.first for at in first_slices(length, window) if slab.first <= at <= last - window]
        part = torch.from_numpy(image.data[:, slab.first : slab.last])[None]
        return self._logits(part, starts)[0][:, slab.begin - slab.first : slab.end - slab.first]

    def _logits(self, images: torch.Tensor, starts: Sequence[int] | None = None) -> torch.Tensor:
        """Images (n, C, ...) -> logits (n, classes, ...), both on the CPU, so that a GPU holds only some windows.

        ``starts`` are those of ``window_logits``.
        """
        network = mirrored(self.network) if self.options.mirror else self.network
        patch, device = self.plan.patch, self._device
        at_once = 1 if self.plan.is_3d else max(1, PIXELS_PER_BATCH // (patch[0] * patch[1]))
        return window_logits(
            lambda part: network(part.to(device)).float().cpu(), images, patch, at_once=at_once, starts=starts
        )


def read_model(folder: Path) -> NnunetModel:
    """Read a model that ``NnunetModel.save`` wrote.

    Raises:
        BadInput: If a file is missing or damaged, or the files do not belong together.
    """
    about = FILES.read_description(folder)
    settings = TrainingSettings.from_json(about["settings"])
    plan = read_plan(folder, about["configuration"])
    network = build_network(plan, head=settings.loss_head, seed=0)
    FILES.read_weights(folder, network, about["key"])
    return NnunetModel(network, plan, settings, about["key"], about["training"])


def _runs(stack: Slices, rows: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Rows in their order, in runs of one volume each, with the volume's id."""
    names = [stack.slice_id(int(row)).volume for row in rows]
    for part in _equal_runs(names):
        yield names[part.start], rows[part]


def _equal_runs(values: Sequence | np.ndarray) -> Iterator[slice]:
    """Where equal values follow each other."""
    start = 0
    for stop in range(1, len(values) + 1):
        if stop == len(values) or values[stop] != values[start]:
            yield slice(start, stop)
            start = stop


def _pieces(image: PreparedImage, count: int, batch_size: int | None) -> Iterator[tuple[None, slice]]:
    """Parts of ``count`` slices of a volume that a 2D network predicts at once."""
    rows, columns = image.data.shape[2:]
    size = batch_size or max(1, PIXELS_PER_BATCH // (rows * columns))
    for start in range(0, count, size):
        yield None, slice(start, start + size)
