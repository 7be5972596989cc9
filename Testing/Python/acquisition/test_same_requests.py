"""Every strategy asks for what it asked for at commit fcdf45f, in the same order and with the same scores."""

from __future__ import annotations

import json

import pytest
import record_requests
from computer import computer
from threads import one_thread

RECORDED = json.loads(record_requests.RECORDED.read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def _one_thread():
    with one_thread():
        yield


def test_every_strategy_of_the_recording_is_compared():
    assert set(RECORDED["requests"]) == set(record_requests.NAMES)
    asked = {name: set(found) - {"declared"} for name, found in RECORDED["requests"].items()}
    assert sum(map(len, asked.values())) == len(list(record_requests.cases()))
    first_of_all = {name: found["warm"][0] for name, found in RECORDED["requests"].items() if "warm" in found}
    assert len({str(slices) for slices in first_of_all.values()}) > len(first_of_all) / 2  # they do choose differently


@pytest.mark.parametrize("name", record_requests.NAMES)
def test_what_a_strategy_declares(name):
    assert record_requests.declared(name) == RECORDED["requests"][name]["declared"]


@pytest.mark.parametrize(("name", "situation"), list(record_requests.cases()))
def test_the_same_requests(name, situation):
    slices, scores = RECORDED["requests"][name][situation]
    if name.startswith(record_requests.CPU_DEPENDENT) and situation != "cold":
        here = computer()
        if here != RECORDED["computer"]:
            pytest.skip(f"recorded on {RECORDED['computer']}, and trains a network here on {here}")
    found = record_requests.requests(name, situation)
    assert found["slices"] == slices
    assert found["scores"] == [None if score is None else pytest.approx(score, rel=1e-3, abs=1e-7) for score in scores]
