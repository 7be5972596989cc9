"""Packages that add a strategy, a layout and a learner, installed as people would and used from a fresh process."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from ActiveSegmentationLib.cohort.layouts import installed as installed_layouts_module
from ActiveSegmentationLib.common import plugins
from ActiveSegmentationLib.common.errors import BadInput

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the installed examples; built from a copy, because building leaves files in the source."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLES, folder / "source", ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    words = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    packages = [str(path) for path in (folder / "source").iterdir()]
    command = [sys.executable, "-m", "pip", *words, "--target", str(folder / "site"), *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "site"


def run(installed, *words):
    """The JSON answer of a command that finds the installed examples."""
    paths = os.pathsep.join((str(ROOT), str(installed)))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", "ActiveSegmentationLib", *(str(word) for word in words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_installed_strategy_is_listed_after_ours(installed):
    *_, last = run(installed, "strategies", "--json")
    assert last["name"] == "largest-gap"
    assert "farthest" in last["summary"]
    assert last["options"]["edge"]["default"] == 1.0


def test_an_installed_strategy_is_used(installed, phantom_cohort, tmp_path):
    study = tmp_path / "study"
    run(installed, "new", study, "--cohort", phantom_cohort, "--annotation", "mask", "--size", "32x32", "--json")
    asked = ("--count", 3, "--strategy", "largest-gap/edge=0.5", "--device", "cpu", "--json")
    answer = run(installed, "suggest", study, *asked)
    assert answer["strategy"] == "largest-gap/edge=0.5"
    assert len({request["volume"] for request in answer["requests"]}) == 3
    assert all(request["reason"].startswith("No annotated") for request in answer["requests"])


def test_an_installed_learner_trains_and_predicts(installed, phantom_cohort, tmp_path):
    study, out = tmp_path / "study", tmp_path / "predicted"
    run(installed, "new", study, "--cohort", phantom_cohort, "--annotation", "mask", "--size", "32x32", "--json")
    record = json.loads((study / "study.json").read_text(encoding="utf-8"))
    small = {"learner": "residual-unet", "steps": 3, "options": {"width": 4}}
    record["settings"]["training"] |= small
    (study / "study.json").write_text(json.dumps(record), encoding="utf-8")
    device = ("--device", "cpu", "--json")
    run(installed, "suggest", study, "--count", 2, *device)
    run(installed, "annotate", study, "--oracle", "--json")
    run(installed, "train", study, *device)
    (about,) = (json.loads(path.read_text()) for path in study.glob("rounds/1/model/member-*/model.json"))
    assert about["settings"]["learner"] == "residual-unet"
    run(installed, "predict", study, "--out", out, *device)
    assert len(list(out.glob("*.nii.gz"))) == len(list(phantom_cohort.glob("patient*/*_gt.nii.gz")))
    answer = run(installed, "suggest", study, "--count", 1, "--strategy", "bald/passes=2", *device)
    assert answer["requests"][0]["score"] >= 0


def test_an_installed_layout_is_detected_and_read(installed, phantom_cohort, tmp_path):
    for folder, kind in (("scans", ""), ("truth", "_gt")):
        (tmp_path / "cohort" / folder).mkdir(parents=True)
        for number in (1, 2):
            (image,) = phantom_cohort.glob(f"patient00{number}/*_frame01{kind}.nii.gz")
            shutil.copy(image, tmp_path / "cohort" / folder / f"p{number}.nii.gz")
    answer = run(installed, "index", tmp_path / "cohort", "--json")
    assert answer["layout"] == "paired-folders"
    found = [(volume["patient"], volume["mask"] is not None) for volume in answer["volumes"]]
    assert found == [("p1", True), ("p2", True)]
    assert not answer["problems"]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("broken", "no_such_module:LAYOUT", "cannot be loaded (ModuleNotFoundError"),
        ("wrong", "pathlib:Path", "is not a Layout called 'wrong'"),
        ("acdc", "ActiveSegmentationLib.cohort.layouts.acdc:LAYOUT", "has the name of one of ours"),
    ],
)
def test_a_layout_that_cannot_be_used_is_named_with_its_package(monkeypatch, name, value, told):
    points = [EntryPoint(name, value, installed_layouts_module.ENTRY_POINT_GROUP)]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    with pytest.raises(BadInput, match=re.escape(told)):
        list(installed_layouts_module.installed_layouts({"acdc"}))
