"""The first of two stages: the slices that the model is least sure of."""

from __future__ import annotations

import math

import numpy as np

from ActiveSegmentationLib.acquisition.base import checked_scores, ranking
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Figure, Pool
from ActiveSegmentationLib.acquisition.uncertain import dropout_option

FACTOR = Option(2.0, "How many uncertain slices are looked at for each one asked for.", least=1)
PASSES = Option(17, "Predictions of each slice with dropout left on.", least=2, most=1000)


P = dropout_option()


def dropout_variance(passes: int, p: float) -> Figure:
    """The variance of the predicted probabilities over so many passes with dropout (Ozdemir et al. 2021, Eq. 2).

    Args:
        passes: Number of passes.
        p: Dropout probability; 0 for that of the training.
    """
    from ActiveSegmentationLib.uncertainty import Dropout

    return Figure(Dropout(passes, p or None), "variance")


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
