"""The fixture ``host``, and why the tests of a folder are skipped where the test host cannot run.

Another folder uses both with ``from host.conftest import host, pytest_pycollect_makemodule`` in its own conftest.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from . import missingPackages

if TYPE_CHECKING:
    from .host import Host


class SkippedModule(pytest.Module):
    """A test file that is not imported, since what it imports is not installed."""

    def collect(self) -> list[pytest.Item]:
        pytest.skip(missingPackages(), allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Skip each test file of the folder, with the reason, where slicer-core or PySide6 is missing."""
    return SkippedModule.from_parent(parent, path=module_path) if missingPackages() else None


@pytest.fixture
def host() -> Iterator[Host]:
    """The test host, with an empty scene; an uncaught exception makes the test fail."""
    from .host import start

    running = start()
    running.reset()
    running.errors.clear()
    yield running
    running.reset()
    errors = list(running.errors)
    running.errors.clear()
    if errors:
        pytest.fail("uncaught exceptions:\n" + "\n".join(errors), pytrace=False)
