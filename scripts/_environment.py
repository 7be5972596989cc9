"""The virtual environment behind scripts/demo.py and scripts/test.py, made and kept with the standard library only.

This file must parse on Python 3.8, so that people with an old Python get a sentence and not a syntax error.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
MINIMUM = (3, 11)
SCARCE_BYTES = 3 * 1024**3
"""An installation takes about 1.5 GB where PyTorch comes without CUDA and several times that where it brings it."""

RECORD = "activesegmentation.json"
LOG = "pip.log"


class SetupError(Exception):
    """The environment cannot be made; the message says why and what to do."""


class Finished(NamedTuple):
    """How a command ended: its exit code, and whether the person pressed Ctrl-C meanwhile."""

    code: int
    interrupted: bool


def say(text: str) -> None:
    """Show a line on standard error, which keeps standard output for the command that is run in the end."""
    print(text, file=sys.stderr, flush=True)


def require_python(version: tuple[int, int], runs: Callable[[str], bool]) -> None:
    """Refuse a Python that is too old.

    Args:
        version: Major and minor version to judge.
        runs: Whether a program, named as on the command line, can be run.

    Raises:
        SetupError: If it is older than ``MINIMUM``; names a newer one where there is one.
    """
    if version >= MINIMUM:
        return
    newer = next((f"python3.{minor}" for minor in range(19, MINIMUM[1] - 1, -1) if runs(f"python3.{minor}")), None)
    command = f"{newer or 'python3.12'} {' '.join(sys.argv)}"
    advice = f"Run: {command}" if newer else f"Install one from python.org or your package manager, then run: {command}"
    needed = ".".join(map(str, MINIMUM))
    raise SetupError(
        f"Python {needed} or newer is needed; this is {version[0]}.{version[1]} ({sys.executable}). {advice}"
    )


def runs(command: str | Path, *arguments: str) -> bool:
    """Whether a program can be run and ends with exit code 0; without arguments, whether it can tell its version."""
    try:
        words = [str(command), *(arguments or ("--version",))]
        done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    except OSError:
        return False
    return done.returncode == 0


def run(command: Sequence[object], *, pass_fds: Iterable[int] = (), **options: Any) -> Finished:
    """Run a command to its end, with this process's terminal.

    Ctrl-C reaches the command through the terminal, so here it is only noted and the command left to end in its own
    way. A request to terminate is handed on.

    Args:
        command: Program and arguments (text or paths).
        pass_fds: File descriptors the command inherits (not on Windows, which has none to inherit).
        options: For ``subprocess.Popen``.

    Returns:
        The exit code (128 + signal number where a signal ended it) and whether Ctrl-C was pressed.
    """
    if os.name != "nt":
        options["pass_fds"] = tuple(pass_fds)
    pressed: list[int] = []
    # A handler that raised could lose the exit code: the child is reaped, then the exception drops what was learned.
    before: dict[int, Any] = {}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        process = subprocess.Popen([str(word) for word in command], **options)
        before[signal.SIGTERM] = signal.signal(signal.SIGTERM, lambda number, frame: process.terminate())
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return Finished(code if code >= 0 else 128 - code, bool(pressed))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold the lock file ``path``, waiting for whoever has it; gives its file descriptor.

    A command that inherits the descriptor holds the lock too: when this process is killed during an installation, the
    next one waits until the orphaned installer has ended.
    """
    with open(path, "a+b") as file:
        if not _try_lock(file.fileno()):
            say("Another process is preparing .venv; waiting for it.")
            while not _try_lock(file.fileno(), wait=True):
                pass
        try:
            yield file.fileno()
        finally:
            _unlock(file.fileno())


def _try_lock(descriptor: int, wait: bool = False) -> bool:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _unlock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)


