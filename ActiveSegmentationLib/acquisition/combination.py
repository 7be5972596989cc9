"""Combinations of two strategies: slices that are both representative and uncertain."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np

from ActiveSegmentationLib.acquisition.base import (
    Choice,
    Gains,
    GreedyState,
    RepresentativeStrategy,
    ScoreStrategy,
    Situation,
    Strategy,
    as_clause,
    highest,
    merged,
    pick_greedily,
)
from ActiveSegmentationLib.acquisition.k_center import Coreset
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.ranking import best, checked_scores, ranking, significant
from ActiveSegmentationLib.acquisition.round_inputs import ScoreSpec
from ActiveSegmentationLib.acquisition.uncertain import Entropy
from ActiveSegmentationLib.common.errors import BadInput

Weight = Annotated[float, Option("how much the score counts next to representativeness", least=0, most=100)]


@dataclass(frozen=True)
class Combination(Strategy):
    """Combines a strategy that covers the cohort with one that scores slices, as in "product:coreset+entropy".

    If one of the two is not ready, the other is used alone and the reasons say so.
    """

    source = "ours"
    requires = "what its parts need"

    cover: RepresentativeStrategy = field(default_factory=Coreset)
    scorer: ScoreStrategy = field(default_factory=Entropy)

    def __post_init__(self) -> None:
        """Check the options and the two parts.

        Raises:
            BadInput: If a part is not of the right kind.
        """
        super().__post_init__()
        if not (isinstance(self.cover, RepresentativeStrategy) and isinstance(self.scorer, ScoreStrategy)):
            message = "It combines one representative strategy and one that scores slices."
            raise BadInput(
                message, where=f"strategy {self.name}", advice=f"Use for example {self.name}:coreset+entropy."
            )

    @property
    def needs(self) -> frozenset[str]:
        """Those of both; see ``Strategy.needs``."""
        return self.cover.needs | self.scorer.needs

    @property
    def embeddings(self) -> tuple[str, ...]:
        """Those of both; see ``Strategy.embeddings``."""
        return merged(self.cover.embeddings, self.scorer.embeddings)

    @property
    def score_specs(self) -> tuple[ScoreSpec, ...]:
        """Those of both; see ``Strategy.score_specs``."""
        return merged(self.cover.score_specs, self.scorer.score_specs)

    @property
    def loss_head(self) -> bool:
        """Whether one of the two needs it; see ``Strategy.loss_head``."""
        return self.cover.loss_head or self.scorer.loss_head

    def unavailable_reason(self, situation: Situation) -> str:
        """The reason of either part; see ``Strategy.unavailable_reason``."""
        return self.cover.unavailable_reason(situation) or self.scorer.unavailable_reason(situation)

    def not_ready_reason(self, pool: Pool) -> str:
        """Not ready if neither part is; see ``Strategy.not_ready_reason``."""
        reason = self.scorer.not_ready_reason(pool)
        return reason if reason and self.cover.not_ready_reason(pool) else ""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices; see ``Strategy.select``."""
        no_score = self.scorer.not_ready_reason(pool)
        if no_score:
            return _because(no_score, self.cover.select(pool, budget, rng))
        scores = checked_scores(self.scorer.score(pool), pool)
        no_cover = self.cover.not_ready_reason(pool)
        if no_cover:
            return _because(no_cover, highest(self.scorer, pool, scores, budget))
        gains = self.cover.start(pool, budget, rng)
        return pick_greedily(self.state(pool, gains, scores, budget), pool, budget)

    @abc.abstractmethod
    def state(self, pool: Pool, gains: Gains, scores: np.ndarray, budget: int) -> GreedyState:
        """The greedy state that combines the gains of ``cover`` and the scores (n,) float64 of ``scorer``."""


class _Joint(GreedyState):
    """Greedy state that picks the slice with the largest joint value of gain and score.

    Args:
        combination: Computes the joint value and gives the reasons.
        pool: The pool.
        gains: Gains of the representative strategy.
        scores: (n,) scores.
    """

    def __init__(self, combination: JointCombination, pool: Pool, gains: Gains, scores: np.ndarray) -> None:
        self._combination, self._pool, self._gains, self._scores = combination, pool, gains, scores

    def pick(self, allowed: np.ndarray) -> tuple[int, float | None]:
        """The allowed slice with the largest joint value; see ``GreedyState.pick``."""
        values = np.zeros(len(allowed))
        values[allowed] = self._combination.joint(self._gains.gains()[allowed], self._scores[allowed])
        position = best(values, allowed)
        return position, float(values[position])

    def take(self, position: int) -> str:
        """Count the pick; see ``GreedyState.take``."""
        score = float(self._scores[position])
        return f"{self._gains.take(position)} {self._combination.scorer.reason(self._pool, position, score)}"


