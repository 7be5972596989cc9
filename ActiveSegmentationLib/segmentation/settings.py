"""Settings of the segmentation network, its augmentation and its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Annotated, Any, ClassVar, Literal, Self

import pydantic
from pydantic import Field

from ActiveSegmentationLib.common.defaults import DEFAULT_LEARNER
from ActiveSegmentationLib.training import Schedule, Settings, rate_factor, settings

FEWEST_LEVELS, MOST_LEVELS = 2, 6
"""Resolution levels that the network may have; five are full resolution and four poolings."""

Option = bool | int | float | str

Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, lt=1)]


@settings
class AugmentationSettings(Settings):
    """Ranges of the random changes of a slice each time it is trained on; 0 or False switches a change off.

    Attributes:
        probability: Probability that a slice is moved, and independently that its intensities are changed.
        rotation: Largest rotation in degrees, in either direction.
        scale: Largest zoom: the factor is between 1 / (1 + scale) and 1 + scale.
        shift: Largest shift as a share of the height and width, in any direction.
        flip_rows: Whether to mirror top to bottom.
        flip_columns: Whether to mirror left to right.
        quarter_turns: Whether to also rotate by multiples of 90 degrees; for square grids.
        gamma: The largest gamma is 1 + gamma, the smallest its inverse; between the slice's lowest and highest value.
        contrast: The largest contrast factor is 1 + contrast, the smallest its inverse; about the slice's mean.
        brightness: Largest offset in standard deviations of the slice, in either direction.
        noise: Largest standard deviation of Gaussian noise, in standard deviations of the slice.
        noise_of_range: Standard deviation of additional Gaussian noise, as a share of the slice's intensity range.
    """

    where: ClassVar[str] = "training settings"
    later: ClassVar[Mapping[str, Any]] = {"noise_of_range": 0.0}

    probability: float = Field(default=0.8, ge=0, le=1)
    rotation: NotNegative = 15.0
    scale: NotNegative = 0.15
    shift: NotNegative = 0.05
    flip_rows: bool = False
    flip_columns: bool = False
    quarter_turns: bool = False
    gamma: NotNegative = 0.3
    contrast: NotNegative = 0.2
    brightness: NotNegative = 0.1
    noise: NotNegative = 0.1
    noise_of_range: NotNegative = 0.0


@settings
class TrainingSettings(Settings):
    """Settings of the training of a segmentation model.

    Attributes:
        steps: Number of optimisation steps, regardless of the number of examples.
        epochs: How often every annotated slice is used. ``steps`` is then the number of batches that this takes, and
            ``validate_every`` counts epochs, see ``for_slices``. 0 takes ``steps`` as they are.
        minutes: Time that the training of a model may take. The first steps are timed, and ``steps`` is then the number
            that fits; the number is recorded. 0 for exactly ``steps``.
        batch_size: Slices per step; with fewer examples, each is used several times with different augmentation.
        learning_rate: Peak learning rate.
        weight_decay: Weight decay.
        optimiser: "adamw", "adam" or "sgd" (momentum 0.9 for "sgd").
        nesterov: Whether the momentum of "sgd" is Nesterov's.
        schedule: How the rate falls after the warm-up: "cosine" to 0, "poly" as (1 - t) ** 0.9, or "constant".
        warm_up: Share of the steps, in [0, 1), over which the rate rises linearly from near 0.
        clip: Largest norm of the gradient, to which larger ones are clipped; 0 for no limit.
        features: Channels of the resolution levels, finest first; as many numbers as levels.
        upsample: How the decoder enlarges maps: "deconv" (transposed convolutions) or "bilinear" (a 1 x 1 convolution
            and bilinear interpolation).
        norm: "batch", "group" (8 groups or fewer) or "instance" normalisation.
        dropout: Dropout probability of the encoder's levels, finest first.
        decoder_dropout: Dropout probability of the decoder's levels, finest first, one number fewer.
        dropout_place: Where a level has dropout: after both of its "convolutions", after the "first", or at its
            "entry", which is after the pooling, or where the decoder concatenates maps.
        dropout_kind: What dropout sets to 0: single "elements", or whole "channels" (spatial dropout).
        dice_share: Share of the Dice loss in the loss of masks, in [0, 1]; the rest is cross-entropy.
        dice_of: What a Dice is of: all slices of a "batch" together, or each of the "slices".
        dice_absent: Whether classes that no labelled pixel of a batch has count in the Dice loss.
        cross_entropy_mean: What the cross-entropy of scribbles is a mean of: "slices", whose pixels count less where
            there are many, or all labelled "pixels" of the batch, see ``losses.pooled_cross_entropy``.
        class_weights: Weights of the classes in the cross-entropy: "equal", or "inverse" to their share of the labelled
            pixels.
        dice_background: Whether background counts in the Dice loss.
        dice_squared: Whether the Dice loss squares probabilities in its denominator.
        scribble_dice: Whether scribbled slices have a Dice loss over their labelled pixels in addition to
            cross-entropy.
        close_background: Whether scribbles are completed by ``closed_background``.
        select: Which weights to keep: the "last", or the "best" on the validation slices.
        validate_every: Steps between validations.
        warm_start: Whether to start from the model given as ``initial``, rather than from random weights.
        augment: Whether to augment.
        augmentation: Ranges of the augmentation.
        mixed_precision: Whether to compute in bfloat16 where the device is a CUDA GPU.
        loss_head: Whether a loss head is trained, which the strategy "learning-loss" needs.
        neighbours: Slices on either side whose images are input channels too; see ``neighbours``.
        learner: Name of the learner, see ``learners``.
        options: The learner's own settings by name, see its ``options``.
    """

    where: ClassVar[str] = "training settings"
    later: ClassVar[Mapping[str, Any]] = {
        "loss_head": False,
        "learner": DEFAULT_LEARNER,
        "options": {},
        "nesterov": True,
        "upsample": "deconv",
        "dropout_place": "convolutions",
        "dropout_kind": "elements",
        "dice_share": 0.5,
        "dice_of": "batch",
        "dice_absent": False,
        "class_weights": "equal",
        "epochs": 0,
        "minutes": 0.0,
        "neighbours": 0,
        "cross_entropy_mean": "slices",
    }

    steps: Count = 800
    batch_size: Count = 8
    learning_rate: float = Field(default=5e-3, gt=0)
    weight_decay: NotNegative = 1e-4
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    nesterov: bool = True
    schedule: Schedule = "cosine"
    warm_up: float = Field(default=0.05, ge=0, lt=1)
    clip: NotNegative = 1.0
    features: tuple[Count, ...] = Field(default=(16, 16, 32, 64, 128), min_length=FEWEST_LEVELS, max_length=MOST_LEVELS)
    upsample: Literal["deconv", "bilinear"] = "deconv"
    norm: Literal["batch", "group", "instance"] = "batch"
    dropout: tuple[Probability, ...] = (0.0, 0.0, 0.1, 0.1, 0.1)
    decoder_dropout: tuple[Probability, ...] = (0.0, 0.0, 0.1, 0.1)
    dropout_place: Literal["convolutions", "first", "entry"] = "convolutions"
    dropout_kind: Literal["elements", "channels"] = "elements"
    dice_share: float = Field(default=0.5, ge=0, le=1)
    dice_of: Literal["batch", "slices"] = "batch"
    dice_absent: bool = False
    cross_entropy_mean: Literal["slices", "pixels"] = "slices"
    class_weights: Literal["equal", "inverse"] = "equal"
    dice_background: bool = False
    dice_squared: bool = False
    scribble_dice: bool = False
    close_background: bool = False
    select: Literal["last", "best"] = "last"
    validate_every: Count = 100
    warm_start: bool = False
    augment: bool = True
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    mixed_precision: bool = True
    loss_head: bool = False
    neighbours: int = Field(default=0, ge=0, le=5)
    epochs: int = Field(default=0, ge=0)
    minutes: NotNegative = 0.0
    learner: str = DEFAULT_LEARNER
    options: Mapping[str, Option] = field(default_factory=dict)

    @pydantic.model_validator(mode="after")
    def _one_dropout_a_level(self) -> Self:
        levels = len(self.features)
        if len(self.dropout) != levels:
            raise ValueError(f"'dropout' must have {levels} numbers, one for each of 'features'.")
        if len(self.decoder_dropout) != levels - 1:
            raise ValueError(f"'decoder_dropout' must have {levels - 1} numbers, one fewer than 'features'.")
        return self

    @property
    def has_dropout(self) -> bool:
        """Whether any level has dropout, so that predictions with it differ."""
        return any(self.dropout + self.decoder_dropout)

    def with_steps(self, steps: int) -> Self:
        """These settings with a number of steps, instead of the steps, epochs or minutes that they had.

        Where there were epochs, as many validations are made as before.
        """
        every = max(1, steps * self.validate_every // self.epochs) if self.epochs else self.validate_every
        return replace(self, steps=steps, epochs=0, minutes=0.0, validate_every=every)

    def for_slices(self, count: int) -> Self:
        """These settings with the steps that their epochs take.

        Args:
            count: Number of annotated slices, at least 1.
        """
        if not self.epochs:
            return self
        batches = -(-count // self.batch_size)
        every = self.validate_every * batches
        return replace(self, steps=self.epochs * batches, epochs=0, validate_every=every)

    def rate(self, step: int) -> float:
        """Learning rate of step ``step``, counted from 0."""
        return self.learning_rate * rate_factor(self.schedule, step, self.steps, self.warm_up)
