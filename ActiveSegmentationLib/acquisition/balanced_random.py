"""Random slices, spread evenly over the volumes."""

from __future__ import annotations

import numpy as np

from ActiveSegmentationLib.acquisition.base import Choice, Strategy
from ActiveSegmentationLib.acquisition.constraints import Allowance
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.registry import register


@register
class BalancedRandom(Strategy):
    """Round-robin over the volumes, those with the fewest annotated slices first, one random slice of each in turn.

    Few slices of many volumes beat many slices of few volumes at equal cost (Zhang et al., MIDL 2025), which makes this
    the baseline that counts. Needs nothing; cost O(budget n): every pick looks at the whole pool once.
    """

    name = "balanced-random"
    summary = "Random slices, the same number from every volume as far as the budget goes; a strong, simple baseline."

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices; see ``Strategy.select``."""
        draw = VolumeDraw(pool, rng)
        picks: list[int] = []
        while len(picks) < budget and draw.allowance:
            picks.append(draw.take(draw.allowance.mask))
        return [Choice(pool.ids[position], None, _reason(pool, position)) for position in picks]


class VolumeDraw:
    """Random slices in turn from the volumes that have the fewest annotated and drawn ones.

    Args:
        pool: The pool.
        rng: Source of randomness.
    """

    def __init__(self, pool: Pool, rng: np.random.Generator) -> None:
        self.allowance: Allowance = pool.allowance()
        """What may still be drawn."""
        self._pool = pool
        self._taken = np.bincount(pool.volumes[pool.annotated], minlength=int(pool.volumes.max(initial=-1)) + 1)
        self._lottery = rng.permutation(len(pool))  # rank of each slice among all, hence within its volume
        self._volume_lottery = rng.permutation(len(self._taken))

    def take(self, among: np.ndarray) -> int:
        """Take one open slice among those of (n,) bool, of which there is at least one; its position."""
        candidates = np.flatnonzero(among & self.allowance.mask)
        volumes = np.unique(self._pool.volumes[candidates])
        volume = volumes[np.lexsort((self._volume_lottery[volumes], self._taken[volumes]))[0]]
        members = candidates[self._pool.volumes[candidates] == volume]
        position = int(members[np.argmin(self._lottery[members])])
        self.allowance.take(position)
        self._taken[volume] += 1
        return position


def _reason(pool: Pool, position: int) -> str:
    before = int((pool.annotated & (pool.volumes == pool.volumes[position])).sum())
    share = (
        "no annotated slice yet" if before == 0 else f"only {before} annotated slice{'s' if before > 1 else ''} so far"
    )
    return f"Drawn at random from a volume with {share}."
