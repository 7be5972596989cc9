"""What the soak tests take for growth."""

from __future__ import annotations

import pytest

pytest.importorskip("psutil", reason="the soak tests measure with it")

import growth


def rows(values):
    return [{"memory (MB)": value, "study (MB)": number} for number, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "grows"),
    [
        ([400.0 + number for number in range(12)], True),
        ([200.0, 300.0, 400.0] + [401.0] * 9, False),  # libraries fill their caches at the start
        ([400.0, 400.0, 400.0] + [400.0, 500.0] * 5, False),  # up and down again
    ],
)
def test_growth_differs_from_a_warm_up_and_from_noise(values, grows):
    text, found = growth.table(rows(values), {"memory (MB)": 0.5})
    assert bool(found) == grows
    assert text.count("\n") == 3
    assert "study (MB)" in text


def test_the_process_is_measured():
    before = growth.of_process()
    with open(__file__, "rb"):
        held = bytearray(b"x" * (64 << 20))
        during = growth.of_process()
    assert during["memory (MB)"] - before["memory (MB)"] > 50
    assert during["open files"] - before["open files"] >= 1
    del held
