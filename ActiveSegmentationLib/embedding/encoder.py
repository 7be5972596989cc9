"""A trained encoder: embeds slices of this cohort and of others, and is kept as safetensors and JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.progress import Progress, or_silent
from ActiveSegmentationLib.embedding.network import EncoderNetwork, build_network, shrunk
from ActiveSegmentationLib.embedding.settings import EmbeddingSettings
from ActiveSegmentationLib.embedding.slices import EmbeddableSlices
from ActiveSegmentationLib.embedding.storage import TrainedNetwork, read_description, read_weights

FORMAT = 1
"""Version of the files of an encoder, and of the training that makes it."""


@dataclass
class Encoder(TrainedNetwork):
    """The learned map g from slices to vectors whose Euclidean distance is the metric (Vepa et al. 2024, Eq. 3).

    Attributes:
        network: The network, in evaluation mode.
        channels: Channels of the images it takes.
        settings: How it was trained, every automatic choice resolved.
        key: Hash of everything it was made from.
        record: Seed, device, seconds, versions, final losses and collapse diagnostics; JSON values.
    """

    version: ClassVar[int] = FORMAT
    network: EncoderNetwork
    channels: int
    settings: EmbeddingSettings
    key: str
    record: dict[str, Any] = field(default_factory=dict)

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
            (n, features) float32, 512 features unless the settings say otherwise: the network's output before the
            projection head.

        Raises:
            BadInput: If the slices have another number of channels.
        """
        if stack.channels != self.channels:
            message = f"The slices have {stack.channels} channel(s), the learned metric takes {self.channels}."
            raise BadInput(message, where="learned metric", advice="Use the channels it was trained on.")
        report = or_silent(progress)
        shape = self.settings.input_shape(stack.grid_shape)
        self.network.to(device).eval()
        features = np.empty((len(rows), self.settings.features), dtype=np.float32)
        for start in range(0, len(rows), batch_size):
            images = shrunk(stack.batches(rows[start : start + batch_size], device), shape)
            features[start : start + len(images)] = self.network(images).cpu().numpy()
            report.update("Embedding slices", start + len(images), len(rows))
        return features


def load_encoder(folder: Path) -> Encoder:
    """Read an encoder written by ``Encoder.save``.

    Raises:
        BadInput: If a file is missing or damaged, or the two do not belong together.
    """
    about = read_description(folder, FORMAT)
    settings = EmbeddingSettings.from_json(about["settings"])
    network = build_network(about["channels"], settings, seed=0)
    read_weights(folder, network, about["key"])
    network.eval()
    return Encoder(network, about["channels"], settings, about["key"], about["training"])
