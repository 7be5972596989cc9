#!/usr/bin/env python3
"""Two annotators and a trainer on the command line, for hours, on one study, and a look for what grows.

    python Testing/Reliability/soak_commands.py --minutes 120 --write

Anna and Zoë draw slices in NIfTI files and commit them, skip slices, mark where structures lie, leave volumes out and
take them back, each as often as the commands answer. Meanwhile the trainer suggests, trains, predicts, exports and
audits. Every command is a process of its own. After each round of the trainer, what the commands took and left is
measured. Exit code 1 if a command failed in a way that it should not, a process is left, an acknowledged commit is
missing or changed, or anything grows without bound. ``--write`` puts the table into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import growth  # noqa: E402 - found through the paths above
import numpy as np  # noqa: E402
import psutil  # noqa: E402
import SimpleITK  # noqa: E402
from document import write_part  # noqa: E402
from soak import SETTINGS, leftovers  # noqa: E402

from ActiveSegmentationLib.api import create_study  # noqa: E402
from ActiveSegmentationLib.cohort import SliceId, Volume, discover, write_phantom  # noqa: E402
from ActiveSegmentationLib.common.files import tree_size  # noqa: E402
from ActiveSegmentationLib.loop import LoopSettings  # noqa: E402
from ActiveSegmentationLib.study import Study, hash_labels  # noqa: E402

PART = "table of Testing/Reliability/soak_commands.py"
STRATEGIES = ("random", "strided", "recommended", "dropout-entropy", "coreset")
LIMITS = {
    "temporary files": 0.0,
    "processes left": 0.0,
    "cache (MB)": 0.05,
    "memory of a commit (MB)": 0.5,
    "memory of a training (MB)": 0.5,
}
"""How much each may grow in a round of the trainer. The study itself grows, and with it what reading it takes."""

REFUSALS = ("committed already", "excluded", "The study is in use")
"""Words of refusals that are right: the other annotator was faster, or volumes cannot be left out of running work."""


@dataclass
class Commands:
    """Runs commands and keeps what they took.

    Attributes:
        study: Folder of the study.
        temporary: Folder for temporary files of the commands.
        count: How often each command was run.
        faults: What should not have happened.
        took: Peak memory in MB and processor seconds of each command, since ``taken``.
    """

    study: Path
    temporary: Path
    count: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    took: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def run(self, name: str, *words: str) -> bool:
        """Run a command on the study; returns whether it was done."""
        line = [sys.executable, "-m", "ActiveSegmentationLib", name, str(self.study), *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(self.temporary)}
        with tempfile.TemporaryFile() as out:
            process = subprocess.Popen(line, stdout=out, stderr=out, env=environment, stdin=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            text = out.read().decode("utf-8", errors="replace")
        self.count[name] += 1
        self.took.setdefault(name, []).append((usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime))
        if process.returncode == 0:
            return True
        if process.returncode == 2 and any(refusal in text for refusal in REFUSALS):
            self.count[f"{name}, refused"] += 1
        else:
            self.faults.append(f"{name} {' '.join(words)}: exit code {process.returncode}: {text[-800:]}")
        return False

    def taken(self, name: str) -> tuple[float, float]:
        """Largest memory and mean processor seconds of a command since the last call, 0 if there was none."""
        found = np.array(self.took.pop(name, [(0.0, 0.0)]))
        return float(found[:, 0].max()), float(found[:, 1].mean())


class Annotator(threading.Thread):
    """Annotates by commands until it is stopped.

    Attributes:
        committed: Hash of the pixels of each slice that was acknowledged last.
    """

    def __init__(self, name: str, commands: Commands, volumes: Sequence[Volume], root: Path, work: Path) -> None:
        super().__init__(name=name)
        self.commands, self.volumes, self.root, self.work = commands, volumes, root, work
        self.rng = random.Random(name)
        self.committed: dict[SliceId, str] = {}
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.is_set():
            try:
                self.rng.choices([self.commit, self.skip, self.mark, self.leave_out, self.look], [10, 3, 2, 1, 2])[0]()
            except Exception as error:  # noqa: BLE001 - counted; the thread must not end in silence
                self.commands.faults.append(f"{self.name}: {type(error).__name__}: {error}")
                return

    def commit(self) -> None:
        """Draw on a slice of a volume in a file, and commit it."""
        volume = self.rng.choice(self.volumes)
        image = SimpleITK.ReadImage(str(self.root / volume.channels[0].paths[0]))
        labels = np.zeros(SimpleITK.GetArrayFromImage(image).shape, np.uint8)
        index = self.rng.randrange(len(labels))
        rows, columns = labels.shape[1:]
        plane = np.random.default_rng(self.rng.randrange(2**32)).integers(1, 4, (rows, columns)).astype(np.uint8)
        labels[index] = plane
        folder = self.work / self.name
        folder.mkdir(parents=True, exist_ok=True)
        drawn = SimpleITK.GetImageFromArray(labels)
        drawn.CopyInformation(image)
        path = folder / f"{volume.id}.nii.gz"
        SimpleITK.WriteImage(drawn, str(path))
        if self.commands.run("annotate", "--from", str(folder), "--annotator", self.name):
            self.committed[SliceId(volume.id, index)] = hash_labels(plane)
        path.unlink()

    def skip(self) -> None:
        volume = self.rng.choice(self.volumes)
        number = self.rng.randint(1, volume.slice_count)
        self.commands.run("skip", volume.id, str(number), "--reason", "blurred", "--annotator", self.name)

    def mark(self) -> None:
        volume = self.rng.choice(self.volumes)
        first = self.rng.randint(1, volume.slice_count)
        last = self.rng.randint(first, volume.slice_count)
        self.commands.run("mark", "--volume", volume.id, "--from", str(first), "--to", str(last))

    def leave_out(self) -> None:
        volume = self.volumes[0 if self.name == "Anna" else 1].id  # each has one of their own
        if self.commands.run("exclude", volume, "--reason", "cannot be judged"):
            while not self.commands.run("exclude", volume, "--undo"):
                time.sleep(0.5)

    def look(self) -> None:
        self.commands.run(self.rng.choice(["status", "strategies", "settings"]))


def train_once(commands: Commands, work: Path, number: int) -> None:
    """One round of the trainer."""
    commands.run("suggest", "--count", "3", "--strategy", STRATEGIES[number % len(STRATEGIES)], "--device", "cpu")
    commands.run("train", "--device", "cpu")
    commands.run("predict", "--out", str(work / "labels"), "--uncertainty", "--device", "cpu")
    commands.run("export", "--format", "csv", "--out", str(work / "table"))
    commands.run("audit", "--no-images")
    if number % 10 == 9:
        commands.run("clear-cache")


def measured(commands: Commands, processes: int) -> growth.Row:
    """What the commands since the last row took, and what they left."""
    cache = tree_size(commands.study / "cache")
    memory, seconds = commands.taken("annotate")
    trained, train_seconds = commands.taken("train")
    return {
        "memory of a commit (MB)": memory,
        "processor seconds of a commit": seconds,
        "memory of a training (MB)": trained,
        "processor seconds of a training": train_seconds,
        "cache (MB)": cache / 2**20,
        "study (MB)": (tree_size(commands.study) - cache) / 2**20,
        "temporary files": leftovers(commands.study, commands.temporary),
        "processes left": processes,
    }


def soak(work: Path, minutes: float, patients: int) -> tuple[list[growth.Row], Commands]:
    """Let the three work until the time is over, then look for what was acknowledged."""
    temporary = work / "tmp"
    temporary.mkdir(parents=True)
    cohort = discover(write_phantom(work / "cohort", patients=patients, size=(64, 64), scribbles=False))
    folder = create_study(work / "study", cohort, settings=LoopSettings.from_json(SETTINGS)).folder
    commands = Commands(folder, temporary)
    people = [Annotator(name, commands, cohort.volumes, work / "cohort", work) for name in ("Anna", "Zoë")]
    for person in people:
        person.start()
    rows: list[growth.Row] = []
    end = time.monotonic() + 60 * minutes
    try:
        while time.monotonic() < end and all(person.is_alive() for person in people):
            train_once(commands, work, len(rows))
            rows.append(measured(commands, _left(folder)))
            print(len(rows), {name: round(value, 2) for name, value in rows[-1].items()}, file=sys.stderr)
    finally:
        for person in people:
            person.stopped.set()
        for person in people:
            person.join()
    commands.run("audit")
    _check(folder, people, commands)
    return rows, commands


def _left(folder: Path) -> int:
    """Processes that name the study and are not a child of this one, such as workers of a command that has ended."""
    found = 0
    for process in psutil.process_iter(["cmdline", "ppid"]):
        words, parent = process.info["cmdline"] or [], process.info["ppid"]
        found += str(folder) in words and parent != os.getpid()
    return found


def _check(folder: Path, people: Sequence[Annotator], commands: Commands) -> None:
    """Everything acknowledged must be there, with its pixels."""
    study = Study.open(folder)
    commands.faults += [str(path) for path in study.damaged()]
    for person in people:
        there = study.annotations(person.name, include_excluded=True)
        for slice_id, digest in person.committed.items():
            if slice_id not in there or hash_labels(there[slice_id].labels) != digest:
                commands.faults.append(f"lost or changed: {slice_id} of {person.name}")


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--patients", type=int, default=6, help="patients of the cohort, 16 slices each")
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    options = parser.parse_args(words)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as work:
        rows, commands = soak(Path(work), options.minutes, options.patients)
    minutes = (time.monotonic() - start) / 60
    if not rows:
        print(*commands.faults, sep="\n", file=sys.stderr)
        return 1
    text, grows = growth.table(rows, LIMITS)
    counted = sum(count for name, count in commands.count.items() if "," not in name)
    about = (
        f"{counted:,} commands ({commands.count['annotate']:,} commits, {commands.count['train']:,} trainings) in "
        f"{minutes:.0f} minutes; {len(commands.faults)} faults."
    )
    print(f"{text}\n\n{about}")
    print(dict(commands.count.most_common()), *commands.faults, *grows, sep="\n", file=sys.stderr)
    if options.write:
        write_part(PART, text, about)
    return int(bool(grows or commands.faults))


if __name__ == "__main__":
    sys.exit(main())
