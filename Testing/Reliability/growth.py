"""What a process and a study take, measured again and again, and whether it grows."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import psutil

WARM_UP, FIRST = 0.25, 4
"""Share of the repetitions at the start, and their least number, that are not looked at: libraries are loaded and fill
their caches then."""

Row = Mapping[str, float]
"""What was measured after one repetition, by name."""

LIMITS = {"memory (MB)": 0.5, "open files": 0.0, "threads": 0.0, "child processes": 0.0}
"""How much each may grow in a repetition."""


def of_process() -> dict[str, float]:
    """What this process takes now: memory, open files, threads and processes below it."""
    gc.collect()
    process = psutil.Process()
    return {
        "memory (MB)": _memory(process) / 2**20,
        "open files": process.num_handles() if os.name == "nt" else process.num_fds(),
        "threads": process.num_threads(),
        "child processes": len(process.children(recursive=True)),
    }


def _memory(process: psutil.Process) -> int:
    """Bytes that the process has allocated; on Linux without mapped files, which other processes may share or not."""
    if not sys.platform.startswith("linux"):
        return process.memory_info().rss
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def slope(values: Sequence[float]) -> float:
    """Median of the slopes between all pairs of values (Theil and Sen), per repetition."""
    array = np.asarray(values, dtype=float)
    first, second = np.triu_indices(len(array), k=1)
    return float(np.median((array[second] - array[first]) / (second - first))) if len(array) > 1 else 0.0


def table(rows: Sequence[Row], limits: Mapping[str, float]) -> tuple[str, list[str]]:
    """The measurements as a table in Markdown, and what grows more than it may; what has no limit may grow."""
    start = min(max(FIRST, int(len(rows) * WARM_UP)), len(rows) - 1)
    lines = ["| | first | after the warm-up | last | largest | growth per repetition |", f"|---|{'---:|' * 5}"]
    grows = []
    for name in rows[0]:
        values = [row[name] for row in rows]
        growth = slope(values[start:])
        shown = " | ".join(f"{value:,.1f}" for value in (values[0], values[start], values[-1], max(values)))
        lines.append(f"| {name} | {shown} | {growth:.3f} |")
        if growth > limits.get(name, float("inf")):
            grows.append(f"{name} grows by more than {limits[name]} in each repetition")
    return "\n".join(lines), grows
