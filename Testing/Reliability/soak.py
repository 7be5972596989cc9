#!/usr/bin/env python3
"""Repeat the loop on one study in one process, and look for what grows.

    python Testing/Reliability/soak.py --minutes 10 --write

Each repetition opens the study, suggests two slices, commits them for two annotators, skips or flags another, trains a
few steps, predicts, exports, audits and closes. After each, memory, open files, threads, child processes, temporary
files and the sizes of the study and its cache are measured. Exit code 1 if any of them grows without bound: see
``LIMITS``. ``--write`` puts the table into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import growth  # noqa: E402 - found through the paths above
import numpy as np  # noqa: E402
from document import write_part  # noqa: E402

from ActiveSegmentationLib.api import annotate, create_study, export, predict, suggest, train  # noqa: E402
from ActiveSegmentationLib.cohort import discover, write_phantom  # noqa: E402
from ActiveSegmentationLib.common.files import tree_size  # noqa: E402
from ActiveSegmentationLib.loop import LoopSettings  # noqa: E402
from ActiveSegmentationLib.study import Study  # noqa: E402

PART = "table of Testing/Reliability/soak.py"
SETTINGS = {
    "stack": {"size": [48, 48], "spacing": 3.0},
    "embedding": {"steps": 5},
    "training": {"steps": 5, "batch_size": 4},
}
STRATEGIES = ("random", "strided", "dropout-entropy", "coreset")
LIMITS = {**growth.LIMITS, "temporary files": 0.0, "cache (MB)": 0.05, "processor seconds": 0.05}
"""How much each may grow in a repetition. The study itself grows: it keeps models and requests of all rounds."""


def measured(study: Path, temporary: Path, seconds: float) -> growth.Row:
    """What there is after a repetition."""
    cache = tree_size(study / "cache")
    return {
        **growth.of_process(),
        "temporary files": leftovers(study, temporary),
        "cache (MB)": cache / 2**20,
        "study (MB)": (tree_size(study) - cache) / 2**20,
        "processor seconds": seconds,
    }


def leftovers(study: Path, temporary: Path) -> int:
    """Files in the folder for temporary files, and temporary files in the study and next to it."""
    hidden = [path for path in study.parent.rglob(".tmp-*")]
    return len(hidden) + sum(1 for _ in temporary.rglob("*"))


def repeat(study: Path, work: Path, number: int, steps: int) -> None:
    """One repetition of the loop."""
    opened = Study.open(study)
    requests = suggest(opened, 3, STRATEGIES[number % len(STRATEGIES)], seed=number, device="cpu")
    first, second, third = (request.slice for request in requests)
    rng = np.random.default_rng(number)
    for slice_id, annotator in ((first, "Anna"), (second, "Zoë"), (first, "Zoë")):
        shape = opened.cohort.volume(slice_id.volume).plane_shape
        annotate(opened, {slice_id: rng.integers(0, 4, shape).astype(np.uint8)}, annotator=annotator)
    opened.skip(third, "Anna", "blurred")
    opened.flag(second, "Anna", "look again")
    train(opened, steps=steps, device="cpu")
    for name in ("labels", "table"):
        for path in (work / name).glob("*"):
            path.unlink()
    predict(opened, work / "labels", volumes=[first.volume, second.volume], uncertainty=True, device="cpu")
    export(opened, work / "table", "csv")
    problems = Study.open(study).audit.verify(images=True)
    if problems or opened.damaged():
        raise AssertionError(f"repetition {number}: {[*problems, *opened.damaged()]}")


def soak(work: Path, minutes: float, steps: int, patients: int) -> list[growth.Row]:
    """Repeat the loop until the time is over or every slice was requested."""
    temporary = work / "tmp"
    temporary.mkdir(parents=True)
    tempfile.tempdir = str(temporary)
    cohort = discover(write_phantom(work / "cohort", patients=patients, size=(64, 64), scribbles=False))
    folder = create_study(work / "study", cohort, settings=LoopSettings.from_json(SETTINGS)).folder
    repetitions = sum(volume.slice_count for volume in cohort.volumes) // 3
    rows: list[growth.Row] = []
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end and len(rows) < repetitions:
        start = time.process_time()
        repeat(folder, work, len(rows), steps)
        rows.append(measured(folder, temporary, time.process_time() - start))
        print(len(rows), {name: round(value, 2) for name, value in rows[-1].items()}, file=sys.stderr)
    return rows


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--steps", type=int, default=5, help="training steps of each repetition")
    parser.add_argument("--patients", type=int, default=40, help="patients of the cohort, 16 slices each")
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    options = parser.parse_args(words)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as work:
        rows = soak(Path(work), options.minutes, options.steps, options.patients)
        tempfile.tempdir = None
    minutes = (time.monotonic() - start) / 60
    text, grows = growth.table(rows, LIMITS)
    about = f"{len(rows)} repetitions in {minutes:.0f} minutes."
    print(f"{text}\n\n{about}")
    if options.write:
        write_part(PART, text, about)
    print(*grows, sep="\n", file=sys.stderr)
    return int(bool(grows))


if __name__ == "__main__":
    sys.exit(main())
