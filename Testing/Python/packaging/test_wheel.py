"""The wheel: what is in it, and that it works from another folder than the repository."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = ("ActiveSegmentationLib", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy, because building leaves files in the source."""
    folder = tmp_path_factory.mktemp("wheel")
    source = _made(folder / "source")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder / "dist")]
    command = [sys.executable, "-m", "pip", *words, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = (folder / "dist").glob("*.whl")
    return path


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_it_holds_the_library_without_what_needs_slicer(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"ActiveSegmentationLib/py.typed", "ActiveSegmentationLib/evaluation/templates/report.html.jinja"} <= names
    rooms = {name.split("/")[1] for name in names if name.startswith("ActiveSegmentationLib/") and name.count("/") > 1}
    expected = {path.parent.name for path in (ROOT / "ActiveSegmentationLib").glob("*/__init__.py")} - {
        "scene",
        "panels",
    }
    assert rooms == expected
    library = {p.relative_to(ROOT).as_posix() for p in (ROOT / "ActiveSegmentationLib").rglob("*.py")}
    left_out = {name for name in library if name.split("/")[1] in ("scene", "panels")}
    assert {name for name in names if name.endswith(".py")} == library - left_out


def test_its_metadata_say_who_what_and_where(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    found = email.message_from_bytes(archive.read(name))
    assert found["Author"] == "ActiveSegmentation contributors"
    assert found["License-Expression"] == "Apache-2.0"
    assert found["Requires-Python"] == ">=3.11"
    assert {url.partition(",")[0] for url in found.get_all("Project-URL")} == {"Homepage", "Changelog"}
    assert "Typing :: Typed" in found.get_all("Classifier")


LOOP = """
import sys
import ActiveSegmentationLib as library
from ActiveSegmentationLib.loop import LoopSettings
assert not library.__file__.startswith(sys.argv[1]), library.__file__
quick = LoopSettings.from_json({"stack": {"size": [32, 32]}, "training": {"steps": 4}})
cohort = library.discover(library.write_phantom("phantom", patients=2, slices=4, size=(48, 48)))
study = library.create_study("study", cohort, settings=quick)
for _ in range(2):
    library.suggest(study, 2, device="cpu")
    library.annotate(study, oracle=True)
    library.train(study, device="cpu")
print(len(library.predict(study, "labels", device="cpu")), len(study.annotations()))
"""


def test_it_runs_the_loop_from_another_folder(wheel, tmp_path):
    site, elsewhere = tmp_path / "site", _made(tmp_path / "elsewhere")
    words = ["install", "--quiet", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", LOOP, str(ROOT)]
    done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["4", "4"]
    program = site / "bin" / "activesegmentation"
    if os.name != "nt":
        told = subprocess.run(
            [sys.executable, program, "status", "study"],
            cwd=elsewhere,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "4 annotated" in told.stdout
