"""USIM: a batch that represents the slices the model is unsure of, in a space of gradients (Foellmer et al. 2024)."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np

from ActiveSegmentationLib.acquisition.base import Choice, ModelStrategy, pick_greedily
from ActiveSegmentationLib.acquisition.flqmi import EPSILON, FlqmiSettings, FlqmiState, Similarities
from ActiveSegmentationLib.acquisition.gradients import Entries, Parameters, gradients_at, gradients_of
from ActiveSegmentationLib.acquisition.k_center import fitting_device
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.ranking import checked_scores
from ActiveSegmentationLib.acquisition.round_inputs import ScoreSpec

QUERIES_PER_PICK = 5
"""Minimum number of members of the query set per requested slice, as in the paper's code."""

UNCERTAINTY = "class-variance"
"""Variance over dropout passes, mean over the pixels, one number per class."""


class QuerySet(NamedTuple):
    """Slices that the batch must represent.

    Attributes:
        positions: (q,) int64 positions of its distinct members, ascending.
        counts: (q,) int64 how often each was drawn, at least 1.
    """

    positions: np.ndarray
    counts: np.ndarray


FISHER_LAYER = "decoder"
"""Part of the network whose weights the Fisher information is about."""

FISHER_SLICES = 200
"""Maximum number of slices of the query set over which the Fisher information is averaged, as in the paper's code."""


@dataclass(frozen=True)
class Usim(ModelStrategy):
    """Draws a query set of uncertain slices, then picks slices that represent it in a space of gradients.

    Subclasses define the space by ``points``.
    """

    needs = frozenset({"dropout", "gradients"})
    source = "Foellmer 2024"
    requires = "a model with dropout"

    eta: Annotated[float, Option("how much a pick's own nearness to uncertain slices counts", least=0)] = 1.0
    queries: Annotated[int, Option("uncertain slices drawn; 0 finds the number from their scores", least=0)] = 0
    passes: Annotated[int, Option("predictions with dropout", least=2)] = 10
    p: Annotated[float, Option("dropout probability of these predictions", least=0.01, most=0.99)] = 0.1
    parameters: Parameters = 10_000
    greedy: Annotated[
        Literal["auto", "exact", "stochastic"], Option("how the batch is built; auto samples in very large pools")
    ] = "auto"
    draw: Annotated[
        Literal["proportional", "uniform", "top"],
        Option("how the query set is drawn: in proportion to uncertainty, evenly, or only the most uncertain"),
    ] = "proportional"
    batch: Annotated[
        Literal["representative", "random"],
        Option("whether the batch represents the query set, or is drawn evenly from it"),
    ] = "representative"

    @property
    def score_specs(self) -> tuple[ScoreSpec, ...]:
        """Variance by class over passes with dropout; see ``Strategy.score_specs``."""
        from ActiveSegmentationLib.uncertainty import Dropout

        return (ScoreSpec(Dropout(passes=self.passes, p=self.p), UNCERTAINTY),)

    @abc.abstractmethod
    def points(self, pool: Pool, queries: QuerySet, rng: np.random.Generator) -> np.ndarray:
        """(n, d) finite float32 array: points whose inner products are the similarities of the pool's items."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices; see ``Strategy.select``."""
        if not pool.allowance():
            return []
        queries = self.query_set(pool, budget, rng)
        if self.batch == "random":
            return _random_members(pool, queries, budget, rng)
        points = self.points(pool, queries, rng)
        similarities = Similarities(points, queries.positions, fitting_device(pool.compute.device, points))
        epsilon = {"auto": None, "exact": 0.0, "stochastic": EPSILON}[self.greedy]
        settings = FlqmiSettings(budget, queries.counts, self.eta, epsilon)
        return pick_greedily(FlqmiState(similarities, settings, _tell(pool.unit), rng), pool, budget)

    def uncertainty(self, pool: Pool) -> np.ndarray:
        """Sum over the foreground classes of their dropout variance times their weight: (n,) float64, 0 or more."""
        variance = np.asarray(pool.scores(self.score_specs[0]), dtype=np.float64)
        weights = class_weights(pool.class_pixels().sum(axis=0), variance.shape[1])
        return checked_scores(variance @ weights, pool)

    def query_set(self, pool: Pool, budget: int, rng: np.random.Generator) -> QuerySet:
        """Draw slices that may be picked, with replacement, in proportion to their uncertainty or as ``draw`` says.

        Args:
            pool: The slices to choose from; at least one item may be picked.
            budget: Number of picks wanted.
            rng: Source of randomness.
        """
        candidates = np.flatnonzero(pool.allowance().mask)
        uncertainty = self.uncertainty(pool)[candidates]
        count = self.queries or query_count(uncertainty, budget)
        if self.draw == "top":
            top = np.argsort(-uncertainty, kind="stable")[:count]
            return QuerySet(np.sort(candidates[top]), np.ones(len(top), dtype=np.int64))
        total = 0.0 if self.draw == "uniform" else uncertainty.sum()
        drawn = rng.choice(candidates, count, p=uncertainty / total if total > 0 else None)
        positions, counts = np.unique(drawn, return_counts=True)
        return QuerySet(positions, counts)


