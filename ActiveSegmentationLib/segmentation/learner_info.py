"""Descriptions of the learners for people who choose one: what each is, lacks, needs and can be set to."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ActiveSegmentationLib.common.plugins import installed_plugins, package_of
from ActiveSegmentationLib.segmentation.learner import CAPABILITIES
from ActiveSegmentationLib.segmentation.learners import (
    ENTRY_POINT_GROUP,
    LEARNERS,
    install_line,
    lacking,
    learner_class,
    learner_names,
    missing_packages,
)
from ActiveSegmentationLib.segmentation.presets import TRAINING_PRESETS
from ActiveSegmentationLib.segmentation.settings import TrainingSettings


@dataclass(frozen=True)
class LearnerOption:
    """One of a learner's own settings.

    Attributes:
        default: Its value if none is given, a JSON value.
        meaning: What it does, in plain words.
    """

    default: Any
    meaning: str


@dataclass(frozen=True)
class LearnerInfo:
    """Description of a learner.

    Attributes:
        name: Name that users type.
        summary: One line that says what it is and when to use it.
        source: Paper or program that it comes from.
        lacks: What its models cannot do, keys of ``learner.CAPABILITIES``, in their order.
        needs_masks: Whether it cannot learn from scribbles.
        exports: Formats that its models are exported in; empty if it cannot be loaded.
        missing: What pip must install before it can be used.
        unavailable_reason: Why it cannot be used now and what to do; "" if it can.
        options: Its own settings by name; empty if they were not asked for.
    """

    name: str
    summary: str
    source: str = ""
    lacks: tuple[str, ...] = ()
    needs_masks: bool = False
    exports: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unavailable_reason: str = ""
    options: Mapping[str, LearnerOption] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values; ``install`` is the command that installs what is missing, "" if nothing is."""
        return {
            "name": self.name,
            "summary": self.summary,
            "source": self.source,
            "lacks": list(self.lacks),
            "needs_masks": self.needs_masks,
            "exports": list(self.exports),
            "missing": list(self.missing),
            "install": install_line(self.missing) if self.missing else "",
            "unavailable_reason": self.unavailable_reason,
            "options": {name: vars(option) for name, option in self.options.items()},
        }


def describe_learners(*, options: bool = False) -> list[LearnerInfo]:
    """Descriptions of all learners, in the order of ``learner_names``.

    Args:
        options: Whether to describe their options as well, for which every learner is imported, and with it PyTorch.

    Returns:
        A learner of another package that cannot be loaded is listed with its error as the reason.
    """
    return [describe_learner(name, options=options) for name in learner_names()]


def describe_learner(name: str, *, options: bool = False) -> LearnerInfo:
    """The description of one learner.

    Args:
        name: Name from ``learner_names``.
        options: Whether to describe its options as well, for which it is imported, and with it PyTorch.

    Raises:
        BadInput: If there is no such learner.
    """
    if name not in LEARNERS and name in {point.name for point in installed_plugins(ENTRY_POINT_GROUP)}:
        return _foreign(name)
    if name not in LEARNERS:
        learner_class(name)
    entry, missing = LEARNERS[name], tuple(missing_packages(name))
    reason = f"Not installed: {', '.join(missing)}. Install it: {install_line(missing)}" if missing else ""
    lacks = tuple(each for each in CAPABILITIES if each in lacking(_usual(name)))
    own = learner_options(name) if options and not missing else {}
    return LearnerInfo(name, entry.summary, entry.source, lacks, entry.needs_masks, entry.exports, missing, reason, own)


def learner_options(name: str) -> dict[str, LearnerOption]:
    """The settings that only this learner has, by name; imports it.

    Raises:
        BadInput: If there is no such learner, or it cannot be loaded.
    """
    cls = learner_class(name).options
    meanings = cls.meanings()
    return {key: LearnerOption(value, meanings.get(key, "")) for key, value in cls().to_json().items()}


def _usual(name: str) -> TrainingSettings:
    """The settings that a learner has if only its name is given."""
    return TRAINING_PRESETS.get(name, TrainingSettings(learner=name))


def _foreign(name: str) -> LearnerInfo:
    """The description of another package's learner, which must be loaded for it."""
    point = next(point for point in installed_plugins(ENTRY_POINT_GROUP) if point.name == name)
    try:
        learner = learner_class(name)
        can = learner.capabilities(_usual(name))
        summary, own = inspect.getdoc(learner) or "", learner_options(name)
    except Exception as error:  # noqa: BLE001 - an error of another package must not hide the others
        return LearnerInfo(name, f"From the package {package_of(point)}.", unavailable_reason=f"Not usable: {error}")
    lacks = tuple(each for each in CAPABILITIES if each not in can)
    first = summary.partition("\n\n")[0].replace("\n", " ")
    source = f"package {package_of(point)}"
    return LearnerInfo(name, first, source, lacks, learner.needs_masks, tuple(learner.exports), options=own)
