"""A training that can be killed at any time: its state on disk, whole or not there."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ActiveSegmentationLib.common.files import atomic_path, write_json
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.segmentation.network import UNet

CHECKPOINT = "checkpoint.pt"
HISTORY = "history.json"


@dataclass
class History:
    """Figures of a training, for a live plot.

    Attributes:
        steps: Steps in all.
        loss: Loss of every step so far.
        validation: Pairs (steps done, mean Dice of the foreground classes on the validation slices).
        seconds: Time spent, over all sessions.
    """

    steps: int
    loss: list[float] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0

    def write(self, folder: Path) -> None:
        """Write it as ``history.json``."""
        write_json(folder / HISTORY, {**vars(self), "validation": [list(pair) for pair in self.validation]})


@dataclass
class TrainingState:
    """All that a training needs to go on as if it had never stopped.

    Batches, augmentation and dropout draw from streams named by the step, so no state of a generator is kept.

    Attributes:
        network: The network.
        optimiser: Its optimiser.
        history: Figures so far; their number is the number of steps done.
        best: Weights of the best validation so far, on the CPU.
        head_optimiser: Optimiser of the head that predicts the loss, where the network has one.
    """

    network: UNet
    optimiser: torch.optim.Optimizer
    history: History
    best: dict[str, torch.Tensor] | None = None
    head_optimiser: torch.optim.Optimizer | None = None

    @property
    def step(self) -> int:
        """Steps done."""
        return len(self.history.loss)

    def save(self, folder: Path, key: str) -> None:
        """Write the checkpoint of the training called ``key``, and its history."""
        value = {
            "key": key,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "history": vars(self.history),
            "best": self.best,
        }
        if self.head_optimiser is not None:
            value["head optimiser"] = self.head_optimiser.state_dict()
        with atomic_path(folder / CHECKPOINT) as temporary:
            torch.save(value, temporary)
        self.history.write(folder)

    def resume(self, folder: Path, key: str, progress: Progress) -> None:
        """Go on from the checkpoint in the folder, if there is one of the training called ``key``."""
        value = _read(folder / CHECKPOINT, progress)
        if value is None or value["key"] != key:
            return
        self.network.load_state_dict(value["network"])
        self.optimiser.load_state_dict(value["optimiser"])
        self.history = History(**value["history"])
        self.best = value["best"]
        if self.head_optimiser is not None:
            self.head_optimiser.load_state_dict(value["head optimiser"])


def _read(path: Path, progress: Progress) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        progress.message(f"{path}: the checkpoint cannot be read ({error}); training starts anew.")
        return None
