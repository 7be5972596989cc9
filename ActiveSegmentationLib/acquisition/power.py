"""Power acquisition: scores with a little chance."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.base import Choice, ranking
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.wrapping import ScoreWrapper
from ActiveSegmentationLib.common.errors import BadInput

FLOOR = 1e-12
"""Added to scores before the logarithm."""


@register
class Power(ScoreWrapper):
    """The highest of log s + g / beta, g from a standard Gumbel distribution: draws without replacement with chances
    proportional to s ** beta (Kirsch et al. 2023; "PowerBALD" and "PowerPE" with the scores bald and entropy).

    Large beta takes the highest scores, beta near 0 draws at random. With rank=yes -log of the rank stands for log s
    ("SoftRank"), which takes scores of any sign. The argument names the score: entropy unless told. The score of a
    choice is that of the wrapped strategy, without the noise that ordered them. Needs what the score needs. Cost: that
    of the score.
    """

    name = "power"
    summary = "Unsure slices with a little chance, so that a batch is less alike; add a score as in power:bald."
    known_options: ClassVar = {
        "beta": Option(1.0, "large to take the highest scores, near 0 to draw at random", least=1e-6, most=1e12),
        "rank": Option("no", "whether only the order of the scores counts", choices=("yes", "no")),
    }

    without_shares = "Add the option rank=yes."

    def shares(self) -> bool:
        """Whether the lottery goes by the size of the scores."""
        return self.options["rank"] == "no"

    def select_by_scores(self, pool: Pool, scores: np.ndarray, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose the highest noisy scores; see ``Strategy.select``."""
        if self.options["rank"] == "yes":
            logarithm = log_ranks(scores)
        elif (scores < 0).any():
            message = f"'{type(self.wrapped).name}' has negative scores, which have no logarithm."
            raise BadInput(message, where=f"strategy {self.name}", advice="Add the option rank=yes.")
        else:
            logarithm = np.log(scores + FLOOR)
        noisy = power_noise(logarithm, self.options["beta"], rng)
        picks = pool.allowance().take_in_order(ranking(noisy), budget)
        return [Choice(pool.ids[p], float(scores[p]), self._reason(pool, p, float(scores[p]))) for p in picks]

    def _reason(self, pool: Pool, position: int, score: float) -> str:
        return f"Drawn by a lottery that favours high scores. {self.scorer.reason(pool, position, score)}"


def log_ranks(scores: np.ndarray) -> np.ndarray:
    """-log of the rank of each score (n,), the highest first: 0 for that, less for the others."""
    logarithm = np.empty(len(scores))
    logarithm[ranking(scores)] = -np.log(np.arange(1, len(scores) + 1))
    return logarithm


def power_noise(logarithm: np.ndarray, beta: float, rng: np.random.Generator) -> np.ndarray:
    """Log scores (n,) plus Gumbel noise of scale 1 / beta: the highest are a draw in proportion to score ** beta."""
    return logarithm + rng.gumbel(size=len(logarithm)) / beta
