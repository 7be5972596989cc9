"""CPU seconds of the commands that compute nothing, and their ratio to the start of Python with NumPy.

``python Testing/Benchmarks/benchmark_command_line.py --study STUDY --cohort DIR``. On Linux and macOS.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ("-m", "ActiveSegmentationLib")


def cpu_seconds(words: list[str], repeats: int) -> float:
    """Smallest CPU time of a command over some runs.

    Args:
        words: What follows the name of the Python program.
        repeats: Number of runs.

    Raises:
        SystemExit: If the command fails.
    """
    found = []
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}: exit code {done.returncode}\n{done.stderr}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--study", type=Path, required=True, help="a study, for status")
    parser.add_argument("--cohort", type=Path, required=True, help="a cohort, for index")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each command (default %(default)s)")
    options = parser.parse_args()
    study, cohort = str(options.study.resolve()), str(options.cohort.resolve())
    start = cpu_seconds(["-c", "import numpy"], options.repeats)
    print(f"{'command':16} {'CPU seconds':>12} {'ratio':>6}\n{'import numpy':16} {start:12.2f} {1:6.1f}")
    for words in (["--help"], ["doctor"], ["strategies"], ["status", study], ["index", cohort]):
        seconds = cpu_seconds([*PROGRAM, *words], options.repeats)
        print(f"{words[0]:16} {seconds:12.2f} {seconds / start:6.1f}")


if __name__ == "__main__":
    main()
