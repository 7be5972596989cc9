#!/usr/bin/env python3
"""Install what is needed into .venv, then show the whole loop on a generated cohort of beating hearts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from _environment import ROOT, Environment, guarded, run, say


def main(arguments: Sequence[str]) -> int:
    """Run the demonstration with the given command-line arguments and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="demo.py", description=__doc__, epilog="Other options go to the demo itself.", allow_abbrev=False
    )
    parser.add_argument("--out", metavar="DIR", help="folder for the results (default: demo-output in the repository)")
    parser.add_argument("--setup-only", action="store_true", help="install, and stop before the demo")
    options, others = parser.parse_known_args(arguments)

    environment = Environment()
    python = environment.prepare()
    if options.setup_only:
        say(f"Ready: {python}")
        return 0
    out = options.out or ROOT / "demo-output"
    return run([python, "-m", "ActiveSegmentationLib", "demo", "--out", out, *others], env=environment.variables()).code


if __name__ == "__main__":
    sys.exit(guarded(main))
