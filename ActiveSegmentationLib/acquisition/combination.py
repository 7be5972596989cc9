"""Combinations: slices that stand for others and of which the model is unsure, both at once."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.base import (
    Choice,
    Gains,
    Representativeness,
    Situation,
    Strategy,
    as_clause,
    best,
    checked_scores,
    highest,
    without_knowledge,
)
from ActiveSegmentationLib.acquisition.options import Option, split_name
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.registry import make_strategy, strategy_names
from ActiveSegmentationLib.acquisition.wrapping import Scorer
from ActiveSegmentationLib.common.errors import BadInput

WEIGHT = Option(1.0, "how much the score counts beside representativeness", least=0, most=100)


class Combination(Strategy):
    """A strategy of two, named as in "product:coreset+entropy": one that covers the cohort and one that scores.

    Options that the combination does not know go to the one of the two that does. Where the score cannot judge yet,
    representativeness alone decides, and the other way round; the reasons say so.
    """

    usual: ClassVar[str] = "coreset+entropy"

    def __init__(self, argument: str | None = None, options: Mapping[str, str] | None = None) -> None:
        given = options or {}
        super().__init__(None, {name: text for name, text in given.items() if name in self.known_options})
        others = {name: text for name, text in given.items() if name not in self.known_options}
        first, second = (self._part(text, others) for text in _halves(argument or self.usual, self.name))
        parts = (first, second) if isinstance(first, Representativeness) else (second, first)
        if not (isinstance(parts[0], Representativeness) and isinstance(parts[1], Scorer)):
            message = f"'{argument}' does not join one strategy that covers the cohort and one that scores slices."
            raise BadInput(
                message, where=f"strategy {self.name}", advice=f"Write for example {self.name}:{self.usual}."
            )
        if others:
            advice = "Its options and those of its parts may be given."
            raise BadInput(f"There is no option '{min(others)}'.", where=f"strategy {self.name}", advice=advice)
        self.cover: Representativeness = parts[0]
        self.scorer: Scorer = parts[1]
        self.parts: tuple[Strategy, Strategy] = (first, second)
        self.needs = first.needs | second.needs
        self.embeddings = tuple(dict.fromkeys(first.embeddings + second.embeddings))
        self.figures = tuple(dict.fromkeys(first.figures + second.figures))
        self.loss_head = first.loss_head or second.loss_head

    def all_options(self) -> Mapping[str, Option]:
        """Its own options and those of its two parts; see ``Strategy.all_options``."""
        return {**self.parts[0].all_options(), **self.parts[1].all_options(), **self.known_options}

    def hindrance(self, situation: Situation) -> str:
        """What hinders one of the two; see ``Strategy.hindrance``."""
        return self.parts[0].hindrance(situation) or self.parts[1].hindrance(situation)

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices; see ``Strategy.select``."""
        no_cover, no_score = self.cover.hold(pool), self.scorer.hold(pool)
        if no_cover and no_score:
            return without_knowledge(pool, budget, no_score)
        if no_score:
            return _because(no_score, self.cover.select(pool, budget, rng))
        scores = checked_scores(self.scorer.score(pool), pool)
        if no_cover:
            return _because(no_cover, highest(pool, scores, budget, self.scorer.reason))
        return self.select_by_both(pool, scores, budget, rng)

    @abc.abstractmethod
    def select_by_both(self, pool: Pool, scores: np.ndarray, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices by the scores (n,) float64 and the gains of ``cover``; see ``Strategy.select``."""

    def _part(self, text: str, options: dict[str, str]) -> Strategy:
        """One of the two, with its options taken out of those that are left."""
        head, argument, _ = split_name(text)
        known = make_strategy(head, argument).all_options()
        own = {name: options.pop(name) for name in list(options) if name in known}
        return make_strategy(head, argument, own)


class GreedyCombination(Combination):
    """Picks one slice after the other by gain and score; subclasses say how the two become one number."""

    def select_by_both(self, pool: Pool, scores: np.ndarray, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Pick, again and again, the slice of the largest joint value, ties by position."""
        state, allowance = self.cover.start(pool, budget, rng), pool.allowance()
        choices: list[Choice] = []
        while len(choices) < budget and allowance:
            gains = checked_scores(state.gains(), pool)
            values = np.zeros(len(pool))
            values[allowance.mask] = self.joint(gains[allowance.mask], scores[allowance.mask])
            values = checked_scores(values, pool)
            position = best(values, allowance.mask)
            allowance.take(position)
            choices.append(self._choice(pool, state, position, float(values[position]), float(scores[position])))
        return choices

    def _choice(self, pool: Pool, state: Gains, position: int, value: float, score: float) -> Choice:
        reason = f"{state.take(position)} {self.scorer.reason(pool, position, score)}"
        return Choice(pool.ids[position], value, reason)

    @abc.abstractmethod
    def joint(self, gains: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Gains (n,) and scores (n,) of the slices that may be picked -> finite values (n,), larger = more wanted."""


def _halves(text: str, name: str) -> tuple[str, str]:
    """The two names joined by "+"; a plus within an argument is left alone.

    Raises:
        BadInput: If the text does not join two known names.
    """
    known = strategy_names()
    for place in (n for n, letter in enumerate(text) if letter == "+"):
        halves = text[:place], text[place + 1 :]
        if all(split_name(half)[0] in known for half in halves):
            return halves
    advice = f"Write for example {name}:coreset+entropy."
    raise BadInput(f"'{text}' does not join two strategies.", where=f"strategy {name}", advice=advice)


def _because(why: str, choices: list[Choice]) -> list[Choice]:
    return [Choice(c.slice, c.score, f"{why}; {as_clause(c.reason)}") for c in choices]
