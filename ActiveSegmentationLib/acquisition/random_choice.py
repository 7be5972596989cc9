"""Random and evenly spaced slices, chosen without using the images: the baselines that other strategies must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ActiveSegmentationLib.acquisition.base import Choice, Strategy
from ActiveSegmentationLib.acquisition.constraints import Allowance
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool


@dataclass(frozen=True)
class Random(Strategy):
    """Uniform draw without replacement from the slices that may be requested (the baseline of all four papers).

    Needs nothing; cost O(n).
    """

    name = "random"
    summary = "Slices drawn at random from the whole cohort; the baseline."
    source = "all papers"

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices; see ``Strategy.select``."""
        picks = pool.allowance().take_in_order(rng.permutation(len(pool)), budget)
        return [Choice(pool.ids[position], None, "Drawn at random.") for position in picks]


@dataclass(frozen=True)
class BalancedRandom(Strategy):
    """Volumes in turn, those with the fewest annotated slices first, one random slice of each.

    At equal cost, few slices of many volumes beat many slices of few volumes (Zhang et al., MIDL 2025). This strategy
    is the fallback for those that are not ready yet. Needs nothing; cost O(budget n): every pick goes over the whole
    pool.
    """

    name = "balanced-random"
    summary = "Random slices, the same number from every volume if the budget allows; a strong, simple baseline."
    source = "Zhang et al. 2025"

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices; see ``Strategy.select``."""
        draw = VolumeDraw(pool, rng)
        picks: list[int] = []
        while len(picks) < budget and draw.allowance:
            picks.append(draw.take(draw.allowance.mask))
        return [Choice(pool.ids[position], None, _count_reason(pool, position)) for position in picks]


class VolumeDraw:
    """Random slices in turn from the volumes that have the fewest annotated and drawn ones.

    Args:
        pool: The pool.
        rng: Source of randomness.
    """

    def __init__(self, pool: Pool, rng: np.random.Generator) -> None:
        self.allowance: Allowance = pool.allowance()
        """The slices that may still be drawn."""
        self._pool = pool
        self._taken = np.bincount(pool.volumes[pool.annotated], minlength=int(pool.volumes.max(initial=-1)) + 1)
        self._slice_order = rng.permutation(len(pool))  # rank of each slice among all, hence within its volume
        self._volume_order = rng.permutation(len(self._taken))

    def take(self, among: np.ndarray) -> int:
        """Draw one open slice among those of (n,) bool, at least one of them True; returns its position."""
        candidates = np.flatnonzero(among & self.allowance.mask)
        volumes = np.unique(self._pool.volumes[candidates])
        volume = volumes[np.lexsort((self._volume_order[volumes], self._taken[volumes]))[0]]
        of_volume = candidates[self._pool.volumes[candidates] == volume]
        position = int(of_volume[np.argmin(self._slice_order[of_volume])])
        self.allowance.take(position)
        self._taken[volume] += 1
        return position


def _count_reason(pool: Pool, position: int) -> str:
    before = int((pool.annotated & (pool.volumes == pool.volumes[position])).sum())
    share = (
        "no annotated slice yet" if before == 0 else f"only {before} annotated slice{'s' if before > 1 else ''} so far"
    )
    return f"Drawn at random from a volume with {share}."


@dataclass(frozen=True)
class Strided(Strategy):
    """Every k-th slice of a volume (Burmeister et al. 2022), volumes with the fewest annotated slices first.

    - From a volume with n slices, m are taken, at floor((j + u) n / m) for j = 0..m-1, so no gap exceeds ceil(n/m) + 1.
      m is ``per_volume``, or the budget divided by the number of volumes, at least 1.
    - The offsets u of a round's volumes are evenly spread over (0, 1) in random order, so even with m = 1 a round
      covers the whole range from the first to the last slice.
    - A slice that may not be picked is replaced by the nearest one that may, the lower at equal distance.

    Needs nothing; cost O(budget n): every pick goes over the whole pool once.
    """

    name = "strided"
    summary = "Evenly spaced slices through the volumes (strided:3 takes three of each volume it visits)."
    source = "Burmeister et al. 2022"

    per_volume: Annotated[int | None, Option("slices of one volume in a round", least=1, argument=True)] = None

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices; see ``Strategy.select``."""
        allowance = pool.allowance()
        picks: list[int] = []
        while len(picks) < budget and allowance:
            for volume, wanted in self._visits(pool, allowance, budget - len(picks), rng):
                picks.extend(_nearest_open(pool, allowance, volume, wanted, budget - len(picks)))
        return [Choice(pool.ids[position], None, _place_reason(pool, position)) for position in picks]

    def _visits(
        self, pool: Pool, allowance: Allowance, budget: int, rng: np.random.Generator
    ) -> list[tuple[int, np.ndarray]]:
        """Volumes to visit in order, each with the wanted slice indices."""
        volumes = np.unique(pool.volumes[allowance.mask])
        per_volume = self.per_volume or -(-budget // len(volumes))
        annotated = np.bincount(pool.volumes[pool.annotated], minlength=int(volumes.max()) + 1)
        volumes = volumes[np.lexsort((rng.permutation(len(volumes)), annotated[volumes]))]
        volumes = volumes[: -(-budget // per_volume)]
        offsets = rng.permutation((np.arange(len(volumes)) + rng.random()) / len(volumes))
        visits = []
        for volume, offset in zip(volumes, offsets, strict=True):
            indices = pool.indices[pool.volumes == volume]
            first, count = int(indices.min()), int(indices.max() - indices.min() + 1)
            wanted = first + np.floor((np.arange(per_volume) + offset) * count / per_volume).astype(np.int64)
            visits.append((int(volume), wanted))
        return visits


def _nearest_open(pool: Pool, allowance: Allowance, volume: int, wanted: np.ndarray, budget: int) -> list[int]:
    picks: list[int] = []
    for index in wanted:
        of_volume = np.flatnonzero(allowance.mask & (pool.volumes == volume))
        if len(picks) == budget or not len(of_volume):
            break
        away = np.abs(pool.indices[of_volume] - index)
        position = int(of_volume[np.lexsort((pool.indices[of_volume], away))[0]])
        allowance.take(position)
        picks.append(position)
    return picks


def _place_reason(pool: Pool, position: int) -> str:
    return f"Evenly spaced: at {pool.positions[position]:.0%} of the way through its volume."
