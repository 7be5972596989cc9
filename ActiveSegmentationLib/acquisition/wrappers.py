"""Wrappers: strategies that take the scores of another strategy and choose by them in their own way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import numpy as np

from ActiveSegmentationLib.acquisition.base import NO_MODEL, Choice, ScoreStrategy, Situation, Strategy, merged
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool, ScoreSpec
from ActiveSegmentationLib.acquisition.ranking import FLOOR, best, checked_scores, log_ranks, power_noise, ranking
from ActiveSegmentationLib.acquisition.uncertain import Entropy, Uncertain
from ActiveSegmentationLib.common.errors import BadInput


@dataclass(frozen=True)
class ScoreWrapper(Strategy):
    """A strategy around one that scores slices, as ``Power(Bald())``, written "power:bald".

    What it wraps says what it needs and which scores and embeddings it asks for.

    Attributes:
        wrapped: The strategy that scores slices.
        advice_for_orders: What to do instead where only the order of the scores means anything.
    """

    advice_for_orders: ClassVar[str] = "Use for example stochastic-batches, which compares sums."
    requires = "what the score needs"

    wrapped: ScoreStrategy = field(default_factory=Entropy)

    def __post_init__(self) -> None:
        """Check the options, and that the wrapped strategy gives scores that can be used.

        Raises:
            BadInput: If it does not.
        """
        super().__post_init__()
        where = f"strategy {self.name}"
        if not isinstance(self.wrapped, ScoreStrategy):
            message = f"'{self.wrapped.name}' gives slices no scores that could be used here."
            raise BadInput(message, where=where, advice=f"Use for example '{self.name}:entropy'.")
        if self.needs_sizes and self.wrapped.only_order:
            message = f"Only the order of the scores of '{self.wrapped.name}' means anything, not their size."
            raise BadInput(message, where=where, advice=self.advice_for_orders)

    @property
    def needs_sizes(self) -> bool:
        """Whether the size of scores counts, not only their order or sums."""
        return False

    @property
    def needs(self) -> frozenset[str]:
        """Those of the wrapped strategy; see ``Strategy.needs``."""
        return self.wrapped.needs

    @property
    def embeddings(self) -> tuple[str, ...]:
        """Those of the wrapped strategy; see ``Strategy.embeddings``."""
        return self.wrapped.embeddings

    @property
    def score_specs(self) -> tuple[ScoreSpec, ...]:
        """Those of the wrapped strategy; see ``Strategy.score_specs``."""
        return self.wrapped.score_specs

    @property
    def loss_head(self) -> bool:
        """Whether the wrapped strategy needs it; see ``Strategy.loss_head``."""
        return self.wrapped.loss_head

    @property
    def uses_extents(self) -> bool:
        """Whether the wrapped strategy does; see ``Strategy.uses_extents``."""
        return self.wrapped.uses_extents

    def unavailable_reason(self, situation: Situation) -> str:
        """That of the wrapped strategy; see ``Strategy.unavailable_reason``."""
        return self.wrapped.unavailable_reason(situation)

    def not_ready_reason(self, pool: Pool) -> str:
        """That of the wrapped strategy; see ``Strategy.not_ready_reason``."""
        return self.wrapped.not_ready_reason(pool)

    def scores(self, pool: Pool) -> np.ndarray:
        """The wrapped strategy's scores: (n,) float64, finite.

        Raises:
            BadInput: If one is not finite.
        """
        return checked_scores(self.wrapped.score(pool), pool)

    def reason_of(self, pool: Pool, position: int, scores: np.ndarray) -> str:
        """The wrapped strategy's reason for the slice at ``position``."""
        return self.wrapped.reason(pool, position, float(scores[position]))


REDUCTIONS: dict[str, Callable[[np.ndarray], float]] = {
    "mean": lambda scores: float(scores.mean()),
    "max": lambda scores: float(scores.max()),
    "sum": lambda scores: float(scores.sum()),
}


