"""Entropy in which every class counts alike."""

from __future__ import annotations

import numpy as np

from ActiveSegmentationLib.acquisition.base import ScoreStrategy
from ActiveSegmentationLib.acquisition.pool import Figure, Pool
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.uncertain import standing
from ActiveSegmentationLib.uncertainty import Deterministic


@register
class ClassEntropy(ScoreStrategy):
    """Mean over the foreground classes of u_c / mean(u_c), u_c the class-weighted entropy of ClaSP PE (2026): the mean
    over the pixels of the probability of class c times the entropy, its mean taken over the cohort.

    A small or rare organ thus draws as much attention as a large one. Needs a trained model. Cost: one prediction of
    every slice.
    """

    name = "class-entropy"
    summary = "Slices where the model is unsure of some organ; a small organ counts as much as a large one."
    figures = (Figure(Deterministic(), "class-entropy"),)

    def score(self, pool: Pool) -> np.ndarray:
        """The mean over the foreground classes; see ``ScoreStrategy.score``."""
        found = pool.figure(*self.figures[0])[:, 1:].astype(np.float64)
        usual = found.mean(axis=0)
        known = usual > 0
        return (found[:, known] / usual[known]).mean(axis=1) if known.any() else np.zeros(len(pool))

    def reason(self, pool: Pool, position: int, score: float) -> str:
        """How the slice stands among the others; see ``ScoreStrategy.reason``."""
        return f"The model is less sure of the organs in this slice than in {standing(self.score(pool), position)}."
