"""Random slices, spread evenly over the volumes."""

from __future__ import annotations

import numpy as np

from ActiveSegmentationLib.acquisition.base import Choice, Strategy
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
        allowance = pool.allowance()
        taken = np.bincount(pool.volumes[pool.annotated], minlength=int(pool.volumes.max(initial=-1)) + 1)
        lottery = rng.permutation(len(pool))  # rank of each slice among all, hence within its volume
        volume_lottery = rng.permutation(len(taken))
        picks: list[int] = []
        while len(picks) < budget and allowance:
            open_slices = np.flatnonzero(allowance.mask)
            volumes = np.flatnonzero(np.bincount(pool.volumes[open_slices]))
            volume = volumes[np.lexsort((volume_lottery[volumes], taken[volumes]))[0]]
            members = open_slices[pool.volumes[open_slices] == volume]
            position = int(members[np.argmin(lottery[members])])
            allowance.take(position)
            taken[volume] += 1
            picks.append(position)
        return [Choice(pool.ids[position], None, _reason(pool, position)) for position in picks]


def _reason(pool: Pool, position: int) -> str:
    before = int((pool.annotated & (pool.volumes == pool.volumes[position])).sum())
    share = (
        "no annotated slice yet" if before == 0 else f"only {before} annotated slice{'s' if before > 1 else ''} so far"
    )
    return f"Drawn at random from a volume with {share}."
