"""Wrappers: strategies that use the scores of another strategy in their own way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import numpy as np

from ActiveSegmentationLib.acquisition.base import NO_MODEL, Choice, ScoreStrategy, Situation, Strategy, merged
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.ranking import FLOOR, best, checked_scores, log_ranks, power_noise, ranking
from ActiveSegmentationLib.acquisition.round_inputs import ScoreSpec
from ActiveSegmentationLib.acquisition.uncertain import Entropy, Uncertain
from ActiveSegmentationLib.common.errors import BadInput


@dataclass(frozen=True)
class ScoreWrapper(Strategy):
    """A strategy that wraps one that scores slices, such as ``Power(Bald())``, written "power:bald".

    Its needs, scores and embeddings are those of the wrapped strategy.

    Attributes:
        wrapped: The strategy that scores slices.
        advice_for_orders: What to do instead if only the order of the scores is meaningful.
    """

    advice_for_orders: ClassVar[str] = "Use for example stochastic-batches, which compares sums."
    requires = "what the score needs"

    wrapped: ScoreStrategy = field(default_factory=Entropy)

    def __post_init__(self) -> None:
        """Check the options, and that the wrapped strategy gives scores that can be used.

        Raises:
            BadInput: If they cannot be used.
        """
        super().__post_init__()
        where = f"strategy {self.name}"
        if not isinstance(self.wrapped, ScoreStrategy):
            message = f"'{self.wrapped.name}' does not give slices scores that could be used here."
            raise BadInput(message, where=where, advice=f"Use for example '{self.name}:entropy'.")
        if self.needs_sizes and self.wrapped.only_order:
            message = f"Only the order of the scores of '{self.wrapped.name}' is meaningful, not their size."
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
        """Whether the wrapped strategy uses them; see ``Strategy.uses_extents``."""
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
    """Draws random batches of the budget's size and requests the batch with the largest mean score (Gaillochet et al.
    2023, Sec. 3, Alg. 1).

    - The slices that may be requested are shuffled and divided into Q = floor(n / budget) batches; the remainder is
      left out.
    - With ``batches`` above 0, that number of batches is drawn independently, and they may overlap (the paper's Sec.
      5.2.4); 1 is a random batch.
    - Every batch respects the limits, so none is rejected. Among equal batches the first is used.

    Needs what the score needs. Cost: that of the score, and O(n) for the batches.
    """

    name = "stochastic-batches"
    summary = "The most uncertain of many random batches: unsure slices that differ; add a score as in :bald."
    source = "Gaillochet 2023"

    batches: Annotated[
        int,
        Option("number of independent random batches; 0 divides the cohort into as many as fit", least=0, most=100_000),
    ] = 0
    reduce: Annotated[Literal["mean", "max", "sum"], Option("how the scores of a batch are reduced to one")] = "mean"

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Select the best batch, its slices by falling score; see ``Strategy.select``."""
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
        """Positions (budget,) ascending of one batch after the other; shorter if the limits allow no more."""
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


DRAWN = "Drawn at random, with higher chances for higher scores."


