"""Areas under the learning curves of several benchmarks, as differences to one strategy.

Each benchmark folder is one column; within it the mean over its seeds. The last columns are the mean difference to the
baseline over all (folder, seed) pairs that both have, its standard error over these pairs, and their number.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.evaluation import area_under_learning_curve, read_results_csv


def areas(path: Path, metric: str) -> dict[tuple[str, int], float]:
    """Area under the learning curve of every (strategy, seed) of a ``results.csv`` that has all of its budgets."""
    values: dict[tuple[str, int], dict[int, list[float]]] = {}
    for row in read_results_csv(path):
        if row.metric == metric and not np.isnan(row.value):
            budgets = values.setdefault((row.strategy, row.seed), {})
            budgets.setdefault(row.annotated_slices, []).append(row.value)
    full = max(len(budgets) for budgets in values.values())
    return {
        key: float(area_under_learning_curve(sorted(found), np.array([np.mean(found[b]) for b in sorted(found)])))
        for key, found in values.items()
        if len(found) == full
    }


def main() -> None:
    """Print the table, the best mean difference first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, help="output folders of benchmark")
    parser.add_argument("--baseline", default="balanced-random")
    parser.add_argument("--metric", default="dice")
    options = parser.parse_args()
    found = {folder: areas(folder / "results.csv", options.metric) for folder in options.folders}
    rows = []
    for strategy in sorted({name for values in found.values() for name, _ in values}):
        cells, differences = [], []
        for values in found.values():
            mine = [area for (name, _), area in values.items() if name == strategy]
            cells.append(f"{np.mean(mine):.3f}" if mine else "")
            for (name, seed), area in values.items():
                if name == strategy and (options.baseline, seed) in values:
                    differences.append(area - values[options.baseline, seed])
        count = len(differences)
        mean = float(np.mean(differences)) if count else np.nan
        error = float(np.std(differences, ddof=1) / np.sqrt(count)) if count > 1 else np.nan
        rows.append((mean, [strategy, *cells, f"{mean:+.3f}", f"{error:.3f}", str(count)]))
    print("| strategy | " + " | ".join(folder.name for folder in found) + f" | to {options.baseline} | SE | pairs |")
    print("| --- |" + " ---: |" * (len(found) + 3))
    for _, cells in sorted(rows, key=lambda row: -row[0] if row[0] == row[0] else np.inf):
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
