"""A Dask scheduler and its workers as processes of this computer, which can be killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path


class DaskHere:
    """Processes of Dask; ``close`` ends those that are left.

    Attributes:
        address: Address of the scheduler.
        processes: The processes by name.

    Args:
        folder: Folder of their logs and of the workers' files.
        paths: Where workers find modules.
    """

    def __init__(self, folder: Path, paths: Sequence[Path]) -> None:
        self.processes: dict[str, subprocess.Popen] = {}
        self._folder, self._paths = folder, os.pathsep.join(map(str, paths))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"

    def scheduler(self) -> None:
        """Start the scheduler, and wait until it answers."""
        self._start("scheduler", "distributed.cli.dask_scheduler", "--port", str(self.port), "--no-dashboard")
        end = time.monotonic() + 300
        while not self._answers():
            if time.monotonic() > end:
                raise TimeoutError(f"No scheduler answers at {self.address}; see {self._folder / 'scheduler.log'}.")
            time.sleep(0.1)

    def worker(self, name: str, *more: str) -> None:
        """Start a worker with one thread."""
        words = [self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--death-timeout", "60", *more]
        self._start(name, "distributed.cli.dask_worker", *words)

    def kill(self, *names: str) -> None:
        """Kill processes at once (SIGKILL)."""
        for name in names:
            process = self.processes.pop(name)
            process.send_signal(signal.SIGKILL)
            process.wait()

    def close(self) -> None:
        """Kill what is left."""
        self.kill(*list(self.processes))

    def _start(self, name: str, *words: str) -> None:
        environment = {**os.environ, "PYTHONPATH": self._paths, "OMP_NUM_THREADS": "1"}
        with open(self._folder / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", *words], env=environment, stdout=log, stderr=log, cwd=self._folder
            )

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
