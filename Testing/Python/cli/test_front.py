"""The front of the command line: quick without torch, help with defaults, values from a file, colours, completion."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cli_helpers import ROOT, TINY, environment, run_cli

from ActiveSegmentationLib.cli import installation
from ActiveSegmentationLib.cli.command import SUMMARIES
from ActiveSegmentationLib.study import Study

WITHOUT_TORCH = """
import sys

sys.modules["torch"] = None  # what Python takes for a module that is not there
from ActiveSegmentationLib.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory, phantom_cohort):
    folder = tmp_path_factory.mktemp("front") / "study"
    assert run_cli("new", folder, "--cohort", phantom_cohort, "--annotation", "mask", *TINY).code == 0
    assert run_cli("suggest", folder, "--count", "4", "--strategy", "balanced-random").code == 0
    assert run_cli("annotate", folder, "--oracle").code == 0
    assert run_cli("train", folder).code == 0
    return folder


@pytest.mark.parametrize(
    "words",
    [["--help"], ["status", "STUDY"], ["strategies"], ["strategies", "STUDY"], ["index", "COHORT"], ["doctor"]],
    ids=" ".join,
)
def test_what_computes_nothing_needs_no_torch(study, phantom_cohort, words):
    places = {"STUDY": str(study), "COHORT": str(phantom_cohort)}
    command = [sys.executable, "-c", WITHOUT_TORCH, *(places.get(word, word) for word in words)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_a_missing_package_is_named_with_the_command_that_says_how_to_get_it(study):
    command = [sys.executable, "-c", WITHOUT_TORCH, "train", str(study)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "The Python package 'torch' is not installed. The command 'activesegmentation doctor' says" in done.stderr


def test_doctor_says_what_is_missing_what_for_and_how_to_get_it(monkeypatch):
    found = {"torch": None, "highdicom": None}
    monkeypatch.setattr(installation, "versions", lambda: {"activesegmentation": "1", "torch": None})
    monkeypatch.setattr(installation, "_version", lambda name: found.get(name, "1.0"))
    result = run_cli("doctor")
    assert result.code == 1
    assert re.search(r"^torch +MISSING: needed for training", result.out, re.MULTILINE)
    assert re.search(r"^highdicom +not installed; only needed for reading DICOM seg", result.out, re.MULTILINE)
    assert "unknown without torch" in result.out
    assert f"Install with: {sys.executable} -m pip install torch" in result.err
    assert json.loads(run_cli("doctor", "--json").out)["missing"] == ["torch"]


def test_doctor_looks_for_all_that_the_project_requires():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {re.split(r"[<>=!~ ]", line)[0] for line in project["dependencies"]}
    extras = [
        line
        for name in ("dicom-seg", "cluster", "tensorboard", "mlflow")
        for line in project["optional-dependencies"][name]
    ]
    optional = {re.split(r"[<>=!~ ]", line)[0] for line in extras}
    assert set(installation.NEEDED_FOR) == needed
    assert set(installation.OPTIONAL) == optional


NVIDIA_SMI = """#!/bin/sh
[ "$1 $2" = "--query-gpu=name,memory.total --format=csv,noheader,nounits" ] && echo "NVIDIA RTX 4090, 24564"
"""


@pytest.mark.skipif(os.name == "nt", reason="the program of this test is a shell script")
@pytest.mark.parametrize(
    ("build", "program", "device"),
    [
        ("cuda: Optional[str] = '12.6'", NVIDIA_SMI, "NVIDIA RTX 4090, 24 GB"),
        ("cuda: Optional[str] = None", NVIDIA_SMI, "CPU"),
        ("cuda: Optional[str] = '12.6'", "#!/bin/sh\nexit 9\n", "CPU"),
        ("cuda: Optional[str] = '12.6'", None, "CPU"),
    ],
)
def test_the_device_follows_from_torchs_build_and_the_driver(tmp_path, monkeypatch, build, program, device):
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "version.py").write_text(f"__version__ = '1'\n{build}\nhip: Optional[str] = None\n")
    if program is not None:
        (tmp_path / "nvidia-smi").write_text(program)
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(installation, "_has_apple_gpu", lambda: False)
    monkeypatch.setattr(installation.importlib.util, "find_spec", lambda name: _Spec(package / "__init__.py"))
    assert json.loads(run_cli("doctor", "--json").out)["device"] == device


def test_a_mac_with_an_apple_gpu_is_recognised_without_importing_torch(monkeypatch):
    monkeypatch.setattr(installation, "_has_apple_gpu", lambda: True)
    assert json.loads(run_cli("doctor", "--json").out)["device"].startswith("Apple GPU (MPS)")


class _Spec:
    def __init__(self, path: Path) -> None:
        self.origin = str(path)


def test_help_shows_every_default():
    text = " ".join(run_cli("suggest", "--help").out.split())
    for part in ("--seed K seed of random draws [default: 0;", "[default: recommended]", "[default: auto]"):
        assert part in text


def test_help_lists_every_command_with_what_it_does():
    text = " ".join(run_cli("--help").out.split())
    assert all(f"{name} {summary}" in text for name, summary in SUMMARIES.items())


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text(
        'size = "32x32"\nspacing = 4.5\nquiet = true\n'
        '[new]\nannotation = "mask"\nsteps = 6\nlabels = ["1=A", "2=B", "3=C"]\n'
        '[suggest]\nstrategy = "random"\ncount = 2\nmax-per-patient = 1\n',
        encoding="utf-8",
    )
    return path


def test_options_come_from_a_file_and_the_command_line_goes_first(tmp_path, phantom_cohort, settings):
    folder = tmp_path / "study"
    made = run_cli("new", folder, "--cohort", phantom_cohort, "--config", settings, "--steps", "7")
    assert (made.code, "Next" in made.err) == (0, False), made
    study = Study.open(folder)
    assert (study.settings["training"]["steps"], study.settings["stack"]["size"]) == (7, [32, 32])
    assert study.labels.names == {1: "A", 2: "B", 3: "C"}
    asked = json.loads(run_cli("suggest", folder, "--config", settings, "--seed", "3", "--json").out)
    assert asked["strategy"] == "random"
    assert len({request["patient"] for request in asked["requests"]}) == len(asked["requests"]) == 2
    by_hand = run_cli("suggest", folder, "--strategy", "random", "--count", 2, "--max-per-patient", 1, "--seed", 3)
    assert "these are its requests" in by_hand.err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[suggest]\nstrateg = 'random'\n", "no option 'strateg'. Did you mean 'strategy'?"),
        ("stratgy = 'random'\n", "no option 'stratgy'. Did you mean 'strategy'?"),
        ("suggest = 3\n", "'suggest' is not a table"),
        ("[suggest\n", "not a TOML file"),
    ],
)
def test_a_slip_in_the_file_is_bad_input(tmp_path, text, told):
    path = tmp_path / "settings.toml"
    path.write_text(text, encoding="utf-8")
    result = run_cli("suggest", tmp_path, "--count", "1", "--config", path)
    assert (result.code, result.err.startswith("bad input: "), str(path) in result.err) == (2, True, True), result
    assert told in result.err
    assert run_cli("suggest", tmp_path, "--config", tmp_path / "none.toml").code == 2


