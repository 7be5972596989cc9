#!/usr/bin/env python3
"""Install the tests' packages into .venv, then run ruff, mypy and all tests."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from _environment import PYTHON, ROOT, prepare, run, say

LINT = (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",))
PARALLEL = ("-n", "auto", "--maxprocesses", "4", "--dist", "loadfile")
ONE_PROCESS = {"-s", "--pdb", "--trace", "--co", "--collect-only", "no:xdist"}
HERE = Path.cwd()
SYSTEM_PACKAGES = "libegl1 libgl1 libgl1-mesa-dri libxkbcommon0 libfontconfig1 libdbus-1-3 fonts-dejavu-core"
DRAWS = """
import sys, PySide6.QtWidgets, PySide6.QtUiTools
if sys.platform == "linux":
    from vtkmodules.vtkRenderingOpenGL2 import vtkEGLRenderWindow
    window = vtkEGLRenderWindow()
    window.Render()
    sys.exit(not window.SupportsOpenGL())
"""


def provide_system_packages() -> None:
    """Provide OpenGL without a display, and a font; installs them with apt-get if allowed, otherwise names them."""
    if _draws():
        return
    command = f"apt-get install -y {SYSTEM_PACKAGES}"
    if sys.platform == "linux" and shutil.which("apt-get") and os.geteuid() == 0:
        say(f"Installing {SYSTEM_PACKAGES}: the Slicer module's tests draw with them (--no-system-packages: do not).")
        run("apt-get", "update", "-q")
        run(*command.split())
        if _draws():
            return
    say(f"warning: the Slicer module's tests cannot draw and are skipped. On Debian and Ubuntu: sudo {command}")


def _draws() -> bool:
    return run(PYTHON, "-c", DRAWS, stderr=subprocess.DEVNULL) == 0


def lint() -> int:
    """Run every linter and return the highest exit code."""
    return max(run(PYTHON, "-m", *words, cwd=ROOT) for words in LINT)


def main(words: Sequence[str]) -> int:
    """Run the checks and return the first exit code that is not 0."""
    epilog = "Other options and test paths go to pytest; tests chosen by path or -k run without ruff and mypy."
    parser = argparse.ArgumentParser(description=__doc__, epilog=epilog, allow_abbrev=False)
    parser.add_argument("--setup-only", action="store_true", help="install, and stop before the tests")
    parser.add_argument("--no-lint", action="store_true", help="tests only")
    parser.add_argument("--lint-only", action="store_true", help="ruff and mypy only")
    parser.add_argument("--no-system-packages", action="store_true", help="install nothing with apt-get")
    options, others = parser.parse_known_args(words)
    prepare("test")
    if not (options.lint_only or options.no_system_packages):
        provide_system_packages()
    if options.setup_only:
        say(f"Ready: {PYTHON}")
        return 0
    paths = [word for word in others if any((folder / word.partition("::")[0]).exists() for folder in (HERE, ROOT))]
    others = [str(HERE / word) if (HERE / word.partition("::")[0]).exists() else word for word in others]
    lint_code = 0 if options.no_lint or paths or "-k" in others else lint()
    if options.lint_only:
        return lint_code
    parallel = () if ONE_PROCESS & set(others) else PARALLEL
    test_code = run(PYTHON, "-m", "pytest", *parallel, *others, cwd=ROOT, env={"OMP_NUM_THREADS": "1"})
    if lint_code:
        say("Lint failed; its messages are above the tests.")
    return lint_code or test_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
