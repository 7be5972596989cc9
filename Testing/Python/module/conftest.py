"""The module in the test host."""

from __future__ import annotations

import pytest
from host.conftest import host, pytest_pycollect_makemodule  # noqa: F401 - fixtures and hook of this folder too

# What is imported within a fixture needs Slicer's classes, which the hook above provides.


@pytest.fixture
def module(host, monkeypatch):  # noqa: F811
    """The module, open in the host; its views are offscreen, its strokes go through Slicer's own editor logic."""
    from .module_helpers import OpenModule

    return OpenModule(host, monkeypatch)


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory):
    """Folders of two small cohorts; tests must not change them."""
    from .flow import writeCohorts

    return writeCohorts(tmp_path_factory.mktemp("cohorts"))


@pytest.fixture
def views(host, monkeypatch):  # noqa: F811
    """One slice view for all modules of a test."""
    from . import module_helpers

    shared = module_helpers.HostViews()
    monkeypatch.setattr(module_helpers, "HostViews", lambda: shared)
    yield shared
    shared.view.close()


@pytest.fixture
def flow(host, views, monkeypatch, cohorts, tmp_path):  # noqa: F811
    """The module and a way to drive it."""
    from .flow import Flow

    return Flow(host, monkeypatch, cohorts, tmp_path)


@pytest.fixture
def drawing(flow):
    """A slice is open, with strokes."""
    from .flow_steps import suggested

    suggested(flow)
    flow.session.openRequest(1)
    flow.module.draw(1, flow.mask())
    return flow
