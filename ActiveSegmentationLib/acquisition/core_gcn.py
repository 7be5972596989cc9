"""CoreGCN: what a graph network that tells annotated from other slices finds farthest from any annotated one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.base import Representativeness
from ActiveSegmentationLib.acquisition.k_center import Centre
from ActiveSegmentationLib.acquisition.k_center_strategy import CoverGains
from ActiveSegmentationLib.acquisition.neighbours import unit_rows
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.spaces import in_words, parse_space

if TYPE_CHECKING:
    import torch

HIDDEN = 128
DROPOUT = 0.3
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 5e-4
"""Settings of the paper's network and training."""

SMALLEST_DEGREE = 1e-10
"""Sums of similarities below this count as none: the slice is like no other and keeps to itself."""


@register
class CoreGCN(Representativeness):
    """k-center greedy in the features of a graph network (Caramalau, Bhattarai and Kim 2021, CoreGCN).

    Nodes are all slices of the pool, weighted by the cosine similarity of their features X (rows of length 1):

        A = S D^-1 + I,   S = X X^T with a diagonal of 0,   D = diag(column sums of S)
        H = relu(A X W1 + b1),   y = A dropout(H) W2 + b2
        loss = -mean log sigmoid(y) over annotated - lambda mean log(1 - sigmoid(y)) over other slices

    with 128 hidden features, dropout 0.3 and 200 steps of Adam over the whole graph. Slices are then compared by H and
    y side by side, and the gain of one is its distance to the nearest annotated or picked one, as with "coreset".

    The paper draws a subset of large pools because it keeps A. Here A is only ever applied, as
    A Z = X (X^T D^-1 Z) - D^-1 Z + Z, so that all slices of the pool take part. Features may be negative here, other
    than the paper's, and columns of S could sum to nothing; positive and negative parts are therefore features of their
    own, which leaves the similarities of features without negative values as they are.

    The argument names the space: "segmenter" (the default; pixels before the first model, and the reasons say so),
    "pixels", "learned" or "learned:NAME", as for "coreset". Before any slice is annotated it draws balanced random
    slices. Needs: the embedding and an annotated slice; cost O(steps n d 128).

    Raises:
        BadInput: If the argument names no such space.
    """

    name = "coregcn"
    summary = "Slices unlike any annotated one, by a network that learns to tell annotated slices from the rest."
    known_options: ClassVar[Mapping[str, Option]] = {
        "lambda": Option(1.2, "Weight of the slices that are not annotated.", least=0.0),
        "steps": Option(200, "Training steps of the graph network.", least=1),
    }

    def hold(self, pool: Pool) -> str:
        """It must tell annotated slices from others; see ``Representativeness.hold``."""
        return "" if pool.annotated.any() else "No slice is annotated yet"

    def start(self, pool: Pool, budget: int, rng: np.random.Generator) -> CoverGains:
        """Distances to what is annotated; see ``Representativeness.start``."""
        kind = self.space.of(pool)
        features = graph_features(
            pool.embeddings(kind),
            pool.annotated,
            weight=self.options["lambda"],
            steps=self.options["steps"],
            seed=int(rng.integers(2**63)),
            device=pool.device,
        )
        return CoverGains(pool, features, lambda centre: _reason(pool, kind, centre))

    def _take_argument(self, argument: str | None) -> None:
        self.space = parse_space(argument, "segmenter", self.name)
        self.embeddings = self.space.embeddings


def _reason(pool: Pool, kind: str, centre: Centre) -> str:
    if centre.distance == 0:
        return f"Nothing different is left: the network takes it for the same as {pool.describe(centre.nearest)}."
    known = "annotated" if pool.annotated[centre.nearest] else "annotated or requested"
    return (
        f"A network that tells annotated slices from the rest by {in_words(kind)} finds it unlike anything "
        f"{known} so far; the nearest is {pool.describe(centre.nearest)}."
    )


class Graph:
    """The slices and their similarities; A of ``CoreGCN``, column-normalised and with itself added, is only applied.

    Args:
        features: (n, d) float array, finite.
        device: Torch device.

    Attributes:
        rows: (n, 2 d) float32 tensor X: positive and negative parts, of length 1.
    """

    def __init__(self, features: np.ndarray, device: str) -> None:
        import torch

        parts = np.concatenate([np.maximum(features, 0), np.maximum(-features, 0)], axis=1)
        used = parts[:, parts.any(axis=0)]
        rows = torch.from_numpy(unit_rows(used)).to(device)
        own = (rows**2).sum(dim=1)
        degrees = rows @ rows.sum(dim=0) - own
        inverse = torch.where(degrees > SMALLEST_DEGREE, 1 / degrees.clamp(min=SMALLEST_DEGREE), 0.0)
        self.rows = rows.float()
        self._own, self._inverse = own.float()[:, None], inverse.float()[:, None]

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """A times (n, m) float32 values."""
        scaled = self._inverse * values
        return self.rows @ (self.rows.T @ scaled) - self._own * scaled + values


def graph_features(
    features: np.ndarray, annotated: np.ndarray, *, weight: float, steps: int, seed: int, device: str
) -> np.ndarray:
    """Train the graph network of ``CoreGCN`` and return what it makes of the slices.

    Torch's own generators stay as they are.

    Args:
        features: (n, d) float32 array, finite.
        annotated: (n,) bool, at least one of them True.
        weight: Weight lambda of the slices that are not annotated.
        steps: Training steps.
        seed: Seed of weights and dropout, below 2**63.
        device: Torch device.

    Returns:
        (n, 129) float32: hidden features and the number before the sigmoid.
    """
    import torch
    from torch.nn import functional

    generator = torch.Generator().manual_seed(seed)
    graph = Graph(features, device)
    mixed = graph.spread(graph.rows)

    def parameter(*shape: int) -> torch.Tensor:
        bound = 1 / math.sqrt(shape[-1])
        values = torch.rand(shape, generator=generator) * (2 * bound) - bound
        return values.to(device).requires_grad_()

    first, second = (parameter(mixed.shape[1], HIDDEN), parameter(HIDDEN)), (parameter(HIDDEN, 1), parameter(1))
    optimizer = torch.optim.Adam([*first, *second], lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    known = torch.from_numpy(annotated).to(device)

    def hidden() -> torch.Tensor:
        return functional.relu(mixed @ first[0] + first[1])

    def logits(values: torch.Tensor) -> torch.Tensor:
        return graph.spread(values @ second[0]) + second[1]

    for _ in range(steps):
        values = hidden()
        kept = (torch.rand(values.shape, generator=generator) >= DROPOUT).to(device)
        found = logits(values * kept / (1 - DROPOUT))[:, 0]
        loss = -functional.logsigmoid(found[known]).mean()
        if not known.all():
            loss = loss - weight * functional.logsigmoid(-found[~known]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        values = hidden()
        return torch.cat([values, logits(values)], dim=1).cpu().numpy()
