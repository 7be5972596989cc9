#!/usr/bin/env python3
"""Kill workers of a sweep again and again, and compare its tables with those of one process that nobody kills.

    python Testing/Reliability/killed_workers.py                        # 60 runs, in processes of this computer
    python Testing/Reliability/killed_workers.py --on dask              # on workers of a Dask scheduler
    python Testing/Reliability/killed_workers.py --jobs 6 --seconds 1   # short

A worker is killed (SIGKILL) in the middle of a job, after a random time of computing since the last kill: 0 to twice
``--seconds`` of its processor time, so that a busy machine changes nothing. When half of the rounds are done, what
leads the sweep is killed too and started again: the command, or the scheduler. Exit code 1 if a table differs by a
byte, or the sweep gave up. Needs POSIX and psutil.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import psutil

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from dask_here import DaskHere  # noqa: E402 - found through the paths above

from ActiveSegmentationLib.cohort import write_phantom  # noqa: E402

STRATEGIES = ("random", "strided", "balanced-random")
TABLES = ("results.csv", "requests.csv")
PROTOCOL = """
title = "Sweep"

[experiment]
strategies = {strategies}
rounds = [2, 4]
seeds = {seeds}
training_settings = {{ steps = 5, batch_size = 4, features = [4, 4, 4, 4, 4] }}
stack_settings = {{ size = [32, 32], spacing = 4.5 }}
metrics = ["dice"]

[arms.masks]
"""


class Command:
    """The sweep as a person starts it.

    Args:
        work: Folder with the cohort ("phantom") and the protocol ("sweep.toml").
        out: Folder of the results.
        more: Further options.
    """

    def __init__(self, work: Path, out: Path, *more: str) -> None:
        words = ("--scale", "paper", "--cohort", str(work / "phantom"), "--out", str(out), "--device", "cpu", *more)
        program = (sys.executable, "-m", "ActiveSegmentationLib")
        self.words = [*program, "experiment", "run", str(work / "sweep.toml"), *words]
        self.out, self.log = out, out.with_suffix(".log")

    def start(self) -> subprocess.Popen:
        """Start it, or continue."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        with open(self.log, "ab") as log:
            return subprocess.Popen(self.words, env=environment, stdout=log, stderr=log)

    def finished_rounds(self) -> int:
        """Number of rounds whose results are on disk."""
        return len(list(self.out.glob("arms/*/runs/*/round-*.json")))


class Place(Protocol):
    """Where the workers are."""

    options: tuple[str, ...]

    def workers(self, command: subprocess.Popen) -> list[psutil.Process]:
        """The workers; those that are missing are started."""

    def kill_leader(self, command: subprocess.Popen) -> str:
        """Kill what leads the sweep; its name."""

    def close(self) -> None:
        """End what is left."""


class Processes:
    """Workers that are processes of the command."""

    def __init__(self, count: int) -> None:
        self.options = ("--workers", str(count))

    def workers(self, command: subprocess.Popen) -> list[psutil.Process]:
        try:
            return psutil.Process(command.pid).children()
        except psutil.NoSuchProcess:
            return []

    def kill_leader(self, command: subprocess.Popen) -> str:
        command.kill()
        return "the command"

    def close(self) -> None:
        """Nothing: they end with the command."""


class Dask:
    """Workers of a Dask scheduler on this computer."""

    def __init__(self, count: int, folder: Path) -> None:
        self._dask, self._count, self._started = DaskHere(folder, [ROOT]), count, 0
        self._dask.scheduler()
        self.options = ("--scheduler", self._dask.address)

    def workers(self, command: subprocess.Popen) -> list[psutil.Process]:
        running = self._dask.processes
        for name in [name for name, process in running.items() if process.poll() is not None]:
            del running[name]
        while len(running) < self._count + 1:
            self._started += 1
            self._dask.worker(f"worker-{self._started}")
        return [psutil.Process(process.pid) for name, process in running.items() if name != "scheduler"]

    def kill_leader(self, command: subprocess.Popen) -> str:
        self._dask.kill("scheduler")
        self._dask.scheduler()
        return "the scheduler"

    def close(self) -> None:
        self._dask.close()


