"""Base classes of strategies: a strategy gets a pool and a budget, and returns slices with scores and reasons."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.constraints import Allowance
from ActiveSegmentationLib.acquisition.options import check_values, parts_of, settings_of
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.ranking import best, checked_scores, ranking
from ActiveSegmentationLib.acquisition.round_inputs import ScoreSpec
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.seeds import generator

NO_MODEL = "No model is trained yet"
"""Why strategies that use a model are not ready."""


@dataclass(frozen=True)
class Choice:
    """One slice that a strategy selects.

    Attributes:
        slice: The slice.
        score: The strategy's score when it picked the slice, higher = more urgent; None if it computes none.
        reason: Why, in plain words.
    """

    slice: SliceId
    score: float | None
    reason: str


@dataclass(frozen=True)
class Situation:
    """What a study or an experiment offers, to find out beforehand which strategies it can use.

    Attributes:
        members: Number of ensemble members.
        dropout: Whether its models are trained with dropout.
        extents: Whether a person marked the extent of at least one volume.
        experiment: Whether the annotator is simulated, so that the true labels of the pool are known.
        lacks: What its models cannot do in addition, keys of ``segmentation.CAPABILITIES``.
    """

    members: int = 1
    dropout: bool = True
    extents: bool = False
    experiment: bool = False
    lacks: frozenset[str] = frozenset()


NEEDS: dict[str, tuple[Callable[[Situation], bool], str]] = {
    "members": (lambda s: s.members >= 2, "Needs two or more ensemble members: set the number of models."),
    "dropout": (lambda s: s.dropout, "Needs models with dropout: choose a training preset that has it."),
    "gradients": (
        lambda s: "gradients" not in s.lacks,
        "Needs gradients of single slices, which this learner does not give: choose another learner.",
    ),
    "features": (
        lambda s: "features" not in s.lacks,
        "Needs features of slices, which this learner does not give: choose another learner.",
    ),
    "augmentation": (
        lambda s: "augmentation" not in s.lacks,
        "Needs predictions of rotated slices, which this learner does not give: choose another learner.",
    ),
    "loss-head": (
        lambda s: "loss-head" not in s.lacks,
        "Needs a model that learns to predict its loss, which this learner cannot: choose another learner.",
    ),
    "extents": (
        lambda s: s.extents,
        "Needs volumes with a marked extent: mark the first and last slice that show a structure.",
    ),
    "truth": (
        lambda s: s.experiment,
        "For experiments only: it uses the reference labels of slices that are not annotated.",
    ),
}
"""What a strategy may need: a test of the situation, and the message if it fails."""

MODEL_EMBEDDINGS = frozenset({"segmenter", "segmenter-map"})
"""Kinds of embedding that are features of the current model."""


class Strategy(abc.ABC):
    """Selects the slices to annotate next; the base class of all strategies.

    - Its options are typed keyword arguments of the constructor (see ``options``); it keeps no state between rounds.
    - It requests embeddings and scores from the pool, and declares which ones, so that they are computed together.
    - All its random choices come from the generator that ``select`` gets. Dropout masks and networks that are trained
      during one selection use the pool's seed, so that the same model, slice and seed give the same score.

    Attributes:
        name: Name that users type.
        summary: One line that says when to use it.
        source: Paper or study that it comes from, for the table of all strategies.
        requires: What it needs, in words, for the same table.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str] = ""
    requires: ClassVar[str] = "nothing"

    def __post_init__(self) -> None:
        """Check the options of strategies that are dataclasses.

        Raises:
            BadInput: If a value is out of range.
        """
        check_values(self, f"strategy {self.name}")

    def __str__(self) -> str:
        """The name that makes an equal strategy, with all options that are not at their default.

        Raises:
            BadInput: If a part has an option that its name would hand to the whole.

        Example:
            >>> str(Power(Bald(passes=20), beta=5.0))
            'power:bald/beta=5.0/passes=20'
        """
        head, options = self._written()
        return "/".join([head, *(f"{name}={text}" for name, text in options.items())])

    def _written(self) -> tuple[str, dict[str, str]]:
        """The name with its argument, and the options as they are written; its own before those of its parts."""
        head, options, own = self.name, {}, settings_of(type(self))
        for name, setting in own.items():
            value = getattr(self, setting.keyword)
            if value != setting.default and setting.option.argument:
                head += f":{setting.write(value)}"
            elif value != setting.default:
                options[name] = setting.write(value)
        parts = [getattr(self, keyword)._written() for keyword in parts_of(type(self), Strategy)]
        if parts:
            head += f":{'+'.join(part for part, _ in parts)}"
        for _, inner in parts:
            if set(inner) & set(own):
                message = f"The option '{min(set(inner) & set(own))}' of a part has no name of its own in '{head}'."
                raise BadInput(message, where=f"strategy {self.name}", advice="Leave it at its default.")
            options |= inner
        return head, options

    @property
    def needs(self) -> frozenset[str]:
        """Keys of ``NEEDS``: what a study must offer before the strategy can be used."""
        return frozenset()

    @property
    def embeddings(self) -> tuple[str, ...]:
        """Kinds of embedding that ``select`` asks the pool for."""
        return ()

    @property
    def score_specs(self) -> tuple[ScoreSpec, ...]:
        """Scores that ``select`` asks the pool for; scores of the same sampler are computed in one pass."""
        return ()

    @property
    def loss_head(self) -> bool:
        """Whether models must be trained with a head that predicts their loss."""
        return False

    @property
    def uses_extents(self) -> bool:
        """Whether it uses the extents that a person marked."""
        return False

    @abc.abstractmethod
    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Select slices; called only if ``not_ready_reason`` is "".

        Args:
            pool: The slices to choose from, with their limits.
            budget: Number of slices wanted, at least 1.
            rng: Source of all randomness.

        Returns:
            At most ``budget`` choices, the most urgent first, no slice twice; fewer only if the limits leave no more
            slices.

        Raises:
            BadInput: If a score is not finite; the message names the slice.
        """

    def not_ready_reason(self, pool: Pool) -> str:
        """Why it cannot select from this pool yet, without a full stop, such as "No model is trained yet"; "" if it
        can.

        The loop then selects balanced random slices instead.
        """
        return ""

    def unavailable_reason(self, situation: Situation) -> str:
        """Why it cannot be used in this situation and what to do; "" if it can."""
        needs = self.needs | ({"loss-head"} if self.loss_head else set())
        if MODEL_EMBEDDINGS.intersection(self.embeddings):
            needs |= {"features"}
        for need, (holds, words) in NEEDS.items():
            if need in needs and not holds(situation):
                return words
        return ""


class ModelStrategy(Strategy):
    """A strategy that uses a trained model."""

    requires = "a trained model"

    def not_ready_reason(self, pool: Pool) -> str:
        """Not ready before a model is trained; see ``Strategy.not_ready_reason``."""
        return "" if pool.model is not None else NO_MODEL


class ScoreStrategy(ModelStrategy):
    """A strategy that gives every slice a score and takes the highest; wrappers and combinations build on it.

    Attributes:
        only_order: Whether only the order of the scores is meaningful, not their size.
    """

    only_order: ClassVar[bool] = False

    @abc.abstractmethod
    def score(self, pool: Pool) -> np.ndarray:
        """Scores of all slices of the pool; requires that the strategy is ready.

        Returns:
            (n,) finite float array, larger = more urgent.
        """

    @abc.abstractmethod
    def reason(self, pool: Pool, position: int, score: float) -> str:
        """Why the slice at ``position`` is requested: one plain sentence with a full stop."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Take the slices with the highest scores, ties by position."""
        return highest(self, pool, checked_scores(self.score(pool), pool), budget)


