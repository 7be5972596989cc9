"""The lock of the tests' packages, their list, and lower bounds that leave out known vulnerabilities."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[3]

FIXED_IN = {
    "distributed": "2026.1.1",  # CVE-2026-23528
    "filelock": "3.20.3",  # CVE-2025-68146, CVE-2026-22701
    "jinja2": "3.1.6",  # CVE-2025-27516
    "monai": "1.5.2",  # CVE-2025-58755 to 58757, CVE-2026-21851
    "pillow": "12.3.0",  # CVE-2026-25990, CVE-2026-59199, CVE-2026-59205 and others
    "pydicom": "3.0.2",  # CVE-2026-32711
    "scikit-learn": "1.5.0",  # CVE-2024-5206
    "torch": "2.6.0",  # CVE-2025-32434
    "tqdm": "4.66.3",  # CVE-2024-34062
    "pytest": "9.0.3",  # CVE-2025-71176
    "setuptools": "78.1.1",  # CVE-2025-47273
}
"""The first version without a known vulnerability that a file or another user could use."""


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("check_packages", ROOT / "scripts" / "check_packages.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["check_packages"] = module
    spec.loader.exec_module(module)
    return module


def requirements():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = [text for texts in project["project"]["optional-dependencies"].values() for text in texts]
    slicer = (ROOT / "ActiveSegmentation" / "Resources" / "requirements.txt").read_text(encoding="utf-8")
    lines = [line for line in slicer.splitlines() if not line.startswith("#")]
    texts = [*project["build-system"]["requires"], *project["project"]["dependencies"], *extras, *lines]
    return [Requirement(text) for text in texts]


def test_lower_bounds_leave_out_known_vulnerabilities():
    bounds = {}
    for requirement in requirements():
        lowest = [Version(one.version) for one in requirement.specifier if one.operator in (">=", "==")]
        bounds.setdefault(requirement.name.lower(), []).extend(lowest)
    for name, fixed in FIXED_IN.items():
        assert bounds[name], name
        assert min(bounds[name]) >= Version(fixed), name


def test_the_lock_holds_what_the_constraints_say(script):
    locked = {package.name: package.version for package in script.read_lock()}
    lines = (ROOT / "scripts" / "lock.txt").read_text(encoding="utf-8").splitlines()
    assert len(locked) == sum(not line.startswith("#") for line in lines), "a line that is not a package"
    constraints = (ROOT / "scripts" / "constraints.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", constraints, re.MULTILINE))
    for name, version in pinned.items():
        assert Version(locked[re.sub(r"[-_.]+", "-", name).lower()]).public == version, name
    assert len(locked) > len(pinned), "what they depend on is locked too"


def test_the_list_of_packages_is_cyclonedx(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(script, "vulnerabilities", lambda: ([], ["all packages: no network"]))
    assert script.main(["--sbom", str(tmp_path / "sbom.json")]) == 0
    said = capsys.readouterr().out
    assert "skipped: all packages: no network" in said
    assert f"{len(script.read_lock())} not looked up" in said
    value = json.loads((tmp_path / "sbom.json").read_text(encoding="utf-8"))
    assert (value["bomFormat"], value["specVersion"]) == ("CycloneDX", "1.6")
    torch = next(one for one in value["components"] if one["name"] == "torch")
    assert torch["purl"].startswith("pkg:pypi/torch@")
    assert len({one["bom-ref"] for one in value["components"]}) == len(value["components"])


def test_a_report_of_pip_becomes_a_lock(script, tmp_path, monkeypatch):
    sha = "a" * 64
    install = [
        {
            "metadata": {"name": "Ruamel.YAML", "version": "1.0+cpu"},
            "download_info": {"archive_info": {"hashes": {"sha256": sha}}},
        },
        {"metadata": {"name": "activesegmentation", "version": "1"}, "download_info": {"dir_info": {}}},
    ]
    monkeypatch.setattr(script, "LOCK", tmp_path / "lock.txt")
    script.LOCK.write_text(script.lock_of(install), encoding="utf-8")
    assert script.read_lock() == [script.Package("ruamel-yaml", "1.0+cpu", sha)]


@pytest.mark.parametrize(
    ("answer", "known", "skipped"),
    [
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1"}]}]}', ["a 1: CVE-1"], []),
        ('{"dependencies": [{"name": "a", "skip_reason": "not on PyPI"}]}', [], ["a: not on PyPI"]),
        ("", [], ["all packages: ConnectionError"]),
    ],
)
def test_what_was_not_looked_up_is_said(script, monkeypatch, answer, known, skipped):
    class Done:
        stdout, stderr = answer, "Traceback\nConnectionError"

    monkeypatch.setattr(script.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(script.subprocess, "run", lambda *words, **options: Done())
    assert script.vulnerabilities() == (known, skipped)