@dataclass(frozen=True)
class Power(ScoreWrapper):
    """The highest of log s + g / beta, g from a standard Gumbel distribution: draws without replacement with
    probabilities proportional to s ** beta (Kirsch et al. 2023; "PowerBALD" and "PowerPE" with the scores bald and
    entropy).

    A large beta takes the highest scores, a beta near 0 draws at random. With ``rank``, -log of the rank replaces log s
    ("SoftRank"), which allows scores of any sign. The score of a choice is that of the wrapped strategy, without the
    noise that ordered them. Needs what the score needs. Cost: that of the score.
    """

    name = "power"
    summary = "Unsure slices with some randomness, which makes a batch more diverse; add a score as in power:bald."
    source = "Kirsch 2023"
    advice_for_orders = "Add the option rank=yes."

    beta: Annotated[
        float, Option("large values take the highest scores, values near 0 draw at random", least=1e-6, most=1e12)
    ] = 1.0
    rank: Annotated[bool, Option("whether only the order of the scores counts")] = False

    @property
    def needs_sizes(self) -> bool:
        """Whether the size of the scores is used, not only their ranks."""
        return not self.rank

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Select the highest noisy scores; see ``Strategy.select``."""
        scores = self.scores(pool)
        if self.rank:
            logarithm = log_ranks(scores)
        elif (scores < 0).any():
            message = f"'{self.wrapped.name}' has negative scores, which have no logarithm."
            raise BadInput(message, where=f"strategy {self.name}", advice="Add the option rank=yes.")
        else:
            logarithm = np.log(scores + FLOOR)
        picks = pool.allowance().take_in_order(ranking(power_noise(logarithm, self.beta, rng)), budget)
        return [Choice(pool.ids[p], float(scores[p]), f"{DRAWN} {self.reason_of(pool, p, scores)}") for p in picks]


CLASS_SHARE = 0.66
"""Share of the budget that is divided among the foreground classes."""

LAST_BETA = 100.0
"""Exponent of the scores in the last round; it is 1 in round 2, the first with a model."""

ROUNDS = 10
"""Assumed number of rounds if none is planned."""


@dataclass(frozen=True)
class ClaspPe(ScoreWrapper):
    """Class-stratified scheduled power predictive entropy (ClaSP PE, 2026), adapted from patches to slices.

    - 66 % of the budget is divided evenly among the foreground classes (the remainder goes to random classes). For each
      class c, slices are scored by the mean over pixels of p_c H(p), where p is the mean prediction of all ensemble
      members.
    - The other slices are scored by the mean of H(p).
    - All are drawn at random as in "power", with beta = 100 ** ((round - 2) / (rounds - 2)), which rises from 1 in
      round 2, the first with a model, to 100 in the last round and stays there. A benchmark knows its last round;
      otherwise the tenth counts as the last unless ``rounds`` is given.

    Other uncertainties than entropy may be wrapped. Their map then replaces H and is weighted with p_c in the same way;
    for variance and standard deviation of dropout, those of the class are used instead. The option "aggregate" is
    ignored: the mean is over all pixels. Needs a trained model, and what that uncertainty needs. Cost: that of the
    uncertainty.
    """

    name = "clasp-pe"
    summary = "Unsure slices for every label in equal shares, including small structures; less random in later rounds."
    source = "ClaSP PE 2026"
    requires = "a trained model"

    rounds: Annotated[
        int, Option("round from which randomness is lowest; 0: a benchmark's last round, otherwise 10", least=0)
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
        """The uncertainty, overall and by class; see ``Strategy.score_specs``."""
        plain = self._uncertain().spec
        return plain, ScoreSpec(plain.sampler, f"class-{plain.name.partition(':')[0]}")

    def beta(self, round_number: int, planned: int | None = None) -> float:
        """Exponent of the scores in a round, counted from 1, given the number of planned rounds (None: unknown)."""
        steps = (self.rounds or planned or ROUNDS) - 2
        return float(LAST_BETA ** (min(max(round_number - 2, 0), steps) / steps)) if steps > 0 else 1.0

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Select for one class after the other, then by the overall scores; see ``Strategy.select``."""
        scores, of_classes = self.scores(pool), pool.scores(self.score_specs[1])
        allowance, beta = pool.allowance(), self.beta(pool.plan.number, pool.plan.planned)
        choices: list[Choice] = []
        for of_class, wanted in _counts(budget, of_classes.shape[1], rng):
            values = checked_scores(of_classes[:, of_class], pool)
            noisy = power_noise(np.log(values + FLOOR), beta, rng)
            reason = (
                f"Drawn at random, with higher chances for slices with uncertain pixels of {pool.class_name(of_class)}."
            )
            for position in allowance.take_in_order(ranking(noisy), wanted):
                choices.append(Choice(pool.ids[position], float(values[position]), reason))
        noisy = power_noise(np.log(scores + FLOOR), beta, rng)
        for position in allowance.take_in_order(ranking(noisy), budget - len(choices)):
            why = f"{DRAWN} {self.reason_of(pool, position, scores)}"
            choices.append(Choice(pool.ids[position], float(scores[position]), why))
        return choices

    def _uncertain(self) -> Uncertain:
        if not isinstance(self.wrapped, Uncertain):
            message = f"'{self.wrapped.name}' has no uncertainty per label."
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
"""Minimum number of timed annotations from which seconds are fitted."""


@dataclass(frozen=True)
class PerSecond(ScoreWrapper, ScoreStrategy):
    """Score over expected seconds to the power ``weight`` (ours).

    - The expected time of a slice is a + b l seconds, where l is the sum over the foreground classes of the square root
      of their expected area, which grows like the length of their outlines.
    - a and b, both at least 0, are fitted to the active seconds of the annotated slices once five are timed. Until
      then, viewing and drawing are assumed to take half of an average slice's time each, which ranks slices without
      times.
    - Uncertain slices tend to have much to draw, so methods that are best per slice may not be best per hour (nnActive
      2025).

    Scores must not be negative. Needs what the score needs, and a trained model. Cost: that of the score, and one
    prediction of every slice.
    """

    name = "per-second"
    summary = "Slices with the highest score per expected drawing time; add a score as in per-second:bald."
    source = "ours"
    requires = "what the score needs"
    needs_sizes = True

    weight: Annotated[float, Option("weight of the time: 0 ignores it, 1 is score per second", least=0, most=10)] = 1.0

    @property
    def score_specs(self) -> tuple[ScoreSpec, ...]:
        """Those of the wrapped strategy, and the expected areas; see ``Strategy.score_specs``."""
        return merged(self.wrapped.score_specs, (_areas(),))

    def not_ready_reason(self, pool: Pool) -> str:
        """Not ready if the wrapped strategy is not, or without a model; see ``Strategy.not_ready_reason``."""
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
        """The expected time of the slice and the wrapped reason; see ``ScoreStrategy.reason``."""
        seconds, measured = expected_seconds(pool)
        taken = float(seconds[position])
        time = f"{taken:.0f} seconds" if measured else f"{taken:.1f} times that of an average slice"
        return f"Worth its time, about {time}. {self.reason_of(pool, position, self.wrapped.score(pool))}"


def expected_seconds(pool: Pool) -> tuple[np.ndarray, bool]:
    """Expected time to annotate every item, from the current model's prediction; see ``PerSecond``.

    Returns:
        (n,) float64, positive, and whether these are seconds; otherwise they are multiples of an average slice's time.
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
