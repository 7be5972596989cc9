"""Checkpoints: the state of a training on disk, so that it can be killed at any time and resumed."""

from __future__ import annotations

import pickle
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import atomic_path, write_json
from ActiveSegmentationLib.common.parsing import parsing
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.training.history import History

if TYPE_CHECKING:
    from ActiveSegmentationLib.training.harness import Learner

CHECKPOINT = "checkpoint.pt"
"""Name of the checkpoint file in the folder of a training."""

FORMAT = 2
"""Version of the checkpoint file; a checkpoint of another version is not used."""

SAVE_SECONDS = 60.0
"""Longest time between two checkpoints, where steps are slow; the result of a training does not depend on it."""

HISTORY_SECONDS = 2.0
"""Shortest time between two writes of the history file; its final content does not depend on it."""


class Checkpoints:
    """Where and how often a training saves its state.

    Args:
        folder: Folder of this training alone.
        key: Hash of everything the result depends on; a checkpoint with another key is not used.
        every: Largest number of steps between two checkpoints; the result does not depend on it.
    """

    def __init__(self, folder: Path, key: str, every: int = 100) -> None:
        self.folder, self.key, self.every = folder, key, every
        self._written = self._saved = time.monotonic()

    def resume(self, learner: Learner, progress: Progress) -> History:
        """Load the checkpoint into the learner, if there is one of this training.

        Returns:
            The history up to the checkpoint; an empty one where the training starts from the first step.
        """
        value = self._read(progress)
        if value is None:
            return History(learner.steps)
        learner.load_state(value["state"])
        return History(**value["history"])

    def save_if_due(self, learner: Learner, history: History) -> None:
        """Write a checkpoint after every ``every`` steps or a minute, and the history file every few seconds."""
        late = time.monotonic() - self._saved > SAVE_SECONDS
        if (late or history.step % self.every == 0) and history.step < learner.steps:
            value = {"format": FORMAT, "key": self.key, "state": learner.state(), "history": history.state()}
            with atomic_path(self.folder / CHECKPOINT) as temporary:
                torch.save(value, temporary)
            self._saved = time.monotonic()
            self.write_history(learner, history)
        elif time.monotonic() - self._written > HISTORY_SECONDS:
            self.write_history(learner, history)

    def write_history(self, learner: Learner, history: History) -> None:
        """Write the history file of the learner."""
        write_json(self.folder / learner.history_file, learner.history_to_json(history))
        self._written = time.monotonic()

    def remove(self) -> None:
        """Delete the checkpoint of a finished training."""
        (self.folder / CHECKPOINT).unlink(missing_ok=True)

    def _read(self, progress: Progress) -> dict[str, Any] | None:
        path = self.folder / CHECKPOINT
        if not path.is_file():
            return None
        try:
            with parsing(path, "The checkpoint cannot be read.", ""):
                value = torch.load(path, map_location="cpu", weights_only=True)
                known = value["key"]
        except (BadInput, pickle.UnpicklingError) as error:
            reason = error.message if isinstance(error, BadInput) else f"The checkpoint cannot be read ({error})."
            progress.message(f"{path}: {reason} The training starts again.")
            return None
        if known != self.key:
            return None
        if value.get("format") != FORMAT:
            progress.message(f"{path}: another version wrote this checkpoint; the training starts again.")
            return None
        return value
