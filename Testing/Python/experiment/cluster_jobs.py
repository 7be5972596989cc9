"""Jobs for tests of clusters, which workers import too."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.progress import Progress


class Slow:
    """A job of five steps that take a while; a file for each time that a step was done."""

    rounds = 5

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def finished_rounds(self) -> int:
        return len({path.name.split("-")[1] for path in self.folder.glob("step-*")})

    def execute(self, progress: Progress, finished=None) -> None:
        while (step := self.finished_rounds()) < self.rounds:
            time.sleep(0.5)
            progress.update("Steps", step, self.rounds)
            (self.folder / f"step-{step}-{os.getpid()}").touch()


class Refusing(Slow):
    """A job that fails as soon as another one has done a step."""

    def __init__(self, folder: Path, other: Slow) -> None:
        super().__init__(folder)
        self._other = other

    def execute(self, progress: Progress, finished=None) -> None:
        while not self._other.finished_rounds():
            time.sleep(0.1)
        raise BadInput("It does not fit.", where="rounds")


class Never:
    """A job that says it is done, and whose results do not appear."""

    rounds = 1

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def finished_rounds(self) -> int:
        return 0

    def execute(self, progress: Progress | None = None, finished=None) -> None:
        pass