def explain_pip(log: str, free: int) -> str:
    """Why pip failed, and what to do, from its log and the free bytes on the disk."""
    text = log.lower()
    if "no space left" in text or "errno 28" in text or "not enough space" in text or free < SCARCE_BYTES // 10:
        return (
            f"The disk is full ({free / 1e9:.1f} GB free). Free at least {SCARCE_BYTES / 1e9:.0f} GB (10 GB where"
            " PyTorch brings CUDA) and run the same command again."
        )
    if "certificate_verify_failed" in text or "sslerror" in text or "ssl:" in text:
        return "The package index was not trusted. Behind a proxy, set PIP_CERT to its certificate and run again."
    network = ("connection broken", "newconnectionerror", "name resolution", "getaddrinfo", "timed out", "proxyerror")
    if any(sign in text for sign in network):
        return (
            "The package index could not be reached. The first run needs a network (behind a proxy, set HTTPS_PROXY);"
            " later runs do not. Run the same command again; what was downloaded is kept."
        )
    if "no matching distribution" in text:
        return (
            "A package has no build for this Python and system, or the package index is incomplete (see above)."
            " Try another Python version from 3.11 on: delete .venv and run the command with it."
        )
    return "Its message is above. Run the same command again; if it stays, delete the folder .venv first."


