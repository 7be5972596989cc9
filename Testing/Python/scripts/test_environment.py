"""The two commands: what they install and when, how they share .venv, and what they hand to pytest and the demo."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = ROOT / "scripts"
FILES = [SCRIPTS / name for name in ("_environment.py", "demo.py", "test.py")]
PYPROJECT = (
    '[project]\nname = "x"\nrequires-python = ">=3.11"\ndependencies = ["numpy>=1"]\n[tool.ruff]\nline-length = 1\n'
)

on_posix = pytest.mark.skipif(os.name == "nt", reason="signals and inherited locks are POSIX's")


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


class Offline(environment.Environment):
    """An environment made without pip that only counts installations."""

    made = 0
    installed: list[list[str]]
    outcome = 0

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.installed = []

    def _make(self, lock):
        if self.folder.exists():
            environment.shutil.rmtree(self.folder)
        self.made += 1
        self._write_record({"state": "installing"})
        venv.create(self.folder, with_pip=False, symlinks=os.name != "nt")

    def _run_pip(self, extras, lock, before):
        if self.outcome:
            self._fail("NewConnectionError", before, self.outcome)
        self.installed.append(list(extras))


@pytest.fixture
def root(tmp_path) -> Path:
    folder = tmp_path / "a folder für tests"
    (folder / "scripts").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (folder / "scripts" / "constraints.txt").write_text("numpy==2\n", encoding="utf-8")
    return folder


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


def test_old_python_is_told_what_to_do():
    with pytest.raises(environment.SetupError, match=r"3\.11 or newer is needed; this is 3\.9.*Run: python3\.12 "):
        environment.require_python((3, 9), lambda name: name == "python3.12")
    with pytest.raises(environment.SetupError, match=r"Install one"):
        environment.require_python((3, 10), lambda name: False)
    environment.require_python((3, 11), lambda name: False)
    environment.require_python((4, 0), lambda name: False)


def test_second_time_nothing_is_installed(root):
    first = Offline(root)
    assert first.prepare("test") == first.python
    assert (first.made, first.installed) == (1, [["test"]])
    second = Offline(root)
    second.prepare()
    second.prepare("test")
    assert (second.made, second.installed) == (0, [])


def test_extras_are_added_to_those_there(root):
    Offline(root).prepare("test")
    again = Offline(root)
    again.prepare("more")
    assert (again.made, again.installed) == (0, [["more", "test"]])


@pytest.mark.parametrize(
    ("file", "old", "new", "installs"),
    [
        ("pyproject.toml", "numpy>=1", "numpy>=2", 1),
        ("pyproject.toml", "line-length = 1", "line-length = 2", 0),
        ("scripts/constraints.txt", "2", "3", 1),
    ],
)
def test_installs_again_when_what_is_needed_has_changed(root, file, old, new, installs):
    Offline(root).prepare()
    path = root / file
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    again = Offline(root)
    again.prepare()
    assert (again.made, len(again.installed)) == (0, installs)


def test_moved_repository_is_installed_again(root):
    Offline(root).prepare()
    moved = root.rename(root.with_name("moved"))
    again = Offline(moved)
    again.prepare()
    assert len(again.installed) == 1


@pytest.mark.parametrize("damage", ["killed", "no python", "no configuration", "torn record", "record of another kind"])
def test_half_made_environment_is_made_anew(root, damage):
    first = Offline(root)
    first.prepare()
    record = first.folder / environment.RECORD
    if damage == "killed":
        record.write_text('{"state": "installing"}', encoding="utf-8")
    elif damage == "no python":
        first.python.unlink()
    elif damage == "no configuration":
        record.unlink()
        (first.folder / "pyvenv.cfg").unlink()
    else:
        record.write_text("[]" if damage == "record of another kind" else '{"state"', encoding="utf-8")
    again = Offline(root)
    again.prepare()
    assert (again.made, len(again.installed)) == (1, 1)
    assert json.loads(record.read_text(encoding="utf-8"))["state"] == "ready"


def test_environment_somebody_else_made_is_kept_and_completed(root):
    venv.create(root / ".venv", with_pip=False, symlinks=os.name != "nt")
    adopted = Offline(root)
    adopted.prepare()
    assert (adopted.made, len(adopted.installed)) == (0, 1)


def test_failed_update_keeps_what_was_there(root):
    Offline(root).prepare()
    failing = Offline(root)
    failing.outcome = 1
    with pytest.raises(environment.SetupError, match="could not be reached"):
        failing.prepare("test")
    again = Offline(root)
    again.prepare()
    assert (again.made, again.installed) == (0, [])


def test_killed_update_is_not_trusted(root):
    Offline(root).prepare()
    killed = Offline(root)
    killed.outcome = 128 + 9
    with pytest.raises(environment.SetupError):
        killed.prepare("test")
    again = Offline(root)
    again.prepare()
    assert again.made == 1


@pytest.mark.parametrize(
    ("log", "free", "words"),
    [
        ("OSError: [Errno 28] No space left on device", 10**12, "disk is full"),
        ("something", 10**6, "disk is full"),
        ("NewConnectionError(... Name or service not known)", 10**12, "could not be reached"),
        ("Read timed out.", 10**12, "could not be reached"),
        ("SSLError(SSLCertVerificationError: CERTIFICATE_VERIFY_FAILED)", 10**12, "PIP_CERT"),
        ("No matching distribution found for torch==2.13.0", 10**12, "no build for this Python"),
        ("anything else", 10**12, "message is above"),
    ],
)
def test_failures_of_pip_are_explained(log, free, words):
    assert words in environment.explain_pip(log, free)


def test_python_that_cannot_make_environments_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(environment.SetupError, match=r"sudo apt install python3\.\d+-venv"):
        environment._venv_maker()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in {"venv", "virtualenv"} else None)
    assert environment._venv_maker() == "virtualenv"


def test_variables_that_lead_python_astray_are_dropped(monkeypatch, root):
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setenv("KEPT", "1")
    variables = environment.Environment(root).variables(MORE="2")
    assert "PYTHONPATH" not in variables
    assert variables["KEPT"] == "1"
    assert variables["MORE"] == "2"


def test_exit_code_is_passed_through():
    assert environment.run([sys.executable, "-c", "raise SystemExit(7)"]) == (7, False)


@on_posix
def test_exit_code_of_a_killed_command_names_the_signal():
    code = f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})"
    assert environment.run([sys.executable, "-c", code]).code == 128 + signal.SIGKILL


@on_posix
def test_ctrl_c_lets_the_command_end_in_its_own_way():
    command = "import os, time\ntry:\n print('up', flush=True)\n time.sleep(60)\n"
    command += "except KeyboardInterrupt: os._exit(5)"
    code = f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); import _environment as e\n"
    code += f"done = e.run([sys.executable, '-c', {command!r}]); print(done.code, done.interrupted)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout.readline() == "up\n"
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=60)[0] == "5 True\n"


HOLD = "import sys; sys.path.insert(0, sys.argv[1]); import _environment as e\n"
HOLD += "with e.locked(e.Path(sys.argv[2])) as fd: print('held', flush=True); sys.stdin.readline()"


def test_two_commands_do_not_prepare_at_once(tmp_path):
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLD, str(SCRIPTS), str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with open(path, "a+b") as file:
            assert not environment._try_lock(file.fileno())
        other.communicate("\n")
    with open(path, "a+b") as file:
        assert environment._try_lock(file.fileno())


@on_posix
def test_an_orphaned_installer_keeps_the_lock(tmp_path):
    path = tmp_path / "lock"
    code = HOLD.rpartition("print")[0] + "e.run(['cat'], pass_fds=[fd])"
    command = [sys.executable, "-c", code, str(SCRIPTS), str(path)]
    reading, writing = os.pipe()
    process = subprocess.Popen(command, stdin=reading, stdout=subprocess.PIPE)
    os.close(reading)
    os.write(writing, b"x")
    assert process.stdout.read(1) == b"x"  # cat is up
    process.kill()
    process.wait()
    with open(path, "a+b") as file:
        assert not environment._try_lock(file.fileno())
        os.close(writing)  # ends cat
        assert environment._try_lock(file.fileno(), wait=True)
    process.stdout.close()


def test_problems_become_one_sentence_and_an_exit_code(capsys):
    def fail(arguments):
        raise environment.SetupError("No disk.")

    def stop(arguments):
        raise KeyboardInterrupt

    assert environment.guarded(fail) == 1
    assert capsys.readouterr().err == "error: No disk.\n"
    assert environment.guarded(stop) == 130
    assert environment.guarded(lambda arguments: 4) == 4


def test_every_direct_dependency_has_a_tested_version_within_its_range():
    requirements = pytest.importorskip("packaging.requirements")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    pinned = dict(re.findall(r"(?m)^([\w-]+)==(\S+)$", (SCRIPTS / "constraints.txt").read_text(encoding="utf-8")))
    versions = {name.lower(): version for name, version in pinned.items()}
    for requirement in map(requirements.Requirement, lines):
        assert requirement.specifier.contains(versions[requirement.name.lower()]), requirement


@pytest.fixture
def calls(monkeypatch):
    """Commands that the scripts would run, each a list of words after the Python; nothing is run."""
    seen: list[list[str]] = []

    def record(command, **options):
        seen.append([str(word) for word in command[1:]])
        return environment.Finished(codes.get(seen[-1][1], 0), False)

    codes: dict[str, int] = {}
    for script in (demo_script, test_script):
        monkeypatch.setattr(script, "run", record)
        monkeypatch.setattr(script.Environment, "prepare", lambda self, *extras: self.python)
    monkeypatch.setattr(test_script, "processor_count", lambda: 2)
    monkeypatch.setattr(test_script, "provide_system_libraries", lambda python: None)
    return seen, codes


@pytest.mark.parametrize("root", [True, False])
def test_system_libraries_are_installed_where_allowed_and_otherwise_named(monkeypatch, capsys, root):
    commands: list[list[str]] = []
    monkeypatch.setattr(test_script, "_can_draw", lambda python: False)
    monkeypatch.setattr(test_script, "run", lambda words, **options: commands.append(words))
    monkeypatch.setattr(test_script.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(test_script.os, "geteuid", lambda: 0 if root else 1000)
    monkeypatch.setattr(test_script.sys, "platform", "linux")
    test_script.provide_system_libraries(Path("python"))
    assert bool(commands) == root
    told = capsys.readouterr().err
    assert "will be skipped" in told
    assert "sudo apt-get install -y libegl1" in told


def test_demo_writes_into_the_repository_unless_told_and_passes_options_on(calls):
    seen, codes = calls
    codes["ActiveSegmentationLib"] = 3
    assert demo_script.main([]) == 3
    assert seen.pop() == ["-m", "ActiveSegmentationLib", "demo", "--out", str(ROOT / "demo-output")]
    demo_script.main(["--out", "here", "--seed", "4"])
    assert seen.pop() == ["-m", "ActiveSegmentationLib", "demo", "--out", "here", "--seed", "4"]
    assert demo_script.main(["--setup-only"]) == 0
    assert not seen


def test_all_checks_run_and_the_first_failure_counts(calls):
    seen, codes = calls
    codes.update(ruff=0, mypy=5, pytest=1)
    assert test_script.main([]) == 5
    assert [words[1] for words in seen] == ["ruff", "ruff", "mypy", "pytest"]
    codes.update(mypy=0)
    assert test_script.main([]) == 1
    assert seen[-1] == ["-m", "pytest", "-n", "2", "--dist", "loadfile"]


@pytest.mark.parametrize(
    "arguments", [["-k", "x"], ["Testing/Python/rooms"], ["--no-lint"], ["--lf"], [__file__ + "::a"]]
)
def test_no_lint_for_particular_tests(calls, arguments):
    seen, _ = calls
    test_script.main(arguments)
    assert [words[1] for words in seen] == ["pytest"]


def test_setup_only_and_lint_only(calls):
    seen, codes = calls
    assert test_script.main(["--setup-only"]) == 0
    assert seen == []
    codes["mypy"] = 2
    assert test_script.main(["--lint-only"]) == 2
    assert [words[1] for words in seen] == ["ruff", "ruff", "mypy"]


@pytest.mark.parametrize(
    "arguments", [["-n", "4"], ["-n0"], ["--numprocesses=3"], ["-p", "no:xdist"], ["--pdb"], ["-s"]]
)
def test_the_persons_own_choice_of_processes_stands(arguments):
    assert test_script.parallel_options(arguments, 8) == []


def test_processes_follow_the_processors():
    assert test_script.parallel_options(["-x", "-q"], 1) == []
    assert test_script.parallel_options([], 2) == ["-n", "2", "--dist", "loadfile"]
    assert test_script.parallel_options([], 64)[1] == str(test_script.MOST_WORKERS)


def test_paths_are_found_from_the_persons_folder_and_from_the_repository(tmp_path):
    (tmp_path / "test_x.py").touch()
    assert test_script.located("test_x.py::test_a[b]", tmp_path) == f"{tmp_path / 'test_x.py'}::test_a[b]"
    assert test_script.located("scripts", tmp_path) == str(SCRIPTS)
    assert test_script.located("-x", tmp_path) == "-x"
    assert test_script.located("no such", tmp_path) == "no such"
