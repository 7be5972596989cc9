"""Settings of the loop: how a study or an experiment prepares, embeds and learns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field

from ActiveSegmentationLib.cohort import StackSettings
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.embedding import EmbeddingSettings
from ActiveSegmentationLib.segmentation import TrainingSettings, training_for
from ActiveSegmentationLib.training import Settings, settings, validated_json

Value = TypeVar("Value")

RESTORE = "Correct it, or restore the file from a backup."


@settings
class LoopSettings(Settings):
    """Settings of every step of a round.

    Attributes:
        stack: How slices are prepared.
        embedding: How the learned metric is trained.
        training: How a segmentation model is trained.
        ensemble_members: Number of models trained in a round; predictions are the mean of their probabilities.
        seed: Seed of everything that does not depend on a single request (learned metric, training).
    """

    stack: StackSettings = field(default_factory=StackSettings)
    embedding: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    ensemble_members: int = Field(default=1, ge=1)
    seed: int = Field(default=0, ge=0)

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return {
            "stack": self.stack.to_json(),
            "embedding": self.embedding.to_json(),
            "training": self.training.to_json(),
            "members": self.ensemble_members,
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, where: str | Path = "settings") -> LoopSettings:
        """Inverse of ``to_json``; missing sections take their defaults.

        Args:
            value: The settings in sections; other sections are ignored.
            where: The file they are from, for errors.

        Raises:
            BadInput: If a section is damaged or a setting out of range; names the file, the section and the setting.
        """
        if not isinstance(value, Mapping):
            raise BadInput("The settings are not sections with names.", where=where, advice=RESTORE)
        readers: dict[str, Callable[[Any], Any]] = {
            "stack": _stack_settings,
            "embedding": EmbeddingSettings.from_json,
            "training": _training_settings,
            "members": lambda number: cls(ensemble_members=number).ensemble_members,
            "seed": lambda number: cls(seed=number).seed,
        }
        found = {
            name: _section(read, value[name], f"{where}, section {name}")
            for name, read in readers.items()
            if name in value
        }
        if "members" in found:
            found["ensemble_members"] = found.pop("members")
        return cls(**found)


def _section(read: Callable[[Any], Value], value: Any, where: str) -> Value:
    """One section of the settings, with errors that say where it is."""
    try:
        return read(value)
    except BadInput as error:
        part = "" if error.where in SECTION_NAMES else f", {error.where}"
        raise BadInput(error.message, where=where + part, advice=RESTORE) from error


SECTION_NAMES = (None, "settings", "stack settings", EmbeddingSettings.where, TrainingSettings.where)
"""Names of the settings classes, which an error that names the section does not need."""


def _training_settings(value: Any) -> TrainingSettings:
    """The settings; those that only name a learner are the ones that belong to its name."""
    if isinstance(value, Mapping) and value.keys() == {"learner"}:
        return training_for(learner=value["learner"])
    return TrainingSettings.from_json(value)


def _stack_settings(value: Any) -> StackSettings:
    validated_json(StackSettings, value, "stack settings")
    return StackSettings.from_json(value)
