#!/usr/bin/env python3
"""Attack studies in every way that this folder knows, and print a table of what was tried and what went wrong.

    python Testing/Reliability/attack.py                 # short: about two minutes
    python Testing/Reliability/attack.py --size long --write

Exit code 1 if any count but "tried" is not 0. ``--write`` puts the table into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import faults  # noqa: E402 - found through the paths above
import mutation  # noqa: E402
import power_loss  # noqa: E402
import tampering  # noqa: E402
import writers  # noqa: E402
from document import write_part  # noqa: E402
from outcome import FAULTS, Outcome  # noqa: E402

PART = "table of Testing/Reliability/attack.py"

SHORT: dict[str, Callable[[Path], list[Outcome]]] = {
    "power": lambda work: [power_loss.attack(work, 300)],
    "faults": lambda work: faults.attack(work, 300),
    "tampering": lambda work: tampering.attack(work, 2000),
    "writers": lambda work: [writers.attack(work, 25)],
    "mutation": lambda work: mutation.attack(work, 1000),
}
LONG: dict[str, Callable[[Path], list[Outcome]]] = {
    "power": lambda work: [power_loss.attack(work, 2500)],
    "faults": lambda work: faults.attack(work, 3000),
    "tampering": tampering.attack,
    "writers": lambda work: [writers.attack(work, 250)],
    "mutation": lambda work: mutation.attack(work, 20_000),
}
SIZES = {"short": SHORT, "long": LONG}
_ABOUT = {"short": "Short size: changes drawn at random.", "long": "Long size: every change."}


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as a table in Markdown."""
    lines = [f"| attack | tried | {' | '.join(FAULTS)} |", f"|---|{'---:|' * (1 + len(FAULTS))}"]
    for outcome in outcomes:
        counts = " | ".join(str(getattr(outcome, name)) for name in FAULTS)
        lines.append(f"| {outcome.attack} | {outcome.tried:,} | {counts} |")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=f"any of {', '.join(SHORT)}; default: all")
    parser.add_argument("--size", choices=SIZES, default="short")
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    options = parser.parse_args(words)
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    outcomes: list[Outcome] = []
    for name in options.attacks or SIZES[options.size]:
        work = Path(tempfile.mkdtemp(prefix="attack-", dir=memory))
        start = time.monotonic()
        found = SIZES[options.size][name](work / "work")
        shutil.rmtree(work)
        print(f"{name}: {sum(one.tried for one in found):,} in {time.monotonic() - start:.0f} s", file=sys.stderr)
        outcomes += found
    print(table(outcomes))
    for outcome in outcomes:
        for note in outcome.notes:
            print(f"{outcome.attack}: {note}")
    if options.write:
        write_part(PART, table(outcomes), _ABOUT[options.size])
    return int(any(outcome.faults for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
