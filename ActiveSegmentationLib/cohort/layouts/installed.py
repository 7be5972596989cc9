"""Layouts that installed packages add through the entry-point group ``activesegmentation.layouts``."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ActiveSegmentationLib.cohort.layouts.base import Layout
from ActiveSegmentationLib.common.plugins import installed_plugins, load_plugin, refused_plugin

ENTRY_POINT_GROUP = "activesegmentation.layouts"


def installed_layouts(known: Collection[str]) -> Iterator[Layout]:
    """Load the layouts of installed packages, by name.

    Args:
        known: Names that are taken.

    Raises:
        BadInput: If an entry point cannot be loaded, is not a ``Layout`` of its name, or its name is taken.
    """
    for point in installed_plugins(ENTRY_POINT_GROUP):

        def fits(found: object, name: str = point.name) -> bool:
            return isinstance(found, Layout) and found.name == name

        layout = load_plugin(point, "layout", fits, f"a Layout called '{point.name}'")
        if point.name in known:
            raise refused_plugin(point, "layout", "has the name of one of ours")
        yield layout
