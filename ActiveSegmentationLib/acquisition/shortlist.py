"""The first of two stages: the slices that the model is least sure of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ActiveSegmentationLib.acquisition.base import checked_scores, ranking
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Figure, Pool
from ActiveSegmentationLib.acquisition.uncertain import dropout_option

OPTIONS = {
    "factor": Option(2.0, "How many uncertain slices are looked at for each one asked for.", least=1),
    "passes": Option(17, "Predictions of each slice with dropout left on.", least=2, most=1000),
    "p": dropout_option(),
}
"""Options of strategies that begin with a short list."""


def dropout_variance(options: Mapping[str, Any]) -> Figure:
    """The variance of the predicted probabilities over passes with dropout (Ozdemir et al. 2021, Eq. 2).

    Args:
        options: Values of ``OPTIONS``.
    """
    from ActiveSegmentationLib.uncertainty import Dropout

    return Figure(Dropout(options["passes"], options["p"] or None), "foreground-variance")


def shortlist(pool: Pool, figure: Figure, budget: int, factor: float) -> np.ndarray:
    """The ``factor * budget`` most uncertain slices that may be picked together.

    Limits hold for the list as a whole, so that any part of it may be picked: the second stage never runs out of
    slices that a limit would have let through.

    Args:
        pool: The pool, whose model is there.
        figure: How uncertain a slice is.
        budget: Number of slices wanted.
        factor: Listed slices for each slice wanted, at least 1.

    Returns:
        (n,) bool, True for listed items.
    """
    scores = checked_scores(pool.figure(figure.sampler, figure.name), pool)
    listed = np.zeros(len(pool), dtype=bool)
    listed[pool.allowance().take_in_order(ranking(scores), math.ceil(factor * budget))] = True
    return listed
