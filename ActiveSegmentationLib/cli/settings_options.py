"""Options that say how slices are prepared and models are trained, and the settings that they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from ActiveSegmentationLib.cli.command import Options, option, together
from ActiveSegmentationLib.cli.options import POSITIVE, LateChoice, PlaneSize
from ActiveSegmentationLib.common.errors import BadInput

if TYPE_CHECKING:
    from ActiveSegmentationLib.loop import LoopSettings
    from ActiveSegmentationLib.segmentation import TrainingSettings


def _stack_presets() -> Iterable[str]:
    from ActiveSegmentationLib.cohort import STACK_PRESETS

    return sorted(STACK_PRESETS)


def _embedding_presets() -> Iterable[str]:
    from ActiveSegmentationLib.embedding import EMBEDDING_PRESETS

    return sorted(EMBEDDING_PRESETS)


def _training_presets() -> Iterable[str]:
    from ActiveSegmentationLib.segmentation import TRAINING_PRESETS

    return sorted(TRAINING_PRESETS)


def _setting(*names: str, **about: Any) -> Callable[[Any], Any]:
    return option(*names, section="Settings", **about)


def complete_learner(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of learners that begin with the letters that are typed."""
    from ActiveSegmentationLib.segmentation import learner_names

    return [name for name in learner_names() if name.startswith(incomplete)]


def learner(unset: str = "unet") -> Callable[[Any], Any]:
    """Which learner, and its own settings.

    Args:
        unset: What the help says of the learner if none is given.
    """
    return together(
        _setting(
            "--learner",
            metavar="L",
            shell_complete=complete_learner,
            show_default=unset,
            help="what trains on the annotations; the command learners lists them",
        ),
        _setting(
            "--learner-option",
            multiple=True,
            metavar="KEY=VALUE",
            help="a setting that only this learner has (repeatable); the command learners NAME lists them",
        ),
    )


BY_TRAINING = "by --training"
FITTING = "that of --training; in a new study the one that fits"


def training(unset: str = BY_TRAINING, models: str = "1") -> Callable[[Any], Any]:
    """How models are trained: ``--training``, the learner, and single settings.

    Args:
        unset: What the help says of the settings that are not given.
        models: What it says of the number of ensemble members.
    """
    presets, selections = LateChoice(_training_presets), click.Choice(("last", "best"))
    own = "the learner's own, otherwise default" if unset == BY_TRAINING else unset
    return together(
        _setting("--training", type=presets, show_default=own, help="how models are trained"),
        learner(FITTING if unset == BY_TRAINING else unset),
        _setting("--steps", type=POSITIVE, metavar="N", show_default=unset, help="training steps of each model"),
        _setting(
            "--minutes",
            type=click.FloatRange(min=0, min_open=True),
            metavar="M",
            show_default=unset,
            help="minutes that the training of a model may take, turned into steps by timing the first",
        ),
        _setting("--batch-size", type=POSITIVE, metavar="N", show_default=unset, help="slices per training step"),
        _setting(
            "--models", type=POSITIVE, metavar="N", show_default=models, help="ensemble members to train per round"
        ),
        _setting(
            "--warm-start/--no-warm-start",
            default=None,
            show_default=unset,
            help="start from the model of the round before",
        ),
        _setting(
            "--select", type=selections, show_default=unset, help="keep the last weights, or the best on validation"
        ),
    )


settings = together(
    _setting("--preset", type=LateChoice(_stack_presets), default="auto", help="how slices are prepared"),
    _setting(
        "--spacing",
        type=float,
        metavar="MM",
        show_default="by the cohort",
        help="in-plane pixel size in mm; 0 keeps the images' own",
    ),
    _setting(
        "--size",
        type=PlaneSize(),
        metavar="ROWSxCOLUMNS",
        show_default="holds 95 % of the planes",
        help="size of a prepared slice",
    ),
    _setting(
        "--crop/--no-crop",
        default=None,
        help="use only the centre of planes that are larger than a prepared slice, instead of the whole plane",
    ),
    _setting("--metric", type=LateChoice(_embedding_presets), default="auto", help="losses of the learned metric"),
    _setting("--metric-steps", type=POSITIVE, metavar="N", help="training steps of the learned metric"),
    training(),
)
"""Settings of preparation, learned metric and training."""


def settings_of(options: Options, *, seed: int = 0) -> LoopSettings:
    """The settings of the loop."""
    from ActiveSegmentationLib.cohort import STACK_PRESETS
    from ActiveSegmentationLib.embedding import EMBEDDING_PRESETS
    from ActiveSegmentationLib.loop import LoopSettings

    stack = replace(STACK_PRESETS[options.preset], **_given(options, "spacing", "size", "crop"))
    embedding = EMBEDDING_PRESETS[options.metric]
    if options.metric_steps is not None:
        embedding = replace(embedding, steps=options.metric_steps)
    return LoopSettings(stack, embedding, training_of(options), options.models or 1, seed)


def training_of(options: Options, before: TrainingSettings | None = None) -> TrainingSettings:
    """The settings of the training, checked by the learner.

    Args:
        options: Options of ``training``.
        before: Settings of a study, which stay where the options name neither a preset nor another learner.

    Raises:
        BadInput: If there is no such learner, or an option cannot be used.
    """
    from ActiveSegmentationLib.segmentation import check_learner, training_for, with_options

    stays = options.training is None and options.learner in (None, before and before.learner)
    found = before if before is not None and stays else training_for(options.training, options.learner)
    found = with_options(found, _texts(options.learner_option))
    found = replace(found, **_given(options, "minutes", "batch_size", "select", "warm_start"))
    found = found if options.steps is None else found.with_steps(options.steps)
    check_learner(found, getattr(options, "annotation", None))
    return found


def any_given(options: Options) -> bool:
    """Whether any option of ``training`` was given."""
    names = ("training", "learner", "steps", "minutes", "batch_size", "models", "warm_start", "select")
    return bool(_given(options, *names)) or bool(options.learner_option)


def learner_of(options: Options) -> TrainingSettings:
    """The settings of the training where only the learner can be chosen, checked by the learner.

    Raises:
        BadInput: If there is no such learner, or an option cannot be used.
    """
    from ActiveSegmentationLib.segmentation import check_learner, training_for, with_options

    found = with_options(training_for(learner=options.learner), _texts(options.learner_option))
    check_learner(found)
    return found


def _texts(words: Iterable[str]) -> dict[str, str]:
    """The options of a learner that were typed as KEY=VALUE.

    Raises:
        BadInput: If one is written in another way, or twice.
    """
    texts: dict[str, str] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or key in texts:
            message = f"'{word}' is given twice." if equals else f"'{word}' is not of the form KEY=VALUE."
            raise BadInput(message, where="learner-option", advice="Write for example --learner-option width=32.")
        texts[key] = text
    return texts


def _given(options: Options, *names: str) -> dict[str, Any]:
    """The options that were given, by name."""
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}
