"""Two stages: first the slices that the model is least sure of, then representative ones among them.

Both strategies of Ozdemir et al. (2021) share the first stage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ActiveSegmentationLib.acquisition.base import (
    Choice,
    GreedyState,
    ModelStrategy,
    Strategy,
    as_clause,
    pick_greedily,
)
from ActiveSegmentationLib.acquisition.facility_location import Facilities
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.ranking import best, checked_scores, ranking
from ActiveSegmentationLib.acquisition.round_inputs import ScoreSpec
from ActiveSegmentationLib.acquisition.sample_ratio import (
    AutoencoderStrategy,
    Greedy,
    Preset,
    SampleRatioGains,
    sample_ratio_gains,
)
from ActiveSegmentationLib.acquisition.uncertain import DropoutProbability

Factor = Annotated[float, Option("number of uncertain candidates per requested slice", least=1)]
Passes = Annotated[int, Option("predictions of each slice with dropout left on", least=2, most=1000)]

UNSURE = "One of the slices that the model is least sure of"


class TwoStages(Strategy):
    """The first stage: the slices whose predictions vary most with dropout (Ozdemir et al. 2021, Eq. 2)."""

    needs = frozenset({"dropout"})

    factor: float
    passes: int
    p: float

    @property
    def score_specs(self) -> tuple[ScoreSpec, ...]:
        """Variance over passes with dropout; see ``Strategy.score_specs``."""
        from ActiveSegmentationLib.uncertainty import Dropout

        return (ScoreSpec(Dropout(self.passes, self.p or None), "foreground-variance"),)

    def shortlist(self, pool: Pool, budget: int) -> np.ndarray:
        """The ``factor * budget`` most uncertain slices that may be picked together: (n,) bool.

        Limits apply to the whole list, so any part of it may be picked and the second stage never runs out of allowed
        slices.
        """
        scores = checked_scores(pool.scores(self.score_specs[0]), pool)
        listed = np.zeros(len(pool), dtype=bool)
        listed[pool.allowance().take_in_order(ranking(scores), math.ceil(self.factor * budget))] = True
        return listed


@dataclass(frozen=True)
class SuggestiveAnnotation(TwoStages, ModelStrategy):
    """FCN_Baseline of Ozdemir et al. (2021, Sec. 2.4, Eq. 9 and 10), after Yang et al. (MICCAI 2017).

    - The candidates are the slices whose predictions vary most with dropout, ``factor`` times the budget (Yang et al.
      let bootstrapped networks vote instead). Limits already apply to the candidates.
    - Among them, slices are picked greedily that add most to the sum, over all slices that may be requested, of the
      largest cosine to a picked slice; features are the model's coarsest ones, averaged over the plane. The sum starts
      from cosine -1, see ``Facilities``, and as in the papers annotated slices do not count.

    Needs a model with dropout; cost: 17 predictions of the pool, and O(factor budget n (d + budget)).
    """

    name = "suggestive-annotation"
    summary = "Slices the model is unsure of that resemble many others that are not annotated."
    source = "Ozdemir 2021 (Yang 2017)"
    requires = "a model with dropout"
    embeddings = ("segmenter",)

    factor: Factor = 2.0
    passes: Passes = 17
    p: DropoutProbability = 0.0

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices; see ``Strategy.select``. Draws nothing from ``rng``."""
        listed = self.shortlist(pool, budget)
        return pick_greedily(_Listed(pool, np.flatnonzero(listed)), pool, budget, listed)


class _Listed(GreedyState):
    """How much better each candidate would represent all slices that may be requested.

    Args:
        pool: The pool.
        listed: (m,) positions of the candidates, ascending.
    """

    def __init__(self, pool: Pool, listed: np.ndarray) -> None:
        features, is_open = pool.embeddings("segmenter"), pool.slice_counts() > 0
        self._listed, self._total, self._unit = listed, int(is_open.sum()), pool.unit
        self._facilities = Facilities(features[is_open], features[listed])

    def pick(self, allowed: np.ndarray) -> tuple[int, float | None]:
        """The candidate with the largest gain; see ``GreedyState.pick``."""
        gains = self._facilities.gains()
        number = best(gains, allowed[self._listed])
        return int(self._listed[number]), float(gains[number])

    def take(self, position: int) -> str:
        """Count the candidate as chosen; see ``GreedyState.take``."""
        count = self._facilities.choose(int(np.searchsorted(self._listed, position)))
        if not count:
            return f"{UNSURE}; by its features all {self._unit}s resemble earlier picks more."
        return f"{UNSURE}; by its features {count} of {self._total} open {self._unit}s resemble it most so far."


@dataclass(frozen=True)
class BayesianSampleQuerying(TwoStages, AutoencoderStrategy):
    """FCN_BSQ of Ozdemir et al. (2021, Sec. 2.3 and 2.4): uncertainty first, then the sample ratio of Eq. 7 and 8.

    - The candidates are the slices whose predictions vary most with dropout (Eq. 2: variance over 17 passes, mean over
      pixels and classes), ``factor`` times the budget. Limits already apply to them. Before the first training all
      slices are candidates, and each reason says so.
    - Among them, slices with the highest ratio of likelihoods, cohort over annotated, in the latent space of an infoVAE
      are picked. All are picked at once as in the paper; with ``greedy`` each pick counts as annotated for the
      following ones, which avoids near-duplicates.

    Needs an annotated slice, models with dropout, and the autoencoder (trained without labels once per cohort); cost:
    17 predictions of the pool, and O(budget n d).
    """

    name = "bayesian-sample-querying"
    summary = "Slices the model is unsure of that are typical of your cohort and unlike those annotated so far."
    source = "Ozdemir 2021"
    requires = "an annotated slice; training of an autoencoder, once; a model with dropout"

    preset: Preset = None
    factor: Factor = 2.0
    passes: Passes = 17
    p: DropoutProbability = 0.0
    greedy: Greedy = False

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices; see ``Strategy.select``."""
        candidates = None if pool.model is None else self.shortlist(pool, budget)
        why = "No model is trained yet" if pool.model is None else UNSURE
        state = sample_ratio_gains(pool, self.embeddings[0], greedy=self.greedy)
        return pick_greedily(_Ratios(state, why), pool, budget, candidates)


class _Ratios(GreedyState):
    """Greedy state that picks the slice with the highest ratio.

    Args:
        state: The ratios.
        why: Beginning of each reason.
    """

    def __init__(self, state: SampleRatioGains, why: str) -> None:
        self._state, self._why = state, why

    def pick(self, allowed: np.ndarray) -> tuple[int, float | None]:
        """The allowed slice with the highest ratio; see ``GreedyState.pick``."""
        ratios = self._state.ratios()
        position = best(ratios, allowed)
        return position, float(ratios[position])

    def take(self, position: int) -> str:
        """Count the pick; see ``GreedyState.take``."""
        return f"{self._why}: {as_clause(self._state.take(position))}"