def test_values_of_a_file_are_checked_like_typed_ones(tmp_path, settings):
    settings.write_text("[suggest]\ncount = 0\n", encoding="utf-8")
    result = run_cli("suggest", tmp_path, "--config", settings)
    assert result.code == 2
    assert "0 is not in the range" in result.err


def test_completion_knows_commands_options_and_strategies():
    def completed(*words):
        asked = {"_ACTIVESEGMENTATION_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words)}
        run = environment() | asked | {"COMP_CWORD": str(len(words) - 1)}
        code = "import sys; from ActiveSegmentationLib.cli.main import main; sys.exit(main())"
        done = subprocess.run([sys.executable, "-c", code], env=run, capture_output=True, text=True, check=False)
        return {line.partition(",")[2] for line in done.stdout.splitlines()}

    assert {"suggest", "status"} <= completed("activesegmentation", "s")
    assert "--max-per-volume" in completed("activesegmentation", "suggest", "--max")
    assert "balanced-random" in completed("activesegmentation", "suggest", "--strategy", "bal")


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo terminals are POSIX's")
@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_for_terminals_that_want_them(tmp_path, variables, coloured):
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "ActiveSegmentationLib", "status", str(tmp_path / "nowhere")]
    kept = {name: value for name, value in environment().items() if name != "NO_COLOR"}
    with subprocess.Popen(command, env=kept | variables, stderr=theirs, stdout=theirs) as process:
        os.close(theirs)
        text = os.read(ours, 10_000).decode()
        os.close(ours)
    assert process.returncode == 2
    assert ("\x1b[" in text) == coloured
    assert "bad input:" in text


def test_redirected_output_has_no_colours():
    for words in (["--help"], ["status", "nowhere"]):
        result = run_cli(*words, process=True)
        assert "\x1b[" not in result.out + result.err
