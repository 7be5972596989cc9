"""Suggestive annotation: among what the model is unsure of, what stands best for all that nobody annotated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.base import Choice, ModelStrategy, best
from ActiveSegmentationLib.acquisition.facility_location import Facilities
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.shortlist import OPTIONS, dropout_variance, shortlist


@register
class SuggestiveAnnotation(ModelStrategy):
    """FCN_Baseline of Ozdemir et al. (2021, Sec. 2.4, Eq. 9 and 10), after Yang et al. (MICCAI 2017).

    Of the ``factor`` times as many slices as wanted whose predictions vary most under dropout (Yang et al. vote with
    bootstrapped networks instead), greedily those that add most to the sum, over all slices that may be asked for, of
    the largest cosine to a picked slice; features are the model's coarsest ones, averaged over the plane. The sum
    starts from cosine -1, see ``Facilities``, and as in the papers annotated slices stand for nothing. Limits hold for
    the uncertain slices already. Needs a model with dropout; cost: 17 predictions of the pool, and O(factor budget n
    (d + budget)).
    """

    name = "suggestive-annotation"
    summary = "Slices the model is unsure of that resemble many others nobody has annotated."
    known_options: ClassVar[Mapping[str, Option]] = OPTIONS
    needs = frozenset({"dropout"})
    embeddings = ("segmenter",)

    def __init__(self, argument: str | None = None, options: Mapping[str, str] | None = None) -> None:
        super().__init__(argument, options)
        self.figures = (dropout_variance(self.options),)

    def select_by_model(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices; see ``ModelStrategy.select_by_model``. Draws nothing from ``rng``."""
        listed = np.flatnonzero(shortlist(pool, self.figures[0], budget, self.options["factor"]))
        features = pool.embeddings("segmenter")
        is_open = pool.slice_counts() > 0
        facilities = Facilities(features[is_open], features[listed])
        left = np.ones(len(listed), dtype=bool)
        choices: list[Choice] = []
        while len(choices) < budget and left.any():
            gains = facilities.gains()
            number = best(gains, left)
            left[number] = False
            reason = _reason(facilities.choose(number), int(is_open.sum()), pool.unit)
            choices.append(Choice(pool.ids[listed[number]], float(gains[number]), reason))
        return choices


def _reason(count: int, total: int, unit: str) -> str:
    unsure = "One of those the model is least sure of"
    if not count:
        return f"{unsure}; by its features all {unit}s resemble earlier picks more."
    return f"{unsure}; by its features {count} of {total} open {unit}s resemble it most so far."
