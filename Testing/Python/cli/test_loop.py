"""The whole loop as a person types it, on masks and scribbles; equal seeds, equal results."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from cli_helpers import TINY, environment, files_of, run_cli

from ActiveSegmentationLib.acquisition import Random, registry
from ActiveSegmentationLib.cohort import slices_first
from ActiveSegmentationLib.experiment import Outcome
from ActiveSegmentationLib.segmentation import CleanUp, cleaned
from ActiveSegmentationLib.study import Study

LEARNED = ["--strategy", "group-contrastive-coreset"]


def done(*words, **options):
    result = run_cli(*words, **options)
    assert result.code == 0, result
    return result


def new_study(folder, cohort, kind="mask", *more):
    done("new", folder, "--cohort", cohort, "--annotation", kind, *TINY, *more)
    return folder


@pytest.mark.parametrize("kind", ["mask", "scribble"])
def test_two_rounds_of_a_study(tmp_path, phantom_cohort, kind):
    study = new_study(tmp_path / "study", phantom_cohort, kind)
    asked = []
    for number, strategy in ((1, "group-contrastive-coreset"), (2, "coreset")):
        answer = json.loads(done("suggest", study, "--count", "4", "--strategy", strategy, "--json").out)
        assert set(answer) == {"round", "strategy", "requests"}
        assert answer["round"] == number
        assert all(set(r) == {"patient", "volume", "axis", "slice", "score", "reason"} for r in answer["requests"])
        asked += [(r["volume"], r["slice"]) for r in answer["requests"]]
        assert json.loads(done("annotate", study, "--oracle", "--json").out)["annotated"] == 4 * number
        assert json.loads(done("train", study, "--json").out)["round"] == number
    assert len(set(asked)) == 8
    status = json.loads(done("status", study, "--json").out)
    assert status["annotated"] == 8
    assert json.loads(done("audit", study, "--json").out) == {"intact": True, "problems": []}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, phantom_cohort):
    study = new_study(tmp_path_factory.mktemp("trained") / "study", phantom_cohort)
    done("suggest", study, "--count", "6", "--strategy", "balanced-random")
    done("annotate", study, "--oracle")
    done("train", study, "--models", "2")
    return study


def test_strategies_are_listed_with_what_hinders_them(trained, tmp_path, phantom_cohort, monkeypatch):
    class NeedsMembers(Random):
        name, needs = "needs-members", frozenset({"members"})

    monkeypatch.setitem(registry.BUILT_IN, NeedsMembers.name, NeedsMembers)
    study = new_study(tmp_path / "study", phantom_cohort)
    listed = {info["name"]: info for info in json.loads(done("strategies", study, "--json").out)}
    assert set(listed["needs-members"]) == {"name", "summary", "options", "hindrance"}
    assert listed["needs-members"]["hindrance"]
    assert not listed["typiclust"]["hindrance"]
    assert "Not now: Needs two or more ensemble members" in done("strategies", study).out
    for words in ((trained,), ()):
        text = done("strategies", *words).out
        assert "Not now" not in text
        assert "/neighbours=20" in text
    assert run_cli("strategies", tmp_path / "nowhere").code == 2


def test_predictions_lie_in_the_volumes_geometry(trained, tmp_path):
    done("predict", trained, "--out", tmp_path, "--probabilities", "--uncertainty")
    for volume in Study.open(trained).cohort.volumes:
        labels = sitk.ReadImage(str(tmp_path / f"{volume.id}.nii.gz"))
        assert labels.GetSize() == volume.geometry.size
        assert np.allclose(labels.GetDirection(), volume.geometry.direction, atol=1e-5)
        assert np.allclose(labels.GetOrigin(), volume.geometry.origin, atol=1e-3)
        probabilities = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"{volume.id}_probabilities.nii.gz")))
        assert probabilities.shape == (*volume.geometry.array_shape, 4)
        assert np.allclose(probabilities.sum(axis=-1), 1, atol=1e-4)
        assert np.array_equal(probabilities.argmax(axis=-1), sitk.GetArrayFromImage(labels))
        entropy = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"{volume.id}_uncertainty.nii.gz")))
        assert -1e-6 <= entropy.min() < entropy.max() <= np.log(4) + 1e-5


def test_predictions_are_cleaned_up_if_asked(trained, tmp_path):
    done("predict", trained, "--out", tmp_path / "plain")
    done("predict", trained, "--out", tmp_path / "clean", "--largest-part", "--fill-holes", "2d")
    records = [json.loads((tmp_path / name / "predictions.json").read_text()) for name in ("plain", "clean")]
    assert [record["clean-up"] for record in records] == [
        {"largest": False, "holes": "no"},
        {"largest": True, "holes": "2d"},
    ]
    clean_up, study = CleanUp(largest=True, holes="2d"), Study.open(trained)
    for volume in study.cohort.volumes:
        files = [tmp_path / name / f"{volume.id}.nii.gz" for name in ("plain", "clean")]
        values = [sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in files]
        plain, clean = (slices_first(study.labels.to_classes(each), volume.axis) for each in values)
        np.testing.assert_array_equal(clean, cleaned(plain, clean_up))
    assert run_cli("predict", trained, "--out", tmp_path / "other", "--fill-holes", "4d").code == 2
    done("evaluate", trained, "--metrics", "dice", "--largest-part")
    assert json.loads((trained / "rounds" / "1" / "metrics.json").read_text())["clean-up"]["largest"]


def test_the_model_is_exported(trained, tmp_path):
    out = tmp_path / "bundle"
    said = done("export-model", trained, "--format", "monai-bundle", "--out", out)
    assert (out / "configs" / "inference.json").is_file()
    assert str(out / "docs" / "README.md") in said.err
    answer = json.loads(done("export-model", trained, "--format", "torchscript", "--out", out, "--json").out)
    assert {Path(path).name for path in answer["files"]} == {"model.ts", "model.json"}
    assert not (out / "configs" / "inference.json").exists()
    refused = run_cli("export-model", trained, "--format", "nnunet", "--out", tmp_path / "nnunet")
    assert (refused.code, "Choose one of: monai-bundle, torchscript, safetensors." in refused.err) == (2, True)
    assert not (tmp_path / "nnunet").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    refused = run_cli("export-model", trained, "--format", "safetensors", "--out", tmp_path / "mine")
    assert (refused.code, [path.name for path in tmp_path.iterdir() if "mine" in path.name]) == (2, ["mine"])


def test_another_seed_trains_another_model_and_the_same_seed_the_same(tmp_path, phantom_cohort):
    study = new_study(tmp_path / "study", phantom_cohort)
    done("suggest", study, "--count", "2", "--strategy", "random")
    done("annotate", study, "--oracle")
    keys = [json.loads(done("train", study, *more, "--json").out)["key"] for more in ((), ("--seed", 4), ("--seed", 0))]
    assert keys[0] == keys[2] != keys[1]


def test_evaluation_is_written_with_the_round(trained):
    answer = json.loads(done("evaluate", trained, "--json").out)
    assert {row["metric"] for row in answer["scores"]} >= {"dice", "dice2d", "hd95", "msd"}
    assert (trained / "rounds" / "1" / "metrics.json").is_file()


def test_scores_say_on_what_and_how_much_they_vary(trained, tmp_path):
    table = tmp_path / "scores" / "table.csv"
    words = ("evaluate", trained, "--metrics", "dice,dice2d", "--absent", "one", "--out", table)
    answer = json.loads(done(*words, "--json").out)
    with open(table, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert answer["scored on"] == "pool"
    assert {row["role"] for row in rows} == {"pool"}
    assert {row["metric"] for row in rows} == {"dice", "dice2d"}
    for found in answer["scores"]:
        own = [r for r in rows if r["metric"] == found["metric"] and r["class"] == found["class"]]
        if found["class"] == "all classes":
            of_volumes: dict[str, list[float]] = {}
            for r in rows:
                if r["metric"] == found["metric"]:
                    of_volumes.setdefault(r["volume"], []).append(float(r["value"]))
            values = [np.mean(each) for each in of_volumes.values()]
        else:
            values = [float(r["value"]) for r in own]
        assert found["mean"] == pytest.approx(np.mean(values))
        assert found["sd"] == pytest.approx(np.std(values, ddof=1))
        assert (found["volumes"], found["undefined"]) == (len(values), 0)
    text = done("evaluate", trained, "--metrics", "dice").out
    assert "volumes of the pool, whose slices the model may have been trained on" in text
    assert "hd95" not in text
    done(*words, "--quiet")  # a table of an earlier evaluation is replaced
    mine = tmp_path / "mine.csv"
    mine.write_text("volume,comment\n", encoding="utf-8")
    assert run_cli("evaluate", trained, "--metrics", "dice", "--out", mine).code == 2
    assert mine.read_text(encoding="utf-8") == "volume,comment\n"
    refused = run_cli("evaluate", trained, "--role", "test")
    assert (refused.code, "no test volumes" in refused.err) == (2, True)
    assert run_cli("evaluate", trained, "--metrics", "nonsense").code == 2


def test_every_command_says_what_to_do_next_on_stderr_unless_quiet(tmp_path, phantom_cohort):
    study = tmp_path / "a study"
    words = ["new", study, "--cohort", phantom_cohort, "--annotation", "mask", *TINY]
    assert done(*words).err.splitlines()[-1] == f"Next: activesegmentation suggest '{study}' --count 10"
    steps = [
        (["suggest", study, "--count", "2"], "annotate"),
        (["status", study], "annotate"),
        (["annotate", study, "--oracle"], "train"),
        (["status", study], "train"),
        (["train", study], "suggest"),
        (["status", study], "predict"),
        (["predict", study, "--out", tmp_path / "labels"], "evaluate"),
        (["evaluate", study, "--metrics", "dice"], "suggest"),
        (["index", phantom_cohort], "new"),
        (["strategies", study], "suggest"),
        (["audit", study], "status"),
    ]
    for step, following in steps:
        last = done(*step).err.splitlines()[-1]
        assert last.startswith("Next: "), step
        assert f"activesegmentation {following} " in last, step
    for step in (["status", study], ["suggest", study, "--count", "2"], ["train", study, "--steps", "7"]):
        assert not [line for line in done(*step, "--quiet").err.splitlines() if "Next:" in line or "%|" in line]
    assert "Next:" not in done("status", study, "--json").err


def test_exports(trained, tmp_path):
    for name in ("nifti", "nrrd", "nnunet", "csv"):
        done("export", trained, "--format", name, "--out", tmp_path / name)
    with open(tmp_path / "csv" / "annotations.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    annotated = {(s.volume, s.index + 1) for s in Study.open(trained).annotations()}
    assert {(row["volume"], int(row["slice"])) for row in rows} == annotated
    assert len(rows) == 6
    description = json.loads((tmp_path / "nnunet" / "dataset.json").read_text())
    assert description["labels"]["ignore"] == 4
    done("index", tmp_path / "nnunet", "--layout", "nnunet")


def test_nothing_is_written_over_the_cohort(tmp_path, phantom_cohort):
    flat = tmp_path / "flat" / "images"
    flat.mkdir(parents=True)
    for image in phantom_cohort.glob("*/*_frame*.nii.gz"):
        (flat / image.name).write_bytes(image.read_bytes())
    study = new_study(tmp_path / "study", flat.parent)
    done("suggest", study, "--count", "3")
    done("annotate", study, "--oracle")
    done("train", study)
    before = files_of(flat.parent)
    for out in (flat, flat.parent):
        for words in (["predict", study], *(["export", study, "--format", f] for f in ("nifti", "csv", "nnunet"))):
            result = run_cli(*words, "--out", out)
            assert result.code == 2, result
            assert files_of(flat.parent) == before


def test_exported_annotations_come_back_the_same(trained, tmp_path, phantom_cohort):
    done("export", trained, "--format", "nrrd", "--out", tmp_path / "maps")
    other = new_study(tmp_path / "other", phantom_cohort)
    done("annotate", other, "--from", tmp_path / "maps", "--ignore-value", "255")
    ours, theirs = Study.open(trained).annotations(), Study.open(other).annotations()
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[s].labels, theirs[s].labels) for s in ours)


def test_an_import_says_what_is_new_and_what_was_there(trained, tmp_path, phantom_cohort):
    done("export", trained, "--format", "nifti", "--out", tmp_path / "maps")
    study = new_study(tmp_path / "study", phantom_cohort)
    asked = json.loads(done("suggest", study, "--count", "6", "--strategy", "balanced-random", "--json").out)[
        "requests"
    ]
    words = ["annotate", study, "--from", tmp_path / "maps"]
    first = done(*words)
    assert "Committed 6 new slices of 6 volumes; annotated slices: 6" in first.out
    assert "Importing annotations" in first.err
    again = json.loads(done(*words, "--json").out)
    assert again == {"committed": 0, "unchanged": 6, "volumes": 0, "annotated": 6}
    assert "Committed 0 new slices of 0 volumes, 6 unchanged" in done(*words).out
    assert {(r["volume"], r["slice"]) for r in asked} == {(s.volume, s.index) for s in Study.open(study).annotations()}
    assert {annotation.round for annotation in Study.open(study).annotations().values()} == {1}


def test_status_shows_the_newest_model_and_the_cache_in_words(tmp_path, phantom_cohort):
    study = new_study(tmp_path / "study", phantom_cohort)
    before = done("status", study)
    assert "Model: none is trained yet." in before.out
    assert "Cache: 0 bytes" in before.out
    done("suggest", study, "--count", "3")
    done("annotate", study, "--oracle")
    done("train", study)
    done("suggest", study, "--count", "2")
    volume = Study.open(study).requests.read(2).requests[0].slice.volume
    done("exclude", study, volume, "--reason", "broken")
    text = done("status", study).out
    assert "Model: the newest is of round 1, trained on 3 slices." in text
    assert "Round 1, recommended: 3 requested" in text
    assert f"Excluded: {volume} (broken)." in text
    assert not set("{}[]") & set(text)
    status = json.loads(done("status", study, "--json").out)
    assert (status["model"]["round"], status["model"]["slices"]) == (1, 3)
    assert status["cache bytes"] > 1000


def test_a_cleared_cache_is_built_again(tmp_path, phantom_cohort):
    study = new_study(tmp_path / "study", phantom_cohort)
    first = json.loads(done("suggest", study, "--count", "2", *LEARNED, "--json").out)["requests"]
    before = files_of(study)
    size = json.loads(done("status", study, "--json").out)["cache bytes"]
    assert json.loads(done("clear-cache", study, "--json").out) == {"freed bytes": size}
    assert not (study / "cache").exists()
    assert files_of(study) == before
    (study / ".tmp-removed-cache-1").mkdir()
    (study / ".tmp-removed-cache-1" / "slices").write_bytes(b"12345")
    assert "Freed 5 bytes" in done("clear-cache", study).out
    assert not (study / ".tmp-removed-cache-1").exists()
    done("annotate", study, "--oracle")
    done("train", study)
    assert len(Study.open(study).annotations()) == len(first)
    assert "Training the learned metric" in done("suggest", study, "--count", "3", *LEARNED).err
    done("audit", study)
    with Study.open(study).lock():
        result = run_cli("clear-cache", study, process=True)
    assert result.code == 2
    assert "in use" in result.err


def test_a_cache_on_another_disk_is_used_and_never_deleted(tmp_path, phantom_cohort):
    study, disk = new_study(tmp_path / "study", phantom_cohort), tmp_path / "disk"
    disk.mkdir()
    (study / "cache").symlink_to(disk, target_is_directory=True)
    done("suggest", study, "--count", "2")
    before = files_of(disk)
    assert before
    refused = run_cli("clear-cache", study)
    assert refused.code == 2
    assert "is a link" in refused.err
    assert str(disk) in refused.err
    assert files_of(disk) == before


def test_the_metric_is_learned_once_and_serves_a_changed_cohort(tmp_path, phantom_cohort):
    study = new_study(tmp_path / "study", phantom_cohort)
    assert "Training the learned metric" in done("suggest", study, "--count", "2", *LEARNED).err
    volume = Study.open(study).cohort.volumes[0].id
    done("exclude", study, volume)
    again = done("suggest", study, "--count", "3", *LEARNED)
    assert "Training the learned metric" not in again.err
    assert "is used for the present" in again.err
    assert volume not in again.out


def test_skipped_slices_are_not_asked_for_again(tmp_path, phantom_cohort):
    study = new_study(tmp_path / "study", phantom_cohort)
    first = json.loads(done("suggest", study, "--count", "3", "--json").out)["requests"]
    for request in first:
        done("skip", study, request["volume"], request["slice"] + 1, "--reason", "cannot be judged")
    second = json.loads(done("suggest", study, "--count", "3", "--json").out)["requests"]
    assert not {(r["volume"], r["slice"]) for r in first} & {(r["volume"], r["slice"]) for r in second}


def test_asking_again_gives_the_open_requests_and_other_words_a_new_round(tmp_path, phantom_cohort):
    study = new_study(tmp_path / "study", phantom_cohort)
    first = done("suggest", study, "--count", "3", "--strategy", "random", "--json").out
    assert done("suggest", study, "--count", "3", "--strategy", "random", "--json").out == first
    other = json.loads(done("suggest", study, "--count", "2", "--strategy", "random", "--json").out)
    assert other["round"] == 2


@pytest.mark.slow
def test_same_seed_same_requests_and_weights_in_fresh_processes(tmp_path, phantom_cohort):
    outcomes = []
    for name in ("first", "second"):
        study = new_study(tmp_path / name, phantom_cohort)
        requests = [done("suggest", study, "--count", "4", *LEARNED, "--json", process=True).out]
        done("annotate", study, "--oracle")
        done("train", study, process=True)
        requests.append(done("suggest", study, "--count", "4", *LEARNED, "--json", process=True).out)
        weights = {k: v for k, v in files_of(study).items() if k.endswith(".safetensors")}
        encoders = {p.name: p.read_bytes() for p in study.rglob("encoders/**/*.safetensors")}
        outcomes.append((requests, weights, encoders))
    assert outcomes[0] == outcomes[1]
    assert len(outcomes[0][1]) == 1
    assert len(outcomes[0][2]) == 1


def test_benchmark_writes_its_tables_curve_and_report(tmp_path, phantom_cohort):
    out = tmp_path / "out"
    words = ["benchmark", "--cohort", phantom_cohort, "--strategies", "random,coreset:pixels", "--seeds", "0,1"]
    words += ["--rounds", "2,10%", "--metrics", "dice,hd95", "--out", out, *TINY]
    done(*words)
    with open(out / "results.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert ",".join(rows[0]) == "cohort,strategy,seed,round,annotated slices,percent,patient,volume,class,metric,value"
    with open(out / "requests.csv", newline="", encoding="utf-8") as file:
        requests = list(csv.DictReader(file))
    first = {(r["strategy"], r["seed"]): set() for r in requests}
    for r in requests:
        if r["round"] == "1":
            first[r["strategy"], r["seed"]].add((r["volume"], r["slice"]))
    assert first["random", "0"] == first["coreset:pixels", "0"] != first["random", "1"]
    assert (out / "learning_curve.png").stat().st_size > 10_000
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "http://" not in report.replace("http://www.w3.org", "")
    more = ["strided" if word == "random,coreset:pixels" else word for word in words]
    done(*more)  # another strategy joins; what is finished stays in the tables
    with open(out / "results.csv", newline="", encoding="utf-8") as file:
        assert {row["strategy"] for row in csv.DictReader(file)} == {"random", "coreset:pixels", "strided"}
    before = files_of(out)
    done(*words)
    assert files_of(out / "runs") == {k.removeprefix("runs/"): v for k, v in before.items() if k.startswith("runs/")}


def test_benchmark_answers_in_json(tmp_path, phantom_cohort):
    words = ["benchmark", "--cohort", phantom_cohort, "--strategies", "random,strided", "--rounds", "2,4", *TINY]
    answer = json.loads(done(*words, "--out", tmp_path / "out", "--json").out)
    assert set(answer) == {"report", "files", "headline", "rows"}
    assert all((tmp_path / "out" / name).is_file() for name in [answer["report"], *answer["files"]])
    assert {(row["strategy"], row["annotated_slices"]) for row in answer["rows"]} == {
        (strategy, slices) for strategy in ("random", "strided") for slices in (2, 4)
    }
    assert all(row["sd"] is None and 0 <= row["dice"] <= 1 for row in answer["rows"])
    assert "highest score" in answer["headline"][0]


def test_demo_answers_in_json(tmp_path, monkeypatch):
    report = tmp_path / "report.html"
    asked: list[dict] = []
    monkeypatch.setattr(
        "ActiveSegmentationLib.experiment.run_demo", lambda *_, **given: asked.append(given) or Outcome("table", report)
    )
    assert json.loads(done("demo", "--out", tmp_path, "--seed", 3, "--json").out)["report"] == str(report)
    assert asked[-1]["seed"] == 3


def test_commands_on_a_study_answer_in_json(tmp_path, phantom_cohort):
    def answer(*words):
        return json.loads(done(*words, "--json").out)

    study = tmp_path / "study"
    new = answer("new", study, "--cohort", phantom_cohort, "--annotation", "mask", "--seed", 5, *TINY)
    assert Study.open(study).settings["seed"] == 5
    assert (new["study"], new["volumes"], new["slices"]) == (str(study), 8, 40)
    assert set(new["labels"]) == {"1", "2", "3"}
    first, second = (volume.id for volume in Study.open(study).cohort.volumes[:2])
    assert answer("exclude", study, first, "--reason", "broken") == {"excluded": {first: "broken"}}
    assert answer("exclude", study, first, "--undo") == {"excluded": {}}
    skipped = {"volume": second, "slice": 1, "annotator": "annotator", "reason": "dark"}
    assert answer("skip", study, second, 2, "--reason", "dark") == {"skipped": skipped}
    assert run_cli("skip", study, second, 0, "--reason", "dark").code == 2
    outside = run_cli("skip", study, second, 6, "--reason", "dark")
    assert (outside.code, "There is no slice 6. Its slices are 1 to 5." in outside.err) == (2, True)
    assert answer("mark", study, "--volume", second, "--from", 2, "--to", 4) == {"extents": {second: [1, 3]}}
    assert f"Marked: structures in {second} from slice 2 to 4." in done("status", study).out
    assert run_cli("mark", study, "--volume", second, "--from", 2).code == 2
    assert run_cli("mark", study, "--volume", second, "--from", 2, "--to", 3, "--clear").code == 2
    assert run_cli("mark", study, "--volume", second, "--from", 2, "--to", 99).code == 2
    assert answer("mark", study, "--volume", second, "--clear") == {"extents": {}}
    place = {"study": str(study), "cohort": str(phantom_cohort)}
    assert answer("relocate", study, phantom_cohort) == place
    done("suggest", study, "--count", "2")
    done("annotate", study, "--oracle")
    out = tmp_path / "out"
    assert answer("export", study, "--format", "csv", "--out", out) == {"files": [str(out / "annotations.csv")]}


def test_runs_in_processes_of_their_own_give_the_same_rows(tmp_path, phantom_cohort):
    words = ["benchmark", "--cohort", phantom_cohort, "--strategies", "random,strided", "--rounds", "2,4", *TINY]
    done(*words, "--out", tmp_path / "one", process=True)
    done(*words, "--out", tmp_path / "two", "--workers", "2", process=True)
    assert (tmp_path / "one" / "results.csv").read_text() == (tmp_path / "two" / "results.csv").read_text()


def test_doctor_strategies_and_index_answer():
    assert json.loads(done("doctor", "--json").out)["missing"] == []
    names = {row["name"] for row in json.loads(done("strategies", "--json").out)}
    assert names >= {"random", "balanced-random", "strided", "coreset", "group-contrastive-coreset"}
    assert "Usage: activesegmentation" in done("--help").out


@pytest.mark.parametrize(
    "words",
    [
        ["status", "STUDY"],
        ["suggest", "--help"],
        ["suggest", "STUDY", "--count", "2"],
        ["annotate", "STUDY", "--oracle"],
        ["annotate", "STUDY", "--from", "MAPS"],
        ["export", "STUDY", "--format", "csv", "--out", "OUT"],
        ["strategies"],
    ],
)
def test_commands_that_draw_nothing_import_no_matplotlib(tmp_path, phantom_cohort, words):
    study = new_study(tmp_path / "study", phantom_cohort)
    done("suggest", study, "--count", "3")
    if words[0] == "export":
        done("annotate", study, "--oracle")
    maps = tmp_path / "maps"
    maps.mkdir()
    label = sorted(phantom_cohort.glob("*/*_gt.nii.gz"))[0]
    (maps / label.name.replace("_gt", "")).write_bytes(label.read_bytes())
    places = {"STUDY": study, "MAPS": maps, "OUT": tmp_path / "out"}
    code = f"""
