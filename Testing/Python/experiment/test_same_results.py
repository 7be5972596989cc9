"""Results, weights and files are what they were at commit fcdf45f, and what was written then opens unchanged."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import record_results
from computer import computer
from threads import one_thread

from ActiveSegmentationLib.cohort import Role
from ActiveSegmentationLib.experiment import run_benchmark
from ActiveSegmentationLib.loop import StudyLoop
from ActiveSegmentationLib.study import Study

FACTS = json.loads((record_results.RECORDED / "facts.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module", autouse=True)
def _one_thread_and_a_quick_disk():
    with one_thread(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="module")
def before(tmp_path_factory) -> Path:
    """Folder with the cohort, the study and the comparison as they were written then; read it only."""
    folder = tmp_path_factory.mktemp("before")
    with zipfile.ZipFile(record_results.RECORDED / "folders.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def after(before, tmp_path_factory) -> Path:
    """Folder with a study and a comparison made by the present code."""
    folder = tmp_path_factory.mktemp("after")
    shutil.copytree(before / "cohort", folder / "cohort")
    run_benchmark(record_results.benchmark_options(folder / "cohort", folder / "benchmark"))
    record_results.make_study(folder / "cohort", folder / "study")
    return folder


@pytest.fixture
def study(before, tmp_path) -> Study:
    """A copy of the study as it was written then."""
    for name in ("cohort", "study"):
        shutil.copytree(before / name, tmp_path / name)
    return Study.open(tmp_path / "study")


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def close(value):
    """A value of JSON whose numbers with a fraction may differ in later digits."""
    if isinstance(value, dict):
        return {name: close(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [close(inner) for inner in value]
    return pytest.approx(value, rel=1e-3, abs=1e-4) if isinstance(value, float) else value


def skip_elsewhere() -> None:
    """Skip the rest of a test on a computer where trainings take another course."""
    if computer() != FACTS["computer"]:
        pytest.skip(f"what depends on a training is compared only on {FACTS['computer']}, and this is {computer()}")


def test_the_same_requests(after):
    found, recorded = table(after / "benchmark" / "requests.csv"), table(record_results.RECORDED / "requests.csv")
    assert list(found[0]) == list(recorded[0])
    assert all(row.pop("reason").endswith(".") for row in found)
    for row in recorded:
        del row["reason"]  # the words may get plainer
    untrained = ("random", "foreground-random:marked")

    def wanted(rows, *, trained):
        return [row for row in rows if trained or row["round"] == "1" or row["strategy"] in untrained]

    assert wanted(found, trained=False) == wanted(recorded, trained=False)
    skip_elsewhere()
    for row, old in zip(found, recorded, strict=True):
        score, expected = (float(each.pop("score") or "nan") for each in (row, old))
        assert row == old
        assert score == pytest.approx(expected, rel=1e-3, abs=1e-6, nan_ok=True), row


def test_the_same_results(after):
    found, recorded = table(after / "benchmark" / "results.csv"), table(record_results.RECORDED / "results.csv")
    assert all(row["volume"].startswith(row.pop("patient")) for row in found)  # earlier versions had no patients
    assert list(found[0]) == list(recorded[0])
    values, expected = ([float(row.pop("value") or "nan") for row in rows] for rows in (found, recorded))
    assert found == recorded
    assert max(values) > 0.3  # the networks learned something, so that a wrong one would show
    assert np.nanmean(values) == pytest.approx(np.nanmean(expected), abs=0.1)
    skip_elsewhere()
    assert values == pytest.approx(expected, abs=0.01, nan_ok=True)


def test_a_comparison_of_then_is_taken_as_finished(before, tmp_path, monkeypatch):
    for name in ("cohort", "benchmark"):
        shutil.copytree(before / name, tmp_path / name)
    requests, results = (tmp_path / "benchmark" / name for name in ("requests.csv", "results.csv"))
    bytes_then, rows_then = requests.read_bytes(), table(results)
    monkeypatch.setattr("ActiveSegmentationLib.experiment.run.train", None)
    run_benchmark(record_results.benchmark_options(tmp_path / "cohort", tmp_path / "benchmark"))
    assert requests.read_bytes() == bytes_then
    rows = table(results)
    assert {row.pop("patient") for row in rows} == {"patient003"}  # earlier versions had no patients
    assert rows == rows_then
    assert (tmp_path / "benchmark" / "report.html").is_file()


def test_a_study_of_then_says_the_same(study):
    assert study.audit.verify() == []
    assert json.loads(json.dumps(record_results.study_facts(study))) == FACTS["study"]
    assert study.damaged() == []


def test_a_study_of_then_goes_on(study):
    loop = StudyLoop(study, device="cpu")
    number, model = loop.require_model()
    assert number == 2
    assert np.isfinite(model.features(loop.stack, loop.rows(Role.POOL))).all()
    assert loop.suggest(2, "coreset:pixels").round == 3  # still open, so the same requests again
    again = loop.suggest(3, "bald/passes=3", seed=5)
    assert again.round == 4
    assert all(not math.isnan(request.score) for request in again.requests)
    loop.train(steps=2)
    assert loop.require_model()[0] == 4


def test_a_new_study_says_the_same_and_has_the_same_files(after):
    study = Study.open(after / "study")
    found = json.loads(json.dumps(record_results.study_facts(study)))
    assert record_results.study_files(study.folder) == FACTS["files"]
    assert {name: sorted(value) for name, value in found.items() if isinstance(value, dict)} == {
        name: sorted(value) for name, value in FACTS["study"].items() if isinstance(value, dict)
    }
    assert found["audit"] == FACTS["study"]["audit"]
    skip_elsewhere()
    assert found == close(FACTS["study"])


def test_the_same_weights(before, tmp_path):
    recorded = FACTS["weights"]
    found = {name: record_results.fingerprint(w) for name, w in record_results.trainings(before / "cohort", tmp_path)}
    assert list(found) == list(recorded)
    for name, print_ in found.items():
        assert print_["names"] == recorded[name]["names"]
        assert print_["norms"] == pytest.approx(recorded[name]["norms"], rel=1e-2, abs=1e-3), name
    skip_elsewhere()
    assert {name: print_["hash"] for name, print_ in found.items()} == {n: r["hash"] for n, r in recorded.items()}
