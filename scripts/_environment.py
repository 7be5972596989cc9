"""The environment ``.venv`` of demo.py and test.py. This file parses on Python 3.8, so it can ask users to update."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv"
PYTHON = FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
MINIMUM = (3, 11)


def say(text: str) -> None:
    """Print a line on standard error; standard output is for the command that is run."""
    print(text, file=sys.stderr, flush=True)


def run(*command: object, **options: Any) -> int:
    """Run a command and return its exit code, 128 + signal number if a signal ended it."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH")}
    environment = {**kept, "PYTHONUTF8": "1", "PIP_USER": "0", **options.pop("env", {})}
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:  # Ctrl-C also reaches the command, which ends by itself
        signal.signal(signal.SIGINT, lambda *_: None)
    try:
        code = subprocess.call([str(word) for word in command], env=environment, **options)
    finally:
        signal.signal(signal.SIGINT, before)
    return code if code >= 0 else 128 - code


def prepare(extra: str = "") -> None:
    """Install the package and its dependencies into ``.venv``; needs no network if they are already there.

    Args:
        extra: Name of optional dependencies in ``pyproject.toml`` that are needed too.

    Raises:
        SystemExit: If the installation fails; its message says why.
    """
    if sys.version_info < MINIMUM:
        sys.exit(f"error: Python 3.11 or newer is needed; this is {sys.version.split()[0]} ({sys.executable}).")
    done, unfinished = FOLDER / f"installed-{extra or 'package'}", FOLDER / "unfinished"
    wanted = _fingerprint()
    if _works() and done.exists() and done.read_text() == wanted and not unfinished.exists():
        return
    if unfinished.exists() or not _works():
        _make()
    say("Installing packages into .venv; the first time this takes some minutes and 2 to 3 GB.")
    package = f".[{extra}]" if extra else "."
    unfinished.touch()
    words = ("-m", "pip", "install", "--disable-pip-version-check", "-c", "scripts/constraints.txt", "-e", package)
    code = run(PYTHON, *words, cwd=ROOT, stdout=sys.stderr)
    if code < 128:  # pip ended normally and left nothing half installed
        unfinished.unlink()
    if code:
        sys.exit("error: The installation failed; pip says why above. Only the first run needs a network.")
    for path in {done, FOLDER / "installed-package"}:
        path.write_text(wanted)


def _fingerprint() -> str:
    """Hash of everything that determines what is installed."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    constraints = (ROOT / "scripts" / "constraints.txt").read_text(encoding="utf-8")
    asked = (str(ROOT), project["build-system"], project["project"], constraints)
    return hashlib.sha256(repr(asked).encode()).hexdigest()


def _works() -> bool:
    return PYTHON.exists() and run(PYTHON, "-c", "import encodings, pip", stderr=subprocess.DEVNULL) == 0


def _make() -> None:
    say(f"Creating the environment {FOLDER} with Python {sys.version.split()[0]}.")
    if run(sys.executable, "-m", "venv", "--clear", FOLDER, stdout=sys.stderr):
        shutil.rmtree(FOLDER, ignore_errors=True)
        package = "python{}.{}-venv".format(*sys.version_info[:2])
        sys.exit(
            f"error: The environment could not be created (see above). On Debian and Ubuntu: sudo apt install {package}"
        )
