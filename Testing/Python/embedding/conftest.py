"""Tiny networks are faster on one thread, and equal weights need equal threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from threads import one_thread


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield
