"""A strategy in its own package: the slice with the most slices between it and any annotated one of its volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ActiveSegmentationLib.acquisition import Gains, Option, Pool, RepresentativeStrategy


@dataclass(frozen=True)
class LargestGap(RepresentativeStrategy):
    """Halve the largest gap between annotated slices. Needs nothing; cost O(n) per pick."""

    name = "largest-gap"
    summary = "The slice farthest from any annotated one of its volume; good if neighbouring slices look alike."
    source = "an example"

    edge: Annotated[float, Option("weight of gaps at the ends of a volume", least=0.0)] = 1.0

    def start(self, pool: Pool, budget: int, rng: np.random.Generator) -> Gaps:
        """Distances to the annotated slices; see ``RepresentativeStrategy.start``."""
        return Gaps(pool, self.edge)


class Gaps(Gains):
    """Distance of every slice to the nearest annotated or picked one of its volume, as gains."""

    def __init__(self, pool: Pool, edge: float) -> None:
        self._pool = pool
        last = np.zeros(pool.volumes.max() + 1, dtype=int)
        np.maximum.at(last, pool.volumes, pool.indices)
        self._distance = edge * (1 + np.minimum(pool.indices, last[pool.volumes] - pool.indices))
        for position in np.flatnonzero(pool.annotated):
            self.take(int(position))

    def gains(self) -> np.ndarray:
        """Distances (n,); see ``Gains.gains``."""
        return self._distance

    def take(self, position: int) -> str:
        """Count the slice at ``position`` as picked, and return the reason; see ``GreedyState.take``."""
        distance, pool = self._distance[position], self._pool
        away = np.where(pool.volumes == pool.volumes[position], np.abs(pool.indices - pool.indices[position]), np.inf)
        self._distance = np.minimum(self._distance, away)
        return f"No annotated or requested slice within {distance:g} slices of it."
