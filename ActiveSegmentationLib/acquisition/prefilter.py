"""Representativeness among the slices of the highest scores."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.base import Choice, best, checked_scores, ranking
from ActiveSegmentationLib.acquisition.combination import Combination
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.registry import register


@register
class Prefilter(Combination):
    """The slices of the highest scores are the candidates, among which representativeness picks (the two stages of
    Ozdemir et al. 2021 and Yang et al. 2017, for any pair).

    ``factor`` times the budget are candidates, more where limits leave too few. The argument names the two:
    coreset+entropy unless told. Needs what its parts need. Cost: that of its parts.
    """

    name = "prefilter"
    summary = "Among the slices that are hardest for the model, those most unlike each other and the annotated."
    known_options: ClassVar = {"factor": Option(2.0, "candidates for each slice asked for", least=1, most=1000)}

    def select_by_both(self, pool: Pool, scores: np.ndarray, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose among the candidates; see ``Strategy.select``."""
        state, allowance = self.cover.start(pool, budget, rng), pool.allowance()
        order = ranking(scores)
        order = order[allowance.mask[order]]
        reach = int(np.ceil(self.options["factor"] * budget))
        choices: list[Choice] = []
        while len(choices) < budget and allowance:
            candidates = np.zeros(len(pool), dtype=bool)
            candidates[order[:reach]] = True
            candidates &= allowance.mask
            if not candidates.any():
                reach += budget
                continue
            gains = checked_scores(state.gains(), pool)
            position = best(gains, candidates)
            allowance.take(position)
            reason = f"{state.take(position)} {self.scorer.reason(pool, position, float(scores[position]))}"
            choices.append(Choice(pool.ids[position], float(gains[position]), reason))
        return choices
