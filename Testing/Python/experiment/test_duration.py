from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ActiveSegmentationLib.cohort import Role
from ActiveSegmentationLib.experiment import duration, run_benchmark
from ActiveSegmentationLib.experiment.duration import Remaining, Speed, duration_text


def test_the_expected_time_is_shown_before_the_first_round_and_what_is_left_after_each(make_options, listener):
    run_benchmark(make_options(strategies=("random", "strided"), seeds=(0, 1), rounds="2,4"), listener)
    expected = [n for n, message in enumerate(listener.messages) if "4 runs with 6 rounds to compute" in message]
    done = [n for n, message in enumerate(listener.messages) if "of 8 rounds are done" in message]
    assert len(expected) == 1
    assert expected[0] < done[0]
    assert len(done) == 8
    assert "left" in listener.messages[done[0]]
    assert "left" not in listener.messages[done[-1]]
    before = len(listener.messages)
    run_benchmark(make_options(strategies=("random", "strided"), seeds=(0, 1), rounds="2,4"), listener)
    assert not [message for message in listener.messages[before:] if "rounds" in message]


def test_a_round_costs_its_steps_and_one_look_at_every_slice_by_every_model():
    rows = {Role.POOL: np.arange(90), Role.TEST: np.arange(10)}
    settings = SimpleNamespace(ensemble_members=3, training=SimpleNamespace(steps=200))
    design = SimpleNamespace(rows=rows, settings=settings)
    assert Speed(step=0.5, slice=0.01, steps=design.settings.training.steps).round_seconds(design) == pytest.approx(
        3 * (100 + 1)
    )


def test_what_is_left_follows_the_time_of_the_finished_rounds(monkeypatch, listener):
    clock = iter((0.0, 60.0, 240.0))
    monkeypatch.setattr(duration.time, "monotonic", lambda: next(clock))
    remaining = Remaining(4, listener)
    remaining.finished()
    remaining.finished()
    assert listener.messages == [
        "1 of 4 rounds are done; about 3 minutes left.",
        "2 of 4 rounds are done; about 4 minutes left.",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 seconds"), (89, "89 seconds"), (120, "2 minutes"), (5399, "90 minutes"), (9000, "2.5 hours")],
)
def test_durations_in_words(seconds, text):
    assert duration_text(seconds) == text
