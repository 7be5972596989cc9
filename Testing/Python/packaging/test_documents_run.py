"""Every command and example in README and docs: those of README run, long ones are parsed as the program does it."""

from __future__ import annotations

import functools
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import numpy as np
import pytest
import SimpleITK as sitk

from ActiveSegmentationLib.acquisition import create_strategy
from ActiveSegmentationLib.cli.main import main, program
from ActiveSegmentationLib.cohort import write_phantom
from ActiveSegmentationLib.study import Study

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PROGRAM = "activesegmentation"

TINY = """
device = "cpu"
[new]
size = "32x32"
spacing = 4.5
metric-steps = 3
steps = 6
batch-size = 4
[benchmark]
size = "32x32"
spacing = 4.5
metric-steps = 3
steps = 6
batch-size = 4
"""
"""Settings that make every step a matter of a second."""


def blocks(document: Path, language: str = "") -> list[str]:
    """The code blocks of a document that are marked with this language."""
    text = document.read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [block for marked, block in found if marked == language]


def prose(document: Path) -> str:
    """A document without its marked code blocks."""
    return re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def commands(document: Path, first: str) -> list[list[str]]:
    """The words of each command line of a document's code blocks that starts with ``first``, variables left out."""
    lines = "".join(blocks(document)).replace("\\\n", " ").splitlines()
    lines += re.findall(r"^    \w.*$", prose(document), re.MULTILINE)
    words = [shlex.split(re.sub(r"^\s*(\w+=\S+ +)+", "", line), comments=True) for line in lines if first in line]
    return [found for found in words if found[:1] == [first]]


def mentioned(document: Path) -> list[list[str]]:
    """The words of each command in a document's text; "..." or "|" is in descriptions of several commands."""
    found = re.findall(rf"`({PROGRAM} [a-z][^`|]+)`", prose(document))
    return [shlex.split(line) for line in found if "..." not in line]


LINES = [(path, words) for path in DOCUMENTS for words in (*commands(path, PROGRAM), *mentioned(path))]
SCRIPTS = [
    (path, words)
    for path in DOCUMENTS
    for first in ("python", "python3")
    for words in commands(path, first)
    if words[1].endswith(".py")
]


def name_of(value: Path | list[str]) -> str:
    """Name of a parameter of a test."""
    return value.name if isinstance(value, Path) else " ".join(value[1:3])


def test_commands_are_found():
    assert len(LINES) > 60
    assert {words[1] for _, words in LINES} >= {"benchmark", "learners", "strategies", "relocate"}
    assert {Path(words[1]).name for _, words in SCRIPTS} >= {"demo.py", "test.py", "simulate_intervals.py"}


@pytest.mark.parametrize(("document", "words"), LINES, ids=name_of)
def test_commands_are_understood(document, words):
    """Each is parsed by the program; options are only looked up where a document leaves words out ("...") or names what
    an example package adds, see test_examples.py.
    """
    group = click.Context(program, info_name=PROGRAM)
    command = program.get_command(group, words[1])
    if isinstance(command, click.Group):
        group, words = click.Context(command, info_name=words[1], parent=group), words[1:]
        command = command.get_command(group, words[1])
    assert command is not None, words
    given = [word for word in words[2:] if word.startswith("--")]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert set(given) <= known
    if "..." not in words and "examples" not in document.parts:
        asked = ["1" if word == "SLICE" else word for word in words[2:]]
        found = command.make_context(words[1], asked, parent=group).params
        for name in (found.get("strategies") or found.get("strategy") or "random").split(","):
            create_strategy(name)


