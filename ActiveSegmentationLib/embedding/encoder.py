"""The trained encoder of the learned metric: it embeds slices of this cohort and of others."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch

from ActiveSegmentationLib.embedding.network import EncoderNetwork, build_network, shrunk
from ActiveSegmentationLib.embedding.settings import EmbeddingSettings
from ActiveSegmentationLib.embedding.trained_network import FILES, TrainedNetwork


@dataclass
class Encoder(TrainedNetwork):
    """The learned metric: slices as vectors whose Euclidean distance says how alike they are (Vepa et al. 2024, Eq. 3).

    Attributes:
        network: The network, in evaluation mode.
        channels: Channels of the images it takes.
        settings: Settings of its training, with every automatic choice made.
        key: Hash of everything it was made from.
        record: Seed, device, seconds, versions, final losses and collapse diagnostics; JSON values.
    """

    name: ClassVar[str] = "learned metric"
    network: EncoderNetwork
    channels: int
    settings: EmbeddingSettings
    key: str
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Length of an embedding, 512 by default."""
        return self.settings.features

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        """Output of the network before the projection head, see ``TrainedNetwork.embed_images``."""
        rows, columns = images.shape[2:]
        features: torch.Tensor = self.network(shrunk(images, self.settings.input_shape((rows, columns))))
        return features


def load_encoder(folder: Path) -> Encoder:
    """Read an encoder that ``Encoder.save`` wrote.

    Raises:
        BadInput: If a file is missing or damaged, or the two do not belong together.
    """
    about = FILES.read_description(folder)
    settings = EmbeddingSettings.from_json(about["settings"])
    network = build_network(about["channels"], settings, seed=0)
    FILES.read_weights(folder, network, about["key"])
    return Encoder(network, about["channels"], settings, about["key"], about["training"])
