"""A trained segmentation model, which predicts, computes features, and is saved as safetensors and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.segmentation.model_files import FILES
from ActiveSegmentationLib.segmentation.neighbours import with_neighbours
from ActiveSegmentationLib.segmentation.network import SegmentationNetwork
from ActiveSegmentationLib.segmentation.predictor import Batch
from ActiveSegmentationLib.segmentation.settings import TrainingSettings
from ActiveSegmentationLib.segmentation.single_network import SingleNetworkModel
from ActiveSegmentationLib.segmentation.slices import Slices
from ActiveSegmentationLib.segmentation.windows import LARGEST_WINDOW, mean_over_windows, windowed
from ActiveSegmentationLib.training import ModelFiles, SavedModel


class BuildNetwork(Protocol):
    """Makes a network with random weights, see ``NetworkLearner.build_network``."""

    def __call__(self, channels: int, classes: int, settings: TrainingSettings, *, seed: int) -> SegmentationNetwork:
        """The network."""


@dataclass
class SegmentationModel(SavedModel, SingleNetworkModel):
    """A trained network with a record of its training.

    Attributes:
        network: The network.
        channels: Channels of the stack's images; the network also takes those of the neighbours.
        class_count: Number of classes including background.
        settings: Settings of its training.
        identity: Hash of everything it was made from.
        record: Seed, device, seconds, versions and final losses of the training; JSON values.
        window: Rows and columns of the images it was trained on; larger images are predicted window by window.
    """

    files: ClassVar[ModelFiles] = FILES
    network: SegmentationNetwork
    channels: int
    class_count: int
    settings: TrainingSettings
    identity: str
    record: dict[str, Any] = field(default_factory=dict)
    window: tuple[int, int] = LARGEST_WINDOW

    @property
    def classes(self) -> int:
        """Number of classes including background."""
        return self.class_count

    def batches(
        self, stack: Slices, rows: np.ndarray, compute: Compute | None = None, *, stage: str = "Reading slices"
    ) -> Iterator[Batch]:
        """Images of slices and of the neighbours that the network takes; see ``Predictor.batches``."""
        return super().batches(with_neighbours(stack, self.settings.neighbours), rows, compute, stage=stage)

    @torch.no_grad()
    def predict(self, images: torch.Tensor) -> torch.Tensor:
        """Images (n, channels, H, W) float32 -> probabilities (n, classes, H, W) float32."""
        return self.parts.compute(lambda part: windowed(self._probabilities, part, self.window), images)

    def _probabilities(self, images: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.network(images).float(), 1)

    @torch.no_grad()
    def predict_loss(self, images: torch.Tensor) -> torch.Tensor:
        """Predicted losses of images, see ``Predictor.predict_loss``."""
        if self.network.loss_head is None:
            return super().predict_loss(images)
        return self.network.loss_head(self.network.encode(images))

    @torch.no_grad()
    def features(
        self, stack: Slices, rows: np.ndarray, *, flatten: bool = False, compute: Compute | None = None
    ) -> np.ndarray:
        """Features of slices from the coarsest map of the encoder, without dropout.

        Args:
            stack: The cohort's slices.
            rows: (n,) rows of the stack.
            flatten: Whether to keep every position of the map, instead of the mean over positions.
            compute: Device, batch size and progress reporter. Default: the CPU.

        Returns:
            (n, features) float32, or (n, features * h * w) with ``flatten``; of planes larger than the grid, the mean
            over their windows.
        """
        found = []
        bottleneck = partial(self.parts.compute, self.network.bottleneck)
        for batch in self.batches(stack, rows, compute, stage="Computing features"):
            maps = mean_over_windows(bottleneck, batch.inputs, stack.grid_shape)
            found.append((maps.flatten(1) if flatten else maps.mean((2, 3))).cpu().numpy())
        return np.concatenate(found) if found else self._no_features(stack, flatten)

    def _no_features(self, stack: Slices, flatten: bool) -> np.ndarray:
        """Features of no slice, as wide as those of slices."""
        channels = self.channels * (2 * self.settings.neighbours + 1)
        device = next(self.network.parameters()).device
        maps = self.network.eval().bottleneck(torch.zeros((1, channels, *stack.grid_shape), device=device))
        return np.zeros((0, maps[0].numel() if flatten else maps.shape[1]), dtype=np.float32)

    def describe(self) -> dict[str, Any]:
        """The description that is saved with the weights, as JSON values."""
        return {
            "key": self.key,
            "channels": self.channels,
            "classes": self.classes,
            "settings": self.settings.to_json(),
            "window": list(self.window),
            "training": self.record,
        }


def read_network_model(folder: Path, build_network: BuildNetwork) -> SegmentationModel:
    """Read a model that ``SegmentationModel.save`` wrote.

    Args:
        folder: Folder of the model.
        build_network: Makes a network of the right shape, see ``NetworkLearner.build_network``.

    Raises:
        BadInput: If a file is missing or damaged, or the two do not belong together.
    """
    about = FILES.read_description(folder)
    settings = TrainingSettings.from_json(about["settings"])
    channels = about["channels"] * (2 * settings.neighbours + 1)
    network = build_network(channels, about["classes"], settings, seed=0)
    FILES.read_weights(folder, network, about["key"])
    rows, columns = about.get("window", LARGEST_WINDOW)  # earlier versions did not keep it
    return SegmentationModel(
        network, about["channels"], about["classes"], settings, about["key"], about["training"], (rows, columns)
    )
