"""A training that can be killed at any time: its state on disk, whole or not there."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import nn

from ActiveSegmentationLib.common.files import atomic_path, write_json
from ActiveSegmentationLib.common.progress import Progress

Network = TypeVar("Network", bound=nn.Module)

CHECKPOINT = "checkpoint.pt"
HISTORY = "losses.json"


@dataclass
class TrainingState(Generic[Network]):
    """All that a training needs to go on as if it had never stopped.

    Batches and noise come from streams named by epoch and step, so the state of no generator has to be kept.

    Attributes:
        network: The network.
        optimiser: Its optimiser.
        losses: Value of each loss at every step so far, by name; "loss" is the weighted sum.
        seconds: Time spent over all sessions.
    """

    network: Network
    optimiser: torch.optim.Optimizer
    losses: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def step(self) -> int:
        """Steps done."""
        return len(self.losses.get("loss", ()))

    def save(self, folder: Path, key: str) -> None:
        """Write the checkpoint of the training called ``key``."""
        value = {
            "key": key,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "losses": self.losses,
            "seconds": self.seconds,
        }
        with atomic_path(folder / CHECKPOINT) as temporary:
            torch.save(value, temporary)

    def write_history(self, folder: Path, steps: int) -> None:
        """Write the losses so far and the number of steps in all, for a plot."""
        write_json(folder / HISTORY, {"steps": steps, "losses": self.losses})

    def resume(self, folder: Path, key: str, progress: Progress) -> None:
        """Go on from the checkpoint in the folder, if there is one of the training called ``key``."""
        path = folder / CHECKPOINT
        if not path.is_file():
            return
        try:
            value = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            progress.message(f"{path}: the checkpoint cannot be read ({error}); the training starts again.")
            return
        if value["key"] != key:
            return
        self.network.load_state_dict(value["network"])
        self.optimiser.load_state_dict(value["optimiser"])
        self.losses, self.seconds = value["losses"], value["seconds"]
