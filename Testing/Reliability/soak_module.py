#!/usr/bin/env python3
"""Random actions of a user in the Slicer module, in the test host, and a look for what grows.

    python Testing/Reliability/soak_module.py --minutes 10 --write

Each repetition opens a study and does a dozen random things: open slices, draw, commit, skip, flag, press any of the
panel's buttons, change the annotator, leave a volume out, save and load or clear the scene, reload the module, delete
nodes. Then the study is closed, and what is left in the scene and the process is counted. What a user has committed
must be there with the pixels that were drawn, and the audit must find nothing. Exit code 1 if an exception was raised,
something was lost, or anything grows. ``--write`` puts the table into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing" / "Python"), str(Path(__file__).parent)]

import growth  # noqa: E402 - found through the paths above
import slicer  # noqa: E402
from document import write_part  # noqa: E402
from host.host import start  # noqa: E402

HOST = start()

from module import module_helpers  # noqa: E402 - needs what the host provides
from module.flow import Flow, observers, ownedNodes, writeCohorts  # noqa: E402
from module.flow_events import leaveAndReturn, reloadModule, saveAndLoad  # noqa: E402
from module.held_client import heldIn  # noqa: E402

from ActiveSegmentationLib.cohort import SliceId  # noqa: E402
from ActiveSegmentationLib.common.errors import BadInput  # noqa: E402
from ActiveSegmentationLib.study import hash_labels  # noqa: E402

PART = "table of Testing/Reliability/soak_module.py"
ACTIONS = 12
LIMITS = {**growth.LIMITS, "nodes": 0.0, "own nodes": 0.0, "observers of the scene": 0.0}
BUTTONS = (
    *("nextButton", "previousButton", "commitButton", "emptyButton", "skipButton", "flagButton"),
    *("newStudyButton", "addLabelButton", "removeLabelButton", "leaveOutButton", "takeBackButton", "clearCacheButton"),
)


class Attributes:
    """Sets attributes for good; the process ends with the script."""

    def setattr(self, target: Any, name: str, value: Any) -> None:
        setattr(target, name, value)


class User:
    """Does random things, and remembers what was committed.

    Args:
        flow: The module and its studies.
        rng: Chooses.

    Attributes:
        done: How often each action was done.
    """

    def __init__(self, flow: Flow, rng: random.Random) -> None:
        self.flow, self.rng = flow, rng
        self.done: Counter[str] = Counter()
        self._actions = {
            name.removeprefix("do_"): getattr(self, name) for name in sorted(dir(self)) if name.startswith("do_")
        }

    def act(self) -> None:
        """One action; what cannot be done now is refused with a reason."""
        name = self.rng.choice(list(self._actions))
        if self.flow.study is None:
            self.open()
        try:
            self._actions[name]()
            self.done[name] += 1
        except BadInput:
            self.done[f"{name}, refused"] += 1
        self.flow.settle()

    def open(self) -> None:
        """Open the study."""
        self.flow.module.logic.openStudy(self.flow.folder)
        self.flow.settle()

    def do_slice(self) -> None:
        volume = self.rng.choice(self.flow.study.cohort.volumes)
        self.flow.session.openSlice(SliceId(volume.id, self.rng.randrange(volume.slice_count)))

    def do_request(self) -> None:
        self.flow.session.openRequest(self.rng.randint(1, 4))

    def do_draw(self) -> None:
        if self.flow.session.task is None:
            self.do_slice()
        self.flow.module.draw(self.rng.randint(0, 3), self.flow.mask(self.rng.randrange(30)))

    def do_commit(self) -> None:
        self.do_draw()
        self.flow.session.annotating.commit()

    def do_button(self) -> None:
        name = self.rng.choice(BUTTONS)
        button = getattr(self.flow.module.ui, name)
        if button.enabled:
            button.click()
            self.done[name] += 1

    def do_leave(self) -> None:
        leaveAndReturn(self.flow)

    def do_reload(self) -> None:
        reloadModule(self.flow)
        heldIn(self.flow.monkeypatch, self.flow.module.work)

    def do_clear_scene(self) -> None:
        slicer.mrmlScene.Clear(0)

    def do_save_and_load(self) -> None:
        saveAndLoad(self.flow)

    def do_remove_node(self) -> None:
        if self.flow.case is not None:
            slicer.mrmlScene.RemoveNode(self.rng.choice([self.flow.case.volumeNode, self.flow.case.segmentationNode]))

    def do_annotator(self) -> None:
        self.flow.session.setAnnotator(self.rng.choice(["Anna", "Zoë"]))

    def do_exclude(self) -> None:
        volume = self.flow.study.cohort.volumes[-1].id
        if volume in self.flow.session.excluded:
            self.flow.session.includeVolume(volume)
        else:
            self.flow.session.excludeVolume(volume, "blurred")


def committed(user: User) -> dict[SliceId, str]:
    """What the audit says was committed last, by slice, with the hash of its pixels."""
    study, found = user.flow.study, {}
    for name in ("Anna", "Zoë", "annotator"):
        for record in study.audit.records(name):
            if record["event"] == "commit":
                found[SliceId(record["volume"], record["slice"]), name] = record["labels_sha256"]
    return found


def repetition(user: User) -> growth.Row:
    """Open the study, do things, check, close, measure."""
    flow = user.flow
    user.open()
    before = committed(user)
    for _ in range(ACTIONS):
        user.act()
    if flow.study is None:
        user.open()
    after = committed(user)
    if before.keys() - after.keys():
        raise AssertionError(f"lost: {before.keys() - after.keys()}")
    for (slice_id, name), digest in after.items():
        if hash_labels(flow.study.annotations(name, include_excluded=True)[slice_id].labels) != digest:
            raise AssertionError(f"other pixels than were committed: {slice_id} {name}")
    problems = flow.study.audit.verify()
    if problems:
        raise AssertionError(f"audit: {problems}")
    flow.session.closeStudy()
    slicer.mrmlScene.Clear(0)
    flow.settle()
    left = {"nodes": slicer.mrmlScene.GetNumberOfNodes(), "own nodes": len(ownedNodes())}
    return {**growth.of_process(), **left, "observers of the scene": observers(slicer.mrmlScene)}


def soak(work: Path, minutes: float, seed: int) -> tuple[list[growth.Row], Counter[str]]:
    """Repeat until the time is over."""
    view = module_helpers.HostViews()  # as in Slicer, a reloaded module finds the views that were there
    module_helpers.HostViews = lambda: view
    flow = Flow(HOST, Attributes(), writeCohorts(work / "cohorts"), work)
    heldIn(flow.monkeypatch, flow.module.work)
    flow.createStudy()
    flow.suggest()
    user = User(flow, random.Random(seed))
    rows: list[growth.Row] = []
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        rows.append(repetition(user))
        print(len(rows), {name: round(value, 2) for name, value in rows[-1].items()}, file=sys.stderr)
    flow.close()
    return rows, user.done


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    options = parser.parse_args(words)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as work:
        rows, done = soak(Path(work), options.minutes, options.seed)
    text, grows = growth.table(rows, LIMITS)
    minutes = (time.monotonic() - start) / 60
    about = f"{sum(done.values()):,} actions in {len(rows)} repetitions and {minutes:.0f} minutes; no exception."
    print(f"{text}\n\n{about}")
    print(dict(done.most_common()), *grows, sep="\n", file=sys.stderr)
    if options.write:
        write_part(PART, text, about)
    return int(bool(grows))


if __name__ == "__main__":
    sys.exit(main())
