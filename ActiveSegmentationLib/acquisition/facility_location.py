"""Facility location: slices that together resemble all the others as much as possible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ActiveSegmentationLib.acquisition.base import Gains
from ActiveSegmentationLib.acquisition.k_center import SpaceName, SpaceStrategy, in_words
from ActiveSegmentationLib.acquisition.neighbours import unit_rows
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool

BLOCK = 2**24
"""Similarities of points to candidates that are in memory at a time."""
NOISE = 1e-9
"""Gains below this share of the number of points are rounding errors."""


class Facilities:
    """How well a growing set of chosen candidates represents a set of points.

    The choice is worth the sum over the points of their largest cosine to any chosen candidate (Ozdemir et al. 2021,
    Eq. 9 and 10; Yang et al. 2017). While nothing is chosen every point counts -1, the least cosine there is: with the
    usual 0 the first picks would ignore negative cosines. A pick updates the gains only by the
    points that it stands for better than those before, so that no matrix of all pairs is kept.

    Args:
        points: (n, d) float array of the points to represent, finite; a row of zeros has cosine 0 to all.
        candidates: (m, d) float array of the points that may be chosen, finite.
        chosen: (k, d) float array of the points that are chosen already.
    """

    def __init__(self, points: np.ndarray, candidates: np.ndarray, chosen: np.ndarray | None = None) -> None:
        self._points, self._candidates = unit_rows(points), unit_rows(candidates)
        self.nearest = np.full(len(points), -1.0)
        """(n,) float64: largest cosine of each point to a chosen one, -1 before any is chosen."""
        self._gains = self._candidates @ self._points.sum(axis=0) + len(points)
        if chosen is not None and len(chosen):
            nearest = np.full(len(points), -1.0)
            for one in unit_rows(chosen):
                np.maximum(nearest, self._points @ one, out=nearest)
            self._raise(nearest)

    def gains(self) -> np.ndarray:
        """(m,) float64, 0 or more: by how much each candidate would raise the objective."""
        return np.where(self._gains > NOISE * len(self._points), self._gains, 0.0)

    def choose(self, candidate: int) -> int:
        """Choose a candidate; returns the number of points that it represents better than earlier ones."""
        return self._raise(self._points @ self._candidates[candidate])

    def _raise(self, similarity: np.ndarray) -> int:
        better = np.flatnonzero(similarity > self.nearest)
        block = max(1, BLOCK // len(self._candidates))
        for start in range(0, len(better), block):
            rows = better[start : start + block]
            cosines = self._candidates @ self._points[rows].T
            before = np.maximum(cosines - self.nearest[rows], 0.0)
            self._gains -= (before - np.maximum(cosines - similarity[rows], 0.0)).sum(axis=1)
        self.nearest[better] = similarity[better]
        return len(better)


class FacilityGains(Gains):
    """How much better each item of a pool would represent the items that are not annotated yet.

    Args:
        pool: The pool.
        kind: Kind of the embedding.
        features: (n, d) values of the embedding.
        annotated: Whether annotated items count as chosen from the start.
    """

    def __init__(self, pool: Pool, kind: str, features: np.ndarray, *, annotated: bool) -> None:
        self._open = pool.slice_counts() > 0
        self._facilities = Facilities(features[self._open], features, features[pool.annotated] if annotated else None)
        self._things, self._by = f"{pool.unit}s", in_words(kind)

    def gains(self) -> np.ndarray:
        """The gains (n,), see ``Gains.gains``."""
        return self._facilities.gains()

    def take(self, position: int) -> str:
        """Count the pick as chosen, see ``GreedyState.take``."""
        count = self._facilities.choose(position)
        if not count:
            return f"Nothing else is left to represent: by {self._by} all {self._things} resemble earlier picks more."
        total = int(self._open.sum())
        return f"Represents others: by {self._by} {count} of {total} open {self._things} resemble it most so far."


@dataclass(frozen=True)
class FacilityLocation(SpaceStrategy):
    """Maximum coverage of unlabelled slices by cosine similarity (Yang et al. 2017; Ozdemir et al. 2021, Eq. 9 and 10),
    as a strategy.

    Greedy: each step picks the slice that adds most to the sum, over all slices that may be requested, of the largest
        cosine to a picked one. Annotated slices count as picked unless ``annotated`` is False. ``space`` is as for
        "coreset". Needs the embedding; cost about O(n^2 d log(annotated + budget)).
    """

    name = "facility-location"
    summary = "Slices that many others resemble, by the model's features (facility-location:pixels and :learned also)."
    source = "Yang 2017"

    space: SpaceName = "segmenter"
    annotated: Annotated[bool, Option("whether annotated slices already represent similar ones")] = True

    def start(self, pool: Pool, budget: int, rng: np.random.Generator) -> FacilityGains:
        """The gains given the annotated slices; see ``RepresentativeStrategy.start``."""
        kind, features = self.features(pool)
        return FacilityGains(pool, kind, features, annotated=self.annotated)
