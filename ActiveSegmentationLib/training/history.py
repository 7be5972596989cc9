"""History of a training: the loss of every step, validation scores, time spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass
class History:
    """Losses and validation scores of a training so far.

    Losses may be added as tensors on a GPU. They stay there until ``read`` fetches them, since asking for a value at
    every step would make the processor and the GPU wait for each other.

    Attributes:
        steps: Number of steps of the whole training.
        losses: Value of each loss at every step read so far, by name.
        validation: Pairs (steps done, mean Dice of the foreground classes on the validation slices).
        seconds: Time spent, over all sessions.
    """

    steps: int
    losses: dict[str, list[float]] = field(default_factory=dict)
    validation: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0

    _unread: list[Mapping[str, float | torch.Tensor]] = field(default_factory=list, init=False, repr=False)

    @property
    def step(self) -> int:
        """Number of steps done, those whose losses are not read yet included."""
        return len(next(iter(self.losses.values()), ())) + len(self._unread)

    def add(self, losses: Mapping[str, float | torch.Tensor]) -> None:
        """Append the losses of one more step: numbers, or tensors without dimensions."""
        self._unread.append(losses)

    def read(self) -> None:
        """Fetch the losses that were added since the last call into ``losses``."""
        unread, self._unread = self._unread, []
        if not unread:
            return
        names = list(unread[0])
        numbers = iter(_numbers([losses[name] for losses in unread for name in names]))
        for _ in unread:
            for name in names:
                self.losses.setdefault(name, []).append(next(numbers))

    def final_losses(self) -> dict[str, float]:
        """The losses of the last step, by name."""
        self.read()
        return {name: values[-1] for name, values in self.losses.items()}

    def state(self) -> dict[str, Any]:
        """Everything in it, for a checkpoint: ``History(**state)`` makes it again."""
        self.read()
        about = {"losses": self.losses, "validation": self.validation, "seconds": self.seconds}
        return {"steps": self.steps, **about}

    def to_json(self) -> dict[str, Any]:
        """Number of steps and losses as JSON values, for a plot."""
        self.read()
        return {"steps": self.steps, "losses": self.losses}


def _numbers(values: list[float | torch.Tensor]) -> list[float]:
    """Numbers of tensors without dimensions, all of them fetched from the GPU at once."""
    tensors = [value.detach() for value in values if not isinstance(value, int | float)]
    if not tensors:
        return [float(value) for value in values]
    import torch

    fetched = iter(torch.stack(tensors).tolist())
    return [float(value) if isinstance(value, int | float) else next(fetched) for value in values]
