"""Checks made while the flow is played, as a table."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np


class Checks:
    """The checks and their results."""

    def __init__(self) -> None:
        self._passed: Counter[str] = Counter()
        self._failed: dict[str, list[str]] = {}

    def note(self, name: str, problem: object = "") -> None:
        """Note a check; it failed where there is a problem."""
        self._passed[name] += not problem
        self._failed.setdefault(name, []).extend([str(problem)] if problem else [])
        print(f"{'FAILED' if problem else 'ok'}: {name} {problem or ''}".rstrip(), flush=True)

    def report(self) -> int:
        """Print the table; the exit code."""
        print(f"\n{'check':<62}{'passed':>8}{'failed':>8}")
        for name, problems in self._failed.items():
            print(f"{name:<62}{self._passed[name]:>8}{len(problems):>8}")
            for problem in problems:
                print(f"    {problem}")
        failed = sum(map(len, self._failed.values()))
        print(f"{sum(self._passed.values())} checks passed, {failed} failed")
        return 1 if failed or not self._passed else 0


def differ(one: np.ndarray, other: np.ndarray, where: str = "") -> str:
    """How two label maps differ, "" where they do not."""
    count = int((one != other).sum()) if one.shape == other.shape else -1
    return "" if count == 0 else f"{where}{count} voxels differ"


def changes(one: dict[Any, np.ndarray], other: dict[Any, np.ndarray]) -> str:
    """How two sets of stored slices differ, "" where they do not."""
    changed = [slice_ for slice_ in one if slice_ in other and not np.array_equal(one[slice_], other[slice_])]
    apart = sorted(map(str, set(one) ^ set(other)))
    return "; ".join([*(f"{slice_} changed" for slice_ in changed), *(f"{slice_} came or went" for slice_ in apart)])
