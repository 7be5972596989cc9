"""The learner that configures itself: size of the network and of batches from the cohort's slices and the device."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field

from ActiveSegmentationLib.common.defaults import LARGE_SIDE
from ActiveSegmentationLib.segmentation.mean_teacher import MeanTeacher
from ActiveSegmentationLib.segmentation.network_learner import NetworkLearner
from ActiveSegmentationLib.segmentation.reduced_network import ReducedUNet
from ActiveSegmentationLib.segmentation.settings import FEWEST_LEVELS, MOST_LEVELS
from ActiveSegmentationLib.training import History, Settings, seeded_weights
from ActiveSegmentationLib.training import settings as options_class

if TYPE_CHECKING:
    import numpy as np

    from ActiveSegmentationLib.common.compute import Compute
    from ActiveSegmentationLib.segmentation.examples import Examples
    from ActiveSegmentationLib.segmentation.settings import TrainingSettings
    from ActiveSegmentationLib.segmentation.slices import Slices
    from ActiveSegmentationLib.segmentation.training import TrainingTask

COARSEST = 4
"""Pixels that the shorter side of the coarsest map has at least."""

FIRST_WIDTH = {"cpu": 16, "gpu": 32}
"""Channels of the two finest levels; each further level has twice as many as the one before."""

WIDEST = {"cpu": 128, "gpu": 512}
"""Most channels of a level."""

BATCH = {"cpu": (4, 8), "gpu": (2, 16)}
"""Fewest and most slices per step."""

STEP = {"cpu": 2**16, "gpu": 2**21}
"""Pixels that a step trains on at most, except for the fewest slices. Twice as many steps of half as many large slices
were better in short trainings on a CPU (docs/experiments/learners.md)."""

DEEP = 2
"""First level, counted from 0, that has dropout; at the finer ones it costs much and changes little."""


@options_class
class AutoOptions(Settings):
    """Options of the learner "auto".

    Attributes:
        design: Whether network and batches are fitted to cohort and device; no, where you set them yourself.
        reduce: Side of the squares of pixels whose mean the network sees; its predictions are interpolated to all
            pixels. Set by ``design``.
        unlabelled: Weight of the loss on unlabelled slices of the pool (``MeanTeacher``); 0 does not use them. -1 for
            automatic: 1 if there are scribbles, which it helped, and 0 if there are only masks, which it mostly harmed
            (docs/experiments/learners.md).
    """

    where: ClassVar[str] = "learner options"

    design: bool = True
    reduce: int = Field(default=1, ge=1, le=8)
    unlabelled: float = Field(default=-1.0, ge=-1)


class AutoLearner(NetworkLearner):
    """A U-Net that fits cohort and device, in the manner of nnU-Net (Isensee et al. 2021), and a budget of time.

    ``configure`` decides, everything else stays as the settings say:

    - Levels: as many as keep ``COARSEST`` pixels at the coarsest level.
    - Channels, batch size and resolution: by the kind of device. On a CPU the network sees large slices at half their
      resolution or less. Slices are trained on whole; parts of them led to false positives elsewhere
      (docs/experiments/learners.md).
    - Steps: as many as fit into ``TrainingSettings.minutes``, see ``NetworkLearner.configure``.

    With scribbles it also learns from the unlabelled slices of the pool, see ``MeanTeacher``.

    The settings that ``configure`` returns are not fitted again, so that they train the same model on another day and
    device.
    """

    options: ClassVar[type[Settings]] = AutoOptions
    shaped_by = ("reduce",)
    _teacher: MeanTeacher | None = None

    @classmethod
    def configure(
        cls, settings: TrainingSettings, stack: Slices, classes: int, *, compute: Compute
    ) -> TrainingSettings:
        """The settings of a U-Net for this cohort and device; see ``SegmentationLearner.configure``."""
        if not AutoOptions.from_json(settings.options).design:
            return super().configure(settings, stack, classes, compute=compute)
        decided = designed(settings, stack.grid_shape, compute.device)
        widths, reduce = " ".join(map(str, decided.features)), decided.options["reduce"]
        at = f", at 1/{reduce} of the resolution" if reduce != 1 else ""
        compute.progress.message(f"U-Net with channels {widths}{at}, batches of {decided.batch_size} slices.")
        return super().configure(decided, stack, classes, compute=compute)

    @classmethod
    def fitted_to(cls, settings: TrainingSettings, examples: Examples) -> TrainingSettings:
        """Whether unlabelled slices are used; see ``SegmentationLearner.fitted_to``."""
        if AutoOptions.from_json(settings.options).unlabelled >= 0:
            return settings
        return replace(settings, options={**settings.options, "unlabelled": 0.0 if examples.dense.all() else 1.0})

    @classmethod
    def uses_unlabelled(cls, settings: TrainingSettings) -> bool:
        """Whether they have a weight; see ``SegmentationLearner.uses_unlabelled``."""
        return AutoOptions.from_json(settings.options).unlabelled > 0

    @staticmethod
    def build_network(channels: int, classes: int, settings: TrainingSettings, *, seed: int) -> ReducedUNet:
        """See ``NetworkLearner.build_network``."""
        with seeded_weights(seed):
            network = ReducedUNet(channels, classes, settings, AutoOptions.from_json(settings.options).reduce)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def learn_from_unlabelled(self, rows: np.ndarray) -> None:
        """Make the teacher; see ``NetworkLearner.learn_from_unlabelled``."""
        weight = AutoOptions.from_json(self._settings.options).unlabelled
        self._teacher = MeanTeacher(
            self.network, self._stack, rows, self._settings, weight=weight, seed=self._seed, device=self.device
        )

    def more_losses(self, number: int) -> list[torch.Tensor]:
        """The loss on unlabelled slices; see ``NetworkLearner.more_losses``."""
        if self._teacher is None:
            return []
        found = self._teacher.add_gradients(self.network, number, max(1, self._parts // 2))
        return [] if found is None else [found]

    def after_step(self, history: History) -> None:
        """Let the teacher follow; see ``NetworkLearner.after_step``."""
        super().after_step(history)
        if self._teacher is not None:
            self._teacher.follow(self.network, history.step - 1)

    def training_record(self, task: TrainingTask, history: History) -> dict[str, Any]:
        """Also how many unlabelled slices it learned from; see ``NetworkLearner.training_record``."""
        record = super().training_record(task, history)
        return record if task.unlabelled is None else record | {"unlabelled slices": len(task.unlabelled)}

    def state(self) -> dict[str, Any]:
        """The state of the training with the teacher's weights; see ``Learner.state``."""
        return super().state() | ({} if self._teacher is None else {"teacher": self._teacher.state()})

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of ``state``."""
        super().load_state(state)
        if self._teacher is not None:
            self._teacher.load_state(state["teacher"])


def designed(settings: TrainingSettings, grid: tuple[int, int], device: str) -> TrainingSettings:
    """The settings with a network and a batch size that fit slices and device.

    Args:
        settings: Settings as they were asked for.
        grid: Rows and columns of the slices.
        device: PyTorch device.
    """
    kind = "cpu" if device == "cpu" else "gpu"
    reduce = reduction_for(grid) if kind == "cpu" else 1
    seen = (grid[0] // reduce, grid[1] // reduce)
    levels = levels_for(seen)
    widths = [min(WIDEST[kind], FIRST_WIDTH[kind] * 2 ** max(0, level - 1)) for level in range(levels)]
    (fewest, most), pixels = BATCH[kind], seen[0] * seen[1]
    dropout = tuple(0.1 if level >= DEEP else 0.0 for level in range(levels))
    return replace(
        settings,
        options={**settings.options, "design": False, "reduce": reduce},
        features=tuple(widths),
        dropout=dropout,
        decoder_dropout=dropout[:-1],
        batch_size=max(fewest, min(most, STEP[kind] // pixels)),
    )


def reduction_for(size: tuple[int, int]) -> int:
    """Smallest reduction that leaves slices of some rows and columns at most ``LARGE_SIDE`` pixels on a side."""
    return min(8, -(-max(size) // LARGE_SIDE))


def levels_for(size: tuple[int, int]) -> int:
    """Number of resolution levels for images of some rows and columns."""
    levels = FEWEST_LEVELS
    while levels < MOST_LEVELS and min(size) // 2**levels >= COARSEST:
        levels += 1
    return levels