@dataclass(frozen=True)
class UsimCosine(Usim):
    """A query set of uncertain slices, and the batch that represents it by the directions of gradients (Foellmer et al.
    2024, "USIMC", Eq. 1 and 2).

    - The uncertainty of a slice is the variance of each foreground class over dropout passes, weighted by the inverse
      of the class's annotated pixels.
    - The query set is drawn with replacement in proportion to it. Its size is the knee of the sorted scores, at least 5
      per requested slice.
    - The similarity of two slices is the cosine of their gradients of the mean log-probability of the model's own
      labels, at the last convolution of the coarsest level. FLQMI is maximised exactly, or stochastically for very
      large pools.
    - A random subset of 10,000 weights of the layer is kept. The paper takes the first ones, which belong to a few
      output channels (entries="first").

    Of several models the uncertainty comes from all, the gradients from the first. Needs a U-Net trained with dropout;
    costs ``passes`` forward passes and one backward pass a slice, then O(budget n q).
    """

    name = "usim-cosine"
    summary = (
        "Few slices that represent the many the model is unsure of, rare structures first; avoids near-duplicates."
    )

    entries: Annotated[Entries, Option("which weights of the layer are kept")] = "random"

    def points(self, pool: Pool, queries: QuerySet, rng: np.random.Generator) -> np.ndarray:
        """Gradients of length 1, see ``Usim.points``; a gradient of 0 resembles nothing."""
        return of_unit_length(gradients_of(pool, "bottleneck", self.parameters, rng, entries=self.entries))


