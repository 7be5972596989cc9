"""How a segmenter is built, augmented and trained: plain values that go into every result file."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal

from ActiveSegmentationLib.common.errors import BadInput

LEVELS = (2, 6)
"""Fewest and most resolution levels of the network; five are full resolution and four poolings."""


@dataclass(frozen=True)
class AugmentationSettings:
    """Ranges of the random changes made to a slice each time it is trained on; 0 or False switches a change off.

    Attributes:
        probability: Chance in [0, 1] that a slice is moved, and, drawn apart, that its intensities are changed.
        rotation: Largest rotation in degrees, either way.
        scale: Largest zoom as a part of the size: the factor lies between 1 / (1 + scale) and 1 + scale.
        shift: Largest shift as a part of the height and width, any way.
        flip_rows: Whether to mirror top to bottom.
        flip_columns: Whether to mirror left to right.
        quarter_turns: Whether to rotate by multiples of 90 degrees as well; for square grids.
        gamma: Largest gamma is 1 + gamma, the smallest its inverse; applied between the slice's extremes.
        contrast: Largest factor about the slice's mean is 1 + contrast, the smallest its inverse.
        brightness: Largest offset in standard deviations of the slice, either way.
        noise: Largest standard deviation of Gaussian noise, in standard deviations of the slice.
        noise_of_range: Standard deviation of further Gaussian noise, always this part of the slice's intensity range.
    """

    probability: float = 0.8
    rotation: float = 15.0
    scale: float = 0.15
    shift: float = 0.05
    flip_rows: bool = False
    flip_columns: bool = False
    quarter_turns: bool = False
    gamma: float = 0.3
    contrast: float = 0.2
    brightness: float = 0.1
    noise: float = 0.1
    noise_of_range: float = 0.0

    def __post_init__(self) -> None:
        _require(0 <= self.probability <= 1, "probability", "lie between 0 and 1")
        for name in ("rotation", "scale", "shift", "gamma", "contrast", "brightness", "noise", "noise_of_range"):
            _require(getattr(self, name) >= 0, name, "be 0 or more")


@dataclass(frozen=True)
class TrainingSettings:
    """How a segmenter is trained.

    Attributes:
        steps: Optimisation steps, whatever the number of examples.
        batch_size: Slices a step; with fewer examples they come up several times, each time augmented anew.
        learning_rate: Peak learning rate.
        weight_decay: Weight decay.
        optimiser: "adamw", "adam" or "sgd" (momentum 0.9 for "sgd").
        nesterov: Whether the momentum of "sgd" is Nesterov's.
        schedule: How the rate falls after the warm-up: "cosine" to 0, "poly" as (1 - t) ** 0.9, or "constant".
        warm_up: Part of the steps, in [0, 1), over which the rate rises linearly from near 0.
        clip: Largest norm of a gradient, longer ones are shortened; 0 for no limit.
        features: Channels of the resolution levels, finest first; their number is that of the levels.
        upsample: How the decoder enlarges maps: "deconv" (transposed convolutions) or "bilinear" (a 1 x 1 convolution
            and bilinear interpolation).
        norm: "batch", "group" (8 groups or fewer) or "instance" normalisation.
        dropout: Dropout probability of the encoder's levels, finest first.
        decoder_dropout: Dropout probability of the decoder's levels, finest first, one fewer.
        dropout_place: Where a level has dropout: after both of its "convolutions", after the "first", or at its
            "entry", which is after the pooling or where the decoder joins maps.
        dropout_kind: What dropout switches off: single "elements", or whole "channels" (spatial dropout).
        dice_share: Share of the Dice loss in the loss of masks, in [0, 1]; the rest is cross-entropy.
        dice_absent: Whether classes that no labelled pixel of a batch has count in the Dice loss.
        class_weights: Weights of the classes in the cross-entropy: "equal", or "inverse" to their share of the labelled
            pixels.
        dice_background: Whether background counts in the Dice loss.
        dice_squared: Whether the Dice loss squares probabilities in its denominator.
        scribble_dice: Whether a Dice over the decided pixels of scribbled slices joins their partial cross-entropy.
        close_background: Whether closed background strokes decide what lies beyond them (``closed_background``);
            for whoever makes the examples.
        select: Which weights to keep: "last", or "best" on the validation slices.
        validate_every: Steps between validations.
        warm_start: Whether to start from the model given as ``initial``, rather than from random weights.
        augment: Whether to augment.
        augmentation: Ranges of the augmentation.
        mixed_precision: Whether to compute in bfloat16 where the device is a CUDA GPU.
        loss_head: Whether a head learns to predict the loss of a slice, which the strategy "learning-loss" asks for.
    """

    steps: int = 800
    batch_size: int = 8
    learning_rate: float = 5e-3
    weight_decay: float = 1e-4
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    nesterov: bool = True
    schedule: Literal["cosine", "poly", "constant"] = "cosine"
    warm_up: float = 0.05
    clip: float = 1.0
    features: tuple[int, ...] = (16, 16, 32, 64, 128)
    upsample: Literal["deconv", "bilinear"] = "deconv"
    norm: Literal["group", "batch", "instance"] = "batch"
    dropout: tuple[float, ...] = (0.0, 0.0, 0.1, 0.1, 0.1)
    decoder_dropout: tuple[float, ...] = (0.0, 0.0, 0.1, 0.1)
    dropout_place: Literal["convolutions", "first", "entry"] = "convolutions"
    dropout_kind: Literal["elements", "channels"] = "elements"
    dice_share: float = 0.5
    dice_absent: bool = False
    class_weights: Literal["equal", "inverse"] = "equal"
    dice_background: bool = False
    dice_squared: bool = False
    scribble_dice: bool = False
    close_background: bool = False
    select: Literal["last", "best"] = "last"
    validate_every: int = 100
    warm_start: bool = False
    augment: bool = True
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    mixed_precision: bool = True
    loss_head: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "validate_every"):
            _require(getattr(self, name) >= 1, name, "be at least 1")
        _require(self.learning_rate > 0, "learning_rate", "be greater than 0")
        _require(0 <= self.warm_up < 1, "warm_up", "lie between 0 and 1")
        _require(self.weight_decay >= 0 and self.clip >= 0, "weight_decay and clip", "be 0 or more")
        levels, (fewest, most) = len(self.features), LEVELS
        fits = fewest <= levels <= most and min(self.features) > 0
        _require(fits, "features", f"be {fewest} to {most} positive numbers")
        _require(len(self.dropout) == levels, "dropout", f"be {levels} numbers, finest level first")
        _require(len(self.decoder_dropout) == levels - 1, "decoder_dropout", f"be {levels - 1} numbers")
        _require(0 <= self.dice_share <= 1, "dice_share", "lie between 0 and 1")
        _require(all(0 <= p < 1 for p in self.dropout + self.decoder_dropout), "dropout", "lie in [0, 1)")
        for name, allowed in _CHOICES.items():
            _require(getattr(self, name) in allowed, name, f"be one of {', '.join(allowed)}")

    @property
    def has_dropout(self) -> bool:
        """Whether any level has dropout, so that predictions with it differ."""
        return any(self.dropout + self.decoder_dropout)

    def rate(self, step: int) -> float:
        """Learning rate of step ``step``, counted from 0."""
        warm = self.warm_up * self.steps
        if step < warm:
            return self.learning_rate * (step + 1) / (warm + 1)
        t = (step - warm) / max(1.0, self.steps - warm)
        falling = {"cosine": (1 + math.cos(math.pi * t)) / 2, "poly": (1 - t) ** 0.9, "constant": 1.0}
        return self.learning_rate * falling[self.schedule]

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON values; "loss_head" only where it is on, so that keys of earlier models stay theirs."""
        value = dataclasses.asdict(self)
        for name, usual in _LATER.items():
            if value[name] == usual:
                del value[name]
        if not value["augmentation"]["noise_of_range"]:
            del value["augmentation"]["noise_of_range"]
        return {name: list(item) if isinstance(item, tuple) else item for name, item in value.items()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TrainingSettings:
        """Inverse of ``to_json``; missing settings take their defaults.

        Raises:
            BadInput: If a setting is unknown or out of range.
        """
        _known(cls, value)
        found: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in value.items()}
        if "augmentation" in value:
            _known(AugmentationSettings, value["augmentation"])
            found["augmentation"] = AugmentationSettings(**value["augmentation"])
        return cls(**found)