def at_work(workers: Sequence[psutil.Process]) -> dict[psutil.Process, float]:
    """Those that are in the middle of a job, whose lock they hold, with their processor time so far."""
    found = {}
    for worker in workers:
        try:
            if any(file.path.endswith(".job.lock") for file in worker.open_files()):
                found[worker] = sum(worker.cpu_times()[:2])
        except psutil.Error:  # it has ended meanwhile
            continue
    return found


def sweep_with_kills(sweep: Command, rounds: int, place: Place, seconds: float, rng: random.Random) -> tuple[int, int]:
    """Run a sweep to its end, and kill its workers meanwhile.

    Args:
        sweep: The sweep.
        rounds: Number of its rounds.
        place: Where its workers are.
        seconds: Mean processor time of a worker, since the last kill, after which it is killed.
        rng: Source of the times and victims.

    Returns:
        The exit code of the command, and how many workers were killed.
    """
    command, killed, leader = sweep.start(), 0, ""
    due, begun = rng.uniform(0, 2 * seconds), dict[psutil.Process, float]()
    while command.poll() is None:
        time.sleep(0.05)
        spent = at_work(place.workers(command))
        begun = spent | begun  # keeps what a worker had spent when it was first seen
        victim = max(spent, key=lambda worker: spent[worker] - begun[worker], default=None)
        if victim is None or spent[victim] - begun[victim] < due:
            continue
        victim.kill()
        killed, due = killed + 1, rng.uniform(0, 2 * seconds)
        begun.clear()
        done = sweep.finished_rounds()
        print(f"{done} of {rounds} rounds; killed {counted(killed)}", flush=True)
        if not leader and done >= rounds / 2:
            leader = place.kill_leader(command)
            print(f"killed {leader} too, and started it again", flush=True)
            if command.poll() is not None or leader == "the command":
                command.wait()
                command = sweep.start()
    return command.returncode, killed


def counted(workers: int) -> str:
    """A number of workers in words."""
    return "1 worker" if workers == 1 else f"{workers} workers"


def compare(work: Path, on: str, jobs: int, workers: int, seconds: float) -> tuple[int, list[str]]:
    """Run a sweep in one process, and again with kills.

    Args:
        work: An empty folder.
        on: "processes" or "dask".
        jobs: Number of runs.
        workers: Number of workers.
        seconds: Mean processor time of a worker, since the last kill, after which it is killed.

    Returns:
        How many workers were killed, and what went wrong.
    """
    write_phantom(work / "phantom", patients=4, slices=5, size=(48, 48))
    seeds = list(range(max(1, jobs // len(STRATEGIES))))
    protocol = PROTOCOL.format(strategies=json.dumps(STRATEGIES), seeds=seeds)
    (work / "sweep.toml").write_text(protocol, encoding="utf-8")
    whole = Command(work, work / "whole")
    if whole.start().wait() != 0:
        return 0, [f"the sweep in one process failed: {last_line(whole.log)}"]
    place = Processes(workers) if on == "processes" else Dask(workers, work)
    killed = Command(work, work / "killed", *place.options)
    try:
        code, count = sweep_with_kills(killed, 2 * len(STRATEGIES) * len(seeds), place, seconds, random.Random(0))
    finally:
        place.close()
    if code != 0:
        return count, [f"the sweep with kills ended with {code}: {last_line(killed.log)}"]
    pairs = {name: [(folder / name).read_bytes() for folder in (whole.out, killed.out)] for name in TABLES}
    return count, [f"{name} differs" for name, (first, second) in pairs.items() if first != second]


def last_line(log: Path) -> str:
    """The last line that a command has printed."""
    return (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["nothing printed"])[-1]


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", choices=("processes", "dask"), default="processes", help="where workers are")
    parser.add_argument("--jobs", type=int, default=60, help=f"runs, a multiple of {len(STRATEGIES)}")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0, help="mean time of computing between kills")
    options = parser.parse_args(words)
    work, started = Path(tempfile.mkdtemp(prefix="killed-workers-")), time.monotonic()
    killed, wrong = compare(work, options.on, options.jobs, options.workers, options.seconds)
    took = f"{time.monotonic() - started:.0f} s"
    if wrong:
        print(f"{counted(killed)} killed in {took}; " + "; ".join(wrong) + f". Everything is in {work}.")
        return 1
    shutil.rmtree(work)
    print(f"{counted(killed)} killed in {took}; {' and '.join(TABLES)} equal those of one process, byte for byte.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
