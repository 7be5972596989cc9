"""Balanced over the volumes, and within each volume where the score is high."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.base import Choice, best, checked_scores
from ActiveSegmentationLib.acquisition.foreground import SHARE, structures
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.places import Ground, Places
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.power import FLOOR, log_ranks, power_noise
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.wrapping import ScoreWrapper


@register
class Balanced(ScoreWrapper):
    """Patients in turn, those with the fewest annotated slices first, of each the volume with the fewest, and of that
    the slice of the highest score (ours).

    It joins what careful comparisons found: few slices of many volumes beat many of few (Zhang et al., MIDL 2025),
    and chance beside the score keeps a batch from being all alike (Gaillochet et al. 2023; ClaSP PE 2026). Options
    say how far the score may go. ``window`` is the part of a volume in which the best slice is looked for, around
    places that are spread evenly over the volumes as those of "strided": 0 leaves the score out, 1 leaves the place
    to it. ``trim`` keeps the places from either end, where there is often little to see. ``foreground`` moves that
    part of them to where the model sees structures, every class alike, or between the ends that a person marked:
    what makes "foreground-random" strong where structures are short (nnActive, Luth et al. 2025). ``beta`` is the
    strength of the score against Gumbel noise, as of "power". ``balance`` says whether patients or only volumes
    take turns, ``volumes`` which of those with equally few annotated slices comes first. With ``batches`` above 1
    so many balanced batches are drawn, and the one of the highest mean score is taken: stochastic batches that are
    balanced each. A volume with annotated slices gets the place that is farthest from them. Before the score can
    judge, the places alone decide. The argument names the score: entropy unless told. Needs what the score needs.
    Cost: that of the score, and O(batches budget n).
    """

    name = "balanced"
    summary = "The same number of slices from every patient, and in each the ones a score prefers; add it as in :bald."
    known_options: ClassVar = {
        "beta": Option(1.0, "strength of the score against chance; large to take the highest", least=1e-6, most=1e12),
        "window": Option(1.0, "part of a volume to look in, around evenly spread places", least=0, most=1),
        "foreground": Option(
            0.0, "part of the places that lie where the model sees structures, or a person marked them", least=0, most=1
        ),
        "trim": Option(0.0, "part of a volume at either end that is not looked at first", least=0, most=0.45),
        "balance": Option("patient", "whether patients or only volumes take turns", choices=("patient", "volume")),
        "batches": Option(
            1, "balanced batches to draw; that of the highest mean score is taken", least=1, most=100_000
        ),
        "volumes": Option("random", "which of equally annotated volumes come first", choices=("random", "unsure")),
    }

    def __init__(self, argument: str | None = None, options: Mapping[str, str] | None = None) -> None:
        super().__init__(argument, options)
        self.marks = self.marks or self.options["foreground"] > 0
        if self.options["foreground"] > 0:
            self.figures = tuple(dict.fromkeys([*self.figures, SHARE]))

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices; see ``Strategy.select``."""
        why_not = self.hold(pool)
        if why_not:
            return self._choose(pool, np.zeros(len(pool)), budget, rng, why_not)
        return self.select_by_scores(pool, checked_scores(self.scorer.score(pool), pool), budget, rng)

    def select_by_scores(self, pool: Pool, scores: np.ndarray, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose patient by patient; see ``Strategy.select``."""
        return self._choose(pool, scores, budget, rng, "")

    def _choose(
        self, pool: Pool, scores: np.ndarray, budget: int, rng: np.random.Generator, why_not: str
    ) -> list[Choice]:
        count = 1 if why_not else self.options["batches"]
        window = 0.0 if why_not else self.options["window"]
        share = self.options["foreground"]
        ground = Ground(pool, self.options["trim"], share, structures(pool) if share > 0 else None)
        batches = [self._batch(pool, ground, scores, budget, window, rng) for _ in range(count)]
        sizes = np.array([len(batch) for batch in batches])  # limits may end a batch early: the longest compete
        if not sizes.max():
            return []
        values = np.array([scores[batch].mean() if batch else 0.0 for batch in batches])
        chosen = batches[best(values, sizes == sizes.max())]
        return [self._choice(pool, p, float(scores[p]), why_not, shown=bool(ground.shown[p])) for p in chosen]

    def _batch(
        self, pool: Pool, ground: Ground, scores: np.ndarray, budget: int, window: float, rng: np.random.Generator
    ) -> list[int]:
        """Positions of one balanced batch, in the order of the turns."""
        allowance, wanted = pool.allowance(), self._wanted(scores, rng)
        turns = _Turns(pool, self._volume_order(pool, scores, rng), by_patient=self.options["balance"] == "patient")
        places = Places(pool, ground, budget, rng)
        picks: list[int] = []
        while len(picks) < budget and allowance:
            volume = turns.next(allowance.mask)
            members = np.flatnonzero(allowance.mask & (pool.volumes == volume))
            members = members[ground.near(members, places.next(volume), window)]
            position = int(members[best(wanted[members], np.ones(len(members), dtype=bool))])
            allowance.take(position)
            places.take(position)
            turns.take(position)
            picks.append(position)
        return picks

    def _choice(self, pool: Pool, position: int, score: float, why_not: str, *, shown: bool) -> Choice:
        turn = f"Next {self.options['balance']} in turn"
        place = ""
        if pool.unit == "slice":
            place = f", {pool.positions[position]:.0%} of the way through the volume"
            place += ", where structures are expected" if shown else ""
        if why_not:
            return Choice(pool.ids[position], None, f"{turn}{place}. {why_not}.")
        if self.options["window"] > 0:
            return Choice(pool.ids[position], score, f"{turn}. {self.scorer.reason(pool, position, score)}")
        count = self.options["batches"]
        batch = f"; of {count} such batches the model is least sure of this one" if count > 1 else ""
        return Choice(pool.ids[position], score, f"{turn}{place}{batch}.")

    def _wanted(self, scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Logarithms of the scores with noise; scores below zero count by their order."""
        logarithm = log_ranks(scores) if (scores < 0).any() else np.log(scores + FLOOR)
        return power_noise(logarithm, self.options["beta"], rng)

    def _volume_order(self, pool: Pool, scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Rank of every volume among those with equally many annotated slices: (volumes,)."""
        count = int(pool.volumes.max()) + 1
        lottery = rng.permutation(count)
        if self.options["volumes"] == "random":
            return lottery
        sums = np.bincount(pool.volumes, scores, count)
        means = sums / np.maximum(1, np.bincount(pool.volumes, minlength=count))
        return np.argsort(np.lexsort((lottery, -means)))


class _Turns:
    """Whose turn it is: the patient, and of the patient the volume, with the fewest annotated and picked slices.

    Args:
        pool: The pool.
        order: (volumes,) rank of every volume, for equal counts.
        by_patient: Whether patients take turns before volumes.
    """

    def __init__(self, pool: Pool, order: np.ndarray, *, by_patient: bool) -> None:
        self._volumes, self._patients = pool.volumes, pool.patients
        self._of_volume = np.bincount(pool.volumes[pool.annotated], minlength=len(order))
        self._of_patient = np.bincount(pool.patients[pool.annotated], minlength=int(pool.patients.max()) + 1)
        patient_of = np.zeros(len(order), dtype=np.int64)
        patient_of[pool.volumes] = pool.patients if by_patient else 0
        self._patient_of, self._order = patient_of, order

    def next(self, allowed: np.ndarray) -> int:
        """Number of the volume whose turn it is, among those with allowed slices."""
        volumes = np.flatnonzero(np.bincount(self._volumes[allowed]))
        keys = (self._order[volumes], self._of_volume[volumes], self._of_patient[self._patient_of[volumes]])
        return int(volumes[np.lexsort(keys)[0]])

    def take(self, position: int) -> None:
        """Count a pick."""
        self._of_volume[self._volumes[position]] += 1
        self._of_patient[self._patients[position]] += 1
