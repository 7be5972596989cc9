"""ProbCover: the slices that represent the most similar others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ActiveSegmentationLib.acquisition.base import Gains
from ActiveSegmentationLib.acquisition.k_center import WITHOUT_GROUPS, SpaceName, SpaceStrategy, in_words
from ActiveSegmentationLib.acquisition.neighbours import distance_blocks, k_means, unit_rows
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool

FARTHEST = 2.0
"""Largest distance of two points of length 1."""


@dataclass(frozen=True)
class ProbCover(SpaceStrategy):
    """Greedy coverage by balls of one radius (Yehuda, Dekel, Hacohen and Weinshall 2022, ProbCover).

    - Slices are compared by embeddings of length 1. A slice covers itself and every slice nearer than delta. The gain
      of a slice is the number of slices that it would cover and no annotated or picked slice covers (Algorithm 1).
    - Delta is the largest radius at which a share ``purity`` of all balls holds slices of one cluster of k-means only
      (Section 4.2). The paper's number of clusters is that of the classes of its images, 10 in its smallest data set.
      Slices have no such classes and change gradually, so balls of the paper's purity are small: on 600 artificial
      slices, compared by pixels, they held 2 slices for every number of clusters. A lower purity widens them.
    - The distance to the nearest annotated or picked slice, scaled to stay below 1, is added to the gain. It breaks
      ties between slices that cover equally many; once all slices are covered, the farthest is picked, as in "coreset".
      The paper picks any.

    ``space`` is as for "coreset"; the default is that of "typiclust". Needs the embedding, no model and no annotation;
    cost O(n^2 d), memory: one number per pair of slices nearer than delta.
    """

    name = "probcover"
    summary = "Slices that represent the most others that no annotated slice resembles; good for the very first slices."
    source = "Yehuda 2022"
    requires = "training of an encoder, once, or `:pixels`"

    space: SpaceName = WITHOUT_GROUPS
    clusters: Annotated[int, Option("kinds of slices by which the radius is chosen", least=2)] = 10
    purity: Annotated[
        float,
        Option("share of the balls that hold slices of one kind only; less makes them wider", least=0.0, most=1.0),
    ] = 0.95

    def start(self, pool: Pool, budget: int, rng: np.random.Generator) -> BallGains:
        """The coverage by annotated slices; see ``RepresentativeStrategy.start``."""
        kind, features = self.features(pool)
        points = unit_rows(features)
        radius = pure_radius(points, k_means(points, self.clusters, rng), self.purity)
        return BallGains(pool, points, radius, kind)


def pure_radius(points: np.ndarray, kinds: np.ndarray, purity: float) -> float:
    """The largest radius at which enough balls hold points of one cluster only (Yehuda et al. 2022, Section 4.2).

    A ball is open: it is pure up to the distance to the nearest point of another cluster. The radius, which the paper
    finds by trying values, is therefore a quantile of these distances.

    Args:
        points: (n, d) float64 array of rows of length 1.
        kinds: (n,) integer cluster of each point.
        purity: Share of balls, from 0 to 1.

    Returns:
        Radius above 0; ``FARTHEST`` if all points are in one cluster.
    """
    reach = np.full(len(points), FARTHEST)
    everyone = np.arange(len(points))
    for part, distances in distance_blocks(points, everyone, everyone):
        distances[kinds[part][:, None] == kinds[None, :]] = FARTHEST
        reach[part] = distances.min(axis=1)
    impure = min(int((1 - purity) * len(points) + 1e-9), len(points) - 1)
    return float(np.sort(reach)[impure])


class BallGains(Gains):
    """Gains that count which slices each slice covers and which are covered so far.

    Args:
        pool: The pool.
        points: (n, d) float64 rows of length 1.
        radius: Radius of the balls.
        kind: Kind of the embedding, for the reasons.
    """

    def __init__(self, pool: Pool, points: np.ndarray, radius: float, kind: str) -> None:
        from scipy import sparse

        self._pool, self._points, self._kind = pool, points, kind
        everyone = np.arange(len(points))
        near = []
        for part, distances in distance_blocks(points, everyone, everyone):
            inside = distances < radius
            inside[np.arange(len(inside)), everyone[part]] = True
            near.append(sparse.csr_array(inside))
        self._covers = sparse.vstack(near, format="csr")
        self._open = np.ones(len(points))
        self._away = np.full(len(points), np.inf)
        self._nearest = np.full(len(points), -1)
        if pool.annotated.any():
            self._cover(np.flatnonzero(pool.annotated))

    def gains(self) -> np.ndarray:
        """Number of newly covered slices plus a tie-breaking fraction (n,); see ``Gains.gains``."""
        return self._covers @ self._open + self._spare()

    def take(self, position: int) -> str:
        """Cover what is close to the pick, see ``GreedyState.take``."""
        new = int(self._open[self._ball(position)].sum())
        nearest = self._nearest[position]
        self._cover(np.array([position]))
        by = in_words(self._kind)
        if new > 1:
            return f"Represents {new} slices that are similar by {by} and unlike any annotated or requested so far."
        if new == 1:
            return f"Unlike all annotated or requested slices, and unlike all others that are left, by {by}."
        return (
            f"Nothing is left to represent by {by}: it resembles slices annotated or requested already, the nearest is "
            f"{self._pool.describe(int(nearest))}."
        )

    def _ball(self, centre: int) -> np.ndarray:
        """Positions of the slices that the one at ``centre`` covers."""
        start, stop = self._covers.indptr[centre : centre + 2]
        return self._covers.indices[start:stop]

    def _cover(self, centres: np.ndarray) -> None:
        self._open[self._covers[centres].indices] = 0.0
        for part, distances in distance_blocks(self._points, np.arange(len(self._points)), centres):
            first = distances.argmin(axis=1)
            nearest = distances[np.arange(len(first)), first]
            closer = nearest < self._away[part]
            self._away[part][closer] = nearest[closer]
            self._nearest[part][closer] = centres[first[closer]]

    def _spare(self) -> np.ndarray:
        """Distances to the nearest centre scaled to below 1; 0 without centres."""
        return np.zeros(len(self._away)) if np.isinf(self._away[0]) else self._away / (FARTHEST + 1)
