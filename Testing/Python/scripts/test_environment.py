"""scripts/demo.py and scripts/test.py: what they install and when, which commands they run, how they end."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPTS = ROOT / "scripts"
FILES = [SCRIPTS / name for name in ("_environment.py", "demo.py", "test.py")]

on_posix = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")


def load(name: str):
    """A script as a module."""
    if str(SCRIPTS) not in sys.path:
        sys.path.insert(0, str(SCRIPTS))
    spec = importlib.util.spec_from_file_location(f"script_{name}", SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


demo_script = load("demo")
import _environment as environment  # noqa: E402  (found through the path that load() adds)

test_script = load("test")


def test_the_scripts_stay_short():
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in FILES) < 200


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_scripts_parse_on_old_pythons_and_start_with_the_standard_library(path):
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
    for node in ast.walk(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name.partition(".")[0] in {*sys.stdlib_module_names, "_environment"}


def test_modules_newer_than_python_3_8_are_imported_late():
    tree = ast.parse((SCRIPTS / "_environment.py").read_text(encoding="utf-8"))
    assert "tomllib" not in {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}


def test_an_old_python_is_told_what_is_needed(monkeypatch):
    monkeypatch.setattr(environment.sys, "version_info", (3, 9, 1))
    with pytest.raises(SystemExit, match=r"Python 3\.11 or newer is needed; this is"):
        environment.prepare()


class Repository:
    """A repository whose environment is made for real, and whose pip only counts installations."""

    def __init__(self, root: Path, monkeypatch) -> None:
        self.root = root
        self.made = 0
        self.installed: list[str] = []
        self.code = 0
        monkeypatch.setattr(environment, "run", self.run)
        self.real = environment.subprocess.run
        self.at(root, monkeypatch)

    def at(self, root: Path, monkeypatch) -> None:
        folder = root / ".venv"
        monkeypatch.setattr(environment, "ROOT", root)
        monkeypatch.setattr(environment, "FOLDER", folder)
        monkeypatch.setattr(
            environment, "PYTHON", folder / environment.PYTHON.relative_to(environment.PYTHON.parents[1])
        )

    def run(self, *command, **options) -> int:
        words = [str(word) for word in command]
        if "venv" in words:
            self.made += 1
            shutil.rmtree(words[-1], ignore_errors=True)
            venv.create(words[-1], with_pip=False, symlinks=os.name != "nt")
            return self.code
        if "install" in words:
            self.installed.append(words[-1])
            return self.code
        code = words[-1].replace(", pip", "")  # installing pip takes seconds
        return self.real([words[0], "-c", code], check=False, stderr=subprocess.DEVNULL).returncode


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Repository:
    root = tmp_path / "a folder für tests"
    (root / "scripts").mkdir(parents=True)
    text = '[build-system]\nrequires = ["setuptools"]\n[project]\nname = "x"\ndependencies = ["numpy>=1"]\n'
    (root / "pyproject.toml").write_text(text + "[tool.ruff]\nline-length = 1\n", encoding="utf-8")
    (root / "scripts" / "constraints.txt").write_text("numpy==2\n", encoding="utf-8")
    return Repository(root, monkeypatch)


def test_second_time_nothing_is_installed(repository):
    environment.prepare("test")
    assert (repository.made, repository.installed) == (1, [".[test]"])
    environment.prepare("test")
    environment.prepare()
    assert (repository.made, repository.installed) == (1, [".[test]"])


def test_an_extra_is_added_to_what_is_there(repository):
    environment.prepare()
    environment.prepare("test")
    assert (repository.made, repository.installed) == (1, [".", ".[test]"])


@pytest.mark.parametrize(
    ("file", "old", "new", "installs"),
    [
        ("pyproject.toml", "numpy>=1", "numpy>=2", 2),
        ("pyproject.toml", "line-length = 1", "line-length = 2", 1),
        ("scripts/constraints.txt", "2", "3", 2),
    ],
)
def test_installs_again_when_what_is_needed_has_changed(repository, file, old, new, installs):
    environment.prepare()
    path = repository.root / file
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    environment.prepare()
    assert (repository.made, len(repository.installed)) == (1, installs)


def test_a_moved_repository_is_installed_again(repository, monkeypatch):
    environment.prepare()
    repository.at(repository.root.rename(repository.root.with_name("moved")), monkeypatch)
    environment.prepare()
    assert len(repository.installed) == 2


def test_an_environment_without_python_is_made_anew(repository):
    environment.prepare()
    environment.PYTHON.unlink()
    environment.prepare()
    assert (repository.made, len(repository.installed)) == (2, 2)


def test_an_environment_somebody_else_made_is_kept_and_completed(repository):
    venv.create(environment.FOLDER, with_pip=False, symlinks=os.name != "nt")
    environment.prepare()
    assert (repository.made, len(repository.installed)) == (0, 1)


@pytest.mark.parametrize(("code", "made"), [(1, 1), (128 + 9, 2)])
def test_a_failed_installation_is_tried_again_and_a_killed_one_starts_anew(repository, code, made):
    environment.prepare()
    pyproject = repository.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text(encoding="utf-8").replace("numpy>=1", "numpy>=2"), encoding="utf-8")
    repository.code = code
    with pytest.raises(SystemExit, match="Only the first run needs a network"):
        environment.prepare()
    repository.code = 0
    environment.prepare()
    assert (repository.made, len(repository.installed)) == (made, 3)
    environment.prepare()
    assert len(repository.installed) == 3


def test_without_venv_the_message_says_what_to_install(repository):
    repository.code = 1
    with pytest.raises(SystemExit, match=r"sudo apt install python3\.\d+-venv"):
        environment.prepare()
    assert not environment.FOLDER.exists()


def test_variables_that_lead_python_astray_are_dropped(monkeypatch, capfd):
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setenv("KEPT", "1")
    code = "import os; print(*(os.environ.get(name) for name in ('PYTHONPATH', 'KEPT', 'MORE', 'PYTHONUTF8')))"
    assert environment.run(sys.executable, "-c", code, env={"MORE": "2"}) == 0
    assert capfd.readouterr().out.split() == ["None", "1", "2", "1"]


def test_exit_code_is_passed_through():
    assert environment.run(sys.executable, "-c", "raise SystemExit(7)") == 7


@on_posix
def test_exit_code_of_a_killed_command_names_the_signal():
    code = f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})"
    assert environment.run(sys.executable, "-c", code) == 128 + signal.SIGKILL


@on_posix
def test_ctrl_c_lets_the_command_end_in_its_own_way():
    command = "import os, time\ntry:\n print('up', flush=True)\n time.sleep(60)\n"
    command += "except KeyboardInterrupt: os._exit(5)"
    code = f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); import _environment as e\n"
    code += f"print(e.run(sys.executable, '-c', {command!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout.readline() == "up\n"
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=60)[0] == "5\n"


NOT_INSTALLED = {"mlflow-skinny"}
"""Packages that have many dependencies and are not installed for the tests; what needs them is skipped."""


def test_every_direct_dependency_has_a_tested_version_within_its_range():
    requirements = pytest.importorskip("packaging.requirements")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    pinned = dict(re.findall(r"(?m)^([\w-]+)==(\S+)$", (SCRIPTS / "constraints.txt").read_text(encoding="utf-8")))
    versions = {name.lower(): version for name, version in pinned.items()}
    direct = [requirements.Requirement(line) for line in lines]
    assert {one.name.lower() for one in direct} - versions.keys() == NOT_INSTALLED
    for one in direct:
        assert one.name in NOT_INSTALLED or one.specifier.contains(versions[one.name.lower()]), one


@pytest.fixture
def calls(monkeypatch):
    """Commands that the scripts would run, each a list of words after the Python; nothing is run."""
    seen: list[list[str]] = []
    codes: dict[str, int] = {}

    def record(*command, **options):
        seen.append([str(word) for word in command[1:]])
        return codes.get(seen[-1][1], 0)

    for script in (demo_script, test_script):
        monkeypatch.setattr(script, "run", record)
        monkeypatch.setattr(script, "prepare", lambda *extras: None)
    monkeypatch.setattr(test_script, "provide_system_packages", lambda: seen.append(["system", "packages"]))
    return seen, codes


@pytest.mark.parametrize("root", [True, False])
def test_system_packages_are_announced_with_the_reason_and_installed_where_allowed(monkeypatch, capsys, root):
    commands: list[tuple] = []
    monkeypatch.setattr(test_script, "_draws", lambda: False)
    monkeypatch.setattr(test_script, "run", lambda *words, **options: commands.append((words, capsys.readouterr().err)))
    monkeypatch.setattr(test_script.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(test_script.os, "geteuid", lambda: 0 if root else 1000)
    monkeypatch.setattr(test_script.sys, "platform", "linux")
    test_script.provide_system_packages()
    assert bool(commands) == root
    if root:
        announced = commands[0][1].splitlines()
        assert len(announced) == 1
        assert "libegl1" in announced[0]
        assert "the Slicer module's tests draw with them (--no-system-packages: do not)" in announced[0]
        assert commands[1][0][:4] == ("apt-get", "install", "-y", "libegl1")
    told = capsys.readouterr().err
    assert "are skipped" in told
    assert "sudo apt-get install -y libegl1" in told


def test_system_packages_can_be_left_out(calls):
    seen, _ = calls
    test_script.main(["--setup-only"])
    assert seen.pop() == ["system", "packages"]
    test_script.main(["--setup-only", "--no-system-packages"])
    test_script.main(["--lint-only"])
    assert ["system", "packages"] not in seen


def test_demo_writes_into_the_repository_by_default_and_passes_options_on(calls):
    seen, codes = calls
    codes["ActiveSegmentationLib"] = 3
    assert demo_script.main([]) == 3
    assert seen.pop() == ["-m", "ActiveSegmentationLib", "demo", "--out", str(ROOT / "demo-output")]
    demo_script.main(["--out", "here", "--seed", "4"])
    assert seen.pop() == ["-m", "ActiveSegmentationLib", "demo", "--out", "here", "--seed", "4"]
    assert demo_script.main(["--setup-only"]) == 0
    assert not seen


def test_all_checks_run_and_lint_is_reported_first(calls):
    seen, codes = calls
    codes.update(ruff=0, mypy=5, pytest=1)
    assert test_script.main([]) == 5
    assert [words[1] for words in seen] == ["packages", "ruff", "ruff", "mypy", "pytest"]
    codes.update(mypy=0)
    assert test_script.main([]) == 1
    assert seen[-1] == ["-m", "pytest", "-n", "auto", "--maxprocesses", "4", "--dist", "loadfile"]


@pytest.mark.parametrize("arguments", [["-k", "x"], ["Testing/Python/rooms"], ["--no-lint"], [__file__ + "::a"]])
def test_no_lint_for_particular_tests(calls, arguments):
    seen, _ = calls
    test_script.main(arguments)
    assert [words[1] for words in seen] == ["packages", "pytest"]


def test_options_of_pytest_come_after_ours(calls):
    seen, _ = calls
    test_script.main(["--no-lint", "-n", "0", "-x", "-m", "not slow"])
    assert seen[-1][-5:] == ["-n", "0", "-x", "-m", "not slow"]


@pytest.mark.parametrize("arguments", [["-p", "no:xdist"], ["--pdb"], ["-s"]])
def test_what_needs_one_process_gets_one(calls, arguments):
    seen, _ = calls
    test_script.main(arguments)
    assert seen[-1] == ["-m", "pytest", *arguments]


def test_setup_only_and_lint_only(calls):
    seen, codes = calls
    assert test_script.main(["--setup-only"]) == 0
    assert seen == [["system", "packages"]]
    codes["mypy"] = 2
    assert test_script.main(["--lint-only"]) == 2
    assert [words[1] for words in seen[1:]] == ["ruff", "ruff", "mypy"]


def test_paths_are_found_from_the_persons_folder_and_from_the_repository(calls, tmp_path, monkeypatch):
    seen, _ = calls
    monkeypatch.setattr(test_script, "HERE", tmp_path)
    (tmp_path / "test_x.py").touch()
    test_script.main(["test_x.py::test_a[b]", "Testing/Python/rooms"])
    assert seen[-1][-2:] == [f"{tmp_path / 'test_x.py'}::test_a[b]", "Testing/Python/rooms"]


def test_the_check_of_the_repository_passes_options_on(tmp_path):
    """.ci/run calls scripts/test.py; a fake python3 shows with what."""
    shell = shutil.which("bash")
    if shell is None or os.name == "nt":
        pytest.skip("this check is a bash script")
    (tmp_path / "python3").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "python3").chmod(0o755)
    paths = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"

    def calls(*options):
        command = [shell, str(ROOT / ".ci" / "run"), *options]
        done = subprocess.run(command, env={**os.environ, "PATH": paths}, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    tests = str(ROOT / "scripts" / "test.py")
    assert calls("--no-lint", "-k", "a b") == [tests, "--no-lint", "-k", "a b"]
    assert calls() == [tests, str(ROOT / "scripts" / "check_packages.py")]
