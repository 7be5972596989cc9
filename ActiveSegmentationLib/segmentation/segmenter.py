"""A trained model: predicts, gives features, and is kept as safetensors and JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import read_json, write_bytes, write_json
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.segmentation.network import UNet, build_network
from ActiveSegmentationLib.segmentation.predictor import Predictor, iterate_images
from ActiveSegmentationLib.segmentation.settings import TrainingSettings
from ActiveSegmentationLib.segmentation.slices import Slices
from ActiveSegmentationLib.segmentation.windows import LARGEST_WINDOW, mean_over_windows, windowed

WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"
FORMAT = 1
"""Version of the files of a model."""


@dataclass
class Segmenter(Predictor):
    """A network with what is known of its training.

    Attributes:
        network: The network.
        channels: Channels of the images it takes.
        class_count: Classes including background.
        settings: How it was trained.
        identity: Hash of everything it was made from.
        record: Seed, device, seconds, versions and final figures of the training; JSON values.
        window: Rows and columns of what it was trained on; larger images are predicted window by window.
    """

    network: UNet
    channels: int
    class_count: int
    settings: TrainingSettings
    identity: str
    record: dict[str, Any] = field(default_factory=dict)
    window: tuple[int, int] = LARGEST_WINDOW

    @property
    def classes(self) -> int:
        """Classes including background."""
        return self.class_count

    @property
    def key(self) -> str:
        """Hash of examples, settings, seed, stack and initial model."""
        return self.identity

    def networks(self) -> list[torch.nn.Module]:
        """The one network."""
        return [self.network]

    @torch.no_grad()
    def predict(self, images: torch.Tensor) -> torch.Tensor:
        """Images (n, channels, H, W) float32 -> probabilities (n, classes, H, W) float32."""
        return windowed(lambda part: torch.softmax(self.network(part).float(), 1), images, self.window)

    @torch.no_grad()
    def predict_loss(self, images: torch.Tensor) -> torch.Tensor:
        """The head's predictions, see ``Predictor.predict_loss``."""
        if self.network.loss_head is None:
            return super().predict_loss(images)
        return self.network.loss_head(self.network.encode(images))

    @torch.no_grad()
    def features(
        self,
        stack: Slices,
        rows: np.ndarray,
        *,
        layer: str = "bottleneck",
        flatten: bool = False,
        device: str = "cpu",
        batch_size: int | None = None,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Features of slices from the encoder, without dropout.

        Args:
            stack: The cohort's slices.
            rows: (n,) rows of the stack.
            layer: "bottleneck", the coarsest feature map.
            flatten: Keep every position of the map, rather than its mean over positions.
            device: Torch device.
            batch_size: Slices a batch, chosen by the size of the grid unless told.
            progress: Told after every batch.

        Returns:
            (n, features) float32, or (n, features * h * w) with ``flatten``; of planes larger than the grid, the mean
            over their windows.

        Raises:
            BadInput: If there is no such layer.
        """
        if layer != "bottleneck":
            raise BadInput(f"There is no layer '{layer}'.", where="features", advice="Use 'bottleneck'.")
        found = []
        stage = "Computing features"
        for _, images in iterate_images(self, stack, rows, device, batch_size, stage, progress):
            maps = mean_over_windows(self.network.bottleneck, images, stack.grid_shape)
            found.append((maps.flatten(1) if flatten else maps.mean((2, 3))).cpu().numpy())
        return np.concatenate(found) if found else np.zeros((0, self.settings.features[-1]), dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write weights and description; the description comes last, so a model that has one is whole.

        Raises:
            BadInput: If the folder cannot be written.
            JobFailed: If the disk is full.
        """
        folder.mkdir(parents=True, exist_ok=True)
        (folder / DESCRIPTION).unlink(missing_ok=True)
        weights = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
        write_bytes(folder / WEIGHTS, save(weights, metadata={"key": self.key}))  # save_file makes it private
        write_json(folder / DESCRIPTION, self.describe())

    def describe(self) -> dict[str, Any]:
        """What is kept beside the weights, as JSON values."""
        return {
            "format": FORMAT,
            "key": self.key,
            "channels": self.channels,
            "classes": self.classes,
            "settings": self.settings.to_json(),
            "window": list(self.window),
            "training": self.record,
        }


def load_segmenter(folder: Path) -> Segmenter:
    """Read a model written by ``Segmenter.save``.

    Raises:
        BadInput: If a file is missing or damaged, or the two do not belong together.
    """
    about = read_json(folder / DESCRIPTION)
    if about.get("format") != FORMAT:
        advice = "Use the version of the program that wrote it, or train again."
        raise BadInput(f"The model has format {about.get('format')}.", where=folder / DESCRIPTION, advice=advice)
    settings = TrainingSettings.from_json(about["settings"])
    network = build_network(about["channels"], about["classes"], settings, seed=0)
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            if (file.metadata() or {}).get("key") != about["key"]:
                raise BadInput("Weights and description differ.", where=folder, advice="Train again.")
            network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, RuntimeError) as error:
        message = f"The weights cannot be read ({error})."
        raise BadInput(message, where=folder / WEIGHTS, advice="Train again.") from error
    network.eval()
    rows, columns = about.get("window", LARGEST_WINDOW)  # earlier versions did not keep it
    return Segmenter(
        network, about["channels"], about["classes"], settings, about["key"], about["training"], (rows, columns)
    )


def saved_key(folder: Path) -> str | None:
    """Key of the finished model in the folder, or None where there is none."""
    if not (folder / DESCRIPTION).exists():
        return None
    return read_json(folder / DESCRIPTION).get("key")
