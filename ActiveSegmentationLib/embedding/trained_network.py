"""Trained networks that embed slices: trained once, then loaded."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import nn

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.durability import make_folder
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained
from ActiveSegmentationLib.common.memory import SmallerParts
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.common.sole_user import sole_user
from ActiveSegmentationLib.embedding.slices import EmbeddableSlices
from ActiveSegmentationLib.training import CHECKPOINT, History, ModelFiles, SavedModel, Settings, training_versions

Network = TypeVar("Network", bound="TrainedNetwork")
Layers = TypeVar("Layers", bound=nn.Module)
OwnSettings = TypeVar("OwnSettings", bound=Settings)

FILES = ModelFiles("encoder", format=1, advice="Delete this folder; the network is trained again.")
"""Files of a network."""

WARM_UP = 0.05
"""Share of the training steps over which the learning rate of a cosine schedule rises; then it falls to 0."""

BATCH_SIZE = 128
"""Slices embedded at once by default."""


@dataclass
class TrainedNetwork(SavedModel, Generic[Layers, OwnSettings]):
    """A trained network with a record of its training.

    Attributes:
        name: What it is called in messages.
        network: The network, in evaluation mode.
        channels: Channels of the images it takes.
        settings: Settings of its training, with every automatic choice made.
        key: Hash of everything it was made from.
        record: Seed, device, seconds, versions and final losses of the training; JSON values.
    """

    name: ClassVar[str]
    files: ClassVar[ModelFiles] = FILES
    network: Layers
    channels: int
    settings: OwnSettings
    key: str
    record: dict[str, Any] = field(default_factory=dict)

    @property
    @abstractmethod
    def width(self) -> int:
        """Length of an embedding."""

    @abstractmethod
    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        """Embeddings (n, width) float32 of images (n, channels, H, W) float32 on the network's device."""

    @torch.no_grad()
    def embed(self, stack: EmbeddableSlices, rows: np.ndarray, compute: Compute | None = None) -> np.ndarray:
        """Embeddings of slices, of the cohort it was trained on or of another one with the same channels.

        Args:
            stack: Slices, prepared in the same way as those of the training.
            rows: (n,) rows of the stack.
            compute: Device, batch size (default: 128 slices) and progress reporter. Default: the CPU.

        Returns:
            (n, width) float32.

        Raises:
            BadInput: If the slices have another number of channels.
        """
        if stack.channels != self.channels:
            message = f"The slices have {stack.channels} channel(s), the {self.name} takes {self.channels}."
            raise BadInput(message, where=self.name, advice="Use the channels it was trained on.")
        compute = compute or Compute()
        size = compute.batch_size or BATCH_SIZE
        self.network.to(compute.device).eval()
        found, parts = np.empty((len(rows), self.width), dtype=np.float32), SmallerParts()
        for start in range(0, len(rows), size):
            chosen = rows[start : start + size]
            images = stack.batches(chosen, compute.device)
            found[start : start + len(chosen)] = parts.compute(self.embed_images, images).cpu().numpy()
            if news := parts.news():
                compute.progress.message(news)
            compute.progress.update("Embedding slices", start + len(chosen), len(rows))
        return found

    def describe(self) -> dict[str, Any]:
        """The description that is saved with the weights, as JSON values."""
        return {
            "key": self.key,
            "channels": self.channels,
            "settings": self.settings.to_json(),
            "training": self.record,
        }


def load_network(
    kind: Callable[..., Network],
    folder: Path,
    read_settings: Callable[[Any], OwnSettings],
    build: Callable[[int, OwnSettings], nn.Module],
) -> Network:
    """Read a network that ``save`` wrote.

    Args:
        kind: Class of the trained network.
        folder: Folder of the network.
        read_settings: Makes the settings from JSON values.
        build: Makes the layers from the number of channels and the settings.

    Raises:
        BadInput: If a file is missing or damaged, or the two do not belong together.
    """
    about = FILES.read_description(folder)
    settings = read_settings(about["settings"])
    network = build(about["channels"], settings)
    FILES.read_weights(folder, network, about["key"])
    return kind(network, about["channels"], settings, about["key"], about["training"])


def training_record(seed: int, device: str, slices: int, history: History) -> dict[str, Any]:
    """The record of a training, as JSON values."""
    return {
        "seed": seed,
        "device": device,
        "seconds": round(history.seconds, 3),
        "steps": history.steps,
        "slices": slices,
        "final losses": history.final_losses(),
        "versions": training_versions(),
    }


def trained_once(
    folder: Path,
    key: str,
    progress: Progress,
    *,
    what: str,
    load: Callable[[Path], Network],
    train: Callable[[Path], Network],
) -> Network:
    """Load a network if its training is finished; otherwise train it, one process at a time, and save it.

    Args:
        folder: Folder of such networks; each has a folder of its own, named by its key.
        key: Hash of everything the network is made from.
        progress: Progress reporter; called while another process trains the same network.
        what: What the other process is doing, see ``sole_user``.
        load: Reads the finished network of a folder.
        train: Trains in a folder, from its checkpoint if there is one.

    Raises:
        BadInput: If the folder cannot be written.
    """
    home = Path(folder) / key
    with explained(home):
        make_folder(home)
    with sole_user(Path(folder) / f".{key}.lock", progress, what):
        if (home / FILES.description).is_file():
            return load(home)
        for unfinished in home.glob(".tmp-*"):  # left by a kill in the middle of a write
            unfinished.unlink()
        trained = train(home)
        trained.save(home)
        (home / CHECKPOINT).unlink(missing_ok=True)
        return trained
