"""Slices as vectors of a few pixels: the cheap baseline for embeddings."""

from __future__ import annotations

import numpy as np
from torch.nn import functional

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.embedding.slices import EmbeddableSlices

BATCH = 256


def pixel_features(
    stack: EmbeddableSlices, rows: np.ndarray, size: int = 32, *, compute: Compute | None = None
) -> np.ndarray:
    """Slices averaged over a coarse grid of equal areas.

    Args:
        stack: The cohort's slices.
        rows: (n,) rows of the stack.
        size: Rows and columns of the coarse grid.
        compute: Progress reporter. Default: reports nothing.

    Returns:
        (n, C * size * size) float32, channel by channel, row by row.
    """
    progress = (compute or Compute()).progress
    features = np.empty((len(rows), stack.channels * size * size), dtype=np.float32)
    for start in range(0, len(rows), BATCH):
        images = stack.batches(rows[start : start + BATCH])
        pooled = functional.adaptive_avg_pool2d(images, size)
        features[start : start + len(pooled)] = pooled.flatten(1).numpy()
        progress.update("Averaging pixels", start + len(pooled), len(rows))
    return features
