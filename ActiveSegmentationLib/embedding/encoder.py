"""A trained encoder: embeds slices of this cohort and of others, and is kept as safetensors and JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch

from ActiveSegmentationLib.embedding.network import EncoderNetwork, build_network, shrunk
from ActiveSegmentationLib.embedding.settings import EmbeddingSettings
from ActiveSegmentationLib.embedding.storage import read_description, read_weights
from ActiveSegmentationLib.embedding.trained_network import TrainedNetwork

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
    what: ClassVar[str] = "learned metric"
    network: EncoderNetwork
    channels: int
    settings: EmbeddingSettings
    key: str
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Length of an embedding: 512 unless the settings say otherwise."""
        return self.settings.features

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        """The network's output before the projection head, see ``TrainedNetwork.embed_images``."""
        rows, columns = images.shape[2:]
        features: torch.Tensor = self.network(shrunk(images, self.settings.input_shape((rows, columns))))
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
