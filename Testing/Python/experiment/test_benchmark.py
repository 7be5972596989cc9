from __future__ import annotations

import csv

import pytest

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import read_json, write_json
from ActiveSegmentationLib.experiment import benchmark, run, run_benchmark


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


def test_every_session_and_round_keeps_its_own_versions_and_device(make_options, monkeypatch):
    for name, seeds in (("first", (0,)), ("second", (0, 1)), ("third", (0, 1))):
        monkeypatch.setattr(benchmark, "describe_device", lambda device, name=name: name)
        monkeypatch.setattr(run, "describe_device", lambda device, name=name: name)
        monkeypatch.setattr(run, "versions", lambda name=name: {"activesegmentation": name, "torch": "x"})
        options = make_options(rounds="2", seeds=seeds)
        run_benchmark(options)
    sessions = read_json(options.out / "benchmark.json")["sessions"]
    assert [session["device"] for session in sessions] == ["first", "second"]  # the third had nothing to do
    assert all(session["started"] and session["versions"] for session in sessions)
    timings = rows_of(options.out / "timings.csv")
    assert [(row["seed"], row["device"], row["activesegmentation"]) for row in timings] == [
        ("0", "first", "first"),
        ("1", "second", "second"),
    ]
    assert "2 sessions on different devices" in (options.out / "report.html").read_text(encoding="utf-8")


def test_a_folder_of_an_older_version_keeps_what_it_said(make_options):
    options = make_options(rounds="2")
    run_benchmark(options)
    path = options.out / "benchmark.json"
    record = read_json(path)
    old = {"versions": {"torch": "old"}, "device": "an old GPU"}
    write_json(path, {name: value for name, value in record.items() if name != "sessions"} | old)
    round_file = next(options.out.glob("runs/*/round-1.json"))
    kept = {name: value for name, value in read_json(round_file).items() if name not in ("versions", "device")}
    write_json(round_file, kept)
    run_benchmark(make_options(rounds="2", seeds=(0, 1)))
    sessions = read_json(path)["sessions"]
    assert sessions[0] == {"started": None, **old}
    assert len(sessions) == 2
    assert [row["device"] == "" for row in rows_of(options.out / "timings.csv")] == [True, False]
