"""Diagnostics of a collapsed learned metric, which maps all slices to nearly the same line or point."""

from __future__ import annotations

import numpy as np

COLLAPSED_RANK = 2.0
"""Embeddings of a lower effective rank are reported as collapsed."""


def collapse_diagnostics(embeddings: np.ndarray) -> dict[str, float]:
    """Measures that show whether embeddings have collapsed.

    Args:
        embeddings: (n, d) finite floats, n at least 1.

    Returns:
        "effective rank": exponential of the entropy of the normalised singular values of the centred embeddings (Roy
        and Vetterli, 2007), from 1 (one direction) to min(n - 1, d); 0 where all embeddings are equal.
        "deviation": mean over dimensions of the standard deviation over slices.
        "cosine": mean cosine similarity of two different slices, 1 where all point the same way.
    """
    x = np.asarray(embeddings, dtype=np.float64)
    centred = x - x.mean(0)
    values = np.linalg.svd(centred, compute_uv=False)
    values = values[values > 1e-9 * np.linalg.norm(x)]  # of equal embeddings only rounding errors are left
    shares = values / values.sum()
    rank = float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    pairs = max(1, len(x) * (len(x) - 1))
    cosine = float(((unit.sum(0) ** 2).sum() - (unit**2).sum()) / pairs)
    return {"effective rank": rank, "deviation": float(x.std(0).mean()), "cosine": cosine}
