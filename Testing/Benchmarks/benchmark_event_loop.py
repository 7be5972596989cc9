"""How long the event loop is blocked while volumes open, slices are committed, and the worker runs.

In Slicer: ``Slicer --testing --no-splash --additional-module-paths ActiveSegmentation --python-script
Testing/Benchmarks/benchmark_event_loop.py -- --cohort DIR``. Without Slicer, in the test host (no panels are drawn
there): ``python Testing/Benchmarks/benchmark_event_loop.py``.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing" / "Python")]

import slicer  # noqa: E402 - the library and the test host are found by the line above

from ActiveSegmentationLib.scene.scripting import runScript  # noqa: E402

STEPS = 100_000
"""So many training steps that the training never ends during a measurement."""

TICK_MILLISECONDS = 5

LONGEST_JOB = 1800.0
"""Seconds after which a job of the worker counts as failed."""

FLOOD = """
import itertools, runpy
from ActiveSegmentationLib.worker import jobs

def flood(options, progress):
    for number in itertools.count():
        progress.update(f"Stage {number}", options["steps"], options["steps"], loss=0.5)

jobs.JOBS["flood"] = flood
runpy.run_module("ActiveSegmentationLib.worker", run_name="__main__")
"""


class Loop:
    """Times between the ticks of a timer, which are longer when something blocks the event loop."""

    def __init__(self) -> None:
        import qt

        self.ticks: list[float] = []
        self.timer = qt.QTimer()
        self.timer.setTimerType(qt.Qt.PreciseTimer)
        self.timer.timeout.connect(lambda: self.ticks.append(time.perf_counter()))
        self.timer.start(TICK_MILLISECONDS)

    def run(self, seconds: float, action: Callable[[], Any] | None = None) -> list[float]:
        """Milliseconds between the ticks while the event loop runs, the action being the first thing it does."""
        self.turn(0.2)
        self.ticks.clear()
        self.turn(0.05)
        if action is not None:
            action()
        self.turn(seconds)
        return [1000 * (after - before) for before, after in itertools.pairwise(self.ticks)]

    def turn(self, seconds: float) -> None:
        """Run the event loop."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            slicer.app.processEvents()
            time.sleep(0.001)

    def wait(self, condition: Callable[[], Any]) -> None:
        """Run the event loop until a condition holds.

        Raises:
            TimeoutError: If it takes too long.
        """
        end = time.monotonic() + LONGEST_JOB
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError("A job of the worker did not finish.")
            self.turn(0.02)


def measure(widget: Any, cohort: Path, folder: Path, options: argparse.Namespace) -> dict[str, list[list[float]]]:
    """Gaps in milliseconds by what went on; a list for each time that it was done."""
    logic, ui, loop = widget.logic, widget.ui, Loop()
    session, jobs = logic.session, logic.work
    logic.createStudy(folder / "study", cohort, annotation="mask")
    print(f"{len(session.study.cohort.volumes)} volumes", flush=True)
    logic.suggest(2 * options.opened)
    loop.turn(2.0)
    rows = {"idle": [loop.run(options.seconds)]}
    requests = [row for row in session.requests.rows if row.status == "open"]
    session.openRequest(requests[-1])  # the first volume of a session is read with the libraries that read it
    rows["a volume opens"] = [loop.run(1.0, lambda row=row: session.openRequest(row)) for row in requests]
    rows["commit and next"] = []
    for row in requests[: options.opened]:
        session.openRequest(row)
        loop.turn(0.5)
        rows["commit and next"].append(loop.run(1.0, ui.emptyButton.click))
    rows["training"] = [during(loop, jobs, ui.trainButton.click, STEPS, ui, options.seconds)]
    ui.stepsSpinBox.value = 10
    ui.trainButton.click()
    loop.wait(lambda: not jobs.running)
    rows["predicting"] = [during(loop, jobs, ui.predictButton.click, 0, ui, options.seconds)]
    rows["flood of messages"] = [flooded(loop, jobs, folder, options.seconds)]
    return rows


def during(loop: Loop, jobs: Any, start: Callable[[], Any], steps: int, ui: Any, seconds: float) -> list[float]:
    """Gaps while the worker runs a job, from its first progress report on; then it is cancelled."""
    if steps:
        ui.stepsSpinBox.value = steps
    start()
    loop.wait(lambda: any(running.done > 0 for running in jobs.running) or not jobs.running)
    found = loop.run(seconds)
    jobs.cancel()
    loop.wait(lambda: not jobs.running)
    return found


def flooded(loop: Loop, jobs: Any, folder: Path, seconds: float) -> list[float]:
    """Gaps while a worker reports progress as fast as it can."""
    from ActiveSegmentationLib.worker.client import Job, WorkerClient

    (folder / "flood.py").write_text(FLOOD, encoding="utf-8")
    messages: list[dict] = []
    command = [*jobs.client.command, str(folder / "flood.py")]
    client = WorkerClient(command)
    job = Job("flood", {"steps": STEPS})
    job.failed.connect(print)
    job.progress.connect(messages.append)
    client.submit(job)
    loop.wait(lambda: messages)
    before = len(messages)
    found = loop.run(seconds)
    print(f"flood: {(len(messages) - before) / seconds:.0f} messages a second", flush=True)
    client.stop()
    return found


def open_module() -> Any:
    """The module's widget, in Slicer or in the test host."""
    if hasattr(slicer, "app") and hasattr(slicer.app, "layoutManager"):
        slicer.util.selectModule("ActiveSegmentation")
        return slicer.modules.ActiveSegmentationWidget
    from host.host import start
    from module.module_helpers import OpenModule

    return OpenModule(start(), _Attributes()).widget


class _Attributes:
    """Sets attributes permanently; the process ends with the script."""

    def setattr(self, target: Any, name: str, value: Any) -> None:
        setattr(target, name, value)


def main(arguments: list[str]) -> int:
    """Print the gaps of each; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cohort", type=Path, metavar="DIR", help="default: a generated one of 204 volumes")
    parser.add_argument("--opened", type=int, default=10, help="volumes opened and committed (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="time measured of each job (default %(default)s)")
    options = parser.parse_args(arguments)
    widget = open_module()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.cohort is None:
            from ActiveSegmentationLib.cohort import write_phantom

            write_phantom(folder / "cohort", patients=102)
        rows = measure(widget, options.cohort or folder / "cohort", folder, options)
        widget.logic.close()
    print(f"{'':18} times  median of the largest gap (ms)  largest gap (ms)  gaps over 50 ms")
    for title, found in rows.items():
        largest = sorted(max(gaps, default=0.0) for gaps in found)
        over = sum(gap > 50 for gaps in found for gap in gaps)
        print(f"{title:18} {len(found):5} {largest[len(largest) // 2]:31.0f} {largest[-1]:17.0f} {over:16}")
    return 0


if __name__ == "__main__":
    runScript(main)