class GreedyState(abc.ABC):
    """Which slice to pick next, given the picks made so far."""

    @abc.abstractmethod
    def pick(self, allowed: np.ndarray) -> tuple[int, float | None]:
        """The best slice among those allowed.

        Args:
            allowed: (n,) bool, at least one True.

        Returns:
            Its position, and its score or None.
        """

    @abc.abstractmethod
    def take(self, position: int) -> str:
        """Count the slice at ``position`` as picked; returns the reason, one sentence with a full stop."""


class Gains(GreedyState):
    """What each slice would add to the picks made so far; the largest gain is picked, ties by position."""

    @abc.abstractmethod
    def gains(self) -> np.ndarray:
        """(n,) finite float64 array, 0 or more, for every slice of the pool, including those that may not be picked."""

    def pick(self, allowed: np.ndarray) -> tuple[int, float | None]:
        """The allowed slice with the largest gain; see ``GreedyState.pick``."""
        gains = self.gains()
        position = best(gains, allowed)
        return position, float(gains[position])


class RepresentativeStrategy(Strategy):
    """A strategy that repeatedly picks the slice that adds most to the picks so far.

    Combinations build on it.
    """

    @abc.abstractmethod
    def start(self, pool: Pool, budget: int, rng: np.random.Generator) -> Gains:
        """The gains before the first pick, given the annotated slices; for the arguments see ``Strategy.select``."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Pick greedily; see ``pick_greedily``."""
        return pick_greedily(self.start(pool, budget, rng), pool, budget)


