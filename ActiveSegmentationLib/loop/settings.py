"""How a study or an experiment prepares, embeds and learns: one value that travels through the loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ActiveSegmentationLib.cohort import StackSettings
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.embedding import EmbeddingSettings
from ActiveSegmentationLib.segmentation import TrainingSettings


@dataclass(frozen=True)
class LoopSettings:
    """Settings of every step of a round.

    Attributes:
        stack: How slices are prepared.
        embedding: How the learned metric is trained.
        training: How a segmenter is trained.
        ensemble_members: Models trained in a round; predictions are the mean of their probabilities.
        seed: Seed of everything that does not depend on a single request (learned metric, training).
    """

    stack: StackSettings = field(default_factory=StackSettings)
    embedding: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    ensemble_members: int = 1
    seed: int = 0

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
        """Inverse of ``to_json``; missing parts take their defaults.

        Args:
            value: The settings in sections; sections of others are left alone.
            where: The file they are from, for errors.

        Raises:
            BadInput: If a section is damaged or a setting out of range; names the file and the section.
        """
        if not isinstance(value, Mapping):
            raise BadInput("The settings are no sections with names.", where=where, advice=RESTORE)
        return cls(
            stack=_section(StackSettings, "stack", value, where),
            embedding=_section(EmbeddingSettings, "embedding", value, where),
            training=_section(TrainingSettings, "training", value, where),
            ensemble_members=_number("members", value, where, default=1, least=1),
            seed=_number("seed", value, where, default=0, least=0),
        )


RESTORE = "Correct it, or restore the file from a backup."


def _section(cls: Any, name: str, value: Mapping[str, Any], where: str | Path) -> Any:
    if name not in value:
        return cls()
    place = f"{where}, section {name}"
    misfits = _misfits(cls, value[name])
    if misfits:
        raise BadInput(f"{', '.join(misfits)} cannot be used.", where=place, advice=RESTORE)
    try:
        return cls.from_json(value[name])
    except BadInput as error:
        part = "" if error.where in (None, f"{name} settings") else f", {error.where}"
        raise BadInput(error.message, where=place + part, advice=error.advice) from error
    except (TypeError, ValueError) as error:
        raise BadInput(f"The section is damaged ({error}).", where=place, advice=RESTORE) from error


def _number(name: str, value: Mapping[str, Any], where: str | Path, *, default: int, least: int) -> int:
    number = value.get(name, default)
    if not _fits(int, number) or number < least:
        message = f"{number!r} is no whole number of at least {least}."
        raise BadInput(message, where=f"{where}, section {name}", advice=RESTORE)
    return number


def _misfits(cls: Any, value: Any) -> list[str]:
    """The settings of a section whose values are of another type; settings that there are not are left to the class."""
    if not isinstance(value, dict):
        return [repr(value)]
    hints = get_type_hints(cls)
    return [f"'{name}': {item!r}" for name, item in value.items() if name in hints and not _fits(hints[name], item)]


def _fits(hint: Any, value: Any) -> bool:
    """Whether a JSON value has the type of a setting; which numbers and words are allowed is left to the class."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(part, value) for part in inner)
    if origin is Literal:
        return isinstance(value, str)
    if origin is tuple or (isinstance(hint, type) and issubclass(hint, tuple)):
        right_length = not inner or Ellipsis in inner or (isinstance(value, list | tuple) and len(value) == len(inner))
        kind = inner[0] if inner else float
        return isinstance(value, list | tuple) and right_length and all(_fits(kind, item) for item in value)
    if is_dataclass(hint):
        return not _misfits(hint, value)
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    return isinstance(value, hint)
