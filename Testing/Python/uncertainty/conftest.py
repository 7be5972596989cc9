"""One thread: the networks here are too small to share."""

from __future__ import annotations

import pytest
from threads import one_thread


@pytest.fixture(autouse=True)
def _one_thread():
    with one_thread():
        yield
