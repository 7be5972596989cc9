"""How long the event loop of Slicer is held up while the worker trains and while it floods progress."""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing" / "Python")]

from host.host import Host, qt, start  # noqa: E402
from worker.worker_fakes import Told, answer, make_study  # noqa: E402

from ActiveSegmentationLib.cohort import write_phantom  # noqa: E402
from ActiveSegmentationLib.worker.client import Job, WorkerClient  # noqa: E402

STEPS = 1_000_000
"""Longer than anybody measures."""

FLOOD = """
import itertools, runpy
from ActiveSegmentationLib.worker import jobs

def flood(options, progress):
    for number in itertools.count():
        progress.update(f"Stage {number}", options["steps"], options["steps"], loss=0.5)

jobs.JOBS["flood"] = flood
runpy.run_module("ActiveSegmentationLib.worker", run_name="__main__")
"""


def gaps(seconds: float) -> list[float]:
    """Milliseconds between the ticks of a 10 ms timer while the event loop runs."""
    ticks: list[float] = []
    timer, loop = qt.QTimer(), qt.QEventLoop()
    timer.setTimerType(qt.Qt.PreciseTimer)
    timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
    timer.start(10)
    qt.QTimer.singleShot(int(1000 * seconds), loop.quit)
    loop.exec()
    timer.stop()
    return [1000 * (after - before) for before, after in itertools.pairwise(ticks)]


def beside(host: Host, client: WorkerClient, name: str, options: dict, seconds: float) -> tuple[list[float], float]:
    """Gaps while a job runs, and its progress messages a second; begins when it reports something of ``STEPS``."""
    counts = {"begun": 0, "messages": 0}

    def report(message: dict) -> None:
        counts["messages"] += 1
        counts["begun"] += message["total"] == STEPS and message["done"] > 0

    job = Job(name, options)
    job.done.connect(print)
    job.progress.connect(report)
    client.submit(job)
    if not host.waitFor(lambda: counts["begun"], 120):
        raise SystemExit(f"the job {name} did not begin")
    before = counts["messages"]
    found = gaps(seconds)
    rate = (counts["messages"] - before) / seconds
    client.stop()
    return found, rate


def main() -> None:
    """Print the largest gap of each, and its ratio to that of an idle loop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="time measured of each (default %(default)s)")
    seconds = parser.parse_args().seconds
    host = start()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = make_study(folder / "study", write_phantom(folder / "cohort", patients=4, size=(48, 48)))
        (folder / "flood.py").write_text(FLOOD, encoding="utf-8")
        rows = [("idle", gaps(seconds), 0.0)]

        client = WorkerClient([sys.executable])
        options = {"study": str(study.folder), "device": "cpu"}
        suggest = Told(client, "suggest", {**options, "count": 4, "strategy": "random"})
        host.waitFor(lambda: suggest.end, 120)
        answer(study)
        rows.append(("training", *beside(host, client, "train", {**options, "steps": STEPS}, seconds)))
        client.command.append(str(folder / "flood.py"))
        rows.append(("flood", *beside(host, client, "flood", {"steps": STEPS}, seconds)))

    idle = max(rows[0][1])
    print("  worker   messages/s  median gap (ms)  largest gap (ms)  ratio to idle")
    for title, found, rate in rows:
        median = sorted(found)[len(found) // 2]
        print(f"{title:>8} {rate:12.0f} {median:16.1f} {max(found):17.1f} {max(found) / idle:14.1f}")


if __name__ == "__main__":
    main()
