"""Calling the command line from tests, in this process or in a fresh one."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from ActiveSegmentationLib.cli.main import main

ROOT = Path(__file__).parents[3]

TINY = ["--size", "32x32", "--spacing", "4.5", "--metric-steps", "3", "--steps", "6", "--batch-size", "4"]
"""Settings with which every step takes about a second."""


class Result(NamedTuple):
    code: int
    out: str
    err: str


def command_of(*words) -> list[str]:
    return [sys.executable, "-m", "ActiveSegmentationLib", *(str(word) for word in words)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}


def run_cli(*words, process: bool = False) -> Result:
    """Run one command; ``process`` starts a fresh Python for it."""
    if process:
        done = subprocess.run(command_of(*words), env=environment(), capture_output=True, check=False)
        # A progress bar may be cut in the middle of a character where several processes write to one stream.
        return Result(done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8", "backslashreplace"))
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    return Result(code, out.getvalue(), err.getvalue())


def cohort_copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


def files_of(folder: Path) -> dict[str, str]:
    """Every file below the folder with the hash of its content; locks, caches and temporary files left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not path.name.startswith(".") and "cache/" not in name:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
