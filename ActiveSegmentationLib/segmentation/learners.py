"""The learners of segmentations by name: those of this library, and those that installed packages add."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.plugins import installed_plugins, load_plugin
from ActiveSegmentationLib.segmentation.learner import CAPABILITIES, DROPOUT, SegmentationLearner

if TYPE_CHECKING:
    from ActiveSegmentationLib.segmentation.settings import TrainingSettings

ENTRY_POINT_GROUP = "activesegmentation.learners"
"""Packages add learners by entry points of this group: the name is the learner's, the value a subclass of
``SegmentationLearner``."""


@dataclass(frozen=True)
class LearnerEntry:
    """A learner of this library, described without importing it.

    Attributes:
        place: Module within ``segmentation`` and name of the class.
        summary: One line that says when to use it.
        source: Paper or program that it comes from.
        lacks: What its models cannot do, keys of ``learner.CAPABILITIES``.
    """

    place: tuple[str, str]
    summary: str
    source: str = ""
    lacks: frozenset[str] = frozenset()


LEARNERS: dict[str, LearnerEntry] = {
    "unet": LearnerEntry(
        ("network_learner", "NetworkLearner"), "2D U-Net of adjustable size; trains within minutes.", "Ronneberger 2015"
    ),
}
"""The learners of this library by name; a learner's module is imported when it is asked for."""


def learner_names() -> list[str]:
    """Names of all learners, those of this library first."""
    added = {point.name for point in installed_plugins(ENTRY_POINT_GROUP)} - set(LEARNERS)
    return [*LEARNERS, *sorted(added)]


def learner_class(name: str) -> type[SegmentationLearner]:
    """The class of a learner.

    Args:
        name: Name from ``LEARNERS``, or of an entry point.

    Raises:
        BadInput: If there is no such learner, or its package cannot be loaded.
    """
    if name in LEARNERS:
        module, attribute = LEARNERS[name].place
        return getattr(importlib.import_module(f"ActiveSegmentationLib.segmentation.{module}"), attribute)
    for point in installed_plugins(ENTRY_POINT_GROUP):
        if point.name == name:
            return load_plugin(point, "learner", _is_learner, "a subclass of SegmentationLearner")
    advice = f"Choose one of: {', '.join(learner_names())}. Or install the package that adds it."
    raise BadInput(f"There is no learner called '{name}'.", where="training settings", advice=advice)


def lacking(settings: TrainingSettings) -> frozenset[str]:
    """What models trained with these settings cannot do: keys of ``learner.CAPABILITIES``.

    Does not import the learners of this library, so that a panel or ``status`` can ask.

    Raises:
        BadInput: If there is no such learner.
    """
    if settings.learner in LEARNERS:
        entry = LEARNERS[settings.learner]
        return entry.lacks if settings.has_dropout else entry.lacks | {DROPOUT}
    return frozenset(CAPABILITIES) - learner_class(settings.learner).capabilities(settings)


def _is_learner(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, SegmentationLearner)
