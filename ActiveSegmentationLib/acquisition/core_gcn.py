"""CoreGCN: k-center greedy in the features of a graph network that distinguishes annotated from other slices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ActiveSegmentationLib.acquisition.k_center import Centre, CoverGains, SpaceName, SpaceStrategy, in_words
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool


@dataclass(frozen=True)
class CoreGCN(SpaceStrategy):
    """k-center greedy in the features of a graph network (Caramalau, Bhattarai and Kim 2021, CoreGCN).

    Nodes are all slices of the pool, weighted by the cosine similarity of their features X (rows of length 1):

        A = S D^-1 + I,   S = X X^T with a diagonal of 0,   D = diag(column sums of S)
        H = relu(A X W1 + b1),   y = A dropout(H) W2 + b2
        loss = -mean log sigmoid(y) over annotated - lambda mean log(1 - sigmoid(y)) over other slices

    with 128 hidden features, dropout 0.3 and 200 steps of Adam over the whole graph. Slices are then compared by H and
    y, concatenated; the gain of a slice is its distance to the nearest annotated or picked slice, as in "coreset".

    Two differences from the paper:

    - The paper samples a subset of large pools because it stores A. Here A is only applied, as A Z = X (X^T D^-1 Z) -
      D^-1 Z + Z, so all slices of the pool are used.
    - Features may be negative here, so columns of S could sum to 0. Positive and negative parts are therefore separate
      features, which does not change the similarities of non-negative features.

    ``space`` is as for "coreset". Needs the embedding and an annotated slice; cost O(steps n d 128).
    """

    name = "coregcn"
    summary = "Slices unlike any annotated one, by a network that learns to distinguish annotated slices from the rest."
    source = "Vepa (Caramalau 2021)"
    requires = "an annotated slice"

    space: SpaceName = "segmenter"
    lambda_: Annotated[float, Option("weight of the slices that are not annotated", least=0.0)] = 1.2
    steps: Annotated[int, Option("training steps of the graph network", least=1)] = 200

    def not_ready_reason(self, pool: Pool) -> str:
        """Not ready before a slice is annotated; see ``Strategy.not_ready_reason``."""
        return "" if pool.annotated.any() else "No slice is annotated yet"

    def start(self, pool: Pool, budget: int, rng: np.random.Generator) -> CoverGains:
        """Distances to the annotated slices; see ``RepresentativeStrategy.start``."""
        from ActiveSegmentationLib.embedding import graph_features

        kind, found = self.features(pool)
        features = graph_features(
            found,
            pool.annotated,
            weight=self.lambda_,
            steps=self.steps,
            seed=int(rng.integers(2**63)),
            compute=pool.compute,
        )
        return CoverGains(
            features, pool.annotated, lambda centre: _reason(pool, kind, centre), device=pool.compute.device
        )


def _reason(pool: Pool, kind: str, centre: Centre) -> str:
    if centre.distance == 0:
        return f"Nothing different is left: for the network it is identical to {pool.describe(centre.nearest)}."
    known = "annotated" if pool.annotated[centre.nearest] else "annotated or requested"
    return (
        f"A network that distinguishes annotated slices from the rest by {in_words(kind)} finds it unlike anything "
        f"{known} so far; the nearest is {pool.describe(centre.nearest)}."
    )
