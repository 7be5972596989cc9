#!/usr/bin/env python3
"""Install the package into .venv, then run the whole loop on a generated cohort of beating hearts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from _environment import PYTHON, ROOT, prepare, run, say


def main(words: Sequence[str]) -> int:
    """Run the demonstration and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="Other options go to the demo.", allow_abbrev=False)
    parser.add_argument("--out", default=ROOT / "demo-output", help="folder of the results (default: %(default)s)")
    parser.add_argument("--setup-only", action="store_true", help="install, and stop before the demo")
    options, others = parser.parse_known_args(words)
    prepare()
    if options.setup_only:
        say(f"Ready: {PYTHON}")
        return 0
    return run(PYTHON, "-m", "ActiveSegmentationLib", "demo", "--out", options.out, *others)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
