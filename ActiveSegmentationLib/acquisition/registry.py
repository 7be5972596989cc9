"""Registry: finds strategies by name, ours and those of installed packages.

Each of our strategies is one line of ``FAMILIES``; its module is imported when the strategy is first used. Names such
as "power:bald/beta=5/passes=20" are parsed only here, according to the typed arguments of the constructors: this one
creates ``Power(Bald(passes=20), beta=5.0)``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any

from ActiveSegmentationLib.acquisition.base import RepresentativeStrategy, ScoreStrategy, Situation, Strategy
from ActiveSegmentationLib.acquisition.options import (
    Setting,
    parts_of,
    settings_of,
    split_name,
    unknown_option,
)
from ActiveSegmentationLib.common.defaults import DEFAULT_STRATEGY
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.plugins import installed_plugins, load_plugin, package_of

FAMILIES: dict[str, dict[str, str]] = {
    "random choice": {
        "random": "random_choice:Random",
        "balanced-random": "random_choice:BalancedRandom",
        "strided": "random_choice:Strided",
        "foreground-random": "foreground_random:ForegroundRandom",
    },
    "uncertainty": {
        "entropy": "uncertain:Entropy",
        "margin": "uncertain:Margin",
        "least-confidence": "uncertain:LeastConfidence",
        "class-entropy": "uncertain:ClassEntropy",
        "dropout-entropy": "uncertain:DropoutEntropy",
        "bald": "uncertain:Bald",
        "dropout-jsd": "uncertain:DropoutJsd",
        "tta-jsd": "uncertain:AugmentationJsd",
        "dropout-variance": "uncertain:DropoutVariance",
        "mean-std": "uncertain:MeanStd",
        "variance-ratio": "uncertain:VarianceRatio",
        "ensemble-entropy": "uncertain:EnsembleEntropy",
        "learning-loss": "learning_loss:LearningLoss",
    },
    "representativeness": {
        "coreset": "k_center:Coreset",
        "group-contrastive-coreset": "k_center:GroupContrastiveCoreset",
        "coregcn": "core_gcn:CoreGCN",
        "typiclust": "typiclust:TypiClust",
        "probcover": "probcover:ProbCover",
        "facility-location": "facility_location:FacilityLocation",
        "vaal": "vaal:Vaal",
        "sample-ratio": "sample_ratio:SampleRatio",
    },
    "both": {
        "bayesian-sample-querying": "two_stages:BayesianSampleQuerying",
        "suggestive-annotation": "two_stages:SuggestiveAnnotation",
        "badge": "badge:Badge",
        "usim-cosine": "usim:UsimCosine",
        "usim-fisher": "usim:UsimFisher",
        "product": "combination:Product",
        "borda": "combination:Borda",
        "prefilter": "combination:Prefilter",
    },
    "wrappers": {
        "recommended": "balanced:Recommended",
        "balanced": "balanced:Balanced",
        "stochastic-batches": "wrappers:StochasticBatches",
        "power": "wrappers:Power",
        "clasp-pe": "wrappers:ClaspPe",
        "per-second": "wrappers:PerSecond",
    },
}
"""Our strategies by family: name, then module and class."""

BUILT_IN: dict[str, str | type[Strategy]] = {name: path for rows in FAMILIES.values() for name, path in rows.items()}
"""Module and class of our strategies by name."""

ENTRY_POINT_GROUP = "activesegmentation.strategies"
"""Packages add strategies by entry points of this group: the name is the strategy's, the value a ``Strategy`` class."""