_LATER = {
    "loss_head": False,
    "nesterov": True,
    "upsample": "deconv",
    "dropout_place": "convolutions",
    "dropout_kind": "elements",
    "dice_share": 0.5,
    "dice_absent": False,
    "class_weights": "equal",
}
"""Settings that came later, with what models trained before them had."""

_CHOICES = {
    "upsample": ("deconv", "bilinear"),
    "dropout_place": ("convolutions", "first", "entry"),
    "dropout_kind": ("elements", "channels"),
    "class_weights": ("equal", "inverse"),
    "optimiser": ("adamw", "adam", "sgd"),
    "schedule": ("cosine", "poly", "constant"),
    "norm": ("batch", "group", "instance"),
    "select": ("last", "best"),
}


def _require(holds: bool, name: str, wish: str) -> None:
    if not holds:
        raise BadInput(f"'{name}' must {wish}.", where="training settings", advice="Correct this setting.")


def _known(cls: type, value: dict[str, Any]) -> None:
    unknown = sorted(set(value) - {f.name for f in dataclasses.fields(cls)})
    if unknown:
        advice = "Check the spelling, or use the version of the program that wrote the settings."
        raise BadInput(f"Unknown settings: {', '.join(unknown)}.", where="training settings", advice=advice)


TRAINING_PRESETS: dict[str, TrainingSettings] = {
    "default": TrainingSettings(),
    "closed-scribbles": TrainingSettings(close_background=True),
    "vepa2024": TrainingSettings(
        steps=30_000,
        batch_size=6,
        learning_rate=0.01,
        weight_decay=1e-4,
        optimiser="sgd",
        nesterov=False,
        schedule="poly",
        warm_up=0.0,
        clip=0.0,
        features=(16, 32, 64, 128, 256),
        upsample="bilinear",
        norm="batch",
        dropout_place="first",
        dice_absent=True,
        dropout=(0.05, 0.1, 0.2, 0.3, 0.5),
        decoder_dropout=(0.0, 0.0, 0.0, 0.0),
        dice_background=True,
        dice_squared=True,
        select="best",
        validate_every=200,
        augmentation=AugmentationSettings(
            probability=0.5,
            rotation=20.0,
            scale=0.0,
            shift=0.0,
            flip_rows=True,
            flip_columns=True,
            quarter_turns=True,
            gamma=0.0,
            contrast=0.0,
            brightness=0.0,
            noise=0.0,
        ),
    ),
    "gaillochet2023": TrainingSettings(
        steps=18_750,
        batch_size=4,
        learning_rate=2e-4,
        weight_decay=1e-4,
        optimiser="adam",
        schedule="cosine",
        warm_up=10 / 75,
        clip=0.0,
        features=(64, 128, 256, 512),
        norm="batch",
        dropout=(0.0, 0.5, 0.5, 0.5),
        decoder_dropout=(0.5, 0.5, 0.5),
        dropout_place="entry",
        dice_share=0.0,
        augmentation=AugmentationSettings(
            probability=1.0,
            rotation=10.0,
            scale=0.0,
            shift=0.0,
            gamma=0.0,
            contrast=0.0,
            brightness=0.0,
            noise=0.0,
            noise_of_range=0.01,
        ),
    ),
    "ozdemir2021": TrainingSettings(
        steps=8_000,
        batch_size=8,
        learning_rate=5e-4,
        weight_decay=0.0,
        optimiser="adam",
        schedule="constant",
        warm_up=0.0,
        clip=0.0,
        features=(16, 32, 64, 128, 256),
        norm="batch",
        dropout=(0.0, 0.5, 0.5, 0.5, 0.5),
        decoder_dropout=(0.5, 0.5, 0.5, 0.5),
        dropout_place="entry",
        dropout_kind="channels",
        dice_share=0.0,
        class_weights="inverse",
        augmentation=AugmentationSettings(
            probability=0.0,
            rotation=0.0,
            scale=0.0,
            shift=0.0,
            flip_columns=True,
            gamma=0.0,
            contrast=0.0,
            brightness=0.0,
            noise=0.0,
        ),
    ),
}
"""Settings by name.

"default" was chosen by measurement for small grids on a CPU. The others follow the learners of Vepa et al. (NeurIPS
2024, full supervision), Gaillochet et al. (Medical Image Analysis 2023) and Ozdemir et al. (2021); what still differs
stands in docs/strategies.md.
"""
