"""What all strategies share that rank slices by a figure of the model's predictions."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.base import ScoreStrategy, significant
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Figure, Pool
from ActiveSegmentationLib.uncertainty import AGGREGATES, Dropout, Sampler

AGGREGATE = Option(
    "mean",
    "which pixels of a slice count: all (mean or sum), the predicted foreground and its surroundings, the top 5 %, or "
    "the single least certain one (max)",
    choices=tuple(AGGREGATES),
)
"""Option of strategies that make one number of a map."""


def passes_option(usual: int, least: int = 2) -> Option:
    """The option "passes" with this default."""
    return Option(usual, "predictions drawn of every slice; more are steadier and slower", least=least, most=1000)


def dropout_option(usual: float = 0.0) -> Option:
    """The option "p" with this default."""
    meaning = "dropout probability while drawing; 0 for that of the training"
    return Option(usual, meaning, least=0, most=0.95)


class Uncertain(ScoreStrategy):
    """A strategy whose score is one figure of one sampler's predictions.

    Attributes:
        figure: The figure that is the score.
        finding: The reason, a sentence with "{others}" where "97 % of the other slices" goes.
    """

    finding: ClassVar[str] = "The model is less sure of this slice than of {others}."

    known_options: ClassVar[Mapping[str, Option]] = {"aggregate": AGGREGATE}

    def __init__(self, argument: str | None = None, options: Mapping[str, str] | None = None) -> None:
        super().__init__(argument, options)
        aggregate = self.options["aggregate"]
        self.figure = Figure(self.sampler(), self.map_name() + ("" if aggregate == "mean" else f":{aggregate}"))
        self.figures = (self.figure,)

    @abc.abstractmethod
    def sampler(self) -> Sampler:
        """Where the predictions come from."""

    @abc.abstractmethod
    def map_name(self) -> str:
        """Name of the map from ``uncertainty.SCORES``."""

    def score(self, pool: Pool) -> np.ndarray:
        """The figure of every slice; see ``ScoreStrategy.score``."""
        return pool.figure(*self.figure)

    def reason(self, pool: Pool, position: int, score: float) -> str:
        """How the slice stands among the others; see ``ScoreStrategy.reason``."""
        return self.finding.format(others=standing(self.score(pool), position))


class DropoutUncertain(Uncertain):
    """A strategy whose score comes from predictions with dropout left on."""

    needs = frozenset({"dropout"})
    finding = "Predictions with parts of the model switched off at random agree less on this slice than on {others}."

    def sampler(self) -> Sampler:
        """Monte Carlo dropout with the options "passes" and "p"."""
        return Dropout(self.options["passes"], self.options["p"] or None)


def standing(scores: np.ndarray, position: int) -> str:
    """What a slice outdoes, in words, such as "97 % of the other slices".

    Args:
        scores: (n,) float scores of the whole pool.
        position: Position of the slice.
    """
    if len(scores) == 1:
        return "any other, as it is the only one"
    rounded = significant(scores)
    below = int((rounded < rounded[position]).sum())
    return f"{100 * below / (len(scores) - 1):.0f} % of the other slices"
