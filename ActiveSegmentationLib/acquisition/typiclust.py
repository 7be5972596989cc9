"""TypiClust: the most typical slice of each cluster that has no annotated slice yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ActiveSegmentationLib.acquisition.base import Gains
from ActiveSegmentationLib.acquisition.k_center import WITHOUT_GROUPS, SpaceName, SpaceStrategy, in_words
from ActiveSegmentationLib.acquisition.neighbours import k_means, typicality, unit_rows
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool


@dataclass(frozen=True)
class TypiClust(SpaceStrategy):
    """The most typical slices of the clusters with the fewest annotated slices (Hacohen et al. 2022, TypiClust).

    - Slices are compared by embeddings of length 1 and divided into K = min(annotated + budget, ``clusters``) clusters
      by k-means.
    - The next pick is from the cluster with the fewest annotated or picked slices; among equals, from the largest. (The
      released code orders the clusters once per round; the two differ only if a round goes over all clusters more than
      once.)
    - It is the slice of that cluster with the highest typicality (Eq. 1)

        t(x) = 1 / (mean distance of x to its k nearest neighbours + 1e-5)

      where k = ``neighbours``, at most half of the cluster, and neighbours are of the same cluster.
    - Clusters of fewer than ``smallest`` slices come last, by typicality in the whole pool; if all are that small, they
      are treated like any other.

    The gain is 1/2 + t / (2 + 2 t) for the cluster whose turn it is and halves from each cluster to the next, which
    ranks all slices: if limits, or the candidates of a combination, leave nothing to pick in a cluster, the next
    cluster follows.

    ``space`` is as for "coreset"; the default "learned:nt-xent=1" is an encoder trained without the losses of patients
    and volumes, as in the paper and in Vepa 2024. Needs the embedding, no model and no annotation; cost O(K n d) per
    iteration of k-means and O(sum of squared cluster sizes times d).
    """

    name = "typiclust"
    summary = "The most typical slice of each cluster that has none annotated yet; good for the very first slices."
    source = "Vepa (Hacohen 2022)"
    requires = "training of an encoder, once, or `:pixels`"

    space: SpaceName = WITHOUT_GROUPS
    clusters: Annotated[int, Option("most clusters that the cohort is divided into", least=1, most=1000)] = 500
    smallest: Annotated[int, Option("clusters of fewer slices are left for last", least=1)] = 6
    neighbours: Annotated[int, Option("neighbours by which the typical slice is found", least=1)] = 20

    def start(self, pool: Pool, budget: int, rng: np.random.Generator) -> RoundRobin:
        """Clusters and typicalities given the annotated slices; see ``RepresentativeStrategy.start``."""
        kind, features = self.features(pool)
        points = unit_rows(features)
        clusters = k_means(points, min(int(pool.annotated.sum()) + budget, self.clusters), rng)
        state = RoundRobin(points, clusters, self.smallest, self.neighbours, kind)
        state.count(pool.annotated)
        return state


class RoundRobin(Gains):
    """Gains that prefer the next cluster and its most typical slice.

    Args:
        points: (n, d) float64 embeddings.
        clusters: (n,) number of each slice's cluster, from 0 and without gaps.
        smallest: Size below which a cluster comes last.
        neighbours: Neighbours that count for the typicality.
        kind: Kind of the embedding, for the reasons.
    """

    def __init__(
        self,
        points: np.ndarray,
        clusters: np.ndarray,
        smallest: int,
        neighbours: int,
        kind: str,
    ) -> None:
        self._clusters, self._kind = clusters, kind
        self._sizes = np.bincount(clusters)
        self._small = self._sizes < smallest
        if self._small.all():
            self._small[:] = False
        self._done = np.zeros(len(self._sizes), dtype=np.int64)
        self._typicality = np.empty(len(clusters))
        everyone = np.arange(len(clusters))
        for number, small in enumerate(self._small):
            inside = np.flatnonzero(clusters == number)
            around = everyone if small or len(inside) == 1 else inside
            self._typicality[inside] = typicality(points, inside, around, neighbours)

    def count(self, annotated: np.ndarray) -> None:
        """Count annotated slices (n,) bool for their clusters."""
        self._done += np.bincount(self._clusters, weights=annotated, minlength=len(self._sizes)).astype(np.int64)

    def gains(self) -> np.ndarray:
        """Typicalities, less for clusters whose turn comes later (n,); see ``Gains.gains``."""
        order = np.lexsort((-self._sizes, self._done, self._small))
        turns = np.empty(len(order))
        turns[order] = np.arange(len(order))
        turns[self._small] = (~self._small).sum()
        return (0.5 + self._typicality / (2 + 2 * self._typicality)) * 0.5 ** turns[self._clusters]

    def take(self, position: int) -> str:
        """Count the pick for its cluster, see ``GreedyState.take``."""
        cluster = self._clusters[position]
        others, done = int(self._sizes[cluster]) - 1, int(self._done[cluster])
        self._done[cluster] += 1
        by = in_words(self._kind)
        if self._small[cluster]:
            return f"The most typical of the slices that are left, by {by}; it belongs to no large cluster."
        state = "none of them is annotated or requested yet" if done == 0 else f"{done} annotated or requested so far"
        return f"The most typical slice left in a group of {others + 1} similar ones by {by}; {state}."
