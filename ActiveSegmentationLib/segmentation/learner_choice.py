"""Choosing a learner: the settings that belong to its name, options as people write them, and an early check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ActiveSegmentationLib.cohort import AnnotationKind
from ActiveSegmentationLib.common.defaults import DEFAULT_LEARNER
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation.learners import learner_class
from ActiveSegmentationLib.segmentation.presets import TRAINING_PRESETS
from ActiveSegmentationLib.segmentation.settings import Option, TrainingSettings

DEFAULT_PRESET = "default"
"""Name of the preset of learners that have none of their own."""


def training_for(preset: str | None = None, learner: str | None = None) -> TrainingSettings:
    """The settings that a preset, a learner or both stand for.

    Args:
        preset: Name from ``TRAINING_PRESETS``. Default: the preset with the learner's name, otherwise "default".
        learner: Name of a learner. Default: that of the preset.

    Returns:
        Settings of the preset, with the learner replaced where the preset is one of the default learner.

    Raises:
        BadInput: If there is no such preset, or it belongs to another learner.

    Example:
        >>> training_for("gaillochet2023", "dcan").learner
        'dcan'
    """
    name = preset if preset is not None else learner if learner in TRAINING_PRESETS else DEFAULT_PRESET
    if name not in TRAINING_PRESETS:
        advice = f"Choose one of: {', '.join(sorted(TRAINING_PRESETS))}."
        raise BadInput(f"There is no training preset called '{name}'.", where="training", advice=advice)
    found = TRAINING_PRESETS[name]
    if learner is None or learner == found.learner:
        return found
    if found.learner != DEFAULT_LEARNER:
        advice = "Leave one of the two out, or choose a preset of this learner."
        message = f"The training preset '{name}' belongs to the learner '{found.learner}', not to '{learner}'."
        raise BadInput(message, where="training", advice=advice)
    return replace(found, learner=learner, options={})


def with_learner(
    training: TrainingSettings, learner: str, options: Mapping[str, Option] | None = None
) -> TrainingSettings:
    """The settings with a learner and its options; those of another learner are replaced by the learner's own.

    Args:
        training: Settings so far.
        learner: Name of the learner.
        options: Options by name; the others have the values of the learner's preset, or their defaults.

    Example:
        >>> with_learner(training_for("vepa2024"), "unet") == training_for("vepa2024")
        True
    """
    usual = training_for(learner=learner)
    stays = training if training.learner == learner else usual
    return replace(stays, options={**usual.options, **(options or {})})


def with_options(training: TrainingSettings, texts: Mapping[str, str]) -> TrainingSettings:
    """The settings with options of the learner that a person wrote.

    Args:
        training: Settings, with the learner and its options so far.
        texts: Text of each option, such as "0.5" or "yes"; the others stay as they are.

    Raises:
        BadInput: If the learner has no such option, or its value has the wrong type or is out of range; names it.

    Example:
        >>> with_options(training_for(learner="residual-unet"), {"width": "32"}).options
        {'width': 32}
    """
    if not texts:
        return training
    cls = learner_class(training.learner).options
    known = set(cls().to_json())
    for name in texts:
        if name not in known:
            has = f"It has: {', '.join(sorted(known))}." if known else "It has none."
            message = f"The learner '{training.learner}' has no option '{name}'. {has}"
            raise BadInput(message, where=cls.where, advice="Check the spelling, or leave it out.")
    read = cls.from_texts({**{name: str(value) for name, value in training.options.items()}, **texts})
    return replace(training, options={**training.options, **{name: getattr(read, name) for name in texts}})


def check_learner(training: TrainingSettings, annotation: AnnotationKind | str | None = None) -> None:
    """Refuse a learner that cannot be used, before anything is built with it.

    Imports the learner, and so PyTorch; not for the default learner without options, about which there is nothing to
    find out.

    Args:
        training: Settings of the training.
        annotation: Kind of the annotations that it will learn from, if it is known.

    Raises:
        BadInput: If there is no such learner, a package is missing, an option is unknown or out of range, or the
            learner cannot learn from such annotations.
    """
    if training.learner == DEFAULT_LEARNER and not training.options and not training.loss_head:
        return
    learner = learner_class(training.learner)
    learner.check(training)
    if learner.needs_masks and annotation == AnnotationKind.SCRIBBLE:
        advice = "Choose another learner, or annotate masks."
        message = f"The learner '{training.learner}' cannot learn from scribbles."
        raise BadInput(message, where="training settings, learner", advice=advice)
