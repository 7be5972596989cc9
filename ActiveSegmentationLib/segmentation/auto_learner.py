"""The learner that configures itself: size of the network and of batches from the cohort's slices and the device."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from ActiveSegmentationLib.segmentation.network_learner import NetworkLearner
from ActiveSegmentationLib.segmentation.settings import FEWEST_LEVELS, MOST_LEVELS
from ActiveSegmentationLib.training import Settings
from ActiveSegmentationLib.training import settings as options_class

if TYPE_CHECKING:
    from ActiveSegmentationLib.common.compute import Compute
    from ActiveSegmentationLib.segmentation.settings import TrainingSettings
    from ActiveSegmentationLib.segmentation.slices import Slices

COARSEST = 4
"""Pixels that the shorter side of the coarsest map has at least."""

FIRST_WIDTH = {"cpu": 16, "gpu": 32}
"""Channels of the two finest levels; each further level has twice as many as the one before."""

WIDEST = {"cpu": 128, "gpu": 512}
"""Most channels of a level."""

BATCH = {"cpu": 8, "gpu": 16}
"""Slices per step."""

LARGEST_STEP = 2**21
"""Pixels that a step trains on at most; larger slices come in smaller batches, of two at least."""

DEEP = 2
"""First level, counted from 0, that has dropout; at the finer ones it costs much and changes little."""


@options_class
class AutoOptions(Settings):
    """Options of the learner "auto".

    Attributes:
        design: Whether network and batches are fitted to cohort and device. False in the settings that
            ``AutoLearner.configure`` returns, and for those who give them themselves.
    """

    where: ClassVar[str] = "learner options"

    design: bool = True


class AutoLearner(NetworkLearner):
    """A U-Net that fits cohort and device, in the manner of nnU-Net (Isensee et al. 2021), and a budget of time.

    ``configure`` decides, everything else stays as the settings say:

    - Levels: as many as keep ``COARSEST`` pixels at the coarsest level.
    - Channels and batch size: by the kind of device. Slices are trained on whole; parts of them led to false positives
      elsewhere (docs/experiments/learners.md).
    - Steps: as many as fit into ``TrainingSettings.minutes``, see ``NetworkLearner.configure``.

    The settings that it returns are not fitted again, so that they train the same model on another day and device.
    Without ``configure`` this learner trains as "unet" does.
    """

    options: ClassVar[type[Settings]] = AutoOptions
    shaped_by = ()

    @classmethod
    def configure(
        cls, settings: TrainingSettings, stack: Slices, classes: int, *, compute: Compute
    ) -> TrainingSettings:
        """The settings of a U-Net for this cohort and device; see ``SegmentationLearner.configure``."""
        if not AutoOptions.from_json(settings.options).design:
            return super().configure(settings, stack, classes, compute=compute)
        decided = designed(settings, stack.grid_shape, compute.device)
        widths = " ".join(map(str, decided.features))
        compute.progress.message(f"U-Net with channels {widths}, batches of {decided.batch_size} slices.")
        return super().configure(decided, stack, classes, compute=compute)


def designed(settings: TrainingSettings, grid: tuple[int, int], device: str) -> TrainingSettings:
    """The settings with a network and a batch size that fit slices and device.

    Args:
        settings: Settings as they were asked for.
        grid: Rows and columns of the slices.
        device: PyTorch device.
    """
    kind = "cpu" if device == "cpu" else "gpu"
    levels = levels_for(grid)
    widths = [min(WIDEST[kind], FIRST_WIDTH[kind] * 2 ** max(0, level - 1)) for level in range(levels)]
    dropout = tuple(0.1 if level >= DEEP else 0.0 for level in range(levels))
    return replace(
        settings,
        options={"design": False},
        features=tuple(widths),
        dropout=dropout,
        decoder_dropout=dropout[:-1],
        batch_size=max(2, min(BATCH[kind], LARGEST_STEP // (grid[0] * grid[1]))),
    )


def levels_for(size: tuple[int, int]) -> int:
    """Number of resolution levels for images of some rows and columns."""
    levels = FEWEST_LEVELS
    while levels < MOST_LEVELS and min(size) // 2**levels >= COARSEST:
        levels += 1
    return levels
