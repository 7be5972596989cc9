"""Distances between points: rows of length 1, clusters, and how densely a point is surrounded."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np

from ActiveSegmentationLib.acquisition.k_center import NOISE

BLOCK = 512
"""Number of points whose distances to all others are computed at a time."""

SMALLEST_DISTANCE = 1e-5
"""Added to a mean distance before it is inverted, so that identical slices have a finite density (TypiClust)."""

FEW_CLUSTERS = 50
"""Up to this number of clusters full k-means is used, above it mini-batch k-means (TypiClust)."""


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Rows divided by their length, rows of zeros unchanged: (n, d) float -> (n, d) float64."""
    points = np.asarray(features, dtype=np.float64)
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    return np.divide(points, lengths, out=np.zeros_like(points), where=lengths > 0)


def distance_blocks(points: np.ndarray, queries: np.ndarray, others: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Euclidean distances from some points to others, a block of rows at a time.

    Args:
        points: (n, d) float64 array.
        queries: (q,) positions.
        others: (m,) positions.

    Yields:
        Query positions of the block, and their distances (block, m) float64; identical points have distance exactly 0.
    """
    targets = points[others]
    norms = (targets**2).sum(axis=1)
    for start in range(0, len(queries), BLOCK):
        part = slice(start, min(start + BLOCK, len(queries)))
        sources = points[queries[part]]
        total = (sources**2).sum(axis=1)[:, None] + norms[None, :]
        squared = total - 2 * (sources @ targets.T)
        squared[squared <= NOISE * total] = 0.0
        yield part, np.sqrt(squared)


def typicality(points: np.ndarray, queries: np.ndarray, members: np.ndarray, neighbours: int) -> np.ndarray:
    """Local density of points: one over the mean distance to their nearest neighbours (Hacohen et al. 2022).

    Args:
        points: (n, d) float64 array.
        queries: (q,) positions of the points asked about.
        members: (m,) positions of the points around them; a point is not its own neighbour.
        neighbours: Largest number of neighbours that count: never more than half of the members, and at least one.

    Returns:
        (q,) float64 array, above 0 and at most 1e5; 1e5 also for a point without neighbours.
    """
    count = max(1, min(neighbours, len(members) // 2))
    away = np.zeros(len(queries))
    if len(np.union1d(members, queries)) > 1:
        for part, distances in distance_blocks(points, queries, members):
            distances[queries[part][:, None] == members[None, :]] = np.inf
            nearest = np.sort(np.partition(distances, count - 1, axis=1)[:, :count], axis=1)
            away[part] = nearest.mean(axis=1)
    return 1 / (away + SMALLEST_DISTANCE)


def k_means(points: np.ndarray, clusters: int, rng: np.random.Generator) -> np.ndarray:
    """Cluster points by k-means.

    Args:
        points: (n, d) float64 array.
        clusters: Number of clusters wanted, at least 1; there are never more than distinct points.
        rng: Source of the starting points.

    Returns:
        (n,) int64 number of each point's cluster, from 0 and without gaps.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    seed = int(rng.integers(2**31))
    wanted = min(clusters, len(np.unique(points, axis=0)))
    if wanted < 2:
        return np.zeros(len(points), dtype=np.int64)
    if wanted <= FEW_CLUSTERS:
        method = KMeans(wanted, n_init=3, random_state=seed)
    else:
        method = MiniBatchKMeans(wanted, n_init=3, batch_size=5000, random_state=seed)
    # One thread sums in a fixed order, so equal seeds give equal clusters. Fewer distinct points than clusters are
    # not an error: fewer clusters are returned.
    with threadpool_limits(limits=1, user_api="openmp"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = method.fit_predict(points)
    return np.unique(found, return_inverse=True)[1].astype(np.int64)
