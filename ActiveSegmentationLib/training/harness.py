"""The training loop that all learners share: steps, checkpoints, history, progress and cancelling."""

from __future__ import annotations

import itertools
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import torch
from torch import nn

from ActiveSegmentationLib.common.errors import JobFailed
from ActiveSegmentationLib.common.memory import is_out_of_memory, release_memory
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.training.checkpoints import Checkpoints
from ActiveSegmentationLib.training.history import History
from ActiveSegmentationLib.training.randomness import private_randomness

StepLosses = Mapping[str, float | torch.Tensor]
"""Losses of one step by name: numbers, or tensors without dimensions on the device."""

Losses = dict[str, float]
"""Losses of one step by name, as numbers."""

READ_STEPS, READ_SECONDS = 20, 0.5
"""On a GPU losses are read after so many steps, or so much time: reading them makes the processor wait for the GPU,
which then waits for the processor."""

Batch = TypeVar("Batch")


class Learner(ABC):
    """Base of all learners: a network with its data, losses and optimisers.

    A training resumes from a checkpoint to the same weights only if every random draw of a step is from a stream that
    is named by the number of the step. Learners that are trained without checkpoints may draw from one generator.

    Attributes:
        history_file: Name of the file that keeps the losses.
        advice: What the user can do if a loss is not finite.
        stage: Name of the training in progress reports, such as "Training the autoencoder".
        steps: Number of steps of the whole training.
        device: PyTorch device.
        network: The network.
        optimisers: The optimisers by name.
    """

    history_file: ClassVar[str] = "losses.json"
    advice: ClassVar[str] = "Look for broken images in the cohort."
    stage: str
    steps: int
    device: str
    network: nn.Module
    optimisers: dict[str, torch.optim.Optimizer]

    @abstractmethod
    def step(self, number: int) -> StepLosses:
        """Do one optimisation step.

        Args:
            number: Number of the step, from 0.

        Returns:
            Losses by name, the same names at every step; best as tensors, so that the step need not wait for a GPU.
        """

    def use_less_memory(self) -> str | None:
        """Called when memory ran out in a step, which is then repeated.

        Returns:
            What was changed, for the user; None if the learner cannot do with less. Default: None.
        """
        return None

    def after_step(self, history: History) -> None:  # noqa: B027 - most learners need nothing here
        """Called after each step, for example to validate. Default: does nothing."""

    def shown_values(self, losses: Losses) -> Losses:
        """Values that progress reports show after a step whose losses were read. Default: all, to four digits."""
        return {name: round(value, 4) for name, value in losses.items()}

    def history_to_json(self, history: History) -> dict[str, Any]:
        """Content of the history file as JSON values."""
        return history.to_json()

    def state(self) -> dict[str, Any]:
        """Everything that a training needs to continue as if it had never stopped: tensors, numbers and texts."""
        optimisers = {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()}
        return {"network": self.network.state_dict(), "optimisers": optimisers}

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of ``state``."""
        self.network.load_state_dict(state["network"])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])


def run_training(learner: Learner, progress: Progress, checkpoints: Checkpoints | None = None) -> History:
    """Do the remaining steps of a training; the trained network is then in the learner.

    PyTorch's global random generators are unchanged afterwards.

    Args:
        learner: The learner.
        progress: Progress reporter; called after every step, with the losses that were read last.
        checkpoints: Where to save the state, and to resume from. Default: the training is not saved.

    Returns:
        Losses and validation scores of the whole training.

    Raises:
        JobFailed: If a loss is not finite, or the disk is full.
        Cancelled: If the user asked to stop; the last checkpoint is kept.
    """
    history = History(learner.steps) if checkpoints is None else checkpoints.resume(learner, progress)
    before, begun = history.seconds, time.monotonic()
    reading, shown = _Reading(learner, checkpoints), {}
    with private_randomness(learner.device):
        while history.step < learner.steps:
            history.add(_step(learner, history.step, progress))
            due = reading.due(history.step)
            if due:
                reading.read(history)
            learner.after_step(history)
            history.seconds = before + time.monotonic() - begun
            if due:
                shown = learner.shown_values(history.final_losses())
                if checkpoints is not None:
                    checkpoints.save_if_due(learner, history)
            progress.update(learner.stage, history.step, learner.steps, **shown)
    if checkpoints is not None:
        checkpoints.write_history(learner, history)
    return history


def _step(learner: Learner, number: int, progress: Progress) -> StepLosses:
    """Do a step, again with less memory if it ran out and the learner can do with less."""
    while True:
        try:
            return learner.step(number)
        except Exception as error:
            change = learner.use_less_memory() if is_out_of_memory(error) else None
            if change is None:
                raise
        release_memory()  # only here, where the error no longer holds what the failed step had made
        progress.message(f"Memory ran out: {change}")


class _Reading:
    """Decides when losses are read, and refuses those that are not finite: on a CPU at every step."""

    def __init__(self, learner: Learner, checkpoints: Checkpoints | None) -> None:
        self._learner, self._checkpoints = learner, checkpoints
        self._every = 1 if learner.device == "cpu" else READ_STEPS
        self._last = time.monotonic()

    def due(self, done: int) -> bool:
        """Whether the losses of ``done`` steps are to be read now; always before a checkpoint and at the end."""
        saved = self._checkpoints is not None and done % self._checkpoints.every == 0
        late = time.monotonic() - self._last > READ_SECONDS
        return saved or late or done % self._every == 0 or done == self._learner.steps

    def read(self, history: History) -> None:
        """Read the losses.

        Raises:
            JobFailed: If one that was not read before is not finite; names its step.
        """
        first = min((len(values) for values in history.losses.values()), default=0)
        history.read()
        self._last = time.monotonic()
        for step in range(first, history.step):
            if not all(math.isfinite(values[step]) for values in history.losses.values()):
                message = f"{self._learner.stage} diverged: the loss of step {step + 1} is not a finite number."
                where = None if self._checkpoints is None else self._checkpoints.folder
                raise JobFailed(message, where=where, advice=self._learner.advice)


def endless_batches(batches_of_epoch: Callable[[int], Iterable[Batch]], first: int) -> Iterator[Batch]:
    """The batches of all epochs, one after the other.

    Args:
        batches_of_epoch: The batches of an epoch, given its number from 0.
        first: Number of batches to skip: those of the finished steps.
    """
    batches = itertools.chain.from_iterable(batches_of_epoch(epoch) for epoch in itertools.count())
    return itertools.islice(batches, first, None)


def descend(optimiser: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """Do one step of an optimiser along the gradient of a loss."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