@dataclass(frozen=True)
class JointCombination(Combination):
    """Picks by one joint value of gain and score; subclasses define it."""

    weight: Weight = 1.0

    def state(self, pool: Pool, gains: Gains, scores: np.ndarray, budget: int) -> GreedyState:
        """The largest joint value next; see ``Combination.state``."""
        return _Joint(self, pool, gains, scores)

    @abc.abstractmethod
    def joint(self, gains: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Gains (n,) and scores (n,) of the slices that may be picked -> finite values (n,), larger = more wanted."""


@dataclass(frozen=True)
class Product(JointCombination):
    """Greedy on gain x score^weight, each scaled to 0..1 over the slices that may be picked (ours).

    A slice must both differ from annotated slices and be hard for the model. Needs what its parts need. Cost: that of
    its parts, and O(budget n).
    """

    name = "product"
    summary = "Slices both unlike any annotated one and hard for the model, such as product:coreset+entropy."

    def joint(self, gains: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Product of the two after scaling."""
        return _scaled(gains) * _scaled(scores) ** self.weight


@dataclass(frozen=True)
class Borda(JointCombination):
    """Greedy on the sum of ranks by gain and by score, equal values sharing their mean rank (Borda count; ours).

    Ranks need no common scale and are robust to outliers. Needs what its parts need. Cost: that of its parts, and
    O(budget n log n).
    """

    name = "borda"
    summary = "Slices that rank high both as unlike the annotated and as hard for the model; robust to outliers."

    def joint(self, gains: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Sum of the two ranks, divided by the number of slices."""
        from scipy.stats import rankdata

        ranks = rankdata(significant(gains)) + self.weight * rankdata(significant(scores))
        return ranks / len(gains)


@dataclass(frozen=True)
class Prefilter(Combination):
    """The representative strategy picks among candidates, the slices with the highest scores (the two stages of Ozdemir
    et al. 2021 and Yang et al. 2017, for any pair of strategies).

    The number of candidates is ``factor`` times the budget, more if limits leave too few. Needs what its parts need.
    Cost: that of its parts.
    """

    name = "prefilter"
    summary = "Among the slices that are hardest for the model, those most unlike each other and the annotated."
    source = "ours, after Ozdemir 2021"

    factor: Annotated[float, Option("candidates per requested slice", least=1, most=1000)] = 2.0

    def state(self, pool: Pool, gains: Gains, scores: np.ndarray, budget: int) -> GreedyState:
        """The candidate with the largest gain is picked next; see ``Combination.state``."""
        order = ranking(scores)
        order = order[pool.allowance().mask[order]]
        reach = int(np.ceil(self.factor * budget))

        def reason(position: int) -> str:
            return self.scorer.reason(pool, position, float(scores[position]))

        return _Candidates(gains, order, reach, budget, reason)


class _Candidates(GreedyState):
    """Greedy state that picks the slice with the largest gain among the first slices of an order.

    Args:
        gains: Gains of the representative strategy.
        order: Positions by falling score.
        reach: Number of candidates.
        more: Number of candidates to add if the limits leave none.
        reason: Gives the scorer's reason for a slice.
    """

    def __init__(self, gains: Gains, order: np.ndarray, reach: int, more: int, reason: Callable[[int], str]) -> None:
        self._gains, self._order, self._reach, self._more, self._reason = gains, order, reach, more, reason

    def pick(self, allowed: np.ndarray) -> tuple[int, float | None]:
        """The candidate with the largest gain; see ``GreedyState.pick``."""
        while not allowed[self._order[: self._reach]].any():
            self._reach += self._more
        candidates = np.zeros(len(allowed), dtype=bool)
        candidates[self._order[: self._reach]] = True
        return self._gains.pick(candidates & allowed)

    def take(self, position: int) -> str:
        """Count the pick; see ``GreedyState.take``."""
        return f"{self._gains.take(position)} {self._reason(position)}"


def _scaled(values: np.ndarray) -> np.ndarray:
    """Values (n,) scaled to 0..1; all 1 if they are equal."""
    values = significant(values)
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.ones(len(values))


def _because(why: str, choices: list[Choice]) -> list[Choice]:
    return [Choice(c.slice, c.score, f"{why}; {as_clause(c.reason)}") for c in choices]
