"""What a strategy is: a pool and a budget go in, slices with scores and reasons come out."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from ActiveSegmentationLib.acquisition.options import Option, parse_options
from ActiveSegmentationLib.acquisition.pool import Figure, Pool
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.seeds import generator

DIGITS = 6
"""Significant digits of a score that count in a ranking: what differs in later ones is rounding of some device."""

SMALLEST = 1e-300
"""Scores nearer to 0 than this are 0: they have no digits to round to."""


@dataclass(frozen=True)
class Choice:
    """One slice that a strategy asks for.

    Attributes:
        slice: The slice.
        score: The strategy's figure for it when it was picked, higher = asked more urgently; None where it has none.
        reason: Why, in plain words.
    """

    slice: SliceId
    score: float | None
    reason: str


@dataclass(frozen=True)
class Situation:
    """What a study or an experiment has, so that it can be told beforehand which strategies can be used in it.

    Attributes:
        members: Models trained in a round, or of the present model.
        dropout: Whether its models are trained with dropout.
        extents: Whether a person marked which slices of some volume show anything.
        experiment: Whether the annotator is simulated, so that the true labels of the pool are known.
    """

    members: int = 1
    dropout: bool = True
    extents: bool = False
    experiment: bool = False


class Strategy(abc.ABC):
    """Chooses slices.

    A strategy is made once from its name, argument and options, keeps no state between rounds and asks the pool for
    what it needs. All its random choices come from the generator it is handed. Dropout masks, networks that are trained
    for a choice and the draws of strategies that cannot judge yet follow the pool's seed, so that the score of the same
    slice by the same model and seed is the same.

    Args:
        argument: What follows the colon in "name:argument", None where there is no colon.
        options: Options as they were written, by name.

    Raises:
        BadInput: If the strategy takes no such argument or option.

    Attributes:
        name: Name under which people call it.
        summary: One line that tells a person when to use it.
        known_options: Options that it takes.
        needs: Words from ``NEEDS``: what must be there for it to be used at all.
        embeddings: Kinds of embedding that ``select`` asks the pool for; they may be prepared ahead.
        figures: Figures of predictions that ``select`` asks the pool for; all of one sampler come from one sweep.
        loss_head: Whether models must be trained with a head that predicts their loss.
        marks: Whether it looks at the extents that a person marked.
        options: Values of all its options.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    known_options: ClassVar[Mapping[str, Option]] = {}
    needs: frozenset[str] = frozenset()
    embeddings: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    loss_head: bool = False
    marks: bool = False

    def __init__(self, argument: str | None = None, options: Mapping[str, str] | None = None) -> None:
        self.options: dict[str, Any] = parse_options(self.known_options, options or {}, f"strategy {self.name}")
        self._take_argument(argument)

    @abc.abstractmethod
    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices.

        Args:
            pool: What there is to choose from, with the constraints that hold.
            budget: Number of slices wanted, at least 1.
            rng: Source of all randomness.

        Returns:
            At most ``budget`` choices, the most urgent first, no slice twice; fewer only where the pool allows no more.

        Raises:
            BadInput: If a score is not finite; the message names the slice.
        """

    def all_options(self) -> Mapping[str, Option]:
        """Options that may be given, with those of what it wraps."""
        return self.known_options

    def hindrance(self, situation: Situation) -> str:
        """Why it cannot be used in this situation and what would help, in words; "" where it can."""
        for need, (holds, words) in NEEDS.items():
            if need in self.needs and not holds(situation):
                return words
        return ""

    def _take_argument(self, argument: str | None) -> None:
        """Keep the argument; those that take none refuse it."""
        if argument is not None:
            advice = f"Use '{self.name}'."
            raise BadInput(f"'{self.name}' takes no argument, not '{argument}'.", where="strategy", advice=advice)


NEEDS: dict[str, tuple[Any, str]] = {
    "members": (lambda s: s.members >= 2, "Needs two or more models a round: set the number of models."),
    "dropout": (lambda s: s.dropout, "Needs models with dropout: choose a training preset that has it."),
    "extents": (lambda s: s.extents, "Needs volumes in which the slices that show anything are marked."),
    "truth": (lambda s: s.experiment, "For experiments only: it looks at the true labels of slices nobody annotated."),
}
"""What strategies may need: a test of the situation, and what to say where it fails."""


class ModelStrategy(Strategy):
    """A strategy that looks at a trained model, and draws balanced random slices before there is one."""

    def hold(self, pool: Pool) -> str:
        """Why it cannot judge this pool, without a full stop, as "No model is trained yet"; "" where it can.

        Strategies that train something of their own say here what they wait for instead of the model.
        """
        return "" if pool.model is not None else "No model is trained yet"

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices; see ``Strategy.select``."""
        why_not = self.hold(pool)
        if why_not:
            return without_knowledge(pool, budget, why_not)
        return self.select_by_model(pool, budget, rng)

    @abc.abstractmethod
    def select_by_model(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices where nothing holds it up; see ``Strategy.select``."""


class ScoreStrategy(ModelStrategy):
    """A strategy that gives every slice a score and takes the highest; others may wrap it.

    Attributes:
        only_order: Whether nothing but the order of the scores means anything, so that shares of them do not.
    """

    only_order: ClassVar[bool] = False

    @abc.abstractmethod
    def score(self, pool: Pool) -> np.ndarray:
        """Scores of all slices of the pool, where nothing holds the strategy up.

        Returns:
            (n,) finite float array, larger = asked more urgently.
        """

    @abc.abstractmethod
    def reason(self, pool: Pool, position: int, score: float) -> str:
        """Why the slice at ``position`` is asked for, one sentence in plain words with a full stop."""

    def select_by_model(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Take the slices of the highest scores, ties by position."""
        return highest(pool, checked_scores(self.score(pool), pool), budget, self.reason)


class Gains(Protocol):
    """What each slice would add to the choice made so far."""

    def gains(self) -> np.ndarray:
        """(n,) finite float64 array, 0 or more, for every slice of the pool whether it may be picked or not."""

    def take(self, position: int) -> str:
        """Count the slice at ``position`` as picked; returns why it was worth it, one sentence with a full stop."""


class Representativeness(Strategy):
    """A strategy that picks greedily what adds most to the choice so far; combinations build on it."""

    @abc.abstractmethod
    def start(self, pool: Pool, budget: int, rng: np.random.Generator) -> Gains:
        """The gains before the first pick, given what is annotated.

        Args:
            pool: What there is to choose from.
            budget: Number of slices wanted, at least 1.
            rng: Source of all randomness.
        """

    def hold(self, pool: Pool) -> str:
        """Why it cannot judge this pool, such as "No slice is annotated yet"; "" where it can."""
        return ""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Pick, again and again, the allowed slice with the largest gain, ties by position."""
        why_not = self.hold(pool)
        if why_not:
            return without_knowledge(pool, budget, why_not)
        return pick_greedily(self.start(pool, budget, rng), pool, budget)


def pick_greedily(state: Gains, pool: Pool, budget: int) -> list[Choice]:
    """Pick, again and again, the allowed slice with the largest gain, ties by position.

    Args:
        state: The gains before the first pick.
        pool: What there is to choose from.
        budget: Number of slices wanted.

    Raises:
        BadInput: If a gain is not finite.
    """
    allowance = pool.allowance()
    choices: list[Choice] = []
    while len(choices) < budget and allowance:
        gains = checked_scores(state.gains(), pool)
        position = best(gains, allowance.mask)
        allowance.take(position)
        choices.append(Choice(pool.ids[position], float(gains[position]), state.take(position)))
    return choices


FALLBACK = "balanced-random"
"""Strategy that stands in for those that cannot judge yet."""


def selection_generator(seed: int, strategy: str, round_number: int) -> np.random.Generator:
    """The source of a strategy's random draws in one round."""
    return generator(seed, "acquisition", strategy, round_number)


def without_knowledge(pool: Pool, budget: int, why: str) -> list[Choice]:
    """What strategies do that cannot judge yet: balanced random slices, and the reasons say so.

    They are those that "balanced-random" draws with the pool's seed in this round, whichever strategy falls back: all
    strategies that need a model start from the same slices.

    Args:
        pool: What there is to choose from.
        budget: Number of slices wanted.
        why: What is missing, without a full stop, such as "No model is trained yet".
    """
    from ActiveSegmentationLib.acquisition.balanced_random import BalancedRandom

    rng = selection_generator(pool.seed, FALLBACK, pool.round_number)
    chosen = BalancedRandom().select(pool, budget, rng)
    return [Choice(c.slice, None, f"{why}, so {as_clause(c.reason)}") for c in chosen]


def as_clause(sentence: str) -> str:
    """A sentence as it follows other words: with a small first letter."""
    return sentence[0].lower() + sentence[1:]


def highest(pool: Pool, scores: np.ndarray, budget: int, reason: Callable[[Pool, int, float], str]) -> list[Choice]:
    """The slices of the highest scores that the limits let through, ties by position.

    Args:
        pool: What there is to choose from.
        scores: (n,) finite scores.
        budget: Number of slices wanted.
        reason: Why a slice is asked for; see ``ScoreStrategy.reason``.
    """
    picks = pool.allowance().take_in_order(ranking(scores), budget)
    return [Choice(pool.ids[p], float(scores[p]), reason(pool, p, float(scores[p]))) for p in picks]


def ranking(scores: np.ndarray) -> np.ndarray:
    """Positions by falling score, equal scores (to ``DIGITS`` digits) by position: (n,) -> (n,) int64."""
    return np.lexsort((np.arange(len(scores)), -significant(scores)))


def best(scores: np.ndarray, allowed: np.ndarray) -> int:
    """The allowed position of the highest score, the lowest position among equals (to ``DIGITS`` digits)."""
    candidates = np.flatnonzero(allowed)
    return int(candidates[np.argmax(significant(scores[candidates]))])


def significant(values: np.ndarray) -> np.ndarray:
    """Values rounded to ``DIGITS`` significant digits."""
    values = np.asarray(values, dtype=np.float64)
    values = np.where(np.abs(values) < SMALLEST, 0.0, values)
    size = np.zeros_like(values)
    np.log10(np.abs(values), out=size, where=values != 0)
    unit = 10.0 ** (np.floor(size) - DIGITS + 1)
    return np.where(values == 0, 0.0, np.round(values / unit) * unit)


def checked_scores(scores: np.ndarray, pool: Pool) -> np.ndarray:
    """The scores (n,) as float64.

    Raises:
        BadInput: If one is NaN or infinite: a broken slice must never be ranked silently.
    """
    scores = np.asarray(scores, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise BadInput(
            f"The score of slice {pool.ids[bad[0]].index + 1} is {scores[bad[0]]}, not a finite number "
            f"({len(bad)} such slices).",
            where=pool.ids[bad[0]].volume,
            advice="Look at the image; exclude the volume if it is broken.",
        )
    return scores


def check_choices(choices: Sequence[Choice], pool: Pool, budget: int) -> None:
    """Hold a strategy's answer against its promise, whoever wrote the strategy.

    Raises:
        BadInput: If a score is NaN or infinite (a broken slice must never be ranked silently).
        ValueError: If there are too many choices, a slice twice, or one that may not be picked.
    """
    for choice in choices:
        if choice.score is not None and not np.isfinite(choice.score):
            raise BadInput(
                f"The score of slice {choice.slice.index + 1} is {choice.score}, not a finite number.",
                where=choice.slice.volume,
                advice="Look at the image; exclude the volume if it is broken.",
            )
    if len(choices) > budget:
        raise ValueError(f"{len(choices)} slices were chosen for a budget of {budget}")
    position_of = {slice_id: position for position, slice_id in enumerate(pool.ids)}
    allowance = pool.allowance()
    for choice in choices:
        if choice.slice not in position_of:
            raise ValueError(f"{choice.slice} is not in the pool")
        allowance.take(position_of[choice.slice])
