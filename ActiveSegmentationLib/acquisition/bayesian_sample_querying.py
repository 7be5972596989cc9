"""Bayesian sample querying: among what the model is unsure of, what the annotated slices represent least."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.base import Choice, Strategy, best, checked_scores, without_knowledge
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.sample_ratio import greedy_option, info_vae_space, sample_ratio_gains
from ActiveSegmentationLib.acquisition.shortlist import OPTIONS, dropout_variance, shortlist


@register
class BayesianSampleQuerying(Strategy):
    """FCN_BSQ of Ozdemir et al. (2021, Sec. 2.3 and 2.4): uncertainty first, then the sample ratio of Eq. 7 and 8.

    Of the ``factor`` times as many slices as wanted whose predictions vary most under dropout (Eq. 2: variance over 17
    passes, mean over pixels and classes), those with the highest ratio of likelihoods, cohort over annotated, in the
    latent space of an infoVAE. All are picked at once as in the paper; with "greedy=yes" each pick counts as annotated
    for the next ones, which avoids asking for near-copies. Limits hold for the uncertain slices already. Before the
    first training the uncertainty is left out, and each choice's reason says so. The argument picks a preset of the
    infoVAE. Needs an annotated slice, models with dropout, and the autoencoder (trained once a cohort, label-free);
    cost: 17 predictions of the pool, and O(budget n d).

    Raises:
        BadInput: If the argument names no preset.
    """

    name = "bayesian-sample-querying"
    summary = "Slices the model is unsure of that are typical of your cohort and unlike those annotated so far."
    known_options: ClassVar[Mapping[str, Option]] = {**OPTIONS, "greedy": greedy_option("no")}
    needs = frozenset({"dropout"})

    def _take_argument(self, argument: str | None) -> None:
        self.space = info_vae_space(self.name, argument)
        self.embeddings = (self.space,)
        self.figures = (dropout_variance(self.options),)

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices; see ``Strategy.select``."""
        if not pool.annotated.any():
            return without_knowledge(pool, budget, f"No {pool.unit} is annotated yet")
        candidates, allowance = np.ones(len(pool), dtype=bool), pool.allowance()
        if pool.model is not None:
            candidates = shortlist(pool, self.figures[0], budget, self.options["factor"])
        why = "One of those the model is least sure of" if pool.model is not None else "No model is trained yet"
        state = sample_ratio_gains(pool, self.space, greedy=self.options["greedy"] == "yes")
        choices: list[Choice] = []
        while len(choices) < budget and (candidates & allowance.mask).any():
            ratios = checked_scores(state.ratios(), pool)
            position = best(ratios, candidates & allowance.mask)
            allowance.take(position)
            reason = state.take(position)
            choices.append(Choice(pool.ids[position], float(ratios[position]), f"{why}: {_lower(reason)}"))
        return choices


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