import sys
from ActiveSegmentationLib.cli.main import main
try:
    code = main({[str(places.get(word, word)) for word in words]!r})
except SystemExit as stop:
    code = stop.code
assert not code, code
assert not {{"matplotlib", "monai"}} & set(sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_ctrl_c_is_exit_code_130_and_help_says_so(tmp_path, phantom_cohort, monkeypatch):
    assert "130: interrupted" in " ".join(done("--help").out.split())
    study = new_study(tmp_path / "study", phantom_cohort)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Study, "status", interrupt)
    result = run_cli("status", study)
    assert result.code == 130
    assert "cancelled" in result.err


@pytest.mark.parametrize(
    "command",
    [
        "new",
        "skip",
        "suggest",
        "annotate",
        "train",
        "predict",
        "evaluate",
        "status",
        "export",
        "audit",
        "clear-cache",
        "relocate",
        "benchmark",
        "strategies",
        "demo",
        "doctor",
        "index",
        "exclude",
        "mark",
    ],
)
def test_every_command_has_help(command):
    assert len(done(command, "--help").out) > 100


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "kind"), [("hippocampus", "mask"), ("acdc", "mask"), ("acdc", "scribble")])
def test_a_round_on_real_cohorts(tmp_path, real_data, name, kind):
    split = json.loads((real_data / name / "split.json").read_text())
    few = {"train": split["train"][:4], "test": split["test"][:2]}
    (tmp_path / "split.json").write_text(json.dumps(few))
    words = ["benchmark", "--cohort", real_data / name, "--split", tmp_path / "split.json", "--annotation", kind]
    words += ["--strategies", "group-contrastive-coreset", "--rounds", "3,6", "--out", tmp_path / "out"]
    done(*words, "--size", "48x48", "--metric-steps", "5", "--steps", "20", "--metrics", "dice")
    with open(tmp_path / "out" / "results.csv", newline="", encoding="utf-8") as file:
        values = [float(row["value"]) for row in csv.DictReader(file) if row["value"]]
    assert values
    assert all(0 <= value <= 1 for value in values)