@dataclass(frozen=True)
class UsimFisher(Usim):
    """A query set of uncertain slices, and the batch that represents it by its influence on the model (Foellmer et al.
    2024, "USIMF", Eq. 1, 3 and 4).

    - The query set is drawn as by "usim-cosine".
    - The Fisher information F of every weight of the decoder's convolutions is the mean squared gradient of the mean
      log-probability of the model's own labels over up to 200 members of the query set.
    - ``parameters`` weights are drawn in proportion to F. The similarity of two slices is the product of their
      gradients there, each weight divided by F + damping x mean F. Long gradients count more unless ``normalise`` gives
      all gradients the same length.

    Of several models the uncertainty comes from all, the gradients from the first. Needs a U-Net trained with dropout;
    costs ``passes`` forward passes and one backward pass through the decoder a slice, then O(budget n q).
    """

    name = "usim-fisher"
    summary = "Few slices that represent the many the model is unsure of, by how much they would change it."
    damping: Annotated[float, Option("what keeps weights of little influence from counting much", least=1e-9)] = 1e-3
    normalise: Annotated[bool, Option("whether all slices' gradients get the same length")] = False

    def points(self, pool: Pool, queries: QuerySet, rng: np.random.Generator) -> np.ndarray:
        """Gradients divided by the root of the damped Fisher information, see ``Usim.points``."""
        fisher = self._fisher(pool, queries, rng)
        useful = np.count_nonzero(fisher)
        if useful == 0:  # no member of the query set would change anything
            return np.zeros((len(pool), 1), dtype=np.float32)
        wanted = min(self.parameters, int(useful))
        columns = np.sort(rng.choice(len(fisher), wanted, replace=False, p=fisher / fisher.sum()))
        scale = np.sqrt(fisher[columns] + self.damping * fisher.mean())
        points = (gradients_at(pool, FISHER_LAYER, columns) / scale).astype(np.float32)
        return of_unit_length(points) if self.normalise else points

    def _fisher(self, pool: Pool, queries: QuerySet, rng: np.random.Generator) -> np.ndarray:
        """Mean squared gradients over slices drawn from the query set, repeated draws counted: (parameters,)
        float64."""
        from ActiveSegmentationLib.uncertainty.gradients import mean_squared_gradients

        drawn = np.repeat(queries.positions, queries.counts)
        rows = np.concatenate([pool.rows_of(int(position)) for position in drawn])
        some = rng.choice(rows, min(FISHER_SLICES, len(rows)), replace=False)
        different, counts = np.unique(some, return_counts=True)
        return mean_squared_gradients(
            pool.require_model(),
            pool.stack,
            different,
            layer=FISHER_LAYER,
            weights=counts,
            compute=pool.compute,
        )


def _random_members(pool: Pool, queries: QuerySet, budget: int, rng: np.random.Generator) -> list[Choice]:
    """Slices drawn evenly from the query set, in which a slice is as often as it was drawn (Foellmer 2024, App. E)."""
    order = rng.permutation(np.repeat(queries.positions, queries.counts))
    first = np.array(list(dict.fromkeys(order.tolist())), dtype=np.int64)
    picks = pool.allowance().take_in_order(first, budget)
    return [
        Choice(pool.ids[position], None, "Drawn at random from slices the model is unsure of.") for position in picks
    ]


def of_unit_length(points: np.ndarray) -> np.ndarray:
    """Points (n, d) float32 divided by their length unless it is 0."""
    lengths = np.sqrt(np.einsum("ij,ij->i", points, points, dtype=np.float64))[:, None]
    return np.divide(points, lengths, out=np.zeros_like(points), where=lengths > 0, casting="same_kind")


def class_weights(pixels: np.ndarray, classes: int) -> np.ndarray:
    """Weights of the classes: 1 / (annotated pixels + 1), scaled to a sum of 1; background has weight 0.

    Adding one (Laplace) keeps the weight of a class finite that is not annotated yet; it then counts most.

    Args:
        pixels: (c,) annotated pixels of the classes, background first; further classes have none.
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
    """Position of the knee of the falling curve of all values, in number of values.

    The knee is where the curve, both axes scaled to 0..1, is farthest below the chord between its ends (the elbow of
    Thorndike 1953).

    Args:
        values: (n,) finite float array, in any order.

    Returns:
        1 or more; None if no point is below the chord: fewer than three values, all equal, or no knee.
    """
    falling = np.sort(np.asarray(values, dtype=np.float64))[::-1]
    if len(falling) < 3 or falling[0] == falling[-1]:
        return None
    height = (falling - falling[-1]) / (falling[0] - falling[-1])
    below = 1 - np.linspace(0, 1, len(falling)) - height
    place = int(below.argmax())
    return place + 1 if below[place] > 1e-9 else None


def _tell(unit: str) -> Callable[[float, bool], str]:
    """The reasons of picks, see ``FlqmiState``."""
    unsure = f"the {unit}s that the model is unsure of"

    def tell(share: float, first: bool) -> str:
        if share < 0.005:
            return f"Little is left: earlier picks represent {unsure}."
        return f"Represents {share:.0%} of {unsure}{'' if first else ' better than earlier picks'}."

    return tell
