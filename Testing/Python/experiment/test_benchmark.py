from __future__ import annotations

import csv

import pytest

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.experiment import run_benchmark


def rows_of(path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_test_volumes_without_masks_are_left_out_and_named(make_options, listener):
    options = make_options((0,), rounds="2")
    run_benchmark(options, listener)
    without, with_mask = (v.id for v in options.cohort.volumes if v.role == "test")
    assert {row["volume"] for row in rows_of(options.out / "results.csv")} == {with_mask}
    assert len([message for message in listener.messages if without in message]) == 1


def test_without_a_test_volume_to_score_nothing_is_begun(make_options):
    options = make_options((0, 1))
    with pytest.raises(BadInput, match="No test volume"):
        run_benchmark(options)
    assert not (options.out / "runs").exists()
