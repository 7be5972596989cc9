"""Plug-ins: strategies, cohort layouts and learners that installed packages add through entry points."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ActiveSegmentationLib.common.errors import BadInput


def installed_plugins(group: str) -> list[EntryPoint]:
    """The entry points of a group, sorted by name; nothing is loaded.

    Args:
        group: Name of the group, such as "activesegmentation.strategies".
    """
    return sorted(entry_points(group=group), key=lambda point: point.name)


def package_of(point: EntryPoint) -> str:
    """Name of the package that added an entry point, or what it refers to if the package is unknown."""
    return point.dist.name if point.dist is not None else point.value


def load_plugin(point: EntryPoint, kind: str, fits: Callable[[Any], bool], wanted: str) -> Any:
    """Load what an entry point refers to, and check it.

    Args:
        point: The entry point.
        kind: What it adds, for errors: "strategy", "layout" or "learner".
        fits: Whether a loaded value is of the right kind.
        wanted: What it must be, for errors: "a subclass of Strategy".

    Raises:
        BadInput: If it cannot be loaded or does not fit; names the package.
    """
    try:
        found = point.load()
    except Exception as error:  # whatever the package's code raises
        raise refused_plugin(point, kind, f"cannot be loaded ({type(error).__name__}: {error})") from error
    if not fits(found):
        raise refused_plugin(point, kind, f"is not {wanted}")
    return found


def refused_plugin(point: EntryPoint, kind: str, reason: str) -> BadInput:
    """The error for a plug-in that cannot be used."""
    advice = f"Repair or uninstall this package, or choose another {kind}."
    return BadInput(f"The {kind} '{point.name}' {reason}.", where=f"package {package_of(point)}", advice=advice)
