"""Layouts that installed packages add through the entry-point group ``activesegmentation.layouts``."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from importlib.metadata import EntryPoint, entry_points

from ActiveSegmentationLib.cohort.layouts.base import Layout
from ActiveSegmentationLib.common.errors import BadInput

ENTRY_POINT_GROUP = "activesegmentation.layouts"


def installed_layouts(known: Collection[str]) -> Iterator[Layout]:
    """Load the layouts of installed packages, by name.

    Args:
        known: Names that are taken.

    Raises:
        BadInput: If an entry point cannot be loaded, is not a ``Layout`` of its name, or its name is taken.
    """
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name):
        try:
            layout = point.load()
        except Exception as error:  # whatever the package's code raises
            raise _refused(point, f"cannot be loaded ({type(error).__name__}: {error})") from error
        if not isinstance(layout, Layout) or layout.name != point.name:
            raise _refused(point, f"is not a Layout called '{point.name}'")
        if point.name in known:
            raise _refused(point, "has the name of one of ours")
        yield layout


def _refused(point: EntryPoint, reason: str) -> BadInput:
    package = point.dist.name if point.dist is not None else point.value
    advice = "Repair or uninstall this package."
    return BadInput(f"The layout '{point.name}' {reason}.", where=f"package {package}", advice=advice)
