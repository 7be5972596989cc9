"""Balanced over the volumes, and within each volume where the score is high."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.base import Choice, best, ranking
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.power import FLOOR, power_noise
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.wrapping import ScoreWrapper


@register
class Balanced(ScoreWrapper):
    """Volumes in turn, those with the fewest annotated slices first, and of each the slice of the highest score (ours).

    It joins what careful comparisons found: few slices of many volumes beat many of few (Zhang et al., MIDL 2025), and
    chance beside the score keeps a batch from being all alike (Gaillochet et al. 2023; ClaSP PE 2026). Four options
    say how far the score may go. ``beta`` is the strength of the score against Gumbel noise, as of "power". ``window``
    is the part of a volume in which the best slice is looked for, around places that are spread evenly over the volumes
    as those of "strided": 0 is strided, 1 leaves the place to the score. ``apart`` lowers the score of slices that are
    nearer than this part of the volume to an annotated one of the same volume. ``volumes`` says which of several
    volumes with equally few annotated slices comes first. The argument names the score: entropy unless told. Needs what
    the score needs. Cost: that of the score, and O(budget n).
    """

    name = "balanced"
    summary = "The same number of slices from every volume, and in each the ones a score prefers; add it as in :bald."
    known_options: ClassVar = {
        "beta": Option(1.0, "strength of the score against chance; large to take the highest", least=1e-6, most=1e12),
        "window": Option(1.0, "part of a volume to look in, around evenly spread places", least=0, most=1),
        "apart": Option(0.0, "part of a volume that an annotated slice makes less wanted", least=0, most=1),
        "volumes": Option("random", "which of equally annotated volumes come first", choices=("random", "unsure")),
    }

    def select_by_scores(self, pool: Pool, scores: np.ndarray, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose volume by volume; see ``Strategy.select``."""
        allowance = pool.allowance()
        wanted = self._wanted(scores, rng)
        count = int(pool.volumes.max()) + 1
        taken = np.bincount(pool.volumes[pool.annotated], minlength=count)
        order = self._volume_order(pool, scores, count, rng)
        places = self._places(order, min(budget, count), rng)
        near = _Nearness(pool, self.options["apart"])
        choices: list[Choice] = []
        while len(choices) < budget and allowance:
            volumes = np.unique(pool.volumes[allowance.mask])
            volume = int(volumes[np.lexsort((order[volumes], taken[volumes]))[0]])
            members = np.flatnonzero(allowance.mask & (pool.volumes == volume))
            members = members[self._within(pool.positions[members], places[volume])]
            position = int(members[best(wanted[members] + near.penalty(members), np.ones(len(members), dtype=bool))])
            allowance.take(position)
            near.take(position)
            taken[volume] += 1
            places[volume] = rng.random()
            score = float(scores[position])
            reason = f"Its volume's turn. {self.scorer.reason(pool, position, score)}"
            choices.append(Choice(pool.ids[position], score, reason))
        return choices

    def _wanted(self, scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Logarithms of the scores with noise; scores below zero count by their order."""
        if (scores < 0).any():
            logarithm = np.empty(len(scores))
            logarithm[ranking(scores)] = -np.log(np.arange(1, len(scores) + 1))
        else:
            logarithm = np.log(scores + FLOOR)
        return power_noise(logarithm, self.options["beta"], rng)

    def _volume_order(self, pool: Pool, scores: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
        """Rank of every volume among those with equally many annotated slices: (count,)."""
        lottery = rng.permutation(count)
        if self.options["volumes"] == "random":
            return lottery
        sums = np.bincount(pool.volumes, scores, count)
        means = sums / np.maximum(1, np.bincount(pool.volumes, minlength=count))
        return np.argsort(np.lexsort((lottery, -means)))

    def _places(self, order: np.ndarray, visited: int, rng: np.random.Generator) -> np.ndarray:
        """Relative place in every volume to look around: those of the volumes visited first are evenly spread."""
        places = rng.random(len(order))
        first = np.argsort(order)[:visited]
        places[first] = rng.permutation((np.arange(visited) + rng.random()) / visited)
        return places

    def _within(self, positions: np.ndarray, place: float) -> np.ndarray:
        """Which slices (n,) lie in the window around a place; the nearest one where none does."""
        half = self.options["window"] / 2
        away = np.abs(positions - np.clip(place, half, 1 - half))
        return away <= max(half, float(away.min()))


class _Nearness:
    """How much less slices are wanted because an annotated or picked one is near."""

    def __init__(self, pool: Pool, apart: float) -> None:
        self._pool, self._apart = pool, apart
        self._seen = [int(position) for position in np.flatnonzero(pool.annotated)]

    def take(self, position: int) -> None:
        self._seen.append(position)

    def penalty(self, members: np.ndarray) -> np.ndarray:
        """Logarithm of a factor between 0 and 1 for slices of one volume: (n,) -> (n,)."""
        pool = self._pool
        seen = [p for p in self._seen if pool.volumes[p] == pool.volumes[members[0]]]
        if not seen or self._apart == 0:
            return np.zeros(len(members))
        away = np.abs(pool.positions[members][:, None] - pool.positions[seen]).min(axis=1)
        return np.log(np.minimum(1.0, away / self._apart) + FLOOR)
