"""FLQMI: a batch that stands for a query set, and stays near to it (Foellmer et al. 2024, Eq. 1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ActiveSegmentationLib.acquisition.base import best
from ActiveSegmentationLib.acquisition.constraints import Allowance

if TYPE_CHECKING:
    import torch

EXACT_ROWS = 50_000
"""Larger pools are maximised stochastically unless told."""

HELD = 2**28
"""Similarities that are kept in memory (1 GiB); of more than that, those that a step needs are computed anew."""

BLOCK = 2**24
"""Numbers worked on at a time."""

EPSILON = 0.01
"""How far the stochastic greedy choice may fall behind the exact one, in expectation, where nobody says."""


class Pick(NamedTuple):
    """One pick of the greedy maximisation.

    Attributes:
        position: Position of the picked point.
        gain: By how much it raised the objective.
        share: Part of the query set, counted with its weights, that it stands for better than the picks before it.
    """

    position: int
    gain: float
    share: float


class Similarities:
    """Inner products of all points with the query set, kept where they fit and computed block by block otherwise.

    Args:
        points: (n, d) float32 array, finite.
        queries: (q,) positions of the query set among the points.
        device: Torch device for the products.
    """

    def __init__(self, points: np.ndarray, queries: np.ndarray, device: str = "cpu") -> None:
        import torch

        self._points = torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32)).to(device)
        self._queries = self._points[torch.from_numpy(np.asarray(queries)).to(device)].T.contiguous()
        self.shape = (len(points), len(queries))
        """Points and members of the query set: (n, q)."""
        self._held = self._points @ self._queries if math.prod(self.shape) <= HELD else None

    def rows(self, positions: torch.Tensor) -> torch.Tensor:
        """Similarities of points (b,) to the query set: (b, q) float32."""
        return self._points[positions] @ self._queries if self._held is None else self._held[positions]

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self._points.device


class Dense:
    """Similarities that are known already.

    Args:
        values: (n, q) float array.
        device: Torch device.
    """

    def __init__(self, values: np.ndarray, device: str = "cpu") -> None:
        import torch

        self._values = torch.from_numpy(np.ascontiguousarray(values)).to(device)
        self.shape = (values.shape[0], values.shape[1])

    def rows(self, positions: torch.Tensor) -> torch.Tensor:
        """Similarities of points (b,) to the query set: (b, q)."""
        return self._values[positions]

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self._values.device


def flqmi(
    similarities: np.ndarray, chosen: np.ndarray, *, weights: np.ndarray | None = None, eta: float = 1.0
) -> float:
    """The objective: sum over queries of the best similarity to a chosen point, plus eta times the same turned round.

    Negative similarities count as 0, so nothing is lost by one more point; the paper's optimiser does the same.

    Args:
        similarities: (n, q) float array.
        chosen: Positions of the chosen points.
        weights: (q,) how often each query counts, once unless given.
        eta: Weight of the second sum.

    Returns:
        0 or more.
    """
    values = np.maximum(np.asarray(similarities, dtype=np.float64)[chosen], 0)
    if not len(values):
        return 0.0
    counts = np.ones(values.shape[1]) if weights is None else weights
    return float(values.max(axis=0) @ counts + eta * values.max(axis=1, initial=0).sum())


def flqmi_greedy(
    similarities: Similarities | Dense,
    allowance: Allowance,
    budget: int,
    *,
    weights: np.ndarray | None = None,
    eta: float = 1.0,
    epsilon: float | None = None,
    rng: np.random.Generator | None = None,
) -> list[Pick]:
    """Pick, again and again, the allowed point that raises the objective most, ties to the lowest position.

    The exact choice is at least 1 - 1/e of the best one. The stochastic one looks at (points / budget) x
    ln(1 / epsilon) random points a step, which costs the same whatever the budget, and falls behind by epsilon at most
    in expectation (Mirzasoleiman et al. 2015). Cost O(budget n q), or O(n q ln(1 / epsilon)).

    Args:
        similarities: Of n points to q queries; only those above 0 count.
        allowance: Which points may be picked; picks are taken from it.
        budget: Number of picks wanted.
        weights: (q,) how often each query counts, once unless given.
        eta: Weight of the similarity of the picks to their nearest query.
        epsilon: 0 for the exact choice, else of the stochastic one; chosen by the number of points and similarities
            unless given.
        rng: Source of randomness; the stochastic choice needs it.

    Returns:
        At most ``budget`` picks, fewer only where the allowance runs out.

    Raises:
        ValueError: If a stochastic choice is wanted without ``rng``, or epsilon is not in [0, 1).
    """
    import torch

    count, queries = similarities.shape
    if epsilon is None:
        epsilon = EPSILON if count > EXACT_ROWS or count * queries > HELD else 0.0
    if not 0 <= epsilon < 1 or (epsilon > 0 and rng is None):
        raise ValueError("epsilon lies in [0, 1), and a stochastic choice needs a generator")
    device = similarities.device
    counts = torch.ones(queries) if weights is None else torch.from_numpy(np.asarray(weights, dtype=np.float32))
    counts = counts.to(device)
    covered = torch.zeros(queries, device=device)
    nearest = _by_block(similarities, np.arange(count), lambda rows: rows.amax(1).clamp(min=0).double())
    picks: list[Pick] = []
    while len(picks) < budget and allowance:
        candidates = np.flatnonzero(allowance.mask)
        if epsilon > 0 and rng is not None:
            wanted = math.ceil(count / budget * math.log(1 / epsilon))
            if wanted < len(candidates):
                candidates = np.sort(rng.choice(candidates, wanted, replace=False))

        def added(rows: torch.Tensor, covered: torch.Tensor = covered) -> torch.Tensor:
            return ((rows - covered).clamp_(min=0) * counts).sum(1, dtype=torch.float64)

        gains = _by_block(similarities, candidates, added) + eta * nearest[candidates]
        index = best(gains, np.ones(len(candidates), dtype=bool))
        position = int(candidates[index])
        own = similarities.rows(torch.tensor([position], device=device))[0]
        share = float((counts * (own > covered)).sum() / counts.sum())
        allowance.take(position)
        picks.append(Pick(position, float(gains[index]), share))
        covered = torch.maximum(covered, own)
    return picks


def _by_block(
    similarities: Similarities | Dense, positions: np.ndarray, figure: Callable[[torch.Tensor], torch.Tensor]
) -> np.ndarray:
    """A figure of each point's similarities, in blocks that fit into memory: (b,) positions -> (b,) float64."""
    import torch

    places = torch.from_numpy(positions).to(similarities.device)
    parts = places.split(max(1, BLOCK // max(1, similarities.shape[1])))
    return torch.cat([figure(similarities.rows(part)) for part in parts]).cpu().numpy()
