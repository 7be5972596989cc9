"""USIM: a batch that stands for the slices the model is unsure of (Foellmer et al. 2024); what its variants share."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np

from ActiveSegmentationLib.acquisition.base import Choice, ModelStrategy, checked_scores
from ActiveSegmentationLib.acquisition.flqmi import EPSILON, Pick, Similarities, flqmi_greedy
from ActiveSegmentationLib.acquisition.gradient_options import PARAMETERS
from ActiveSegmentationLib.acquisition.k_center import fitting_device
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Figure, Pool
from ActiveSegmentationLib.uncertainty import Dropout

QUERIES_PER_PICK = 5
"""The query set has at least this many members for each slice wanted, as the paper's program has it."""

UNCERTAINTY = "class-variance"
"""Variance over dropout passes, mean over the pixels, one number a class."""


class QuerySet(NamedTuple):
    """Slices that the batch has to stand for.

    Attributes:
        positions: (q,) int64 positions of its different members, ascending.
        counts: (q,) int64 how often each was drawn, at least 1.
    """

    positions: np.ndarray
    counts: np.ndarray


class Usim(ModelStrategy):
    """Draws a query set of uncertain slices, then picks what stands for it in a space of gradients.

    Subclasses say in which space by ``points``.
    """

    known_options: ClassVar[Mapping[str, Option]] = {
        "eta": Option(1.0, "How much a pick's own nearness to uncertain slices counts.", least=0),
        "queries": Option(0, "Uncertain slices drawn; 0 finds the number from their scores.", least=0),
        "passes": Option(10, "Predictions with dropout.", least=2),
        "p": Option(0.1, "Dropout probability of these predictions.", least=0.01, most=0.99),
        "parameters": PARAMETERS,
        "greedy": Option(
            "auto", "How the batch is built; auto samples in very large pools.", choices=("auto", "exact", "stochastic")
        ),
    }
    needs = frozenset({"dropout"})

    def __init__(self, argument: str | None = None, options: Mapping[str, str] | None = None) -> None:
        super().__init__(argument, options)
        self.figures = (Figure(Dropout(passes=self.options["passes"], p=self.options["p"]), UNCERTAINTY),)

    @abc.abstractmethod
    def points(self, pool: Pool, queries: QuerySet, rng: np.random.Generator) -> np.ndarray:
        """(n, d) finite float32 array: points whose inner products are the similarities of the pool's items."""

    def select_by_model(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices; see ``Strategy.select``."""
        allowance = pool.allowance()
        if not allowance:
            return []
        queries = self.query_set(pool, budget, rng)
        points = self.points(pool, queries, rng)
        picks = flqmi_greedy(
            Similarities(points, queries.positions, fitting_device(pool.device, points)),
            allowance,
            budget,
            weights=queries.counts,
            eta=self.options["eta"],
            epsilon={"auto": None, "exact": 0.0, "stochastic": EPSILON}[self.options["greedy"]],
            rng=rng,
        )
        return [
            Choice(pool.ids[pick.position], pick.gain, _reason(pool, pick, first=number == 0))
            for number, pick in enumerate(picks)
        ]

    def uncertainty(self, pool: Pool) -> np.ndarray:
        """Sum over the foreground classes of their dropout variance times their weight: (n,) float64, 0 or more."""
        figure = self.figures[0]
        variance = np.asarray(pool.figure(figure.sampler, figure.name), dtype=np.float64)
        weights = class_weights(pool.class_pixels().sum(axis=0), variance.shape[1])
        return checked_scores(variance @ weights, pool)

    def query_set(self, pool: Pool, budget: int, rng: np.random.Generator) -> QuerySet:
        """Draw, with replacement, slices that may be picked with probability proportional to their uncertainty.

        Args:
            pool: What there is to choose from; at least one item may be picked.
            budget: Number of picks wanted.
            rng: Source of randomness.
        """
        candidates = np.flatnonzero(pool.allowance().mask)
        uncertainty = self.uncertainty(pool)[candidates]
        count = self.options["queries"] or query_count(uncertainty, budget)
        total = uncertainty.sum()
        drawn = rng.choice(candidates, count, p=uncertainty / total if total > 0 else None)
        positions, counts = np.unique(drawn, return_counts=True)
        return QuerySet(positions, counts)


def class_weights(pixels: np.ndarray, classes: int) -> np.ndarray:
    """Weights of the classes: the inverse of one more than the annotated pixels of each, of sum 1, background 0.

    The one more (Laplace) keeps a class finite that nobody has annotated yet; it then counts most.

    Args:
        pixels: (c,) annotated pixels of the classes, background first; classes beyond have none.
        classes: Classes including background.

    Returns:
        (classes,) float64.
    """
    counts = np.zeros(classes)
    counts[: len(pixels)] = pixels[:classes]
    weights = 1 / (counts + 1)
    weights[0] = 0
    return weights / max(weights.sum(), np.finfo(float).tiny)


def query_count(uncertainty: np.ndarray, budget: int) -> int:
    """Size of the query set: the knee of the scores, at least 5 for each pick, at most all.

    Args:
        uncertainty: (n,) scores of the slices that may be picked, n at least 1.
        budget: Number of picks wanted.
    """
    return min(max(knee(uncertainty) or 0, QUERIES_PER_PICK * budget), len(uncertainty))


def knee(values: np.ndarray) -> int | None:
    """Number of values before the falling curve of all of them flattens out.

    That is where the curve, both axes scaled to 0..1, lies farthest below the chord between its ends (the elbow of
    Thorndike 1953, without a program's settings).

    Args:
        values: (n,) finite float array, in any order.

    Returns:
        1 or more; None where no point lies below the chord: fewer than three values, all alike, or no knee.
    """
    falling = np.sort(np.asarray(values, dtype=np.float64))[::-1]
    if len(falling) < 3 or falling[0] == falling[-1]:
        return None
    height = (falling - falling[-1]) / (falling[0] - falling[-1])
    below = 1 - np.linspace(0, 1, len(falling)) - height
    place = int(below.argmax())
    return place + 1 if below[place] > 1e-9 else None


def _reason(pool: Pool, pick: Pick, *, first: bool) -> str:
    unsure = f"the {pool.unit}s that the model is unsure of"
    if pick.share < 0.005:
        return f"Little is left: the picks before it stand for {unsure}."
    return f"Stands for {pick.share:.0%} of {unsure}{'' if first else ', better than the picks before it'}."
