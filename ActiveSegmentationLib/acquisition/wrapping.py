"""Strategies around others: they take any score and choose by it in their own way."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from ActiveSegmentationLib.acquisition.base import Choice, Situation, Strategy, checked_scores, without_knowledge
from ActiveSegmentationLib.acquisition.options import Option, parse_options
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.registry import make_strategy
from ActiveSegmentationLib.common.errors import BadInput


@runtime_checkable
class Scorer(Protocol):
    """What can be wrapped: every ``ScoreStrategy``, and any strategy that has these three."""

    def score(self, pool: Pool) -> np.ndarray:
        """Scores of all slices of the pool, see ``ScoreStrategy.score``."""

    def reason(self, pool: Pool, position: int, score: float) -> str:
        """Why the slice at ``position`` is asked for, see ``ScoreStrategy.reason``."""

    def hold(self, pool: Pool) -> str:
        """Why it cannot judge this pool yet, see ``ModelStrategy.hold``."""


class ScoreWrapper(Strategy):
    """A strategy around one that scores, named by the argument as in "power:bald".

    Options that the wrapper does not know go to what it wraps, whose needs, figures and embeddings are its own.

    Raises:
        BadInput: If the argument names no strategy, or one without scores.

    Attributes:
        wrapped: The strategy that scores.
        scorer: The same.
    """

    usual: ClassVar[str] = "entropy"
    """What is wrapped unless told."""
    without_shares: ClassVar[str] = "Use for example stochastic-batches, which compares sums."
    """What to do instead where the scores have no size."""

    def __init__(self, argument: str | None = None, options: Mapping[str, str] | None = None) -> None:
        given = options or {}
        super().__init__(None, {name: text for name, text in given.items() if name in self.known_options})
        head, _, inner = (self.usual if argument is None else argument).partition(":")
        others = {name: text for name, text in given.items() if name not in self.known_options}
        known = make_strategy(head, inner or None).all_options()
        parse_options({**known, **self.known_options}, given, f"strategy {self.name}")
        self.wrapped = make_strategy(head, inner or None, others)
        if not isinstance(self.wrapped, Scorer):
            message = f"'{argument}' gives slices no scores that could be used here."
            advice = f"Use for example '{self.name}:entropy'."
            raise BadInput(message, where=f"strategy {self.name}", advice=advice)
        self.scorer: Scorer = self.wrapped
        if self.shares() and getattr(self.wrapped, "only_order", False):
            message = f"Only the order of the scores of '{self.wrapped.name}' means anything, not their size."
            raise BadInput(message, where=f"strategy {self.name}", advice=self.without_shares)
        self.needs, self.loss_head = self.wrapped.needs, self.wrapped.loss_head
        self.embeddings, self.figures = self.wrapped.embeddings, self.wrapped.figures
        self.marks = self.wrapped.marks

    def all_options(self) -> Mapping[str, Option]:
        """Its own options and those of what it wraps; see ``Strategy.all_options``."""
        return {**self.wrapped.all_options(), **self.known_options}

    def shares(self) -> bool:
        """Whether sizes of scores count, not their order or sums."""
        return False

    def hindrance(self, situation: Situation) -> str:
        """What hinders the wrapped strategy; see ``Strategy.hindrance``."""
        return self.wrapped.hindrance(situation)

    def hold(self, pool: Pool) -> str:
        """What holds up the wrapped strategy; see ``ModelStrategy.hold``."""
        return self.scorer.hold(pool)

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices; see ``Strategy.select``."""
        why_not = self.hold(pool)
        if why_not:
            return without_knowledge(pool, budget, why_not)
        return self.select_by_scores(pool, checked_scores(self.scorer.score(pool), pool), budget, rng)

    @abc.abstractmethod
    def select_by_scores(self, pool: Pool, scores: np.ndarray, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices by the wrapped strategy's scores (n,) float64; see ``Strategy.select``."""
