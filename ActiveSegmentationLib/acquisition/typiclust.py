"""TypiClust: the most typical slice of every kind of slice that nobody has annotated yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.base import Representativeness
from ActiveSegmentationLib.acquisition.neighbours import k_means, typicality, unit_rows
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.spaces import WITHOUT_GROUPS, in_words, parse_space


@register
class TypiClust(Representativeness):
    """The densest slice of each cluster that has the fewest annotated ones (Hacohen et al. 2022, TypiClust).

    Slices are compared by embeddings of length 1 and clustered into K = min(annotated + budget, ``clusters``) clusters
    by k-means. It is the turn of the cluster with the fewest annotated or picked slices, of those the largest (the
    released program settles the order once a round; the two part where a round goes over all clusters more than once),
    and in it of the slice of the highest typicality (Eq. 1)

        t(x) = 1 / (mean distance of x to its k nearest neighbours + 1e-5)

    where k = ``neighbours``, at most half of the cluster, and neighbours are of the same cluster. Clusters of fewer
    than ``smallest`` slices come last, by typicality in the whole pool; where all are that small they count like any.

    The gain is 1/2 + t / (2 + 2 t) for the cluster whose turn it is and halves from each cluster to the next in line,
    which ranks all slices: where the limits, or a combination's candidates, leave a cluster nothing to pick, the next
    takes its turn.

    The argument names the space, as for "coreset"; the default is "learned:nt-xent=1", an encoder trained without the
    losses of patients and volumes, as in the paper and in Vepa 2024.
    Needs: the embedding, no model and no annotation; cost O(K n d) a round of k-means and O(sum of squared cluster
    sizes times d).

    Raises:
        BadInput: If the argument names no such space.
    """

    name = "typiclust"
    summary = "The most typical slice of each kind of slice not annotated yet; good for the very first slices."
    known_options: ClassVar[Mapping[str, Option]] = {
        "clusters": Option(500, "Most clusters that the cohort is divided into.", least=1, most=1000),
        "smallest": Option(6, "Clusters of fewer slices are left for last.", least=1),
        "neighbours": Option(20, "Neighbours by which the typical slice is found.", least=1),
    }

    def start(self, pool: Pool, budget: int, rng: np.random.Generator) -> _Turns:
        """Clusters and typicalities given what is annotated; see ``Representativeness.start``."""
        kind = self.space.of(pool)
        points = unit_rows(pool.embeddings(kind))
        wanted = min(int(pool.annotated.sum()) + budget, self.options["clusters"])
        clusters = k_means(points, wanted, rng)
        return _Turns(points, clusters, pool.annotated, self.options["smallest"], self.options["neighbours"], kind)

    def _take_argument(self, argument: str | None) -> None:
        self.space = parse_space(argument, WITHOUT_GROUPS, self.name)
        self.embeddings = self.space.embeddings


class _Turns:
    """Whose turn it is, as gains.

    Args:
        points: (n, d) float64 embeddings.
        clusters: (n,) number of each slice's cluster, from 0 and without gaps.
        annotated: (n,) bool.
        smallest: Size below which a cluster comes last.
        neighbours: Neighbours that count for the typicality.
        kind: Kind of the embedding, for the reasons.
    """

    def __init__(
        self,
        points: np.ndarray,
        clusters: np.ndarray,
        annotated: np.ndarray,
        smallest: int,
        neighbours: int,
        kind: str,
    ) -> None:
        self._clusters, self._kind = clusters, kind
        self._sizes = np.bincount(clusters)
        self._small = self._sizes < smallest
        if self._small.all():
            self._small[:] = False
        self._done = np.bincount(clusters, weights=annotated, minlength=len(self._sizes)).astype(np.int64)
        self._typicality = np.empty(len(clusters))
        everyone = np.arange(len(clusters))
        for number, small in enumerate(self._small):
            members = np.flatnonzero(clusters == number)
            around = everyone if small or len(members) == 1 else members
            self._typicality[members] = typicality(points, members, around, neighbours)

    def gains(self) -> np.ndarray:
        """Typicalities behind the turns (n,), see ``Gains.gains``."""
        order = np.lexsort((-self._sizes, self._done, self._small))
        turns = np.empty(len(order))
        turns[order] = np.arange(len(order))
        turns[self._small] = (~self._small).sum()
        return (0.5 + self._typicality / (2 + 2 * self._typicality)) * 0.5 ** turns[self._clusters]

    def take(self, position: int) -> str:
        """Count the pick for its cluster, see ``Gains.take``."""
        cluster = self._clusters[position]
        others, done = int(self._sizes[cluster]) - 1, int(self._done[cluster])
        self._done[cluster] += 1
        by = in_words(self._kind)
        if self._small[cluster]:
            return f"The most typical of the slices that are left, by {by}; it belongs to no large group."
        state = "none of them is annotated or requested yet" if done == 0 else f"{done} annotated or requested so far"
        return f"The most typical slice left in a group of {others + 1} alike by {by}; {state}."
