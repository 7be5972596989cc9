"""Functions on scores: ranking, ties, checks, weighted draws, and a percentile in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ActiveSegmentationLib.common.errors import BadInput

if TYPE_CHECKING:
    from ActiveSegmentationLib.acquisition.pool import Pool

DIGITS = 6
"""Significant digits of a score that count in a ranking; later digits may differ between devices."""

SMALLEST = 1e-300
"""Scores closer to 0 than this count as 0."""

FLOOR = 1e-12
"""Added to scores before the logarithm."""


def significant(values: np.ndarray) -> np.ndarray:
    """Values rounded to ``DIGITS`` significant digits."""
    values = np.asarray(values, dtype=np.float64)
    values = np.where(np.abs(values) < SMALLEST, 0.0, values)
    size = np.zeros_like(values)
    np.log10(np.abs(values), out=size, where=values != 0)
    unit = 10.0 ** (np.floor(size) - DIGITS + 1)
    return np.where(values == 0, 0.0, np.round(values / unit) * unit)


def ranking(scores: np.ndarray) -> np.ndarray:
    """Positions by falling score, equal scores (to ``DIGITS`` digits) by position: (n,) -> (n,) int64."""
    return np.lexsort((np.arange(len(scores)), -significant(scores)))


def best(scores: np.ndarray, allowed: np.ndarray) -> int:
    """The allowed position with the highest score; among equals (to ``DIGITS`` digits) the lowest position."""
    candidates = np.flatnonzero(allowed)
    return int(candidates[np.argmax(significant(scores[candidates]))])


def checked_scores(scores: np.ndarray, pool: Pool) -> np.ndarray:
    """The scores (n,) as float64.

    Raises:
        BadInput: If a score is NaN or infinite, so that a broken slice is never ranked silently.
    """
    scores = np.asarray(scores, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        slice_id = pool.ids[bad[0]]
        raise BadInput(
            f"The score of slice {slice_id.index + 1} is {scores[bad[0]]}, not a finite number ({len(bad)} such "
            "slices).",
            where=slice_id.volume,
            advice="Look at the image; exclude the volume if it is broken.",
        )
    return scores


def log_ranks(scores: np.ndarray) -> np.ndarray:
    """-log of the rank of each score (n,): 0 for the highest score, less for the others."""
    logarithm = np.empty(len(scores))
    logarithm[ranking(scores)] = -np.log(np.arange(1, len(scores) + 1))
    return logarithm


def power_noise(logarithm: np.ndarray, beta: float, rng: np.random.Generator) -> np.ndarray:
    """Log scores (n,) plus Gumbel noise of scale 1 / beta: taking the highest draws in proportion to score ** beta."""
    return logarithm + rng.gumbel(size=len(logarithm)) / beta


def percentile_text(scores: np.ndarray, position: int) -> str:
    """The share of slices with a lower score, in words, such as "97 % of the other slices".

    Args:
        scores: (n,) float scores of the whole pool.
        position: Position of the slice.
    """
    if len(scores) == 1:
        return "any other, as it is the only one"
    rounded = significant(scores)
    below = int((rounded < rounded[position]).sum())
    return f"{100 * below / (len(scores) - 1):.0f} % of the other slices"
