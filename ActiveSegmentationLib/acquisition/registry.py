"""Strategies by name, ours and those of installed packages."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable

from ActiveSegmentationLib.acquisition.base import Strategy
from ActiveSegmentationLib.common.errors import BadInput

ENTRY_POINT_GROUP = "activesegmentation.strategies"
"""Packages add strategies by an entry point of this group: its name is the strategy's, its value a factory."""

Factory = Callable[[str | None], Strategy]
"""Makes a strategy from what follows the colon in "name:argument" (None where there is no colon)."""

_factories: dict[str, type[Strategy]] = {}


def register(cls: type[Strategy]) -> type[Strategy]:
    """Class decorator: make a strategy known under ``cls.name``."""
    if cls.name in _factories:
        raise ValueError(f"two strategies are called '{cls.name}'")
    _factories[cls.name] = cls
    return cls


def strategy_names() -> dict[str, str]:
    """Every known strategy with its one-line summary, ours first, then those of other packages by name."""
    known = {name: cls.summary for name, cls in _factories.items()}
    for point in sorted(_entry_points(), key=lambda point: point.name):
        known.setdefault(point.name, f"From the package {point.dist.name if point.dist else point.value}.")
    return known


def create_strategy(name: str) -> Strategy:
    """Make the strategy called ``name``.

    Args:
        name: A name, or "name:argument" as in "coreset:pixels".

    Raises:
        BadInput: If there is none of that name, or it does not take that argument.
    """
    head, colon, argument = name.partition(":")
    factory: Factory | None = _factories.get(head)  # type: ignore[assignment]
    if factory is None:
        points = [point for point in _entry_points() if point.name == head]
        if not points:
            advice = f"Choose one of: {', '.join(strategy_names())}."
            raise BadInput(f"There is no strategy called '{head}'.", where="strategy", advice=advice)
        factory = points[0].load()
    return factory(argument if colon else None)


def refuse_argument(name: str, argument: str | None) -> None:
    """Raise ``BadInput`` if a strategy that takes no argument was given one."""
    if argument is not None:
        raise BadInput(f"'{name}' takes no argument, not '{argument}'.", where="strategy", advice=f"Use '{name}'.")


def _entry_points() -> importlib.metadata.EntryPoints:
    return importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)