class Environment:
    """The virtual environment ``.venv`` of a repository.

    ``.venv/activesegmentation.json`` records what is in it: state "ready" with the fingerprint of what was asked for
    and the extras installed, or state "installing" while that is under way. An environment found "installing" was left
    by a killed process and is made anew.

    Args:
        root: Folder of ``pyproject.toml``.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self.folder = root / ".venv"
        self.python = self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def prepare(self, *extras: str) -> Path:
        """Make sure the package, its dependencies and these extras are installed; needs no network if they are.

        Args:
            extras: Names of optional dependencies in ``pyproject.toml``.

        Returns:
            The environment's Python.

        Raises:
            SetupError: If it cannot be done, with what to do.
        """
        try:
            if not self._is_ready(extras):
                with locked(self.root / ".venv.lock") as lock:
                    if not self._is_ready(extras):  # somebody else may have made it while this process waited
                        self._install(extras, lock)
        except OSError as error:
            raise SetupError(f"{self.folder}: {error.strerror or error}. Check permissions and free space.") from error
        return self.python

    def variables(self, **more: str) -> dict[str, str]:
        """Environment variables for commands that run in it, without those that would lead Python elsewhere."""
        lead_astray = {"PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__"}
        kept = {name: value for name, value in os.environ.items() if name not in lead_astray}
        return {**kept, "PYTHONUTF8": "1", "VIRTUAL_ENV": str(self.folder), **more}

    def fingerprint(self, version: str) -> str:
        """Hash of everything that decides what has to be installed, for the environment's Python ``version``."""
        import tomllib

        project = tomllib.loads((self.root / "pyproject.toml").read_text(encoding="utf-8"))
        names = ("name", "requires-python", "dependencies", "optional-dependencies", "scripts", "entry-points")
        asked = [project.get("build-system"), {name: project["project"].get(name) for name in names}]
        constraints = (self.root / "scripts" / "constraints.txt").read_text(encoding="utf-8")
        text = json.dumps([asked, constraints, version, sys.platform, str(self.root)], sort_keys=True)
        return hashlib.sha256(text.encode("utf-8")).hexdigest()

    def _is_ready(self, extras: Iterable[str]) -> bool:
        record = self._record()
        if record.get("state") != "ready" or not set(extras) <= set(record["extras"]):
            return False
        version = self._version()
        return version is not None and record["fingerprint"] == self.fingerprint(version)

    def _record(self) -> Mapping[str, Any]:
        try:
            record = json.loads((self.folder / RECORD).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            return {"state": "installing"}
        return record if isinstance(record, dict) else {"state": "installing"}

    def _write_record(self, record: Mapping[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / (RECORD + ".tmp")
        temporary.write_text(json.dumps(record), encoding="utf-8")
        os.replace(temporary, self.folder / RECORD)

    def _version(self) -> str | None:
        """Version ("3.11") of the environment's Python, or None where it does not run."""
        code = "import encodings, sys; print('%d.%d' % sys.version_info[:2])"
        try:
            done = subprocess.run(
                [self.python, "-c", code], capture_output=True, text=True, check=False, env=self.variables()
            )
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    def _usable(self) -> bool:
        version = self._version()
        recent = version is not None and tuple(map(int, version.split("."))) >= MINIMUM
        return recent and (self.folder / "pyvenv.cfg").is_file() and self._record().get("state") != "installing"

    def _install(self, extras: Iterable[str], lock: int) -> None:
        before = self._record()
        if not self._usable():
            self._make(lock)
            before = {}
        wanted = sorted(set(extras) | set(before.get("extras", ())))
        self._write_record({"state": "installing"})
        self._run_pip(wanted, lock, before)
        version = self._version() or ""
        self._write_record({"state": "ready", "fingerprint": self.fingerprint(version), "extras": wanted})

    def _make(self, lock: int) -> None:
        if self.folder.exists():
            if Path(sys.prefix).resolve() == self.folder.resolve():
                raise SetupError(f"{self.folder} has to be made anew. Run this with another Python than its own.")
            say("The environment in .venv is incomplete or does not run; making it anew.")
            shutil.rmtree(self.folder)
        say(f"Making the environment {self.folder} with Python {sys.version.split()[0]}.")
        self._write_record({"state": "installing"})
        done = run([sys.executable, "-m", _venv_maker(), self.folder], pass_fds=[lock], env=self.variables())
        _stop_if_interrupted(done)
        if done.code:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise SetupError(f"The environment could not be made (see above). {_venv_advice()}")

    def _run_pip(self, extras: Sequence[str], lock: int, before: Mapping[str, Any]) -> None:
        self._warn_of_little_disk(fresh=not before)
        say("Installing what is needed; the first time this takes some minutes.")
        log = self.folder / LOG
        log.unlink(missing_ok=True)
        options = ["--constraint", "scripts/constraints.txt", "--log", str(log), "--disable-pip-version-check"]
        package = f".[{','.join(extras)}]" if extras else "."
        command = [self.python, "-m", "pip", "install", *options, "--editable", package]
        surroundings = {"cwd": self.root, "env": self.variables(PIP_USER="0"), "stdin": subprocess.DEVNULL}
        if not runs(self.python, "-m", "pip", "--version"):
            run([self.python, "-m", "ensurepip"], pass_fds=[lock], stdout=sys.stderr, **surroundings)
        done = run(command, pass_fds=[lock], stdout=sys.stderr, **surroundings)
        _stop_if_interrupted(done)
        if done.code:
            self._fail(log.read_text(encoding="utf-8", errors="replace") if log.exists() else "", before, done.code)

    def _fail(self, log: str, before: Mapping[str, Any], code: int) -> None:
        free = shutil.disk_usage(self.root).free
        reason = explain_pip(log, free)
        if code < 128 and not reason.startswith("The disk is full"):  # pip gave up by itself and left nothing half done
            if before:
                self._write_record(before)
            else:
                (self.folder / RECORD).unlink()
        raise SetupError(f"The installation failed. {reason}")

    def _warn_of_little_disk(self, fresh: bool) -> None:
        free = shutil.disk_usage(self.root).free
        if fresh and free < SCARCE_BYTES:
            needed = f"{SCARCE_BYTES / 1e9:.0f} GB or more"
            say(f"Only {free / 1e9:.1f} GB are free here; the installation may need {needed}.")


def _venv_maker() -> str:
    """Module that can make an environment with pip in it."""
    if importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"):
        return "venv"
    if importlib.util.find_spec("virtualenv"):
        return "virtualenv"
    raise SetupError(f"This Python cannot make virtual environments (venv or ensurepip is missing). {_venv_advice()}")


def _venv_advice() -> str:
    package = "python{}.{}-venv".format(*sys.version_info[:2])
    return f"On Debian and Ubuntu: sudo apt install {package}. Elsewhere: {sys.executable} -m pip install virtualenv."


def _stop_if_interrupted(done: Finished) -> None:
    if done.interrupted:
        raise KeyboardInterrupt


def guarded(main: Callable[[Sequence[str]], int]) -> int:
    """Run a script's ``main`` on the command line's arguments; problems become one sentence and exit code 1."""
    try:
        require_python((sys.version_info[0], sys.version_info[1]), runs)
        return main(sys.argv[1:])
    except SetupError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("Stopped. Run the same command again to go on.")
        return 130
