"""How a study or an experiment prepares, embeds and learns: one value that travels through the loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ActiveSegmentationLib.cohort import StackSettings
from ActiveSegmentationLib.embedding import EmbeddingSettings
from ActiveSegmentationLib.segmentation import TrainingSettings


@dataclass(frozen=True)
class LoopSettings:
    """Settings of every step of a round.

    Attributes:
        stack: How slices are prepared.
        embedding: How the learned metric is trained.
        training: How a segmenter is trained.
        members: Models trained in a round; predictions are the mean of their probabilities.
        seed: Seed of everything that does not depend on a single request (learned metric, training).
    """

    stack: StackSettings = field(default_factory=StackSettings)
    embedding: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    members: int = 1
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return {
            "stack": self.stack.to_json(),
            "embedding": self.embedding.to_json(),
            "training": self.training.to_json(),
            "members": self.members,
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> LoopSettings:
        """Inverse of ``to_json``; missing parts take their defaults."""
        return cls(
            stack=StackSettings.from_json(value["stack"]) if "stack" in value else StackSettings(),
            embedding=EmbeddingSettings.from_json(value["embedding"]) if "embedding" in value else EmbeddingSettings(),
            training=TrainingSettings.from_json(value["training"]) if "training" in value else TrainingSettings(),
            members=int(value.get("members", 1)),
            seed=int(value.get("seed", 0)),
        )
