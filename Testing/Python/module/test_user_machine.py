"""Users who do things in any order lose nothing and leave nothing (longer: Testing/Reliability/soak_module.py)."""

from __future__ import annotations

from hypothesis.stateful import run_state_machine_as_test


def test_any_order(flow):
    from .user_machine import howMany, left, userOf

    ends = []
    machine = userOf(flow, lambda: ends.append(left()))
    run_state_machine_as_test(machine, settings=howMany(4, derandomize=True))
    assert len(ends) >= 4
    assert ends[-1] == ends[0]
    assert ends[0]["own nodes"] == 0
