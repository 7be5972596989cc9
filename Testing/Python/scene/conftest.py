"""The MRML application of these tests; all of them are skipped where slicer-core is missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, NoReturn

import pytest

MISSING = importlib.util.find_spec("slicer") is None
REASON = "slicer-core is not installed (pip install '.[test]')"


class _SkippedModule(pytest.Module):
    def collect(self) -> NoReturn:
        pytest.skip(REASON, allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Where Slicer's classes are missing, skip the files before they are imported."""
    return _SkippedModule.from_parent(parent, path=module_path) if MISSING else None


@pytest.fixture(scope="session")
def _session() -> Any:
    from scene_helpers import Application

    return Application()


@pytest.fixture
def application(_session: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The application with an empty scene, even if other tests of the process have their own."""
    import slicer

    monkeypatch.setattr(slicer, "mrmlScene", _session.scene, raising=False)
    monkeypatch.setattr(slicer, "modules", _session.modules, raising=False)
    _session.clear()
    return _session
