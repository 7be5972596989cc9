#!/usr/bin/env python3
"""Install what the tests need into .venv, then run ruff, mypy and all tests."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from _environment import ROOT, Environment, guarded, run, say

LINT = (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",))
SELECTING = ("-k", "-m", "--lf", "--last-failed", "--ff", "--sw", "--stepwise", "--co", "--collect-only", "--deselect")
ONE_PROCESS = ("-n", "--numprocesses", "--dist", "--pdb", "--trace", "-s", "--co", "--collect-only")
MOST_WORKERS = 4

SYSTEM_PACKAGES = (
    "libegl1",
    "libgl1",
    "libgl1-mesa-dri",
    "libxkbcommon0",
    "libfontconfig1",
    "libdbus-1-3",
    "fonts-dejavu-core",
)
"""Debian's names of what the tests of the Slicer module need of the system."""

QT_PROBE = "import PySide6.QtWidgets, PySide6.QtUiTools\n"
EGL_PROBE = """
from vtkmodules.vtkRenderingOpenGL2 import vtkEGLRenderWindow
window = vtkEGLRenderWindow()
window.Render()
raise SystemExit(0 if window.SupportsOpenGL() else 1)
"""


def located(argument: str, start: Path) -> str:
    """A test path (``folder``, ``file.py``, ``file.py::test``) made absolute; other arguments as they are.

    Args:
        argument: One pytest argument.
        start: Folder that relative paths are tried from first; the repository comes second.
    """
    name, colons, rest = argument.partition("::")
    if name.startswith("-"):
        return argument
    for folder in (start, ROOT):
        if (folder / name).exists():
            return str((folder / name).resolve()) + colons + rest
    return argument


def has_option(arguments: Sequence[str], names: Sequence[str]) -> bool:
    """Whether one of the options is among the arguments, alone, as ``--name=value``, or as ``-n4``."""
    short = tuple(name for name in names if not name.startswith("--"))
    return any(a.partition("=")[0] in names or (a[:2] in short and a[1:2] != "-") for a in arguments)


def selects_tests(arguments: Sequence[str]) -> bool:
    """Whether pytest arguments choose particular tests; then nobody waits for lint."""
    paths = any(not a.startswith("-") and Path(a.partition("::")[0]).is_absolute() for a in arguments)
    return paths or has_option(arguments, SELECTING)


def parallel_options(arguments: Sequence[str], processors: int) -> list[str]:
    """Options that spread the tests over processes, unless the arguments say otherwise.

    Args:
        arguments: The person's pytest arguments.
        processors: Processors this process may use.
    """
    workers = min(processors, MOST_WORKERS)
    if workers < 2 or "no:xdist" in arguments or "-pno:xdist" in arguments or has_option(arguments, ONE_PROCESS):
        return []
    return ["-n", str(workers), "--dist", "loadfile"]


def processor_count() -> int:
    """Processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def lint(python: Path, environment: Environment) -> int:
    """Run every linter and return the first exit code that is not 0."""
    codes = []
    for words in LINT:
        say(" ".join(words))
        done = run([python, "-m", *words], cwd=ROOT, env=environment.variables())
        if done.interrupted:
            raise KeyboardInterrupt
        codes.append(done.code)
    return next((code for code in codes if code), 0)


def provide_system_libraries(python: Path) -> None:
    """Have what the tests of the Slicer module need of the system: OpenGL without a screen, and a font.

    Installed with apt-get where this is allowed; otherwise the person is told how, and those tests skip themselves.
    """
    if _can_draw(python):
        return
    words = ["apt-get", "install", "-y", *SYSTEM_PACKAGES]
    if sys.platform == "linux" and shutil.which("apt-get") and os.geteuid() == 0:
        say("Installing system libraries for the tests of the Slicer module: " + " ".join(SYSTEM_PACKAGES))
        run(["apt-get", "update", "-q"])
        run([*words[:2], "-q", *words[2:]])
        if _can_draw(python):
            return
    say(
        "warning: system libraries for drawing without a screen are missing (libEGL, libGL, fonts); the tests of the "
        f"Slicer module will be skipped. On Debian and Ubuntu: sudo {' '.join(words)}"
    )


def _can_draw(python: Path) -> bool:
    """Whether Qt can be imported, and OpenGL draws without a screen where the tests ask for that."""
    probe = QT_PROBE + (EGL_PROBE if sys.platform == "linux" else "")
    return run([python, "-c", probe], stderr=subprocess.DEVNULL).code == 0


def run_tests(python: Path, environment: Environment, arguments: Sequence[str]) -> int:
    """Run pytest from the repository's root and return its exit code."""
    parallel = parallel_options(arguments, processor_count())
    threads = {"OMP_NUM_THREADS": "1"} if parallel else {}
    command = [python, "-m", "pytest", *parallel, *arguments]
    return run(command, cwd=ROOT, env=environment.variables(**threads)).code


def main(arguments: Sequence[str]) -> int:
    """Run the checks with the given command-line arguments and return the first exit code that is not 0."""
    parser = argparse.ArgumentParser(
        prog="test.py", description=__doc__, epilog="Other options and test paths go to pytest.", allow_abbrev=False
    )
    parser.add_argument("--setup-only", action="store_true", help="install, and stop before the tests")
    parser.add_argument("--no-lint", action="store_true", help="tests only; also so where particular tests are chosen")
    parser.add_argument("--lint-only", action="store_true", help="ruff and mypy only")
    options, others = parser.parse_known_args(arguments)

    environment = Environment()
    python = environment.prepare("test")
    if not options.lint_only:
        provide_system_libraries(python)
    if options.setup_only:
        say(f"Ready: {python}")
        return 0
    others = [located(argument, Path.cwd()) for argument in others]
    lint_code = 0 if options.no_lint or selects_tests(others) else lint(python, environment)
    if options.lint_only:
        return lint_code
    if lint_code:
        say("Lint failed (see above); the tests run all the same.")
    test_code = run_tests(python, environment, others)
    if lint_code:
        say("Lint failed; its messages are above the tests.")
    return lint_code or test_code


if __name__ == "__main__":
    sys.exit(guarded(main))
