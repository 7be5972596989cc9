"""BADGE: slices from which the model would learn much, each something different."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from ActiveSegmentationLib.acquisition.base import Choice, GreedyState, ModelStrategy, pick_greedily
from ActiveSegmentationLib.acquisition.gradients import Entries, Parameters, gradients_of
from ActiveSegmentationLib.acquisition.k_center import Cover, fitting_device
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.ranking import best


@dataclass(frozen=True)
class Badge(ModelStrategy):
    """k-means++ draws in the space of loss gradients at the model's own labels (Ash et al. 2020; "BADGE(LL)" of
    Foellmer et al. 2024).

    - A slice is represented by the gradient of the loss with respect to the last 3 x 3 convolution before the head, as
      if the most probable label of every pixel were true. The gradient is long if the model is unsure, and slices that
      teach the model different things have gradients of different directions.
    - The first pick is the longest gradient. Every further one is drawn with probability proportional to the squared
      distance to the nearest pick, or uniformly if all distances are 0.
    - The loss is the cross-entropy, whose direction depends on the slice's pixels alone; loss="training" adds the Dice
      loss in equal parts, as the paper's code does.

    With several ensemble members, the first gives the gradients. Needs a trained U-Net; costs a forward and a short
    backward pass a slice, then O(budget n d) with d <= ``parameters``.
    """

    name = "badge"
    summary = "Slices from which the model would learn much, each something different; quick, partly random."
    source = "Foellmer (Ash 2020)"
    needs = frozenset({"gradients"})

    parameters: Parameters = 10_000
    entries: Annotated[Entries, Option("which weights of a larger layer are kept")] = "random"
    loss: Annotated[Literal["cross-entropy", "training"], Option("the loss behind the gradients")] = "cross-entropy"
    start: Annotated[
        Literal["longest", "annotated"], Option("begin from the longest gradient, or away from annotated slices")
    ] = "longest"

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Draw slices; see ``Strategy.select``."""
        gradients = gradients_of(pool, "last", self.parameters, rng, loss=self.loss, entries=self.entries)
        known = np.flatnonzero(pool.annotated) if self.start == "annotated" else np.arange(0)
        return pick_greedily(_Draws(pool, gradients, known, rng), pool, budget)


class _Draws(GreedyState):
    """The draws of k-means++.

    Args:
        pool: The pool.
        gradients: (n, d) float32 gradients.
        known: Positions that count as picked from the start.
        rng: Source of randomness.
    """

    def __init__(self, pool: Pool, gradients: np.ndarray, known: np.ndarray, rng: np.random.Generator) -> None:
        self._pool, self._gradients, self._rng = pool, gradients, rng
        self._cover = Cover(gradients, fitting_device(pool.compute.device, gradients))
        self._cover.add(known)
        self._first = not len(known)
        self._distance = 0.0

    def pick(self, allowed: np.ndarray) -> tuple[int, float | None]:
        """The longest gradient first, then draws; see ``GreedyState.pick``."""
        if self._first:
            distances = np.linalg.norm(self._gradients.astype(np.float64), axis=1)
            position = best(distances, allowed)
        else:
            distances = self._cover.gains()
            position = _draw(distances**2 * allowed, allowed, self._rng)
        self._distance = float(distances[position])
        return position, self._distance

    def take(self, position: int) -> str:
        """Count the draw; see ``GreedyState.take``."""
        first, self._first = self._first, False
        self._cover.add(np.array([position]))
        return _reason(self._pool, self._distance, first=first)


def _draw(weights: np.ndarray, allowed: np.ndarray, rng: np.random.Generator) -> int:
    """Draw a position in proportion to its weight; uniformly among the allowed ones if all weights are 0."""
    candidates = np.flatnonzero(allowed)
    total = weights[candidates].sum()
    return int(rng.choice(candidates, p=weights[candidates] / total if total > 0 else None))


def _reason(pool: Pool, distance: float, *, first: bool) -> str:
    if distance == 0:
        drawn = "" if first else "Drawn at random: "
        return f"{drawn}{'The' if first else 'the'} model would learn the same from every {pool.unit} that is left."
    if first:
        return f"The {pool.unit} that would change the model most."
    return f"Would change the model in another way than the {pool.unit}s picked before it."
