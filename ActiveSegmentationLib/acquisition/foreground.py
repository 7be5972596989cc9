"""Where the model sees structures."""

from __future__ import annotations

import numpy as np

from ActiveSegmentationLib.acquisition.pool import Figure, Pool
from ActiveSegmentationLib.uncertainty import Deterministic

PIXELS = 10
"""Pixels of a class that must be predicted on a slice for it to count, where nobody says otherwise."""

SHARE = Figure(Deterministic(), "class-share")
"""Part of a slice's pixels that the model gives to each class; strategies that call these functions declare it."""


def predicted_pixels(pool: Pool) -> np.ndarray:
    """Pixels that the model gives to each foreground class, padding left out: (n, C - 1) float64, whole numbers.

    Raises:
        BadInput: If no model is trained.
    """
    share = pool.figure(*SHARE)[:, 1:]
    pixels = pool.per_item("image pixels", lambda rows: _image_pixels(pool, rows))
    return np.rint(share * pixels[:, None])


def structures(pool: Pool) -> np.ndarray | None:
    """How much of each foreground class a slice shows, as far as anybody knows: (n, C - 1) float64, or None.

    Pixels that the model predicts, 0 where they are fewer than ``PIXELS``; in volumes that a person marked, 1 for every
    class between the marked ends and else 0. None where there is neither a model nor a mark.
    """
    marked = pool.marked()
    has_marks = ~np.isnan(marked)
    if pool.model is None and not has_marks.any():
        return None
    found = predicted_pixels(pool) if pool.model is not None else np.zeros((len(pool), 1))
    found[found < PIXELS] = 0
    found[has_marks] = (marked[has_marks] > 0)[:, None]
    return found


def _image_pixels(pool: Pool, rows: np.ndarray) -> np.ndarray:
    """Pixels of each slice that show the image, (n,) float64; they are the same for all slices of a volume."""
    _, first, members = np.unique(pool.stack.volume_number[rows], return_index=True, return_inverse=True)
    counts = np.array([pool.stack.inside(rows[place : place + 1]).sum() for place in first], dtype=np.float64)
    return counts[members]
