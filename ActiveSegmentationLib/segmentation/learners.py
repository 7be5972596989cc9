"""The learners of segmentations by name: the U-Net of this library, and those that installed packages add."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation.learner import SegmentationLearner
from ActiveSegmentationLib.segmentation.settings import DEFAULT_LEARNER

ENTRY_POINT_GROUP = "activesegmentation.learners"
"""Packages add learners by entry points of this group: the name is the learner's, the value a subclass of
``SegmentationLearner``."""


def learner_names() -> list[str]:
    """Names of all learners, that of this library first."""
    return [DEFAULT_LEARNER, *sorted({point.name for point in _installed()} - {DEFAULT_LEARNER})]


def learner_class(name: str) -> type[SegmentationLearner]:
    """The class of a learner.

    Args:
        name: "unet", or the name of an entry point.

    Raises:
        BadInput: If there is no such learner, or its package cannot be loaded.
    """
    if name == DEFAULT_LEARNER:
        return SegmentationLearner
    for point in _installed():
        if point.name == name:
            return _loaded(point)
    advice = f"Choose one of: {', '.join(learner_names())}. Or install the package that adds it."
    raise BadInput(f"There is no learner called '{name}'.", where="training settings", advice=advice)


def _installed() -> list[EntryPoint]:
    return list(entry_points(group=ENTRY_POINT_GROUP))


def _loaded(point: EntryPoint) -> type[SegmentationLearner]:
    try:
        found = point.load()
    except Exception as error:  # whatever the package's code raises
        raise _refused(point, f"cannot be loaded ({type(error).__name__}: {error})") from error
    if not isinstance(found, type) or not issubclass(found, SegmentationLearner):
        raise _refused(point, "is not a subclass of SegmentationLearner")
    return found


def _refused(point: EntryPoint, reason: str) -> BadInput:
    package = point.dist.name if point.dist is not None else point.value
    advice = "Repair or uninstall this package."
    return BadInput(f"The learner '{point.name}' {reason}.", where=f"package {package}", advice=advice)
