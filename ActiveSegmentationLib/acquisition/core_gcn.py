"""CoreGCN: what a graph network that tells annotated from other slices finds farthest from any annotated one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.base import Representativeness
from ActiveSegmentationLib.acquisition.k_center import Centre
from ActiveSegmentationLib.acquisition.k_center_strategy import CoverGains
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.spaces import in_words, parse_space
from ActiveSegmentationLib.embedding import graph_features


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
            compute=pool.compute,
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
