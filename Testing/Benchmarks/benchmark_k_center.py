"""Time of k-center greedy relative to one scikit-learn call per centre, in one run."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from sklearn.metrics import pairwise_distances

from ActiveSegmentationLib.acquisition import Allowance, Constraints, greedy
from ActiveSegmentationLib.acquisition.k_center import KCenterGains


def ours(points: np.ndarray, covered: np.ndarray, budget: int) -> list[int]:
    """Picks of the library."""
    count = len(points)
    places = np.arange(count)
    allowance = Allowance(Constraints(), np.zeros(count, int), np.zeros(count, int), places, ~covered, covered)
    state = KCenterGains(points, covered, lambda centre: "")
    return [position for position, _, _ in greedy(state, allowance, budget)]


def by_pairwise_distances(points: np.ndarray, covered: np.ndarray, budget: int) -> list[int]:
    """The same greedy rule with one call of scikit-learn for each centre, as public implementations do it."""
    distance = pairwise_distances(points, points[covered]).min(axis=1)
    distance[covered] = -1
    picks = []
    for _ in range(budget):
        pick = int(distance.argmax())
        picks.append(pick)
        distance = np.minimum(distance, pairwise_distances(points, points[pick : pick + 1])[:, 0])
        distance[picks] = -1
    return picks


def seconds(function: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of each call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return times


def main() -> None:
    """Print medians and their ratio for several pool sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print("  slices features annotated budget  ours (s) sklearn (s)  ratio same")
    for count, width, annotated, budget in ((1500, 512, 30, 15), (7163, 512, 100, 100), (20000, 512, 100, 100)):
        rng = np.random.default_rng(0)
        points = rng.normal(size=(count, width)).astype(np.float32)
        covered = np.zeros(count, dtype=bool)
        covered[rng.permutation(count)[:annotated]] = True
        mine = float(np.median(seconds(lambda: ours(points, covered, budget), options.repeats)))  # noqa: B023
        other = float(np.median(seconds(lambda: by_pairwise_distances(points, covered, budget), options.repeats)))  # noqa: B023
        same = ours(points, covered, budget) == by_pairwise_distances(points, covered, budget)
        print(f"{count:8} {width:8} {annotated:9} {budget:6} {mine:9.3f} {other:11.3f} {other / mine:6.1f} {same}")


if __name__ == "__main__":
    main()
