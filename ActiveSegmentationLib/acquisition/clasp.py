"""ClaSP PE: a share of the budget for every class, and a lottery that turns from chance to score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.base import Choice, checked_scores, ranking
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Figure, Pool
from ActiveSegmentationLib.acquisition.power import FLOOR, power_noise
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.uncertain import Uncertain
from ActiveSegmentationLib.acquisition.wrapping import ScoreWrapper
from ActiveSegmentationLib.common.errors import BadInput

CLASS_SHARE = 0.66
"""Part of the budget that is divided among the foreground classes."""

LAST_BETA = 100.0
"""Exponent of the scores in the last round; it is 1 in the first that has a model, the second."""

ROUNDS = 10
"""Rounds where nobody knows how many there will be."""


@register
class ClaspPe(ScoreWrapper):
    """Class-stratified scheduled power predictive entropy (ClaSP PE, 2026), brought from patches to slices.

    66 % of the budget is divided evenly among the foreground classes (what is left of the division goes to classes
    drawn at random); each takes its slices by the mean over pixels of p_c H(p), p the mean prediction of all models.
    The rest is taken by the mean of H(p). All are drawn by a lottery as in "power", with beta rising from 1 in round 2,
    the first that has a model, to 100 in the last as 100 ** ((round - 2) / (rounds - 2)), and staying there. A
    benchmark knows its last round; where annotation goes on as long as somebody likes, the tenth counts as the last
    unless ``rounds`` says otherwise.

    The argument may name another uncertainty than entropy, whose map then stands for H, for the classes weighted with
    p_c in the same way (variance and deviation of dropout are those of the class instead; and averaged over all pixels
    whatever its option "aggregate" says). Needs a trained model, and what that uncertainty needs. Cost: that of the
    uncertainty.

    Raises:
        BadInput: If the argument names a strategy that makes no map of uncertainty.
    """

    name = "clasp-pe"
    summary = "Unsure slices for every label in equal parts, small structures too; chance counts less in later rounds."
    known_options: ClassVar = {
        "rounds": Option(0, "round in which the lottery is at its sharpest; 0: a benchmark's last, else 10", least=0),
    }

    def __init__(self, argument: str | None = None, options: Mapping[str, str] | None = None) -> None:
        super().__init__(argument, options)
        if not isinstance(self.wrapped, Uncertain):
            message = f"'{argument}' does not tell in which label's pixels the model is unsure."
            raise BadInput(message, where=f"strategy {self.name}", advice=f"Use for example '{self.name}:entropy'.")
        plain = self.wrapped.figure
        self._of_classes = Figure(plain.sampler, f"class-{plain.name.partition(':')[0]}")
        self.figures = (plain, self._of_classes)

    def beta(self, round_number: int, planned: int | None = None) -> float:
        """Exponent of the scores in a round, counted from 1, of so many as are planned (None: nobody knows)."""
        steps = (self.options["rounds"] or planned or ROUNDS) - 2
        return float(LAST_BETA ** (min(max(round_number - 2, 0), steps) / steps)) if steps > 0 else 1.0

    def select_by_scores(self, pool: Pool, scores: np.ndarray, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose for one class after the other, then by the plain scores; see ``Strategy.select``."""
        of_classes = pool.figure(*self._of_classes)
        allowance, beta = pool.allowance(), self.beta(pool.round_number, pool.rounds)
        choices: list[Choice] = []
        for of_class, wanted in _counts(budget, of_classes.shape[1], rng):
            values = checked_scores(of_classes[:, of_class], pool)
            noisy = power_noise(np.log(values + FLOOR), beta, rng)
            reason = f"Drawn by a lottery that favours slices with uncertain pixels of {pool.class_name(of_class)}."
            for position in allowance.take_in_order(ranking(noisy), wanted):
                choices.append(Choice(pool.ids[position], float(values[position]), reason))
        noisy = power_noise(np.log(scores + FLOOR), beta, rng)
        for position in allowance.take_in_order(ranking(noisy), budget - len(choices)):
            score = float(scores[position])
            why = f"Drawn by a lottery that favours high scores. {self.scorer.reason(pool, position, score)}"
            choices.append(Choice(pool.ids[position], score, why))
        return choices


def _counts(budget: int, classes: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Slices to take for each foreground class, in random order: (class, number)."""
    foreground = rng.permutation(np.arange(1, classes))
    if not len(foreground):
        return []
    each, left = divmod(round(CLASS_SHARE * budget), len(foreground))
    return [(int(of_class), each + (place < left)) for place, of_class in enumerate(foreground)]
