"""History of a training: the loss of every step, validation scores, time spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class History:
    """Losses and validation scores of a training so far.

    Attributes:
        steps: Number of steps of the whole training.
        losses: Value of each loss at every step so far, by name.
        validation: Pairs (steps done, mean Dice of the foreground classes on the validation slices).
        seconds: Time spent, over all sessions.
    """

    steps: int
    losses: dict[str, list[float]] = field(default_factory=dict)
    validation: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def step(self) -> int:
        """Number of steps done."""
        return len(next(iter(self.losses.values()), ()))

    def add(self, losses: Mapping[str, float]) -> None:
        """Append the losses of one more step."""
        for name, value in losses.items():
            self.losses.setdefault(name, []).append(value)

    def final_losses(self) -> dict[str, float]:
        """The losses of the last step, by name."""
        return {name: values[-1] for name, values in self.losses.items()}

    def to_json(self) -> dict[str, Any]:
        """Number of steps and losses as JSON values, for a plot."""
        return {"steps": self.steps, "losses": self.losses}
