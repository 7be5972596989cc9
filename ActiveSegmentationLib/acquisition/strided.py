"""Slices at a fixed interval, as a person without a model would take them."""

from __future__ import annotations

import numpy as np

from ActiveSegmentationLib.acquisition.base import Choice, Strategy
from ActiveSegmentationLib.acquisition.constraints import Allowance
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.common.errors import BadInput


@register
class Strided(Strategy):
    """Every k-th slice of a volume (Burmeister et al. 2022), volumes with the fewest annotated slices first.

    A volume with n slices gives m of them at floor((j + u) n / m), j = 0..m-1, so that no gap exceeds ceil(n/m) + 1.
    m is the argument, or the budget shared over all volumes, at least 1. The offset u of the volumes of a round are
    themselves evenly spread over (0, 1) in random order, so that with m = 1 a round still covers the whole range from
    the first to the last slice. A slice that may not be picked is replaced by the nearest one that may, the lower at
    equal distance. Needs nothing; cost O(budget n): every pick looks at the whole pool once.

    Args:
        argument: Slices of one volume in a round, as in "strided:3".

    Raises:
        BadInput: If the argument is no positive integer.
    """

    name = "strided"
    summary = "Evenly spaced slices through the volumes (strided:3 takes three of each volume it visits)."

    def _take_argument(self, argument: str | None) -> None:
        if argument is not None and not (argument.isdecimal() and int(argument) > 0):
            advice = "Write for example strided:3."
            raise BadInput(f"'{argument}' is no number of slices.", where="strategy strided", advice=advice)
        self._per_volume = None if argument is None else int(argument)

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices; see ``Strategy.select``."""
        allowance = pool.allowance()
        picks: list[int] = []
        while len(picks) < budget and allowance:
            visits = self._visits(pool, allowance, budget - len(picks), rng)
            for volume, wanted in visits:
                picks.extend(_nearest_open(pool, allowance, volume, wanted, budget - len(picks)))
        return [Choice(pool.ids[position], None, _reason(pool, position)) for position in picks]

    def _visits(
        self, pool: Pool, allowance: Allowance, budget: int, rng: np.random.Generator
    ) -> list[tuple[int, np.ndarray]]:
        """Volumes to visit in order, each with the slice indices wanted of it."""
        volumes = np.unique(pool.volumes[allowance.mask])
        per_volume = self._per_volume or -(-budget // len(volumes))
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
        members = np.flatnonzero(allowance.mask & (pool.volumes == volume))
        if len(picks) == budget or not len(members):
            break
        away = np.abs(pool.indices[members] - index)
        position = int(members[np.lexsort((pool.indices[members], away))[0]])
        allowance.take(position)
        picks.append(position)
    return picks


def _reason(pool: Pool, position: int) -> str:
    return f"Evenly spaced: at {pool.positions[position]:.0%} of the way through its volume."
