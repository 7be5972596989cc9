"""Strategies by name, ours and those of installed packages."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ActiveSegmentationLib.acquisition.base import Situation, Strategy
from ActiveSegmentationLib.acquisition.options import Option, split_name
from ActiveSegmentationLib.common.defaults import DEFAULT_STRATEGY
from ActiveSegmentationLib.common.errors import BadInput

ENTRY_POINT_GROUP = "activesegmentation.strategies"
"""Packages add strategies by an entry point of this group: its name is the strategy's, its value a factory."""

Factory = Callable[[str | None, Mapping[str, str]], Strategy]
"""Makes a strategy from the argument and the options in "name:argument/option=value"; a Strategy class is one."""

_factories: dict[str, type[Strategy]] = {}


@dataclass(frozen=True)
class StrategyInfo:
    """What is told of a strategy before it is used.

    Attributes:
        name: Name under which people call it.
        summary: One line that tells a person when to use it.
        options: Options that it takes.
        hindrance: Why it cannot be used in the situation asked about, "" where it can.
    """

    name: str
    summary: str
    options: Mapping[str, Option]
    hindrance: str

    def to_json(self) -> dict:
        """The same as JSON values."""
        options = {name: {"default": o.default, "meaning": o.meaning} for name, o in self.options.items()}
        return {"name": self.name, "summary": self.summary, "options": options, "hindrance": self.hindrance}


def register(cls: type[Strategy]) -> type[Strategy]:
    """Class decorator: make a strategy known under ``cls.name``."""
    if cls.name in _factories:
        raise ValueError(f"two strategies are called '{cls.name}'")
    _factories[cls.name] = cls
    return cls


def strategy_names() -> dict[str, str]:
    """Every known strategy with its one-line summary, the recommended one first, ours, then those of other packages."""
    known = {
        name: _factories[name].summary for name in sorted(_factories, key=lambda name: (name != DEFAULT_STRATEGY, name))
    }
    for point in sorted(_entry_points(), key=lambda point: point.name):
        known.setdefault(point.name, f"From the package {point.dist.name if point.dist else point.value}.")
    return known


def strategies(situation: Situation | None = None) -> list[StrategyInfo]:
    """Every known strategy, ours first, then those of other packages by name.

    Args:
        situation: What there is, for the hindrances; one in which everything can be used unless given.

    Returns:
        A strategy of another package that cannot be loaded is listed with its error as the hindrance.
    """
    found = []
    for name, summary in strategy_names().items():
        try:
            strategy = create_strategy(name)
            hindrance = strategy.hindrance(situation) if situation else ""
            found.append(StrategyInfo(name, type(strategy).summary, strategy.all_options(), hindrance))
        except Exception as error:  # whatever a foreign package raises must not hide the others
            if name in _factories:
                raise
            found.append(StrategyInfo(name, summary, {}, f"It cannot be loaded ({error})."))
    return found


def create_strategy(name: str) -> Strategy:
    """Make the strategy called ``name``.

    Args:
        name: A name, or "name:argument" as in "coreset:pixels", either followed by options as in
            "power:entropy/beta=5".

    Raises:
        BadInput: If there is none of that name, or it does not take that argument or option.
    """
    head, argument, options = split_name(name)
    return make_strategy(head, argument, options)


def make_strategy(head: str, argument: str | None = None, options: Mapping[str, str] | None = None) -> Strategy:
    """Make a strategy from the parts of its name; see ``create_strategy``.

    Args:
        head: Name without argument and options.
        argument: What followed the colon.
        options: Options as they were written.

    Raises:
        BadInput: As ``create_strategy`` does.
    """
    factory: Factory | None = _factories.get(head)
    if factory is None:
        points = [point for point in _entry_points() if point.name == head]
        if not points:
            advice = f"Choose one of: {', '.join(strategy_names())}."
            raise BadInput(f"There is no strategy called '{head}'.", where="strategy", advice=advice)
        try:
            factory = points[0].load()
        except Exception as error:
            package = points[0].dist.name if points[0].dist else points[0].value
            advice = "Repair or remove that package, or choose another strategy."
            message = f"The package {package} cannot be loaded ({type(error).__name__}: {error})."
            raise BadInput(message, where=f"strategy {head}", advice=advice) from error
    return factory(argument, options or {})


def _entry_points() -> importlib.metadata.EntryPoints:
    return importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)
