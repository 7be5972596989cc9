"""A package that adds a strategy, installed as people would and used from a fresh process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "docs" / "examples" / "strategy"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the installed example; built from a copy, because building leaves files in the source."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    words = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    command = [sys.executable, "-m", "pip", *words, "--target", str(folder / "site"), str(folder / "source")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "site"


def run(installed, *words):
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
