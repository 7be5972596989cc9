from __future__ import annotations

import csv

import numpy as np
import pytest

from ActiveSegmentationLib.acquisition import Constraints
from ActiveSegmentationLib.cohort import AnnotationKind
from ActiveSegmentationLib.cohort.io import read_labels
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import read_json, write_json
from ActiveSegmentationLib.experiment import Workers, benchmark, run, run_benchmark


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


def test_runs_in_processes_show_their_rounds_and_keep_their_messages(make_options, listener):
    labels = "1=RV,2=MYO,3=LV,9=nowhere"
    options = make_options(rounds="1,2,4", strategies=("random", "strided"), workers=Workers(2), labels=labels)
    run_benchmark(options, listener)
    rounds = [(done, total) for stage, done, total in listener.reports if stage == "Rounds of 2 runs"]
    assert rounds[0] == (0, 5)  # the first round that both share is done before
    assert rounds[-1] == (5, 5)
    assert rounds == sorted(rounds)
    for name in ("random", "strided"):
        log = (options.out / "runs" / f"{name}-seed0" / "log.txt").read_text(encoding="utf-8")
        assert f"{name}, seed 0, round 3 of 3: Training: 2 of 2, loss" in log
        assert "cannot learn that yet" in log  # a message of the training
        assert log.splitlines()[-1].endswith("Done.")


def test_rounds_done_before_do_not_count_as_fast(make_options, listener):
    options = make_options(strategies=("random", "strided"), workers=Workers(2))
    run_benchmark(options)
    for name in ("random", "strided"):
        (options.out / "runs" / f"{name}-seed0" / "round-2.json").unlink()
    with pytest.raises(BadInput):  # the second round needs the model of the first, which is gone
        run_benchmark(options, listener)
    rounds = [(done, total) for stage, done, total in listener.reports if stage == "Rounds of 2 runs"]
    assert rounds == [(0, 2)]
    logs = [path.read_text(encoding="utf-8") for path in (options.out / "runs").glob("*/log.txt")]
    assert any("Ended by BadInput" in log for log in logs)  # the first to fail ends the other


def test_all_strategies_of_a_seed_share_the_first_round(make_options):
    options = make_options(strategies=("random", "strided"), seeds=(0, 1), rounds="2,4")
    run_benchmark(options)
    results, requests = rows_of(options.out / "results.csv"), rows_of(options.out / "requests.csv")

    def first_of(strategy: str, seed: str, rows: list[dict[str, str]]) -> list[dict[str, str]]:
        mine = [row for row in rows if (row["strategy"], row["seed"], row["round"]) == (strategy, seed, "1")]
        return [{name: value for name, value in row.items() if name not in ("strategy", "seed")} for row in mine]

    for rows in (results, requests):
        assert first_of("random", "0", rows) == first_of("strided", "0", rows) != []
    assert first_of("random", "0", requests) != first_of("random", "1", requests)
    assert len(list((options.out / "cache" / "first-rounds").iterdir())) == 2


def test_a_shared_first_round_is_the_one_a_strategy_would_do_alone(make_options, tmp_path):
    run_benchmark(make_options(strategies=("random", "strided"), rounds="2,4"))
    run_benchmark(make_options(strategies=("strided",), rounds="2,4", out=tmp_path / "alone"))
    together = [row for row in rows_of(tmp_path / "out" / "results.csv") if row["strategy"] == "strided"]
    assert together == rows_of(tmp_path / "alone" / "results.csv")


def test_a_first_round_of_another_training_is_not_shared(make_options):
    options = make_options(strategies=("random", "learning-loss"), rounds="2,4")
    run_benchmark(options)
    assert len(list((options.out / "cache" / "first-rounds").iterdir())) == 2


def test_whole_volumes_are_asked_for_until_the_budget_is_used(make_options):
    options = make_options(strategies=("random", "entropy"), rounds="3,9,14", unit="volume", initial="")
    run_benchmark(options)
    requests = rows_of(options.out / "requests.csv")
    for strategy in ("random", "entropy"):
        for number, count in ((1, 3), (2, 6), (3, 5)):
            asked = [r for r in requests if r["strategy"] == strategy and r["round"] == str(number)]
            assert len(asked) == count
            assert all(r["reason"].startswith("Whole volume") for r in asked)
            volumes = list(dict.fromkeys(r["volume"] for r in asked))
            assert [r["volume"] for r in asked] == sorted((r["volume"] for r in asked), key=volumes.index)


@pytest.mark.parametrize("name", ["variance-ratio", "foreground-random:marked"])
def test_what_cannot_be_used_is_reported_before_any_work(make_options, name):
    options = make_options(strategies=("random", name))
    with pytest.raises(BadInput, match="cannot be used") as error:
        run_benchmark(options)
    assert name in error.value.where
    assert not options.out.exists()


def test_oracle_strategies_know_the_truth_in_experiments(make_options):
    options = make_options(strategies=("foreground-random:oracle/share=0.66",), rounds="2,4", initial="")
    run_benchmark(options)
    assert any("experiments only" in row["reason"] for row in rows_of(options.out / "requests.csv"))


def test_marked_ends_are_known_where_asked_for(make_options):
    options = make_options(strategies=("foreground-random:marked/share=1.0",), rounds="2,4", initial="", marks=True)
    run_benchmark(options)
    rows = rows_of(options.out / "requests.csv")
    assert {row["reason"] for row in rows} == {
        "Drawn at random from the slices inside the marked extent of the structures."
    }
    for row in rows:
        volume = options.cohort.volume(row["volume"])
        shown = np.flatnonzero(read_labels(options.cohort, volume, AnnotationKind.MASK).any(axis=(1, 2)))
        assert shown[0] <= int(row["slice"]) - 1 <= shown[-1]


@pytest.mark.parametrize("units", [("volume", "slice"), ("slice", "volume")])
def test_slices_and_volumes_are_not_mixed_in_one_folder(make_options, units):
    run_benchmark(make_options(rounds="2", unit=units[0]))
    with pytest.raises(BadInput, match=r"other settings \(unit\)"):
        run_benchmark(make_options(rounds="2", unit=units[1]))


def test_limits_within_volumes_are_refused_where_volumes_are_asked_for(make_options):
    with pytest.raises(BadInput, match="whole volumes"):
        run_benchmark(make_options(rounds="2", unit="volume", constraints=Constraints(min_gap=3)))


@pytest.mark.parametrize("name", ["results.csv", "report.html"])
def test_results_of_something_else_are_not_overwritten(make_options, name):
    options = make_options(rounds="2")
    options.out.mkdir(parents=True)
    (options.out / name).write_text("mine", encoding="utf-8")
    with pytest.raises(BadInput, match=f"holds {name} from another source"):
        run_benchmark(options)
    assert (options.out / name).read_text(encoding="utf-8") == "mine"
    assert not (options.out / "benchmark.json").exists()
