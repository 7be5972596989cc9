"""The learners of segmentations by name: the U-Net of this library, and those that installed packages add."""

from __future__ import annotations

from typing import Any

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.plugins import installed_plugins, load_plugin
from ActiveSegmentationLib.segmentation.learner import SegmentationLearner
from ActiveSegmentationLib.segmentation.settings import DEFAULT_LEARNER

ENTRY_POINT_GROUP = "activesegmentation.learners"
"""Packages add learners by entry points of this group: the name is the learner's, the value a subclass of
``SegmentationLearner``."""


def learner_names() -> list[str]:
    """Names of all learners, that of this library first."""
    return [
        DEFAULT_LEARNER,
        *sorted({point.name for point in installed_plugins(ENTRY_POINT_GROUP)} - {DEFAULT_LEARNER}),
    ]


def learner_class(name: str) -> type[SegmentationLearner]:
    """The class of a learner.

    Args:
        name: "unet", or the name of an entry point.

    Raises:
        BadInput: If there is no such learner, or its package cannot be loaded.
    """
    if name == DEFAULT_LEARNER:
        return SegmentationLearner
    for point in installed_plugins(ENTRY_POINT_GROUP):
        if point.name == name:
            return load_plugin(point, "learner", _is_learner, "a subclass of SegmentationLearner")
    advice = f"Choose one of: {', '.join(learner_names())}. Or install the package that adds it."
    raise BadInput(f"There is no learner called '{name}'.", where="training settings", advice=advice)


def _is_learner(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, SegmentationLearner)