def greedy(
    state: GreedyState, allowance: Allowance, budget: int, among: np.ndarray | None = None
) -> Iterator[tuple[int, float | None, str]]:
    """Pick one slice after the other within the limits; the loop of every greedy strategy.

    Args:
        state: Says which slice is next.
        allowance: Which slices may be picked; picks are taken from it.
        budget: Number of slices wanted.
        among: (n,) bool, the only slices that may be picked. Default: all.

    Yields:
        Position, score (or None) and reason of each pick.
    """
    for _ in range(budget):
        allowed = allowance.mask if among is None else allowance.mask & among
        if not allowed.any():
            return
        position, score = state.pick(allowed)
        allowance.take(position)
        yield position, score, state.take(position)


def pick_greedily(state: GreedyState, pool: Pool, budget: int, among: np.ndarray | None = None) -> list[Choice]:
    """The choices of ``greedy`` from a pool.

    Raises:
        BadInput: If a score is not finite.
    """
    picks = greedy(state, pool.allowance(), budget, among)
    choices = [Choice(pool.ids[position], score, reason) for position, score, reason in picks]
    for choice in choices:
        _require_finite(choice)
    return choices


def highest(strategy: ScoreStrategy, pool: Pool, scores: np.ndarray, budget: int) -> list[Choice]:
    """The slices with the highest scores that the limits allow, ties by position.

    Args:
        strategy: Strategy that gives the reasons.
        pool: The slices to choose from.
        scores: (n,) finite scores.
        budget: Number of slices wanted.
    """
    picks = pool.allowance().take_in_order(ranking(scores), budget)
    return [Choice(pool.ids[p], float(scores[p]), strategy.reason(pool, p, float(scores[p]))) for p in picks]


def selection_generator(seed: int, strategy: str, round_number: int) -> np.random.Generator:
    """The random generator of a strategy in one round."""
    return generator(seed, "acquisition", strategy, round_number)


def as_clause(sentence: str) -> str:
    """A sentence with a lower-case first letter, to follow other words."""
    return sentence[0].lower() + sentence[1:]


def check_choices(choices: Sequence[Choice], pool: Pool, budget: int) -> None:
    """Check the choices of a strategy, ours or of another package.

    Raises:
        BadInput: If a score is NaN or infinite.
        ValueError: If there are too many choices, a slice twice, or one that may not be picked.
    """
    for choice in choices:
        _require_finite(choice)
    if len(choices) > budget:
        raise ValueError(f"{len(choices)} slices were chosen for a budget of {budget}")
    position_of = {slice_id: position for position, slice_id in enumerate(pool.ids)}
    allowance = pool.allowance()
    for choice in choices:
        if choice.slice not in position_of:
            raise ValueError(f"{choice.slice} is not in the pool")
        allowance.take(position_of[choice.slice])


def _require_finite(choice: Choice) -> None:
    if choice.score is not None and not np.isfinite(choice.score):
        raise BadInput(
            f"The score of slice {choice.slice.index + 1} is {choice.score}, not a finite number.",
            where=choice.slice.volume,
            advice="Look at the image; exclude the volume if it is broken.",
        )


def merged(*parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """The members of several tuples, each once, in order."""
    return tuple(dict.fromkeys(member for part in parts for member in part))
