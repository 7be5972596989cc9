"""FLQMI: a batch that represents a query set and stays close to it (Foellmer et al. 2024, Eq. 1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ActiveSegmentationLib.acquisition.base import GreedyState
from ActiveSegmentationLib.acquisition.ranking import best
from ActiveSegmentationLib.common.compute import on_device

if TYPE_CHECKING:
    import torch

EXACT_ROWS = 50_000
"""Larger pools are maximised stochastically by default."""

HELD = 2**28
"""Most similarities that are kept in memory (1 GiB); beyond that, each step computes those that it needs."""

BLOCK = 2**24
"""Numbers processed at a time."""

EPSILON = 0.01
"""Default of the expected loss of the stochastic greedy choice relative to the exact one."""


class Similarities:
    """Inner products of all points with the query set, kept if they fit into memory, otherwise computed block by block.

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
        """Torch device of the similarities."""
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
        """Torch device of the similarities."""
        return self._values.device


def flqmi(
    similarities: np.ndarray, chosen: np.ndarray, *, weights: np.ndarray | None = None, eta: float = 1.0
) -> float:
    """The objective: sum over queries of the best similarity to a chosen point, plus eta times the sum over chosen
    points of their best similarity to a query.

    Negative similarities count as 0, so another point never lowers it; the paper's optimiser does the same.

    Args:
        similarities: (n, q) float array.
        chosen: Positions of the chosen points.
        weights: (q,) how often each query counts. Default: once.
        eta: Weight of the second sum.

    Returns:
        0 or more.
    """
    values = np.maximum(np.asarray(similarities, dtype=np.float64)[chosen], 0)
    if not len(values):
        return 0.0
    counts = np.ones(values.shape[1]) if weights is None else weights
    return float(values.max(axis=0) @ counts + eta * values.max(axis=1, initial=0).sum())


@dataclass(frozen=True)
class FlqmiSettings:
    """How the objective is maximised.

    Attributes:
        budget: Number of picks wanted.
        weights: (q,) how often each query counts. Default: once.
        eta: Weight of the similarity of the picks to their nearest query.
        epsilon: 0 for the exact choice, otherwise the expected loss of the stochastic one. Default: depends on the
            number of points and similarities.
    """

    budget: int
    weights: np.ndarray | None = None
    eta: float = 1.0
    epsilon: float | None = None


class FlqmiState(GreedyState):
    """Greedy state that picks the point that raises the objective most, ties by position.

    The exact choice is at least 1 - 1/e of the best one. The stochastic one looks at (points / budget) x ln(1 /
    epsilon) random points per step, so its cost does not depend on the budget, and loses at most epsilon in expectation
    (Mirzasoleiman et al. 2015). Cost O(budget n q), or O(n q ln(1 / epsilon)).

    Args:
        similarities: Of n points to q queries; only those above 0 count.
        settings: How to maximise.
        tell: Gives the reason of a pick from two values: the weighted share of the query set that it represents better
            than earlier picks, and whether it is the first pick.
        rng: Source of randomness; the stochastic choice needs it.

    Raises:
        ValueError: If the stochastic choice is requested without ``rng``, or epsilon is not in [0, 1).
    """

    def __init__(
        self,
        similarities: Similarities | Dense,
        settings: FlqmiSettings,
        tell: Callable[[float, bool], str],
        rng: np.random.Generator | None = None,
    ) -> None:
        import torch

        self._similarities, self._settings, self._tell, self._rng = similarities, settings, tell, rng
        self._points: int = similarities.shape[0]
        queries: int = similarities.shape[1]
        large = self._points > EXACT_ROWS or self._points * queries > HELD
        self._epsilon = settings.epsilon if settings.epsilon is not None else EPSILON if large else 0.0
        if not 0 <= self._epsilon < 1 or (self._epsilon > 0 and rng is None):
            raise ValueError("epsilon must be in [0, 1), and a stochastic choice needs a generator")
        weights = np.ones(queries) if settings.weights is None else np.asarray(settings.weights)
        self._counts = torch.from_numpy(weights.astype(np.float32)).to(similarities.device)
        self._covered = torch.zeros(queries, device=similarities.device)
        everyone = np.arange(self._points)
        self._nearest = _by_block(similarities, everyone, lambda rows: rows.amax(1).clamp(min=0).double())
        self._first = True

    def pick(self, allowed: np.ndarray) -> tuple[int, float | None]:
        """The point that raises the objective most, and by how much; see ``GreedyState.pick``."""
        candidates = self._candidates(allowed)
        gains = _by_block(self._similarities, candidates, self._added) + self._settings.eta * self._nearest[candidates]
        index = best(gains, np.ones(len(candidates), dtype=bool))
        return int(candidates[index]), float(gains[index])

    def take(self, position: int) -> str:
        """Count the pick; see ``GreedyState.take``."""
        import torch

        own = self._similarities.rows(on_device(np.array([position]), self._similarities.device))[0]
        share = float((self._counts * (own > self._covered)).sum() / self._counts.sum())
        self._covered = torch.maximum(self._covered, own)
        first, self._first = self._first, False
        return self._tell(share, first)

    def _candidates(self, allowed: np.ndarray) -> np.ndarray:
        candidates = np.flatnonzero(allowed)
        if self._epsilon > 0 and self._rng is not None:
            wanted = math.ceil(self._points / self._settings.budget * math.log(1 / self._epsilon))
            if wanted < len(candidates):
                candidates = np.sort(self._rng.choice(candidates, wanted, replace=False))
        return candidates

    def _added(self, rows: torch.Tensor) -> torch.Tensor:
        import torch

        return ((rows - self._covered).clamp_(min=0) * self._counts).sum(1, dtype=torch.float64)


def _by_block(
    similarities: Similarities | Dense, positions: np.ndarray, number: Callable[[torch.Tensor], torch.Tensor]
) -> np.ndarray:
    """One number from each point's similarities, in blocks that fit into memory: (b,) positions -> (b,) float64."""
    import torch

    rows = on_device(positions, similarities.device)
    parts = rows.split(max(1, BLOCK // max(1, similarities.shape[1])))
    return torch.cat([number(similarities.rows(part)) for part in parts]).cpu().numpy()
