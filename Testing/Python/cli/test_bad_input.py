"""Bad input: each a message that names the file or field and what to do, exit code 2 (or 1), and nothing lost."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from cli_helpers import TINY, cohort_copy, files_of, run_cli

from ActiveSegmentationLib.study import Study


@pytest.fixture
def study(tmp_path, phantom_cohort):
    cohort = cohort_copy(phantom_cohort, tmp_path / "cohort")
    folder = tmp_path / "study"
    assert run_cli("new", folder, "--cohort", cohort, "--annotation", "mask", *TINY).code == 0
    return folder


def refused(result, *words, code=2):
    assert result.code == code, result
    assert "Traceback" not in result.err
    for word in words:
        assert str(word) in result.err, result.err


def first_image(study: Path) -> Path:
    return sorted((study.parent / "cohort").glob("*/*_frame01.nii.gz"))[0]


def test_missing_cohort(tmp_path):
    refused(run_cli("index", tmp_path / "nowhere"), tmp_path / "nowhere")
    refused(run_cli("new", tmp_path / "s", "--cohort", tmp_path / "nowhere", "--annotation", "mask"), "nowhere")
    assert not (tmp_path / "s").exists()


def test_empty_cohort(tmp_path):
    (tmp_path / "empty").mkdir()
    refused(run_cli("index", tmp_path / "empty"), "empty")


def test_missing_study(tmp_path):
    for command in (["suggest", "--count", "1"], ["train"], ["status"], ["audit"], ["evaluate"]):
        refused(run_cli(command[0], tmp_path / "nowhere", *command[1:]), "nowhere")


def test_unknown_command_and_option():
    assert run_cli("nonsense").code == 2
    assert run_cli("suggest", "x", "--count", "0").code == 2


def test_unknown_strategy(study):
    refused(run_cli("suggest", study, "--count", "2", "--strategy", "nonsense"), "nonsense", "coreset")


def test_truncated_image(study):
    image = first_image(study)
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    result = run_cli("suggest", study, "--count", "2", "--strategy", "random")
    refused(result, image.name.partition(".")[0], "exclude")
    volume = image.name.removesuffix(".nii.gz")
    assert run_cli("exclude", study, volume, "--reason", "truncated").code == 0
    assert run_cli("suggest", study, "--count", "2", "--strategy", "random").code == 0
    assert run_cli("index", study.parent / "cohort").code == 0


def test_nan_pixels(study):
    image = first_image(study)
    pixels = sitk.ReadImage(str(image), sitk.sitkFloat32)
    array = sitk.GetArrayFromImage(pixels)
    array[2, 5, 5] = np.nan
    broken = sitk.GetImageFromArray(array)
    broken.CopyInformation(pixels)
    sitk.WriteImage(broken, str(image))
    refused(run_cli("suggest", study, "--count", "2", "--strategy", "random"), image.name, "exclude")


def test_label_of_another_size_is_reported_and_refused_where_it_is_needed(tmp_path, phantom_cohort):
    cohort = cohort_copy(phantom_cohort, tmp_path / "cohort")
    label = sorted(cohort.glob("*/*_gt.nii.gz"))[0]
    image = sitk.ReadImage(str(label))
    sitk.WriteImage(image[:-4, :, :], str(label))
    result = run_cli("index", cohort)
    assert result.code == 0
    assert label.name in result.out
    assert "size" in result.out
    arguments = ["--strategies", "random", "--rounds", "2", "--out", tmp_path / "out", *TINY]
    refused(run_cli("benchmark", "--cohort", cohort, *arguments), label.name.removesuffix("_gt.nii.gz"))


def test_label_values_outside_the_set(study, tmp_path):
    volume = first_image(study).name.removesuffix(".nii.gz")
    maps = tmp_path / "maps"
    maps.mkdir()
    label = sitk.ReadImage(str(first_image(study).with_name(f"{volume}_gt.nii.gz")))
    array = sitk.GetArrayFromImage(label)
    array[3, 3, 3] = 77
    wrong = sitk.GetImageFromArray(array)
    wrong.CopyInformation(label)
    sitk.WriteImage(wrong, str(maps / f"{volume}.nii.gz"))
    before = files_of(study / "annotations")
    refused(run_cli("annotate", study, "--from", maps), "77", volume)
    assert files_of(study / "annotations") == before


def test_annotations_from_a_missing_or_empty_folder(study, tmp_path):
    refused(run_cli("annotate", study, "--from", tmp_path / "nowhere"), "nowhere")
    (tmp_path / "maps").mkdir()
    refused(run_cli("annotate", study, "--from", tmp_path / "maps"), "maps")


def test_annotations_that_decide_nothing(study, tmp_path):
    maps = tmp_path / "maps"
    maps.mkdir()
    image = first_image(study)
    label = sitk.ReadImage(str(image.with_name(image.name.replace(".nii.gz", "_gt.nii.gz"))))
    sitk.WriteImage(label * 0, str(maps / image.name))
    refused(run_cli("annotate", study, "--from", maps), "maps", "Nothing is labelled", "--all-slices")
    assert run_cli("annotate", study, "--from", maps, "--all-slices").code == 0


def test_training_and_oracle_without_anything_to_do(study):
    refused(run_cli("train", study), "Annotate at least one slice")
    refused(run_cli("annotate", study, "--oracle"), "suggest")
    refused(run_cli("predict", study, "--out", study / "p"), "train")
    refused(run_cli("export", study, "--format", "csv", "--out", study.parent / "e"), "annotated")


def test_study_exists_already(study):
    before = files_of(study)
    cohort = study.parent / "cohort"
    refused(run_cli("new", study, "--cohort", cohort, "--annotation", "mask"), study)
    assert files_of(study) == before


def test_damaged_study_file(study):
    (study / "study.json").write_text('{"schema', encoding="utf-8")
    refused(run_cli("status", study), "study.json", "JSON")


@pytest.mark.parametrize(
    ("section", "value", "word"),
    [
        ("training", {"steps": "x"}, "steps"),
        ("training", {"steps": 2.5}, "steps"),
        ("training", {"steps": 0}, "steps"),
        ("training", {"nonsense": 1}, "nonsense"),
        ("training", {"augmentation": {"rotation": "x"}}, "rotation"),
        ("training", {"features": [1, "x"]}, "features"),
        ("training", [], "[]"),
        ("stack", {"spacing": -1}, "spacing"),
        ("stack", {"size": [3]}, "size"),
        ("stack", "x", "x"),
        ("embedding", {"weights": [1, "x", 1, 1]}, "weights"),
        ("embedding", {"schedule": "nonsense"}, "schedule"),
        ("members", "x", "members"),
        ("seed", -1, "seed"),
    ],
)
def test_damaged_settings_name_the_file_and_the_section(study, section, value, word):
    record = json.loads((study / "study.json").read_text(encoding="utf-8"))
    record["settings"][section] = value
    (study / "study.json").write_text(json.dumps(record), encoding="utf-8")
    refused(run_cli("suggest", study, "--count", "1"), "study.json", f"section {section}", word)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), ["Out of memory", "--size"]),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), ["Out of memory", "--batch-size"]),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), ["Out of memory", "--batch-size"]),
        (RuntimeError("one thing\nand another"), ["Unexpected error: RuntimeError: one thing;", "--debug"]),
        (ZeroDivisionError("division by zero"), ["Unexpected error: ZeroDivisionError: division by zero", "--debug"]),
    ],
)
def test_an_unexpected_error_is_one_line_and_a_traceback_with_debug(study, monkeypatch, error, words):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("ActiveSegmentationLib.study.Study.status", fail)
    result = run_cli("status", study)
    refused(result, *words, code=1)
    assert len(result.err.splitlines()) == 1
    with pytest.raises(type(error)):
        run_cli("--debug", "status", study)


def test_an_error_in_a_process_of_its_own_is_one_line(tmp_path, phantom_cohort):
    arguments = ["--strategies", "random,strided", "--rounds", "12", "--max-per-volume", "1", "--workers", "2"]
    result = run_cli("benchmark", "--cohort", phantom_cohort, *arguments, "--out", tmp_path / "out", *TINY)
    refused(result, "of 12 slices can be requested")
    assert result.err.splitlines()[-1].startswith("bad input: "), result.err


def test_two_processes_on_one_study(study):
    opened = Study.open(study)
    with opened.lock():
        result = run_cli("suggest", study, "--count", "1", "--strategy", "random", process=True)
    refused(result, study.name)
    assert run_cli("suggest", study, "--count", "1", "--strategy", "random").code == 0


def test_repair_says_what_it_would_do_and_does_it(study):
    assert "Nothing is damaged" in run_cli("repair", study).out
    run_cli("suggest", study, "--count", "2", "--strategy", "random")
    run_cli("annotate", study, "--oracle")
    before = json.loads(run_cli("status", study, "--json").out)["annotated"]
    damaged = next(study.glob("annotations/*/*.slices.json"))
    damaged.write_text("{", encoding="utf-8")
    said = run_cli("repair", study)
    assert damaged.name in said.out
    assert "--write" in said.err
    assert damaged.read_text(encoding="utf-8") == "{"
    answer = json.loads(run_cli("repair", study, "--json").out)
    assert (answer["done"], len(answer["open"])) == ([], 1)
    assert "Nothing is left" in run_cli("repair", study, "--write").out
    assert json.loads(run_cli("status", study, "--json").out)["annotated"] == before
    assert run_cli("audit", study).code == 0
    (study / "rounds" / "1" / "request.json").write_bytes(b"[")
    assert json.loads(run_cli("repair", study, "--write", "--json").out)["open"] == []
    assert run_cli("audit", study).code == 0


def test_disk_full_loses_nothing(study, monkeypatch):
    assert run_cli("suggest", study, "--count", "3", "--strategy", "random").code == 0
    before = files_of(study / "rounds")
    monkeypatch.setattr("os.fsync", _full)
    refused(run_cli("annotate", study, "--oracle"), "disk is full", code=1)
    monkeypatch.undo()
    assert files_of(study / "rounds") == before
    assert run_cli("audit", study).code == 0
    result = run_cli("annotate", study, "--oracle", "--json")
    assert json.loads(result.out)["annotated"] == 3


def _full(descriptor):
    raise OSError(28, "No space left on device")


def test_no_permission_to_write(study, monkeypatch):
    monkeypatch.setattr("os.replace", _denied)
    refused(run_cli("suggest", study, "--count", "3", "--strategy", "random"), "permission")


def _denied(source, target):
    raise PermissionError(13, "Permission denied", str(target))


def test_damaged_split(tmp_path, phantom_cohort):
    split = tmp_path / "split.json"
    arguments = ["--strategies", "random", "--rounds", "2", "--out", tmp_path / "out", "--split", split]
    refused(run_cli("benchmark", "--cohort", phantom_cohort, *arguments), "split.json")
    split.write_text('{"train": ["patient001"], "test": ["nobody"]}', encoding="utf-8")
    refused(run_cli("benchmark", "--cohort", phantom_cohort, *arguments), "nobody")


@pytest.mark.parametrize("rounds", ["0", "5%,3%", "x", "4,4", "100000", "-3", "200%"])
def test_impossible_rounds(tmp_path, phantom_cohort, rounds):
    arguments = ["--strategies", "random", f"--rounds={rounds}", "--out", tmp_path / "out", *TINY]
    refused(run_cli("benchmark", "--cohort", phantom_cohort, *arguments), "rounds")


@pytest.mark.parametrize(
    ("option", "word"),
    [
        ("--strategies", "nonsense"),
        ("--strategies", "random:argument"),
        ("--initial", "nonsense"),
        ("--metrics", "dice,nonsense"),
        ("--rounds", "2%,x"),
        ("--rounds", "0"),
        ("--seeds", "x"),
    ],
)
def test_a_mistake_in_the_benchmark_is_reported_before_any_work(tmp_path, option, word):
    arguments = {"--strategies": "random", "--rounds": "2", "--out": tmp_path / "out", option: word}
    words = [part for pair in arguments.items() for part in pair]
    result = run_cli("benchmark", "--cohort", tmp_path / "not even looked for", *words)
    refused(result, word.replace(":", ",").split(",")[-1])
    assert "not even looked for" not in result.err


def test_rounds_beyond_the_pool_are_reported_before_slices_are_prepared(tmp_path, phantom_cohort):
    arguments = ["--strategies", "random", "--rounds", "2,100000", "--out", tmp_path / "out", *TINY]
    refused(run_cli("benchmark", "--cohort", phantom_cohort, *arguments), "100000")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["mask", "scribble"])
def test_foreign_label_values_name_the_volume_and_its_file(tmp_path, phantom_cohort, kind):
    arguments = ["--strategies", "random", "--rounds", "2", "--labels", "1=RV,2=MYO", "--annotation", kind]
    result = run_cli("benchmark", "--cohort", phantom_cohort, *arguments, "--out", tmp_path / "out", *TINY)
    refused(result, "volume patient", ".nii.gz", "outside the label set: 3")


def test_foreign_label_values_of_a_study_name_the_volume_and_its_file(tmp_path, phantom_cohort):
    folder, drawn = tmp_path / "study", tmp_path / "drawn"
    words = ["--cohort", phantom_cohort, "--annotation", "mask", "--labels", "1=RV,2=MYO"]
    assert run_cli("new", folder, *words, *TINY).code == 0
    volume = Study.open(folder).cohort.volumes[0]
    drawn.mkdir()
    path = sorted(phantom_cohort.glob(f"*/{volume.id}_gt.nii.gz"))[0]
    label = sitk.ReadImage(str(path))
    sitk.WriteImage(label * sitk.Cast(label < 3, label.GetPixelID()), str(drawn / f"{volume.id}.nii.gz"))
    assert run_cli("annotate", folder, "--from", drawn).code == 0
    assert run_cli("train", folder).code == 0
    refused(run_cli("evaluate", folder), volume.id, path.name, "outside the label set: 3")


def test_a_folder_of_results_is_not_mixed_with_another_experiment(tmp_path, phantom_cohort):
    arguments = ["benchmark", "--cohort", phantom_cohort, "--strategies", "random", "--out", tmp_path / "out", *TINY]
    assert run_cli(*arguments, "--rounds", "2").code == 0
    before = files_of(tmp_path / "out" / "runs")
    refused(run_cli(*arguments, "--rounds", "3"), "rounds", "--out")
    assert files_of(tmp_path / "out" / "runs") == before


def test_corrupt_gzip_is_a_row_of_the_index(tmp_path, phantom_cohort):
    cohort = cohort_copy(phantom_cohort, tmp_path / "cohort")
    image = sorted(cohort.glob("*/*_frame01.nii.gz"))[0]
    image.write_bytes(gzip.compress(b"this is not NIfTI"))
    result = run_cli("index", cohort, "--json")
    assert result.code == 0
    answer = json.loads(result.out)
    assert any(image.name.removesuffix(".nii.gz") in problem["where"] for problem in answer["problems"])
    assert len(answer["volumes"]) == len(list(cohort.glob("*/*_gt.nii.gz"))) - 1


def test_moved_cohort(study):
    shutil.move(study.parent / "cohort", study.parent / "elsewhere")
    refused(
        run_cli("suggest", study, "--count", "1", "--strategy", "random"),
        "cohort",
        f"activesegmentation relocate {study} COHORT",
    )
    refused(run_cli("relocate", study, study.parent / "nowhere"), "nowhere")
    assert run_cli("relocate", study, study.parent / "elsewhere").code == 0
    assert run_cli("suggest", study, "--count", "1", "--strategy", "random").code == 0


def test_a_changed_image_is_reported_and_used_only_when_accepted(study):
    suggest = ["suggest", study, "--count", "1", "--strategy", "random"]
    assert run_cli(*suggest).code == 0
    image = first_image(study)
    pixels = gzip.decompress(image.read_bytes())
    image.write_bytes(gzip.compress(pixels[:-200] + bytes(200)))
    refused(run_cli(*suggest[:3], "2"), image.name, "--accept-changed", "exclude")
    relocated = run_cli("relocate", study, study.parent / "cohort", "--accept-changed")
    assert relocated.code == 0, relocated.err
    assert image.name.removesuffix(".nii.gz") in relocated.out
    assert run_cli(*suggest[:3], "2").code == 0


def test_a_changed_image_may_be_left_out(study):
    suggest = ["suggest", study, "--count", "1", "--strategy", "random"]
    assert run_cli(*suggest).code == 0
    image = first_image(study)
    image.write_bytes(b"overwritten")
    refused(run_cli(*suggest[:3], "2"), image.name)
    assert run_cli("exclude", study, image.name.removesuffix(".nii.gz")).code == 0
    assert run_cli(*suggest[:3], "2").code == 0
