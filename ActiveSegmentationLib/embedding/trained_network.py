"""A trained network that embeds slices: what is known of its training, and one training of each at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import nn

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained
from ActiveSegmentationLib.common.progress import Progress, or_silent
from ActiveSegmentationLib.common.sole_user import sole_user
from ActiveSegmentationLib.embedding.checkpoint import CHECKPOINT
from ActiveSegmentationLib.embedding.slices import EmbeddableSlices
from ActiveSegmentationLib.embedding.storage import DESCRIPTION, write_network

Network = TypeVar("Network", bound="TrainedNetwork")


class TrainedNetwork(ABC):
    """A trained network with what is known of its training, kept as two files.

    Attributes:
        version: Version of the files, and of the training that makes them.
        what: What it is, in messages.
        network: The network, in evaluation mode.
        channels: Channels of the images it takes.
        settings: How it was trained, every automatic choice resolved.
        key: Hash of everything it was made from.
        record: Figures of the training; JSON values.
    """

    version: ClassVar[int]
    what: ClassVar[str]
    network: nn.Module
    channels: int
    settings: Any
    key: str
    record: dict[str, Any]

    @property
    @abstractmethod
    def width(self) -> int:
        """Length of an embedding."""

    @abstractmethod
    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        """Embeddings (n, width) float32 of images (n, channels, H, W) float32 on the network's device."""

    @torch.no_grad()
    def embed(
        self,
        stack: EmbeddableSlices,
        rows: np.ndarray,
        *,
        device: str = "cpu",
        batch_size: int = 128,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Embeddings of slices, of the cohort it was trained on or of any other with the same channels.

        Args:
            stack: Slices, prepared in the same way as those it was trained on.
            rows: (n,) rows of the stack.
            device: Torch device.
            batch_size: Slices computed at once.
            progress: Told after every batch.

        Returns:
            (n, width) float32.

        Raises:
            BadInput: If the slices have another number of channels.
        """
        if stack.channels != self.channels:
            message = f"The slices have {stack.channels} channel(s), the {self.what} takes {self.channels}."
            raise BadInput(message, where=self.what, advice="Use the channels it was trained on.")
        report = or_silent(progress)
        self.network.to(device).eval()
        found = np.empty((len(rows), self.width), dtype=np.float32)
        for start in range(0, len(rows), batch_size):
            chosen = rows[start : start + batch_size]
            found[start : start + len(chosen)] = self.embed_images(stack.batches(chosen, device)).cpu().numpy()
            report.update("Embedding slices", start + len(chosen), len(rows))
        return found

    def save(self, folder: Path) -> None:
        """Write weights and description; the description comes last, so a network that has one is whole.

        Raises:
            BadInput: If the folder cannot be written.
            JobFailed: If the disk is full.
        """
        write_network(folder, self.network, self.describe())

    def describe(self) -> dict[str, Any]:
        """What is kept beside the weights, as JSON values."""
        return {
            "format": self.version,
            "key": self.key,
            "channels": self.channels,
            "settings": self.settings.to_json(),
            "training": self.record,
        }


def trained_once(
    folder: Path,
    key: str,
    report: Progress,
    what: str,
    *,
    load: Callable[[Path], Network],
    train: Callable[[Path], Network],
) -> Network:
    """Load a network where its training is finished; else train it, one process at a time, and keep it.

    Args:
        folder: Folder of such networks; each has a folder of its own, named by its key.
        key: Hash of everything the network is made from.
        report: Told while another process trains the same one.
        what: What the other process is doing; see ``sole_user``.
        load: Reads the finished network of a folder.
        train: Trains in a folder, from its checkpoint where there is one.

    Raises:
        BadInput: If the folder cannot be written.
    """
    home = Path(folder) / key
    with explained(home):
        home.mkdir(parents=True, exist_ok=True)
    with sole_user(Path(folder) / f".{key}.lock", report, what):
        if (home / DESCRIPTION).is_file():
            return load(home)
        for unfinished in home.glob(".tmp-*"):  # left by a kill in the middle of a write
            unfinished.unlink()
        trained = train(home)
        trained.save(home)
        (home / CHECKPOINT).unlink(missing_ok=True)
        return trained
