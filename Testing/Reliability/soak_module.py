#!/usr/bin/env python3
"""Users who do random things in the Slicer module, in the test host, and a look for what grows.

    python Testing/Reliability/soak_module.py --minutes 120 --write

Each user is a run of a Hypothesis state machine (Testing/Python/module/user_machine.py): opens a study and does a dozen
things in any order, such as open slices, draw, commit, press buttons, change the annotator, leave a volume out,
save and load or clear the scene, delete nodes, reload the module. What was drawn and committed must be there, and the
audit must find nothing. Then the study is closed, and what is left in the scene and the process is counted. With
``--worker N``, every N users the module's own worker process chooses slices, trains, and ends. Exit code 1 if a slot
failed, something was lost, or anything grows. ``--write`` puts the table into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing" / "Python"), str(Path(__file__).parent)]

import growth  # noqa: E402 - found through the paths above
from document import write_part  # noqa: E402
from host.host import start  # noqa: E402

HOST = start()

from hypothesis import seed as seeded  # noqa: E402
from hypothesis.stateful import run_state_machine_as_test  # noqa: E402
from module import module_helpers  # noqa: E402 - needs what the host provides
from module.flow import Flow, writeCohorts  # noqa: E402
from module.user_machine import howMany, left, userOf, workOnce  # noqa: E402

PART = "table of Testing/Reliability/soak_module.py"
LIMITS = {**growth.LIMITS, "nodes": 0.0, "own nodes": 0.0, "observers of the scene": 0.0}
AT_ONCE = 10
"""Users of one run of Hypothesis, which remembers what they did until it ends."""


class Attributes:
    """Sets attributes for good; the process ends with the script."""

    def setattr(self, target: Any, name: str, value: Any) -> None:
        setattr(target, name, value)


def soak(work: Path, minutes: float, seed: int, worker: int) -> tuple[list[growth.Row], dict[str, int]]:
    """Let users work until the time is over; one row of measurements for each run of Hypothesis."""
    view = module_helpers.HostViews()  # as in Slicer, a reloaded module finds the views that were there
    module_helpers.HostViews = lambda: view
    flow = Flow(HOST, Attributes(), writeCohorts(work / "cohorts"), work)
    machine = userOf(flow)
    rows: list[growth.Row] = []
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        run_state_machine_as_test(seeded(seed + len(rows))(machine), settings=howMany(AT_ONCE))
        if worker and len(rows) % worker == worker - 1:
            workOnce(flow, machine)
        rows.append({**growth.of_process(), **left()})
        print(len(rows), {name: round(value, 2) for name, value in rows[-1].items()}, file=sys.stderr)
    flow.close()
    return rows, dict(machine.done.most_common())


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--worker", type=int, default=10, metavar="N", help="let the worker work every N rows, 0: never"
    )
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    options = parser.parse_args(words)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as work:
        rows, done = soak(Path(work), options.minutes, options.seed, options.worker)
    text, grows = growth.table(rows, LIMITS)
    minutes = (time.monotonic() - start) / 60
    users = done.pop("users")
    about = f"{sum(done.values()):,} actions of {users:,} users in {minutes:.0f} minutes; no exception, nothing lost."
    print(f"{text}\n\n{about}")
    print(done, *grows, sep="\n", file=sys.stderr)
    if options.write:
        write_part(PART, text, about)
    return int(bool(grows))


if __name__ == "__main__":
    sys.exit(main())
