"""Stochastic batches: of many random batches the most uncertain one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.base import Choice, best, ranking
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.wrapping import ScoreWrapper

REDUCTIONS: dict[str, Callable[[np.ndarray], float]] = {
    "mean": lambda scores: float(scores.mean()),
    "max": lambda scores: float(scores.max()),
    "sum": lambda scores: float(scores.sum()),
}


@register
class StochasticBatches(ScoreWrapper):
    """Random batches of the budget's size, of which the one with the largest mean score is asked for as a whole
    (Gaillochet et al. 2023, Sec. 3, Alg. 1).

    The slices that may be asked for are shuffled and cut into Q = floor(n / budget) batches; the rest of the division
    is left out. With batches=Q, Q batches are drawn apart instead, so that they may overlap (the paper's Sec. 5.2.4);
    batches=1 is a random batch. Every batch keeps to the caps and gaps by itself, so none is rejected. Of equal
    batches the first counts. The argument names the score: entropy unless told. Needs what the score needs. Cost: that
    of the score, and O(n) for the batches.
    """

    name = "stochastic-batches"
    summary = "The most uncertain of many random batches: unsure slices that differ; add a score as in :bald."
    known_options: ClassVar = {
        "batches": Option(
            0, "random batches, drawn apart; 0 cuts the cohort into as many as fit", least=0, most=100_000
        ),
        "reduce": Option("mean", "how the scores of a batch are reduced to one", choices=tuple(REDUCTIONS)),
    }

    def select_by_scores(self, pool: Pool, scores: np.ndarray, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose the best batch, its slices by falling score; see ``Strategy.select``."""
        batches = list(self._batches(pool, budget, rng))
        if not batches:
            return []
        size = max(len(batch) for batch in batches)
        reduce = REDUCTIONS[self.options["reduce"]]
        values = np.array([reduce(scores[batch]) for batch in batches])
        batch = batches[best(values, np.array([len(batch) == size for batch in batches]))]
        compared = sum(len(each) == size for each in batches)
        only = "A random batch" if self.options["batches"] else "The only batch that fits"
        found = only if compared == 1 else f"In the most uncertain of {compared} random batches"
        return [
            Choice(pool.ids[p], float(scores[p]), f"{found}. {self.scorer.reason(pool, int(p), float(scores[p]))}")
            for p in batch[ranking(scores[batch])]
        ]

    def _batches(self, pool: Pool, budget: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Positions (budget,) ascending of one batch after the other; shorter where the limits allow no more."""
        open_slices = np.flatnonzero(pool.allowance().mask)
        if self.options["batches"]:
            for _ in range(self.options["batches"]):
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
