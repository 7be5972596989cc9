"""Rows of a comparison of learners: the file that keeps them, and the table of their means."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

COLUMNS = (
    *("cohort", "annotation", "part", "share", "slices", "learner", "seed", "dice", "dice_classes", "hd95"),
    *("hd95_classes", "seconds", "cpu_seconds", "predict_seconds", "steps", "peak_mb", "gpu_mb", "device", "commit"),
    *("slices_of", "spacing"),
)
"""Columns of the file."""

IDENTITY = ("cohort", "annotation", "part", "share", "learner", "seed", "slices_of", "spacing")
"""Columns that tell runs apart; a run that has a row is not repeated."""


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a table of runs; none if there is no table yet."""
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [dict.fromkeys(COLUMNS, "") | row for row in csv.DictReader(file)]


def add_row(path: Path, row: dict[str, Any]) -> None:
    """Add one run to the table."""
    with FileLock(f"{path}.lock"):
        new = not path.is_file()
        with open(path, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)


def table(paths: Sequence[Path]) -> str:
    """Markdown table of runs: means over the seeds, with standard deviations of Dice where there are several."""
    groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in (row for path in paths for row in read_rows(path)):
        key = tuple(name for name in IDENTITY if name != "seed")
        groups.setdefault(tuple(row[name] for name in key), []).append(row)
    heads = ["cohort", "annotation", "part", "share", "slices", "learner", "seeds", "Dice", "Dice of the classes"]
    heads += ["HD95", "steps", "training (s)", "CPU (s)", "predicting (s)", "peak memory (MB)"]
    lines = ["| " + " | ".join(heads) + " |", "| --- | --- | --- |" + " ---: |" * 2 + " --- |" + " ---: |" * 9]
    for key, rows in sorted(groups.items(), key=lambda g: _order(g[0], g[1])):
        cohort, annotation, part, share, learner, slices_of, spacing = key
        annotation += f", slices chosen for {slices_of}s" if slices_of else ""
        annotation += f", pixels of {spacing} mm" if spacing else ""
        cells = [cohort, annotation, part, f"{share} %", rows[0]["slices"], f"`{learner}`", str(len(rows))]
        cells += [_spread(rows, "dice"), _classes(rows), f"{_mean(rows, 'hd95'):.2f}"]
        for name in ("steps", "seconds", "cpu_seconds", "predict_seconds"):
            cells.append(f"{_mean(rows, name):.0f}")
        lines.append("| " + " | ".join([*cells, f"{max(float(row['peak_mb']) for row in rows):.0f}"]) + " |")
    return "\n".join(lines)


def _order(key: tuple[str, ...], rows: list[dict[str, str]]) -> tuple:
    cohort, annotation, part, share = key[:4]
    return cohort, annotation, part, float(share), -_mean(rows, "dice")


def _mean(rows: list[dict[str, str]], name: str) -> float:
    return float(np.nanmean([float(row[name]) for row in rows]))


def _spread(rows: list[dict[str, str]], name: str) -> str:
    values = [float(row[name]) for row in rows]
    return f"{np.mean(values):.3f}" + (f" ({np.std(values, ddof=1):.3f})" if len(values) > 1 else "")


def _classes(rows: list[dict[str, str]]) -> str:
    values: dict[str, list[float]] = {}
    for row in rows:
        for part in row["dice_classes"].split("; "):
            name, _, value = part.rpartition("=")
            values.setdefault(name, []).append(float(value))
    return ", ".join(f"{name} {np.nanmean(found):.3f}" for name, found in values.items())
