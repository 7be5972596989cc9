"""Positions that are spread evenly over volumes, or more densely over slices with structures."""

from __future__ import annotations

import numpy as np

from ActiveSegmentationLib.acquisition.pool import Pool

SMALLEST_WEIGHT = 1e-6
"""Small weight of every slice, spread over its volume, so that slices without any other weight keep an order."""

SPECK = 0.1
"""Predicted structures smaller than this part of their largest section in the volume count as errors."""


class StretchedVolumes:
    """Volumes stretched to length 1, with every slice as long as its weight.

    A share ``foreground`` of each volume's weight is on the slices that show predicted structures, equally divided
    among the classes; the rest is evenly spread over all slices except those trimmed from either end. A volume without
    predicted structures has even weights.

    Args:
        pool: The pool.
        trim: Share of a volume's slices in the pool that have no weight, at either end, 0 to below 0.5.
        foreground: Share of the weight that is on predicted structures, 0 to 1.
        pixels: (n, C) predicted pixels of each foreground class, or None if unknown.
    """

    def __init__(self, pool: Pool, trim: float, foreground: float = 0.0, pixels: np.ndarray | None = None) -> None:
        self._volumes = pool.volumes
        _, first, number = np.unique(pool.volumes, return_index=True, return_inverse=True)
        first, counts = first[number], np.bincount(number)[number]
        starts = (np.arange(len(pool)) - first) / counts
        inside = np.minimum(starts + 1 / counts, 1 - trim) - np.maximum(starts, trim)
        weights = even = self._of_volume(np.maximum(inside, 0))
        self.shown = np.zeros(len(pool), dtype=bool)
        """(n,) bool: slices with predicted structures that count."""
        if pixels is not None and foreground > 0:
            shown = self._shown(pixels)
            self.shown = shown.sum(axis=1) > 0
            of_volume = np.bincount(self._volumes, self.shown)[self._volumes] > 0
            weights = np.where(of_volume, (1 - foreground) * even + foreground * self._of_volume(shown.sum(1)), even)
        self.widths = self._of_volume(weights + SMALLEST_WEIGHT / counts)
        """(n,) length of each slice."""
        ends = np.cumsum(self.widths)
        self.middles = ends - (ends - self.widths)[first] - self.widths / 2
        """(n,) middle of each slice."""

    def near(self, candidates: np.ndarray, position: float, window: float) -> np.ndarray:
        """Which slices (m,) have their middle in the window around a position, or reach closest to it: (m,) bool."""
        half, widths = window / 2, self.widths[candidates]
        away = np.abs(self.middles[candidates] - np.clip(position, half, 1 - half))
        beyond = np.maximum(away - widths / 2, 0)
        return (away <= half) | (beyond <= beyond.min())

    def _of_volume(self, weights: np.ndarray) -> np.ndarray:
        """Weights as shares of their volume's sum, 0 if the sum is 0."""
        sums = np.bincount(self._volumes, weights)[self._volumes]
        return np.divide(weights, sums, out=np.zeros(len(weights)), where=sums > 0)

    def _shown(self, pixels: np.ndarray) -> np.ndarray:
        """Weight of each slice for each class that it shows, each class's of a volume summing to 1: (n, C)."""
        columns = []
        for of_class in pixels.T:
            largest = np.zeros(int(self._volumes.max()) + 1)
            np.maximum.at(largest, self._volumes, of_class)
            columns.append(self._of_volume(((of_class > 0) & (of_class >= SPECK * largest[self._volumes])) * 1.0))
        return np.stack(columns, axis=1)


class SpreadPositions:
    """Positions in stretched volumes, evenly spread over all picks of a round.

    Args:
        pool: The pool.
        stretched: Its stretched volumes.
        count: Number of positions.
        rng: Source of randomness.
    """

    def __init__(self, pool: Pool, stretched: StretchedVolumes, count: int, rng: np.random.Generator) -> None:
        self._volumes, self._middles = pool.volumes, stretched.middles
        self._seen: dict[int, list[float]] = {}
        for position in np.flatnonzero(pool.annotated):
            self.take(int(position))
        self._left = list(rng.permutation((np.arange(count) + rng.random()) / count))

    def next(self, volume: int) -> float:
        """A position for a pick in this volume: the next one, or the one farthest from its annotated and picked
        slices."""
        seen = self._seen.get(volume)
        if not seen:
            return self._left.pop()
        away = np.abs(np.array(self._left)[:, None] - np.array(seen)).min(axis=1)
        return self._left.pop(int(np.argmax(away)))

    def take(self, position: int) -> None:
        """Count a pick."""
        self._seen.setdefault(int(self._volumes[position]), []).append(float(self._middles[position]))
