"""k-center greedy: cover a set of points with as small a radius as a greedy choice can (Sener and Savarese 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ActiveSegmentationLib.acquisition.constraints import Allowance

if TYPE_CHECKING:
    import torch

TIE = 1e-6
"""Squared distances that differ by less than this part count as equal: rounding on another device changes no pick."""

NOISE = 1e-13
"""Squared distances below this part of the squared norms are rounding: the points are the same."""

BLOCK = 64
"""Centres whose distances to all points are computed at a time."""

COPIES = 4
"""Copies of the points in double precision that the distances need at their peak."""


class Centre(NamedTuple):
    """One pick of the greedy cover.

    Attributes:
        position: Position of the picked point.
        distance: Its Euclidean distance to the nearest centre before it was picked; infinite for the very first.
        nearest: Position of that nearest centre, -1 for the very first.
    """

    position: int
    distance: float
    nearest: int


def k_center_greedy(
    features: np.ndarray,
    covered: np.ndarray,
    allowance: Allowance,
    budget: int,
    *,
    first: int | None = None,
    device: str = "cpu",
) -> list[Centre]:
    """Pick, again and again, the allowed point that is farthest from all centres (Vepa 2024, Eq. 2; a 2-OPT solution).

    Ties go to the lowest position. Where no point is covered yet the first pick is ``first``, or without it the allowed
    point nearest to the mean of all points, which is deterministic; the papers leave the start open. Cost O((centres +
    budget) n d).

    Args:
        features: (n, d) float32 array, finite.
        covered: (n,) bool array of the centres that exist already (annotated slices).
        allowance: Which points may be picked; picks are taken from it.
        budget: Number of picks wanted.
        first: Position of the first pick where no point is covered; None for the point nearest to the mean.
        device: Torch device for the distances.

    Returns:
        At most ``budget`` picks, fewer only where the allowance runs out.
    """
    space = Cover(features, device)
    space.add(np.flatnonzero(covered))
    picks: list[Centre] = []
    while len(picks) < budget and allowance:
        given = first is not None and not picks and not covered.any()
        position = first if given and first is not None else space.farthest(allowance.mask)
        picks.append(Centre(position, space.distance(position), int(space.nearest[position])))
        allowance.take(position)
        space.add(np.array([position]))
    return picks


def fitting_device(device: str, features: np.ndarray) -> str:
    """The device where distances of these features are to be computed: the CPU unless a GPU has the room.

    Args:
        device: Torch device that the person chose.
        features: (n, d) array.
    """
    if not device.startswith("cuda"):
        return "cpu"
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return device if COPIES * 8 * features.size <= free else "cpu"


class Cover:
    """Points with their distance to the nearest centre and which centre that is.

    Distances come from products of matrices, |x|^2 + |c|^2 - 2 x c, in double precision and from a point of the data
    as origin: that is several times as fast as differences, and equal distances still tie.

    Args:
        features: (n, d) float32 array, finite.
        device: Torch device for the distances.
    """

    def __init__(self, features: np.ndarray, device: str) -> None:
        import torch

        points = torch.from_numpy(np.ascontiguousarray(features)).to(device=device, dtype=torch.float64)
        self._points = points - points[0]
        self._norms = (self._points**2).sum(dim=1)
        self._squared = torch.full_like(self._norms, torch.inf)
        self.nearest = torch.full((len(points),), -1, dtype=torch.long, device=device)
        """(n,) position of the nearest centre, -1 without centres."""

    def add(self, centres: np.ndarray) -> None:
        """Add centres, given by their positions."""
        import torch

        if not len(centres):
            return
        for block in torch.from_numpy(centres).to(self._points.device).split(BLOCK):
            squared, which = self._to(self._points[block]).min(dim=1)
            closer = squared < self._squared
            self._squared[closer] = squared[closer]
            self.nearest[closer] = block[which[closer]]

    def distance(self, position: int) -> float:
        """Distance of a point to its nearest centre; infinite where there is no centre."""
        return float(self._squared[position].sqrt())

    def gains(self) -> np.ndarray:
        """Distance of every point to its nearest centre: (n,) float64.

        Without centres, how much nearer each point is to the mean of all points than the farthest one.
        """
        import torch

        if torch.isinf(self._squared[0]):
            away = self._to(self._points.mean(dim=0, keepdim=True))[:, 0].sqrt()
            return (away.max() - away).cpu().numpy()
        return self._squared.sqrt().cpu().numpy()

    def farthest(self, allowed: np.ndarray) -> int:
        """The allowed point farthest from all centres; without centres, the one nearest to the mean of all points."""
        import torch

        candidates = torch.from_numpy(np.flatnonzero(allowed)).to(self._points.device)
        reach = self._squared[candidates]
        if torch.isinf(reach[0]):
            reach = -self._to(self._points.mean(dim=0, keepdim=True))[candidates, 0]
        return int(candidates[(reach >= reach.max() - TIE * reach.max().abs()).nonzero()[0, 0]])

    def _to(self, others: torch.Tensor) -> torch.Tensor:
        norms = (others**2).sum(dim=1)
        total = self._norms[:, None] + norms[None, :]
        squared = total - 2 * (self._points @ others.T)
        return squared.masked_fill(squared <= NOISE * total, 0.0)
