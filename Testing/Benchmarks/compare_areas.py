"""Areas under the learning curves of several benchmarks, as differences to one strategy.

Each benchmark folder is one column; within it the mean over its seeds. The last columns are the mean difference to the
baseline over all (folder, seed) pairs that both have, its standard error and 95 % t interval, and the numbers of pairs
and of clusters. Pairs whose results name the same cohort share its patients and are one cluster (--cluster folder: each
folder is one cluster, which says nothing about other patients). With a single folder, the seeds are the clusters.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.evaluation import area_under_learning_curve, clustered_mean, read_results_csv


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


def cohort_of(path: Path) -> str:
    """The cohort that a ``results.csv`` is about."""
    return ", ".join(sorted({row.cohort for row in read_results_csv(path)}))


def main() -> None:
    """Print the table, the best mean difference first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, help="output folders of benchmark")
    parser.add_argument("--baseline", default="balanced-random")
    parser.add_argument("--metric", default="dice")
    parser.add_argument("--cluster", choices=("cohort", "folder"), default="cohort", help="what counts as one draw")
    options = parser.parse_args()
    found = {folder: areas(folder / "results.csv", options.metric) for folder in options.folders}
    names = {f: cohort_of(f / "results.csv") if options.cluster == "cohort" else str(f) for f in options.folders}
    rows = []
    for strategy in sorted({name for values in found.values() for name, _ in values}):
        cells: list[str] = []
        differences: list[float] = []
        clusters: list[str] = []
        for folder, values in found.items():
            mine = [area for (name, _), area in values.items() if name == strategy]
            cells.append(f"{np.mean(mine):.3f}" if mine else "")
            for (name, seed), area in values.items():
                if name == strategy and (options.baseline, seed) in values:
                    differences.append(area - values[options.baseline, seed])
                    clusters.append(names[folder] if len(found) > 1 else f"seed {seed}")
        mean = clustered_mean(differences, clusters)
        interval = "too few clusters" if np.isnan(mean.low) else f"{mean.low:+.3f} to {mean.high:+.3f}"
        figures = [f"{mean.mean:+.3f}", f"{mean.error:.3f}", interval, str(mean.values), str(mean.clusters)]
        rows.append((mean.mean, [strategy, *cells, *figures]))
    heads = [*(folder.name for folder in found), f"to {options.baseline}", "SE", "95 % interval", "pairs", "clusters"]
    print("| strategy | " + " | ".join(heads) + " |")
    print("| --- |" + " ---: |" * len(heads))
    for _, line in sorted(rows, key=lambda row: -row[0] if row[0] == row[0] else np.inf):
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main()
