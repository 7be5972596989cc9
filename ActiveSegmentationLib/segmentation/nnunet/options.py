"""Options of the learners "nnunet-2d" and "nnunet-3d"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from ActiveSegmentationLib.training import Settings, settings


@settings
class NnunetOptions(Settings):
    """Options of nnU-Net; what is not listed is as nnU-Net plans it.

    Attributes:
        iterations: Training steps in an epoch, after each of which the learning rate falls.
        dropout: Probability of dropout after every convolution, before its normalisation; nnU-Net itself has none.
            Strategies that draw predictions with dropout need some; Foellmer et al. train with 0.01.
        architecture: "plain" for nnU-Net's default U-Net, "residual" for its residual encoder of size M.
        plan: What nnU-Net plans from: the "annotated" volumes, or all volumes of the "cohort", as of Foellmer et al.,
            so that the network stays the same over the rounds. With a warm start, "kept" keeps the plan of the model
            that the training begins with.
        intensities: How nnU-Net normalises the images: "zscore", "ct" (Hounsfield units), "rescale_to_0_1",
            "rgb_to_0_1" or "nonorm".
        batch_size: Patches in a step; 0 for the number that nnU-Net plans.
        memory: Memory in GB that nnU-Net plans patches and batches for.
        learning_rate: Initial learning rate; it falls to 0 as (1 - t) ** 0.9.
        foreground: Share of the patches in a batch that must show an annotated structure.
        mirror: Whether predictions are the mean over all mirror images, as of nnU-Net's own predictor; takes four times
            as long in 2D and eight times in 3D.
        workers: Processes that prepare batches, on which the weights do not depend; -1 for none on a CPU and up to 8
            next to a GPU.
    """

    where: ClassVar[str] = "learner options"
    later: ClassVar[Mapping[str, Any]] = {}

    iterations: int = Field(default=250, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    architecture: Literal["plain", "residual"] = "plain"
    plan: Literal["annotated", "cohort", "kept"] = "annotated"
    intensities: Literal["zscore", "ct", "rescale_to_0_1", "rgb_to_0_1", "nonorm"] = "zscore"
    batch_size: int = Field(default=0, ge=0)
    memory: float = Field(default=8.0, gt=0)
    learning_rate: float = Field(default=0.01, gt=0)
    foreground: float = Field(default=0.33, ge=0, le=1)
    mirror: bool = False
    workers: int = Field(default=-1, ge=-1)
