"""Pseudonyms in studies and exports, and the key file that is kept apart."""

from __future__ import annotations

import csv
import json
import os
import stat

import pytest
from cli_helpers import TINY, run_cli

from ActiveSegmentationLib.api import create_study, export
from ActiveSegmentationLib.cohort import Pseudonyms, discover
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.study import Study


def done(*words):
    result = run_cli(*words)
    assert result.code == 0, result
    return result


def new(folder, cohort, *more):
    return run_cli("new", folder, "--cohort", cohort, "--annotation", "mask", *TINY, *more)


@pytest.fixture
def study(tmp_path, phantom_cohort):
    folder = tmp_path / "study"
    assert new(folder, phantom_cohort, "--pseudonymise", tmp_path / "safe" / "key.json").code == 0
    done("suggest", folder, "--count", "3", "--strategy", "random")
    done("annotate", folder, "--oracle")
    return folder


def test_a_pseudonymised_study_names_no_patient_but_in_paths_of_images(study, tmp_path, phantom_cohort):
    names = {text for volume in discover(phantom_cohort).volumes for text in (volume.patient, volume.id)}
    done("export", study, "--format", "csv", "--out", tmp_path / "table")
    done("export", study, "--format", "nifti", "--out", tmp_path / "maps")
    done("clear-cache", study)
    files = [path for root in (study, tmp_path / "table", tmp_path / "maps") for path in root.rglob("*")]
    for path in files:
        assert not any(name in str(path.relative_to(tmp_path)) for name in names), path
        if path.is_file() and path.name != "cohort.json":
            assert not any(name.encode() in path.read_bytes() for name in names), path
    assert not any(name in done("status", study).out for name in names)
    value = json.loads((study / "cohort.json").read_text(encoding="utf-8"))
    assert not any(text in names for volume in value["volumes"] for text in (volume["id"], volume["patient"]))
    assert run_cli("audit", study).code == 0


def test_the_key_file_resolves_pseudonyms_and_is_used_again(study, tmp_path, phantom_cohort):
    key = tmp_path / "safe" / "key.json"
    if os.name != "nt":
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    content = key.read_bytes()
    rows = {row["pseudonyms"][1]: row["volume"] for row in json.loads(content)["volumes"]}
    real = {volume.id: volume for volume in discover(phantom_cohort).volumes}
    for volume in Study.open(study).cohort.volumes:
        assert volume.channels == real[rows[volume.id]].channels
        assert volume.id.startswith(f"{volume.patient}_")
    assert new(tmp_path / "second", phantom_cohort, "--pseudonymise", key).code == 0
    assert key.read_bytes() == content
    assert Study.open(tmp_path / "second").cohort.volumes == Study.open(study).cohort.volumes


def test_a_key_is_extended_and_a_damaged_one_refused(tmp_path, phantom_cohort):
    volumes = discover(phantom_cohort).volumes
    key = tmp_path / "key.json"
    first = Pseudonyms.from_key(key, volumes[:2])
    both = Pseudonyms.from_key(key, volumes)
    assert [both.volume(volume) for volume in volumes[:2]] == [first.volume(volume) for volume in volumes[:2]]
    assert len({both.volume(volume) for volume in volumes}) == len(volumes)
    assert len({both.patient(volume) for volume in volumes}) == len({volume.patient for volume in volumes})
    key.write_text('{"format": 1, "volumes": [{"patient": "a"}]}', encoding="utf-8")
    with pytest.raises(BadInput, match="key of pseudonyms"):
        Pseudonyms.from_key(key, volumes)


def test_the_key_stays_out_of_what_is_passed_on(tmp_path, phantom_cohort):
    for key in (tmp_path / "study" / "key.json", phantom_cohort / "key.json"):
        result = new(tmp_path / "study", phantom_cohort, "--pseudonymise", key)
        assert result.code == 2
        assert "passed on" in result.err
        assert not key.exists()


@pytest.mark.parametrize("format_name", ["csv", "nifti", "nnunet"])
def test_a_deidentified_export_names_nobody(tmp_path, phantom_cohort, format_name):
    folder, out, key = tmp_path / "study", tmp_path / "out", tmp_path / "key.json"
    assert new(folder, phantom_cohort).code == 0
    done("suggest", folder, "--count", "2", "--strategy", "random")
    done("annotate", folder, "--oracle")
    done("export", folder, "--format", format_name, "--out", out, "--deidentify", key)
    opened = Study.open(folder)
    annotated = {slice_id.volume for slice_id in opened.annotations()}
    names = {text for volume in opened.cohort.volumes for text in (volume.patient, volume.id)} | {"oracle", "2026-"}
    for path in out.rglob("*"):
        assert not any(name in str(path.relative_to(out)) for name in names), path
        if path.is_file():
            assert not any(name.encode() in path.read_bytes() for name in names), path
    pseudonyms = Pseudonyms.from_key(key, opened.cohort.volumes)
    shown = {pseudonyms.volume(opened.cohort.volume(name)) for name in annotated}
    if format_name == "csv":
        rows = list(csv.DictReader((out / "annotations.csv").open(encoding="utf-8", newline="")))
        assert {row["volume"] for row in rows} == shown
        assert {row["annotator"] for row in rows} == {"annotator 1"}
        assert {row["committed at"] for row in rows} == {""}
    else:
        maps = out / "labelsTr" if format_name == "nnunet" else out
        assert {path.name.removesuffix(".nii.gz") for path in maps.glob("*.nii.gz")} == shown


def test_python_gives_the_pseudonyms_of_the_command_line(study, tmp_path, phantom_cohort):
    key = tmp_path / "safe" / "key.json"
    made = create_study(tmp_path / "second", discover(phantom_cohort), pseudonyms=key)
    assert made.cohort.volumes == Study.open(study).cohort.volumes
    for inside in (tmp_path / "third" / "key.json", phantom_cohort / "key.json"):
        with pytest.raises(BadInput, match="passed on"):
            create_study(tmp_path / "third", discover(phantom_cohort), pseudonyms=inside)
    with pytest.raises(BadInput, match="passed on"):
        export(study, tmp_path / "out", "csv", deidentify=tmp_path / "out" / "key.json")
    (path,) = export(study, tmp_path / "out", "csv", deidentify=tmp_path / "other.json")
    rows = list(csv.DictReader(path.open(encoding="utf-8", newline="")))
    assert {row["annotator"] for row in rows} == {"annotator 1"}
