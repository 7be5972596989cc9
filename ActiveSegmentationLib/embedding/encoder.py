"""The trained encoder of the learned metric: it embeds slices of this cohort and of others."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch

from ActiveSegmentationLib.embedding.network import EncoderNetwork, build_network, shrunk
from ActiveSegmentationLib.embedding.settings import EmbeddingSettings
from ActiveSegmentationLib.embedding.trained_network import TrainedNetwork, load_network


class Encoder(TrainedNetwork[EncoderNetwork, EmbeddingSettings]):
    """The learned metric: slices as vectors whose Euclidean distance measures how similar they are (Vepa et al. 2024,
    Eq. 3).

    Its record holds collapse diagnostics too.
    """

    name: ClassVar[str] = "learned metric"

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
    return load_network(Encoder, folder, EmbeddingSettings.from_json, lambda *parts: build_network(*parts, seed=0))
