"""Consoles and redirected streams of other encodings; errors of many volumes; roles in the answer."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from ActiveSegmentationLib.cli.command import Options
from ActiveSegmentationLib.cli.experiment_commands import benchmark, benchmark_options
from ActiveSegmentationLib.cli.main import main
from ActiveSegmentationLib.common.progress import TqdmProgress


def save(path: Path, shape: tuple[int, ...] = (3, 12, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(len(path.name)).integers(0, 900, shape).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=False), str(path))


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_names_that_a_stream_cannot_hold(tmp_path, monkeypatch, encoding, options):
    name = "患者 \U0001f600 Müller"
    save(tmp_path / f"{name}.nii.gz")
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["index", str(tmp_path), *options]) == 0
    stream.flush()
    text = stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    if options:
        assert json.loads(text)["volumes"][0]["patient"] == name
    elif encoding != "utf-8":
        assert "\\u60a3" in text


def test_a_redirected_stream_of_windows(tmp_path):
    save(tmp_path / "患者.nii.gz")
    command = [sys.executable, "-m", "ActiveSegmentationLib", "index", str(tmp_path)]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (done.returncode, b"1 patient, 1 volume, 3 slices, 0 problems." in done.stdout) == (0, True), done.stderr


def test_itk_writes_no_warnings_of_its_own(tmp_path):
    nib.save(nib.AnalyzeImage(np.ones((12, 10, 3), np.int16), np.diag([1, 1, 5, 1])), tmp_path / "p1.hdr")
    command = [sys.executable, "-m", "ActiveSegmentationLib", "index", str(tmp_path), "--layout", "folder"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "WARNING" in done.stderr) == (0, False), done.stderr
    assert f"new STUDY --cohort {tmp_path} --layout folder --annotation mask" in done.stderr


def test_an_error_of_many_volumes_is_reported_once(tmp_path, capsys):
    save(tmp_path / "good.nii.gz")
    for n in range(12):
        save(tmp_path / f"cine{n}.nii.gz", (2 + n % 3, 3, 12, 10))
    assert main(["index", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert text.count("time points") == 1
    assert "12 times (cine0, cine1, cine2 and 9 more)" in text
    assert main(["index", str(tmp_path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["problems"]) == 12
    assert [group["count"] for group in answer["problem_groups"]] == [12]


def test_the_split_in_force_is_reported(tmp_path, capsys):
    for part in ("training", "testing"):
        for n in range(2):
            name = f"patient{n + 1 + 100 * (part == 'testing'):03d}"
            save(tmp_path / part / name / f"{name}_frame01.nii.gz")
    assert main(["index", str(tmp_path)]) == 0
    assert "2 volumes of 2 patients for testing (as the layout acdc says)" in capsys.readouterr().out
    assert main(["index", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["roles"] == {"pool": 2, "validation": 0, "test": 2}
    (tmp_path / "split.json").write_text(json.dumps({"val": ["patient002"]}))
    study = ["--cohort", str(tmp_path), "--annotation", "mask", "--split", str(tmp_path / "split.json")]
    assert main(["new", str(tmp_path / "study"), *study]) == 0
    told = capsys.readouterr().err
    assert "1 volume of 1 patient for validation" in told
    assert "2 volumes of 2 patients for testing" in told
    assert "reserves for validation or test" not in told
    (tmp_path / "split.json").write_text(json.dumps({"train": ["patient101"]}))
    assert main(["new", str(tmp_path / "other"), *study]) == 0
    assert "reserves for validation or test: patient101_frame01" in capsys.readouterr().err


@pytest.mark.parametrize("masks", [False, True])
def test_a_benchmark_scores_the_layouts_test_part_if_it_has_masks(tmp_path, masks, capsys):
    for part, numbers in (("Tr", (1, 2, 3)), ("Ts", (8, 9))):
        for n in numbers:
            save(tmp_path / f"images{part}" / f"p{n}_0000.nii.gz")
            if part == "Tr" or masks:
                mask = sitk.GetImageFromArray(np.ones((3, 12, 10), np.uint8))
                (tmp_path / f"labels{part}").mkdir(exist_ok=True)
                sitk.WriteImage(mask, str(tmp_path / f"labels{part}" / f"p{n}.nii.gz"))
    words = ["--cohort", str(tmp_path), "--strategies", "random", "--rounds", "2", "--out", str(tmp_path)]
    options = Options(**benchmark.make_context("benchmark", words).params)
    cohort = benchmark_options(options, TqdmProgress()).cohort
    assert [volume.id for volume in cohort.volumes if volume.role == "pool"] == ["p1", "p2", "p3"]
    assert [volume.id for volume in cohort.volumes if volume.role == "test"] == (["p8", "p9"] if masks else [])
    assert ("have no masks" in capsys.readouterr().err) != masks