@functools.cache
def options_of(script: str) -> set[str]:
    """The options that a script's help names."""
    done = subprocess.run([sys.executable, script, "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"--[\w-]+", done.stdout))


@pytest.mark.parametrize(
    ("document", "words"), SCRIPTS, ids=lambda value: value.name if isinstance(value, Path) else ""
)
def test_scripts_know_the_options_that_documents_give_them(document, words):
    assert {word for word in words if word.startswith("--")} <= options_of(words[1])


@pytest.mark.slow
def test_the_quick_start_runs_as_printed(tmp_path):
    (code,) = blocks(ROOT / "README.md", "python")
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len([line for line in lines if line.startswith("patient")]) == 12
    assert re.fullmatch(r"all classes: Dice [01]\.\d\d", lines[-1])
    assert len(list((tmp_path / "labels").glob("*.nii.gz"))) == 8


@pytest.fixture
def place(tmp_path, monkeypatch, phantom_cohort) -> Path:
    """A folder with all that README's commands name."""
    shutil.copytree(phantom_cohort, tmp_path / "cohort")
    (tmp_path / "drawn").mkdir()
    for path in phantom_cohort.glob("*/*_scribble.nii.gz"):
        image = sitk.ReadImage(str(path))
        array = sitk.GetArrayFromImage(image)
        array = np.where(array == 4, 255, array).astype(np.uint8)
        array[3:] = 255  # later slices stay open
        drawn = sitk.GetImageFromArray(array)
        drawn.CopyInformation(image)
        sitk.WriteImage(drawn, str(tmp_path / "drawn" / path.name.replace("_scribble", "")))
    (tmp_path / "tiny.toml").write_text(TINY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_loop_of_the_readme_runs_in_its_order(place):
    lines = [words for words in commands(ROOT / "README.md", PROGRAM) if words[1] != "benchmark"]
    assert [words[1] for words in lines][:6] == ["index", "new", "suggest", "annotate", "skip", "train"]
    names = {"/data/cohort": "cohort", "/data/drawn": "drawn", "/new/place/of/cohort": "moved"}
    for words in lines:
        if words[1] == "skip":
            open_requests = Study.open("study").open_requests(1)
            names |= {"VOLUME": open_requests[0].slice.volume, "SLICE": "5", "V": open_requests[0].slice.volume}
        if words[1] == "mark":
            words[words.index("9")] = "4"  # the phantom's volumes have five slices
        if words[1] == "relocate":
            (place / "cohort").rename(place / "moved")
        if words[1] == "mark":
            names["V"] = next(v.id for v in Study.open("study").cohort.volumes if v.id != names["VOLUME"])
        code = main([*(names.get(word, word) for word in words[1:]), "--config", "tiny.toml"])
        assert code == 0, words
    assert len(list((place / "labels").glob("*.nii.gz"))) >= 8
    assert (place / "raw" / "dataset.json").is_file()


@pytest.mark.slow
def test_the_benchmark_of_the_readme_runs(place):
    (words,) = [words for words in commands(ROOT / "README.md", PROGRAM) if words[1] == "benchmark"]
    write_phantom("acdc", patients=8, slices=10, size=(48, 48), phases=("ED",))
    patients = [f"patient{number:03d}" for number in range(1, 9)]
    Path("split.json").write_text(json.dumps({"train": patients[:7], "test": patients[7:]}), encoding="utf-8")
    asked = ["acdc" if word == "/data/acdc" else word for word in words[1:]]
    asked[asked.index("--seeds") + 1] = "0"
    asked[asked.index("--rounds") + 1] = "2%,4%,6%,8%"  # of 70 slices
    assert main([*asked, "--config", "tiny.toml"]) == 0
    assert (place / "results" / "report.html").is_file()


def test_the_settings_file_of_the_readme_is_understood(tmp_path):
    (text,) = blocks(ROOT / "README.md", "toml")
    path = tmp_path / "settings.toml"
    path.write_text(text, encoding="utf-8")
    group = click.Context(program, info_name=PROGRAM)
    for name in set(tomllib.loads(text)) & set(program.list_commands(group)):
        command = program.get_command(group, name)
        required = {"new": ["study", "--cohort", "c"], "suggest": ["study"]}[name]
        found = command.make_context(name, [*required, "--config", str(path)], parent=group).params
        for option, value in tomllib.loads(text)[name].items():
            assert found[option.replace("-", "_")] in (value, (256, 256))
