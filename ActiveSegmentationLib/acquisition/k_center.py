"""k-center greedy: cover a set of points with as small a radius as a greedy choice can (Sener and Savarese 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ActiveSegmentationLib.acquisition.constraints import Allowance

if TYPE_CHECKING:
    import torch

TIE = 1e-6
"""Distances that differ by less than this part count as equal, so that rounding on another device changes no pick."""


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
    features: np.ndarray, covered: np.ndarray, allowance: Allowance, budget: int, *, device: str = "cpu"
) -> list[Centre]:
    """Pick, again and again, the allowed point that is farthest from all centres (Vepa 2024, Eq. 2; a 2-OPT solution).

    Ties go to the lowest position. Where no point is covered yet the first pick is the allowed point nearest to the
    mean of all points, which is deterministic; the papers leave the start open. Cost O((centres + budget) n d).

    Args:
        features: (n, d) float32 array, finite.
        covered: (n,) bool array of the centres that exist already (annotated slices).
        allowance: Which points may be picked; picks are taken from it.
        budget: Number of picks wanted.
        device: Torch device for the distances.

    Returns:
        At most ``budget`` picks, fewer only where the allowance runs out.
    """
    import torch

    points = torch.from_numpy(np.ascontiguousarray(features)).to(device)
    nearest = torch.full((len(points),), -1, dtype=torch.long, device=device)
    distance = torch.full((len(points),), torch.inf, dtype=points.dtype, device=device)
    for centre in np.flatnonzero(covered):
        _cover(points, int(centre), distance, nearest)
    picks: list[Centre] = []
    while len(picks) < budget and allowance:
        position = _farthest(points, distance, allowance.mask)
        picks.append(Centre(position, float(distance[position]), int(nearest[position])))
        allowance.take(position)
        _cover(points, position, distance, nearest)
    return picks


def _farthest(points: torch.Tensor, distance: torch.Tensor, allowed: np.ndarray) -> int:
    import torch

    candidates = torch.from_numpy(np.flatnonzero(allowed)).to(points.device)
    if torch.isinf(distance[candidates[0]]):
        to_mean = _distances(points[candidates], points.double().mean(dim=0).to(points.dtype))
        return int(candidates[(to_mean <= to_mean.min() * (1 + TIE)).nonzero()[0, 0]])
    reach = distance[candidates]
    return int(candidates[(reach >= reach.max() * (1 - TIE)).nonzero()[0, 0]])


def _cover(points: torch.Tensor, centre: int, distance: torch.Tensor, nearest: torch.Tensor) -> None:
    reach = _distances(points, points[centre])
    closer = reach < distance
    distance[closer] = reach[closer]
    nearest[closer] = centre


def _distances(points: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    import torch

    # The matrix-product form of the distance loses digits, so equal distances would no longer tie.
    return torch.cdist(points, centre[None], compute_mode="donot_use_mm_for_euclid_dist")[:, 0]
