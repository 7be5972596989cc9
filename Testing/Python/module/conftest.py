"""The module in the test host."""

from __future__ import annotations

import pytest
from host.conftest import host, pytest_pycollect_makemodule  # noqa: F401 - fixtures and hook of this folder too


@pytest.fixture
def module(host, monkeypatch):  # noqa: F811
    """The module, open in the host; its views are offscreen, its strokes go through Slicer's own editor logic."""
    from .module_helpers import OpenModule

    return OpenModule(host, monkeypatch)
