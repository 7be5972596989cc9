"""The strategies "balanced" and "recommended" (the default): equally many slices from every patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from ActiveSegmentationLib.acquisition.base import Choice, Strategy, merged
from ActiveSegmentationLib.acquisition.foreground_random import class_share, structures
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.ranking import FLOOR, best, log_ranks, power_noise
from ActiveSegmentationLib.acquisition.round_inputs import ScoreSpec
from ActiveSegmentationLib.acquisition.spread import SpreadPositions, StretchedVolumes
from ActiveSegmentationLib.acquisition.uncertain import Entropy
from ActiveSegmentationLib.acquisition.wrappers import ScoreWrapper


@dataclass(frozen=True)
class Balanced(ScoreWrapper):
    """Patients in turn, those with the fewest annotated slices first; in each, the volume with the fewest, and in that
    volume the slice with the highest score (ours).

    It combines two findings of careful comparisons: few slices of many volumes beat many slices of few volumes (Zhang
    et al., MIDL 2025), and randomness added to the score makes batches more diverse (Gaillochet et al. 2023; ClaSP PE
    2026). Options limit the influence of the score:

    - ``window`` is the part of a volume that is searched for the best slice, around positions that are evenly spread
      over the volumes as in "strided": with 0 the score is not used, with 1 it alone decides.
    - ``trim`` excludes either end of a volume, where there is often little to see.
    - ``foreground`` is the share of positions on slices in which the model sees structures, the same for every class,
      or within the extent that a person marked. This is what makes "foreground-random" strong if structures span few
      slices (nnActive, Luth et al. 2025).
    - ``beta`` is the strength of the score relative to Gumbel noise, as in "power".
    - ``balance`` chooses between turns of patients and turns of volumes, ``volumes`` the order of volumes with equally
      few annotated slices.
    - ``batches`` is the number of balanced batches to draw; the one with the highest mean score is taken.

    In a volume with annotated slices, the position farthest from them is used. Before the score is ready, only the
    positions count. Needs what the score needs. Cost: that of the score, and O(batches budget n).
    """

    name = "balanced"
    summary = "The same number of slices from every patient, those with the highest score; add the score as in :bald."
    source = "ours"

    beta: Annotated[
        float,
        Option("strength of the score relative to noise; large values take the highest scores", least=1e-6, most=1e12),
    ] = 1.0
    window: Annotated[float, Option("part of a volume to search, around evenly spread positions", least=0, most=1)] = (
        1.0
    )
    foreground: Annotated[
        float,
        Option("share of the positions where the model sees structures, or a person marked them", least=0, most=1),
    ] = 0.0
    trim: Annotated[float, Option("part of a volume at either end that is used last", least=0, most=0.45)] = 0.0
    balance: Annotated[Literal["patient", "volume"], Option("whether patients or only volumes take turns")] = "patient"
    batches: Annotated[
        int,
        Option("balanced batches to draw; the one with the highest mean score is taken", least=1, most=100_000),
    ] = 1
    volumes: Annotated[Literal["random", "unsure"], Option("which of equally annotated volumes come first")] = "random"

    @property
    def uses_extents(self) -> bool:
        """Whether a share of the positions is on structures; see ``Strategy.uses_extents``."""
        return self.wrapped.uses_extents or self.foreground > 0

    @property
    def score_specs(self) -> tuple[ScoreSpec, ...]:
        """The score's own, and shares of the classes; see ``Strategy.score_specs``."""
        own = (class_share(),) if self.foreground > 0 else ()
        return merged(self.wrapped.score_specs, own)

    def not_ready_reason(self, pool: Pool) -> str:
        """It is always ready: without scores the positions decide; see ``Strategy.not_ready_reason``."""
        return ""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose patient by patient; see ``Strategy.select``."""
        why_not = self.wrapped.not_ready_reason(pool)
        scores = np.zeros(len(pool)) if why_not else self.scores(pool)
        count, window = (1, 0.0) if why_not else (self.batches, self.window)
        seen = structures(pool) if self.foreground > 0 else None
        stretched = StretchedVolumes(pool, self.trim, self.foreground, seen)
        batches = [self._batch(pool, stretched, scores, budget, window, rng) for _ in range(count)]
        # limits may end a batch early: only the longest are compared
        sizes = np.array([len(batch) for batch in batches])
        if not sizes.max():
            return []
        values = np.array([scores[batch].mean() if batch else 0.0 for batch in batches])
        chosen = batches[best(values, sizes == sizes.max())]
        if why_not:
            return [Choice(pool.ids[p], None, f"{self._turn(pool, p, stretched.shown[p])}. {why_not}.") for p in chosen]
        return [Choice(pool.ids[p], float(scores[p]), self._reason(pool, p, scores, stretched)) for p in chosen]

    def _batch(
        self,
        pool: Pool,
        stretched: StretchedVolumes,
        scores: np.ndarray,
        budget: int,
        window: float,
        rng: np.random.Generator,
    ) -> list[int]:
        """Positions of one balanced batch, in the order of the turns."""
        allowance, wanted = pool.allowance(), self._wanted(scores, rng)
        turns = VolumeTurns(pool, self._volume_order(pool, scores, rng), by_patient=self.balance == "patient")
        spread = SpreadPositions(pool, stretched, budget, rng)
        picks: list[int] = []
        while len(picks) < budget and allowance:
            volume = turns.next(allowance.mask)
            candidates = np.flatnonzero(allowance.mask & (pool.volumes == volume))
            candidates = candidates[stretched.near(candidates, spread.next(volume), window)]
            position = int(candidates[best(wanted[candidates], np.ones(len(candidates), dtype=bool))])
            allowance.take(position)
            spread.take(position)
            turns.take(position)
            picks.append(position)
        return picks

    def _turn(self, pool: Pool, position: int, shown: bool) -> str:
        turn = f"Next {self.balance} in turn"
        if pool.unit == "volume":
            return turn
        structures_text = ", where structures are expected" if shown else ""
        return f"{turn}, {pool.positions[position]:.0%} of the way through the volume{structures_text}"

    def _reason(self, pool: Pool, position: int, scores: np.ndarray, stretched: StretchedVolumes) -> str:
        if self.window > 0:
            return f"Next {self.balance} in turn. {self.reason_of(pool, position, scores)}"
        batch = f"; of {self.batches} such batches the model is least sure of this one" if self.batches > 1 else ""
        return f"{self._turn(pool, position, stretched.shown[position])}{batch}."

    def _wanted(self, scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Logarithms of the scores with noise; negative scores are replaced by their ranks."""
        logarithm = log_ranks(scores) if (scores < 0).any() else np.log(scores + FLOOR)
        return power_noise(logarithm, self.beta, rng)

    def _volume_order(self, pool: Pool, scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Rank of every volume among those with equally many annotated slices: (volumes,)."""
        count = int(pool.volumes.max()) + 1
        random_order = rng.permutation(count)
        if self.volumes == "random":
            return random_order
        sums = np.bincount(pool.volumes, scores, count)
        means = sums / np.maximum(1, np.bincount(pool.volumes, minlength=count))
        return np.argsort(np.lexsort((random_order, -means)))


class VolumeTurns:
    """Which volume is next: of the patient with the fewest annotated and picked slices the volume with the fewest.

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
        """Number of the next volume, among those with allowed slices."""
        volumes = np.flatnonzero(np.bincount(self._volumes[allowed]))
        keys = (self._order[volumes], self._of_volume[volumes], self._of_patient[self._patient_of[volumes]])
        return int(volumes[np.lexsort(keys)[0]])

    def take(self, position: int) -> None:
        """Count a pick."""
        self._of_volume[self._volumes[position]] += 1
        self._of_patient[self._patients[position]] += 1


@dataclass(frozen=True)
class Recommended(Strategy):
    """The default strategy: ``Balanced(Entropy())`` with the settings that measurements on development data favoured
    (ours).

    - Patients take turns, then their volumes. Positions are spread evenly over the middle 80 % of the volumes and far
      from annotated slices of the same volume.
    - From the first model on, two thirds of the positions are spread over the slices in which the model sees
      structures, with equal shares for the classes. Five such batches are drawn, and the one that the model is least
      sure of is requested.
    - If a person marked the extent of a volume, it is used instead of predicted structures, from the first round on.

    docs/experiments/recommended_strategy.md describes how it was found, and how little separates the good strategies.
    It takes no options, so its name in a table always means the same. Needs nothing; before the first model, only
    positions are used. Cost: one prediction of every slice, and five times O(budget n) for the batches.
    """

    name = "recommended"
    summary = "Recommended: every patient in turn, evenly spread slices, most of them where the model sees structures."
    source = "ours, see [recommended_strategy.md](experiments/recommended_strategy.md)"

    @property
    def balanced(self) -> Balanced:
        """The equivalent ``Balanced`` strategy."""
        return Balanced(Entropy(), trim=0.1, window=0.0, batches=5, foreground=0.66)

    @property
    def score_specs(self) -> tuple[ScoreSpec, ...]:
        """Entropy and shares of the classes; see ``Strategy.score_specs``."""
        return self.balanced.score_specs

    @property
    def uses_extents(self) -> bool:
        """Always True; see ``Strategy.uses_extents``."""
        return True

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices; see ``Strategy.select``."""
        return self.balanced.select(pool, budget, rng)