@dataclass(frozen=True)
class StrategyInfo:
    """Description of a strategy for users who choose one.

    Attributes:
        name: Name that users type.
        summary: One line that says when to use it.
        options: Options that it takes, including those of the strategies that it wraps.
        unavailable_reason: Why it cannot be used in the given situation, "" if it can.
    """

    name: str
    summary: str
    options: Mapping[str, Setting]
    unavailable_reason: str

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values; the key of the reason is "hindrance", for compatibility with existing files and
        messages."""
        options = {
            name: {"default": setting.default_text, "meaning": setting.meaning}
            for name, setting in self.options.items()
        }
        return {"name": self.name, "summary": self.summary, "options": options, "hindrance": self.unavailable_reason}


def strategy_names() -> list[str]:
    """Every known strategy: the default one, then ours and then those of other packages, each by name."""
    ours = sorted(BUILT_IN, key=lambda name: (name != DEFAULT_STRATEGY, name))
    return [*ours, *sorted({point.name for point in _entry_points()} - set(ours))]


def strategies(situation: Situation | None = None) -> list[StrategyInfo]:
    """Descriptions of every known strategy, in the order of ``strategy_names``.

    Args:
        situation: What the study offers, for the reasons. Default: a situation in which everything can be used.

    Returns:
        A strategy of another package that cannot be loaded is listed with its error as the reason.
    """
    found = []
    for name in strategy_names():
        try:
            strategy = create_strategy(name)
            reason = strategy.unavailable_reason(situation) if situation else ""
            found.append(StrategyInfo(name, type(strategy).summary, known_options(name), reason))
        except Exception as error:  # an error of another package must not hide the other strategies
            if name in BUILT_IN:
                raise
            summary = f"From the package {package_of(_entry_point(name))}."
            found.append(StrategyInfo(name, summary, {}, f"It cannot be loaded ({error})."))
    return found


def strategy_class(name: str) -> type[Strategy]:
    """The class of the strategy called ``name``, without argument and options.

    Raises:
        BadInput: If there is no strategy of that name, or its package is broken.
    """
    known = BUILT_IN.get(name)
    if known is None:
        return _foreign_class(name)
    if isinstance(known, type):
        return known
    module, _, cls = known.partition(":")
    return getattr(importlib.import_module(f"ActiveSegmentationLib.acquisition.{module}"), cls)


def create_strategy(name: str) -> Strategy:
    """Create the strategy called ``name``.

    Args:
        name: A name, or "name:argument" as in "coreset:pixels", optionally followed by options as in
            "power:entropy/beta=5".

    Raises:
        BadInput: If there is no such strategy, or it does not take that argument or option.

    Example:
        >>> create_strategy("power:entropy/beta=5").beta
        5.0
    """
    head, argument, options = split_name(name)
    unknown = set(options) - set(known_options(head, argument))
    if unknown:
        raise unknown_option(min(unknown), known_options(head, argument), f"strategy {head}")
    return _built(head, argument, options)


def known_options(head: str, argument: str | None = None) -> dict[str, Setting]:
    """Options of a strategy by name, with those of the strategies that it wraps or joins.

    Where two have an option of the same name, it is the outer one's.

    Args:
        head: Name without argument and options.
        argument: The text after the colon; it may name the wrapped strategy.

    Raises:
        BadInput: If there is no such strategy.
    """
    cls = strategy_class(head)
    options = _own_options(cls)
    for part in _part_names(cls, head, argument):
        inner, inner_argument, _ = split_name(part)
        options = {**known_options(inner, inner_argument), **options}
    return options


def _built(head: str, argument: str | None, options: dict[str, str]) -> Strategy:
    """The strategy with these options; each belongs to it or to a strategy that it wraps."""
    cls, where = strategy_class(head), f"strategy {head}"
    own = _own_options(cls)
    keywords: dict[str, Any] = {
        own[name].keyword: own[name].parse(text, where) for name, text in options.items() if name in own
    }
    left = {name: text for name, text in options.items() if name not in own}
    parts = parts_of(cls, Strategy)
    if parts:
        names = _part_names(cls, head, argument)
        keywords |= _assigned(parts, [_part(name, left) for name in names], head, argument)
    elif argument is not None:
        setting = next((s for s in settings_of(cls).values() if s.option.argument), None)
        if setting is None:
            raise BadInput(f"'{head}' takes no argument, not '{argument}'.", where=where, advice=f"Use '{head}'.")
        keywords[setting.keyword] = setting.parse(argument, where)
    return cls(**keywords)


def _part(name: str, left: dict[str, str]) -> Strategy:
    """The wrapped strategy called ``name``; its options are removed from the remaining ones."""
    head, argument, _ = split_name(name)
    options = {option: left.pop(option) for option in list(left) if option in known_options(head, argument)}
    return _built(head, argument, options)


def _own_options(cls: type[Strategy]) -> dict[str, Setting]:
    return {name: setting for name, setting in settings_of(cls).items() if not setting.option.argument}


def _part_names(cls: type[Strategy], head: str, argument: str | None) -> tuple[str, ...]:
    """Names of the strategies that are wrapped or joined, as they were written or by default."""
    parts = parts_of(cls, Strategy)
    if not parts:
        return ()
    if argument is None:
        usual = cls()
        return tuple(getattr(usual, part).name for part in parts)
    return (argument,) if len(parts) == 1 else _halves(argument, head)


def _halves(text: str, head: str) -> tuple[str, str]:
    """The two names joined by "+"; a plus within an argument does not count.

    Raises:
        BadInput: If the text is not two known names joined by "+".
    """
    known = strategy_names()
    for place in (n for n, letter in enumerate(text) if letter == "+"):
        halves = text[:place], text[place + 1 :]
        if all(split_name(half)[0] in known for half in halves):
            return halves
    advice = f"Write for example {head}:coreset+entropy."
    raise BadInput(f"'{text}' does not combine two strategies.", where=f"strategy {head}", advice=advice)


def _assigned(keywords: list[str], parts: list[Strategy], head: str, argument: str | None) -> dict[str, Strategy]:
    """Assign strategies to constructor arguments; two strategies may be written in either order."""
    if len(parts) == 1:
        return dict(zip(keywords, parts, strict=True))
    cover, score = parts if isinstance(parts[0], RepresentativeStrategy) else reversed(parts)
    if not (isinstance(cover, RepresentativeStrategy) and isinstance(score, ScoreStrategy)):
        message = f"'{argument}' does not combine one representative strategy and one that scores slices."
        raise BadInput(message, where=f"strategy {head}", advice=f"Write for example {head}:coreset+entropy.")
    return {"cover": cover, "scorer": score}


def _foreign_class(name: str) -> type[Strategy]:
    return load_plugin(_entry_point(name), "strategy", _is_strategy, "a subclass of Strategy")


def _is_strategy(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, Strategy)


def _entry_point(name: str) -> EntryPoint:
    points = [point for point in _entry_points() if point.name == name]
    if not points:
        advice = f"Choose one of: {', '.join(strategy_names())}."
        raise BadInput(f"There is no strategy called '{name}'.", where="strategy", advice=advice)
    return points[0]


def _entry_points() -> list[EntryPoint]:
    return installed_plugins(ENTRY_POINT_GROUP)
