"""A strategy in a package of its own: the slice with the most slices between it and any annotated one of its volume."""

from typing import ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition import Option, Representativeness


class LargestGap(Representativeness):
    """Halve the largest gap between annotated slices. Needs nothing; cost O(n) a pick."""

    name = "largest-gap"
    summary = "The slice farthest from any annotated one of its volume; good where neighbouring slices look alike."
    known_options: ClassVar = {"edge": Option(1.0, "Weight of gaps at the ends of a volume.", least=0.0)}

    def start(self, pool, budget, rng):
        """See ``Representativeness.start``."""
        return _Gaps(pool, self.options["edge"])


class _Gaps:
    def __init__(self, pool, edge):
        self._pool = pool
        ends = np.zeros(pool.volumes.max() + 1, dtype=int)
        np.maximum.at(ends, pool.volumes, pool.indices)
        last = ends[pool.volumes]
        self._distance = edge * (1 + np.minimum(pool.indices, last - pool.indices))
        for position in np.flatnonzero(pool.annotated):
            self.take(int(position))

    def gains(self):
        return self._distance

    def take(self, position):
        distance, pool = self._distance[position], self._pool
        away = np.where(pool.volumes == pool.volumes[position], np.abs(pool.indices - pool.indices[position]), np.inf)
        self._distance = np.minimum(self._distance, away)
        return f"No annotated or requested slice within {distance:g} slices of it."
