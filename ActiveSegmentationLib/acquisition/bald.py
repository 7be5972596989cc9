"""Bayesian active learning by disagreement, with dropout."""

from __future__ import annotations

from typing import ClassVar

from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.uncertain import AGGREGATE, DropoutUncertain, dropout_option, passes_option


@register
class Bald(DropoutUncertain):
    """Mutual information of prediction and weights, H(mean_t p_t) - mean_t H(p_t), mean over pixels (Houlsby et al.
    2011; Gal et al. 2017), over passes with dropout; of several models, over the passes of all of them.

    Needs a trained model with dropout. Cost: ``passes`` predictions of every slice by every model; 10 as in ALUNET, 40
    in Vepa 2024.
    """

    name = "bald"
    summary = "Slices on which predictions with dropout contradict one another: more examples would help there."
    known_options: ClassVar = {"passes": passes_option(10), "p": dropout_option(), "aggregate": AGGREGATE}

    def map_name(self) -> str:
        """Mutual information."""
        return "mutual-information"