@dataclass(frozen=True)
class StochasticBatches(ScoreWrapper):
    """Random batches of the budget's size, of which the one with the largest mean score is asked for as a whole
    (Gaillochet et al. 2023, Sec. 3, Alg. 1).

    - The slices that may be asked for are shuffled and cut into Q = floor(n / budget) batches; the rest of the division
      is left out.
    - With ``batches`` above 0, so many batches are drawn independently and may overlap (the paper's Sec. 5.2.4); 1 is a
      random batch.
    - Every batch keeps to the limits by itself, so none is rejected. Of equal batches the first counts.

    Needs what the score needs. Cost: that of the score, and O(n) for the batches.
    """

    name = "stochastic-batches"
    summary = "The most uncertain of many random batches: unsure slices that differ; add a score as in :bald."
    source = "Gaillochet 2023"

    batches: Annotated[
        int, Option("random batches, drawn apart; 0 cuts the cohort into as many as fit", least=0, most=100_000)
    ] = 0
    reduce: Annotated[Literal["mean", "max", "sum"], Option("how the scores of a batch are reduced to one")] = "mean"

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose the best batch, its slices by falling score; see ``Strategy.select``."""
        scores = self.scores(pool)
        batches = list(self._batches(pool, budget, rng))
        if not batches:
            return []
        size = max(len(batch) for batch in batches)
        reduce = REDUCTIONS[self.reduce]
        values = np.array([reduce(scores[batch]) for batch in batches])
        batch = batches[best(values, np.array([len(batch) == size for batch in batches]))]
        compared = sum(len(each) == size for each in batches)
        only = "A random batch" if self.batches else "The only batch that fits"
        found = only if compared == 1 else f"In the most uncertain of {compared} random batches"
        return [
            Choice(pool.ids[p], float(scores[p]), f"{found}. {self.reason_of(pool, int(p), scores)}")
            for p in batch[ranking(scores[batch])]
        ]

    def _batches(self, pool: Pool, budget: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Positions (budget,) ascending of one batch after the other; shorter where the limits allow no more."""
        open_slices = np.flatnonzero(pool.allowance().mask)
        if self.batches:
            for _ in range(self.batches):
                taken = pool.allowance().take_in_order(rng.permutation(open_slices), budget)
                yield np.sort(np.array(taken, dtype=np.int64))
            return
        left = rng.permutation(open_slices)
        for _ in range(max(1, len(open_slices) // budget)):
            batch = np.array(pool.allowance().take_in_order(left, budget), dtype=np.int64)
            left = left[~np.isin(left, batch)]
            if not len(batch):
                return
            yield np.sort(batch)


LOTTERY = "Drawn by a lottery that favours high scores."


@dataclass(frozen=True)
class Power(ScoreWrapper):
    """The highest of log s + g / beta, g from a standard Gumbel distribution: draws without replacement with chances
    proportional to s ** beta (Kirsch et al. 2023; "PowerBALD" and "PowerPE" with the scores bald and entropy).

    A large beta takes the highest scores, a beta near 0 draws at random. With ``rank``, -log of the rank stands for log
    s ("SoftRank"), which takes scores of any sign. The score of a choice is that of the wrapped strategy, without the
    noise that ordered them. Needs what the score needs. Cost: that of the score.
    """

    name = "power"
    summary = "Unsure slices with a little chance, so that a batch is less alike; add a score as in power:bald."
    source = "Kirsch 2023"
    advice_for_orders = "Add the option rank=yes."

    beta: Annotated[
        float, Option("large to take the highest scores, near 0 to draw at random", least=1e-6, most=1e12)
    ] = 1.0
    rank: Annotated[bool, Option("whether only the order of the scores counts")] = False

    @property
    def needs_sizes(self) -> bool:
        """Whether the lottery goes by the size of the scores."""
        return not self.rank

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose the highest noisy scores; see ``Strategy.select``."""
        scores = self.scores(pool)
        if self.rank:
            logarithm = log_ranks(scores)
        elif (scores < 0).any():
            message = f"'{self.wrapped.name}' has negative scores, which have no logarithm."
            raise BadInput(message, where=f"strategy {self.name}", advice="Add the option rank=yes.")
        else:
            logarithm = np.log(scores + FLOOR)
        picks = pool.allowance().take_in_order(ranking(power_noise(logarithm, self.beta, rng)), budget)
        return [Choice(pool.ids[p], float(scores[p]), f"{LOTTERY} {self.reason_of(pool, p, scores)}") for p in picks]


CLASS_SHARE = 0.66
"""Part of the budget that is divided among the foreground classes."""

LAST_BETA = 100.0
"""Exponent of the scores in the last round; it is 1 in the first that has a model, the second."""

ROUNDS = 10
"""Number of rounds where none is planned."""


@dataclass(frozen=True)
class ClaspPe(ScoreWrapper):
    """Class-stratified scheduled power predictive entropy (ClaSP PE, 2026), brought from patches to slices.

    - 66 % of the budget is divided evenly among the foreground classes (what is left of the division goes to classes
      drawn at random); each takes its slices by the mean over pixels of p_c H(p), p the mean prediction of all models.
    - The rest is taken by the mean of H(p).
    - All are drawn by a lottery as in "power", with beta rising from 1 in round 2, the first that has a model, to 100
      in the last as 100 ** ((round - 2) / (rounds - 2)), and staying there. A benchmark knows its last round; where
      annotation goes on for as long as people like, the tenth counts as the last unless ``rounds`` says otherwise.

    Another uncertainty than entropy may be wrapped. Its map then stands for H, weighted with p_c for the classes in the
    same way; variance and deviation of dropout are those of the class instead. It is averaged over all pixels, whatever
    its option "aggregate". Needs a trained model, and what that uncertainty needs. Cost: that of the uncertainty.
    """

    name = "clasp-pe"
    summary = "Unsure slices for every label in equal parts, small structures too; chance counts less in later rounds."
    source = "ClaSP PE 2026"
    requires = "a trained model"

    rounds: Annotated[
        int, Option("round in which the lottery is at its sharpest; 0: a benchmark's last, else 10", least=0)
    ] = 0

    def __post_init__(self) -> None:
        """Check the options, and that the wrapped strategy has a map of uncertainty.

        Raises:
            BadInput: If it has none.
        """
        super().__post_init__()
        self._uncertain()

    @property
    def score_specs(self) -> tuple[ScoreSpec, ...]:
        """The uncertainty, and the same by class; see ``Strategy.score_specs``."""
        plain = self._uncertain().spec
        return plain, ScoreSpec(plain.sampler, f"class-{plain.name.partition(':')[0]}")

    def beta(self, round_number: int, planned: int | None = None) -> float:
        """Exponent of the scores in a round, counted from 1, of so many planned ones (None: open)."""
        steps = (self.rounds or planned or ROUNDS) - 2
        return float(LAST_BETA ** (min(max(round_number - 2, 0), steps) / steps)) if steps > 0 else 1.0

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose for one class after the other, then by the plain scores; see ``Strategy.select``."""
        scores, of_classes = self.scores(pool), pool.scores(self.score_specs[1])
        allowance, beta = pool.allowance(), self.beta(pool.plan.number, pool.plan.planned)
        choices: list[Choice] = []
        for of_class, wanted in _counts(budget, of_classes.shape[1], rng):
            values = checked_scores(of_classes[:, of_class], pool)
            noisy = power_noise(np.log(values + FLOOR), beta, rng)
            reason = f"Drawn by a lottery that favours slices with uncertain pixels of {pool.class_name(of_class)}."
            for position in allowance.take_in_order(ranking(noisy), wanted):
                choices.append(Choice(pool.ids[position], float(values[position]), reason))
        noisy = power_noise(np.log(scores + FLOOR), beta, rng)
        for position in allowance.take_in_order(ranking(noisy), budget - len(choices)):
            why = f"{LOTTERY} {self.reason_of(pool, position, scores)}"
            choices.append(Choice(pool.ids[position], float(scores[position]), why))
        return choices

    def _uncertain(self) -> Uncertain:
        if not isinstance(self.wrapped, Uncertain):
            message = f"'{self.wrapped.name}' does not tell in which label's pixels the model is unsure."
            raise BadInput(message, where=f"strategy {self.name}", advice=f"Use for example '{self.name}:entropy'.")
        return self.wrapped


def _counts(budget: int, classes: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Slices to take for each foreground class, in random order: (class, number)."""
    foreground = rng.permutation(np.arange(1, classes))
    if not len(foreground):
        return []
    each, left = divmod(round(CLASS_SHARE * budget), len(foreground))
    return [(int(of_class), each + (place < left)) for place, of_class in enumerate(foreground)]


ENOUGH = 5
"""Timed annotations from which seconds are fitted."""


@dataclass(frozen=True)
class PerSecond(ScoreWrapper, ScoreStrategy):
    """Score over expected seconds to the power ``weight`` (ours).

    - Expected seconds of a slice are a + b l, where l is the sum over the foreground classes of the root of their
      expected area, which grows as their outlines do.
    - a and b, neither below 0, are fitted to the active seconds of the annotated slices once five are timed. Until then
      looking at a slice and drawing are taken to share an average slice's time in halves, which ranks slices without
      knowing seconds.
    - Uncertain slices are mostly those with much to draw, so that methods that look best per slice may not be so per
      hour (nnActive 2025).

    Scores must not be negative. Needs what the score needs, and a trained model. Cost: that of the score, and one
    prediction of every slice.
    """

    name = "per-second"
    summary = "Slices that are worth most for the time they will take to draw; add a score as in per-second:bald."
    source = "ours"
    requires = "what the score needs"
    needs_sizes = True

    weight: Annotated[float, Option("how much time counts: 0 not at all, 1 as score a second", least=0, most=10)] = 1.0

    @property
    def score_specs(self) -> tuple[ScoreSpec, ...]:
        """Those of the wrapped strategy, and the expected areas; see ``Strategy.score_specs``."""
        return merged(self.wrapped.score_specs, (_areas(),))

    def not_ready_reason(self, pool: Pool) -> str:
        """The wrapped strategy is not ready, or there is no model; see ``Strategy.not_ready_reason``."""
        return self.wrapped.not_ready_reason(pool) or ("" if pool.model is not None else NO_MODEL)

    def score(self, pool: Pool) -> np.ndarray:
        """Scores over expected seconds: (n,) float64.

        Raises:
            BadInput: If a score is negative.
        """
        scores = self.scores(pool)
        if (scores < 0).any():
            message = f"'{self.wrapped.name}' produces negative scores, so a score per second is undefined."
            raise BadInput(message, where=f"strategy {self.name}", advice="Use for example per-second:entropy.")
        return scores / expected_seconds(pool)[0] ** self.weight

    def reason(self, pool: Pool, position: int, score: float) -> str:
        """How long the slice will take, and why it is worth it; see ``ScoreStrategy.reason``."""
        seconds, measured = expected_seconds(pool)
        taken = float(seconds[position])
        time = f"{taken:.0f} seconds" if measured else f"{taken:.1f} times that of an average slice"
        return f"Worth its time, about {time}. {self.reason_of(pool, position, self.wrapped.score(pool))}"


def expected_seconds(pool: Pool) -> tuple[np.ndarray, bool]:
    """How long every item will take to annotate, by the present model's prediction; see ``PerSecond``.

    Returns:
        (n,) float64, positive, and whether these are seconds; else they are parts of an average slice's time.
    """
    outline = np.sqrt(pool.scores(_areas())[:, 1:].astype(np.float64)).sum(axis=1)
    known = pool.statistics.seconds or {}
    timed = [(position, known[item]) for position, item in enumerate(pool.ids) if known.get(item, 0) > 0]
    if len(timed) >= ENOUGH and pool.unit == "slice":
        from scipy.optimize import nnls

        positions, seconds = (np.array(values) for values in zip(*timed, strict=True))
        design = np.stack([np.ones(len(positions)), outline[positions]], axis=1)
        fixed, each = nnls(design, seconds.astype(np.float64))[0]
        if fixed + each * outline.min() > 0:
            return fixed + each * outline, True
    usual = outline.mean()
    return 0.5 + 0.5 * (outline / usual if usual > 0 else np.ones(len(outline))), False


def _areas() -> ScoreSpec:
    from ActiveSegmentationLib.uncertainty import Deterministic

    return ScoreSpec(Deterministic(), "class-probability")
