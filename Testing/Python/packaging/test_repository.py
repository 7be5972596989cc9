"""What visitors of the repository and its host need: CI for every supported Python, issue forms, citation, changes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import ActiveSegmentationLib

ROOT = Path(__file__).resolve().parents[3]
GITHUB = ROOT / ".github"


def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_ci_runs_on_three_systems_and_every_python_of_the_classifiers():
    jobs = read(GITHUB / "workflows" / "tests.yml")["jobs"]
    matrix = jobs["tests"]["strategy"]["matrix"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pythons = [line.rpartition(" ")[2] for line in project["classifiers"] if re.search(r"Python :: 3\.\d+$", line)]
    assert matrix["python"] == jobs["wheel"]["strategy"]["matrix"]["python"] == pythons
    assert [name.partition("-")[0] for name in matrix["os"]] == ["ubuntu", "macos", "windows"]
    commands = "\n".join(step.get("run", "") for job in jobs.values() for step in job["steps"])
    assert ".ci/run" in commands
    for path in re.findall(r"--ignore=(\S+)", commands):
        assert (ROOT / path).is_dir(), path


@pytest.mark.parametrize("name", ["bug", "idea"])
def test_issue_forms_ask_for_something(name):
    form = read(GITHUB / "ISSUE_TEMPLATE" / f"{name}.yml")
    assert form["name"]
    assert form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields) > 1
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_the_citation_names_this_version():
    citation = read(ROOT / "CITATION.cff")
    assert citation["version"] == ActiveSegmentationLib.__version__
    assert citation["license"] == "Apache-2.0"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in project["authors"]]
    assert citation["repository-code"] == project["urls"]["Homepage"]


def test_the_change_log_has_this_version_and_what_comes_next():
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert ActiveSegmentationLib.__version__ in headings
