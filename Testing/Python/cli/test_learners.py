"""Learners on the command line: listed, chosen for studies and benchmarks, changed between rounds, refused early."""

from __future__ import annotations

import json
import subprocess
import sys

import example_learner
import pytest
from cli_helpers import TINY, environment, run_cli
from example_learner import NAME

from ActiveSegmentationLib import choose_learner, create_study, discover
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation import (
    LEARNERS,
    TRAINING_PRESETS,
    TrainingSettings,
    learner_class,
    learner_names,
)
from ActiveSegmentationLib.study import Study
from ActiveSegmentationLib.study.names import STUDY_STEM


@pytest.fixture(autouse=True)
def example(monkeypatch):
    example_learner.add(monkeypatch)


@pytest.fixture
def new(tmp_path, phantom_cohort):
    """Makes a study with small settings and further options; the result of the command, and the study's folder."""

    def make(*words, annotation="mask"):
        made = run_cli("new", tmp_path / "study", "--cohort", phantom_cohort, "--annotation", annotation, *TINY, *words)
        return made, tmp_path / "study"

    return make


def trained(folder, number):
    """The settings of the models of a round."""
    about = folder / "rounds" / str(number) / "model"
    return [json.loads(path.read_text())["settings"] for path in about.glob("member-*/model.json")]


def do_round(folder):
    assert run_cli("suggest", folder, "--count", "2", "--strategy", "random").code == 0
    assert run_cli("annotate", folder, "--oracle").code == 0
    done = run_cli("train", folder, "--device", "cpu")
    assert done.code == 0, done
    return done


def test_every_learner_is_listed_with_what_it_cannot_do():
    listed = run_cli("learners").out
    assert all(f"\n{name} " in f"\n{listed}" for name in (*LEARNERS, NAME))
    assert "Cannot: loss-head." in listed
    about = {info["name"]: info for info in json.loads(run_cli("learners", "--json").out)}
    assert list(about) == [*LEARNERS, NAME]
    assert (about["unet"]["lacks"], about[NAME]["lacks"]) == ([], ["loss-head"])


def test_one_learner_is_listed_with_its_options():
    listed = run_cli("learners", NAME).out
    assert "width=16  Channels of the finest level;" in listed
    (about,) = json.loads(run_cli("learners", NAME, "--json").out)
    assert about["options"]["dropout"]["default"] == 0.1
    refused = run_cli("learners", "vnet")
    assert (refused.code, "no learner called 'vnet'. Choose one of: unet" in refused.err) == (2, True)


def test_without_torch_learners_are_listed_with_the_line_that_installs_it():
    code = "import sys\nsys.modules['torch'] = None\nfrom ActiveSegmentationLib.cli.main import main\n"
    command = [sys.executable, "-c", f"{code}sys.exit(main(['learners']))"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"Not now: Not installed: torch. Install it: {sys.executable} -m pip install torch" in done.stdout


def test_a_study_keeps_learner_and_options_and_trains_with_them(new):
    made, folder = new("--learner", NAME, "--learner-option", "width=4", "--learner-option", "dropout=0.3")
    assert made.code == 0, made
    training = Study.open(folder).settings["training"]
    assert (training["learner"], training["steps"]) == (NAME, 6)
    assert training["options"] == {"width": 4, "dropout": 0.3}
    do_round(folder)
    assert trained(folder, 1) == [training]


def test_the_preset_of_a_learners_name_is_used_and_another_one_on_request(new, monkeypatch):
    own = TrainingSettings(learner=NAME, batch_size=3, options={"width": 5})
    monkeypatch.setitem(TRAINING_PRESETS, NAME, own)
    made, folder = new("--learner", NAME, "--learner-option", "dropout=0")
    assert made.code == 0, made
    training = Study.open(folder).settings["training"]
    assert training["options"] == {"width": 5, "dropout": 0.0}
    other = ("--training", "vepa2024", "--select", "last")
    told = json.loads(run_cli("settings", folder, *other, "--learner", NAME, "--json").out)
    assert (told["training"]["optimiser"], told["training"]["options"]) == ("sgd", {})
    refused = run_cli("settings", folder, "--training", NAME, "--learner", "unet")
    assert (refused.code, "belongs to the learner 'residual-unet', not to 'unet'" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--learner", "vnet"], "There is no learner called 'vnet'"),
        (["--learner", NAME, "--learner-option", "width"], "'width' is not of the form KEY=VALUE"),
        (["--learner", NAME, "--learner-option", "width=4", "--learner-option", "width=8"], "'width=8' is given twice"),
        (["--learner", NAME, "--learner-option", "width=0"], "'width' must be at least 1, not '0'"),
        (["--learner", NAME, "--learner-option", "depth=2"], "has no option 'depth'. It has: dropout, width."),
        (["--learner-option", "width=2"], "'unet' has no option 'width'. It has none."),
    ],
)
@pytest.mark.parametrize("command", ["new", "benchmark", "demo"])
def test_what_cannot_be_used_is_refused_before_anything_is_made(new, tmp_path, phantom_cohort, command, words, told):
    out = ["--out", tmp_path / "out"]
    if command == "new":
        result, _ = new(*words)
    elif command == "demo":
        result = run_cli("demo", *out, *words)
    else:
        asked = ["--strategies", "random", "--rounds", "2", *out]
        result = run_cli("benchmark", "--cohort", phantom_cohort, *asked, *words)
    assert result.code == 2, result
    assert told in result.err
    assert not list(tmp_path.iterdir())


def test_a_learner_that_needs_masks_is_refused_for_scribbles(new, monkeypatch, tmp_path):
    monkeypatch.setattr(learner_class(NAME), "needs_masks", True)
    made, folder = new("--learner", NAME, annotation="scribble")
    assert (made.code, "cannot learn from scribbles" in made.err, folder.exists()) == (2, True, False)
    assert new(annotation="scribble")[0].code == 0
    changed = run_cli("settings", folder, "--learner", NAME)
    assert (changed.code, "cannot learn from scribbles" in changed.err) == (2, True)


def test_without_validation_masks_the_best_weights_are_refused_before_anything_is_made(new, tmp_path, phantom_cohort):
    made, folder = new("--training", "vepa2024")
    assert (made.code, "keep the last weights (--select last)" in made.err, folder.exists()) == (2, True, False)
    assert new("--training", "vepa2024", "--select", "last")[0].code == 0
    changed = run_cli("settings", folder, "--select", "best")
    assert (changed.code, "no volume to choose the best weights on" in changed.err) == (2, True)
    asked = ["--strategies", "random", "--rounds", "2", "--select", "best", "--out", tmp_path / "out"]
    compared = run_cli("benchmark", "--cohort", phantom_cohort, *asked)
    assert (compared.code, "no volume to choose the best weights on" in compared.err) == (2, True)


def test_a_package_that_is_missing_is_named_with_the_line_that_installs_it(new, monkeypatch):
    entry = LEARNERS["unet"]
    far = type(entry)(("nowhere", "Learner"), "Far.", packages={"no_such_module": "no-such-package"})
    monkeypatch.setitem(LEARNERS, "far", far)
    made, _ = new("--learner", "far")
    assert made.code == 2
    assert f"Install it: {sys.executable} -m pip install no-such-package" in made.err
    assert "Not now: Not installed: no-such-package." in run_cli("learners").out


def test_options_of_a_learner_come_from_a_file(tmp_path, phantom_cohort):
    path = tmp_path / "settings.toml"
    text = (
        f'learner = "{NAME}"\nlearner-option = ["width=4", "dropout=0.5"]\nsize = "32x32"\n[new]\nannotation = "mask"\n'
    )
    path.write_text(text, encoding="utf-8")
    made = run_cli("new", tmp_path / "study", "--cohort", phantom_cohort, "--config", path)
    assert made.code == 0, made
    assert Study.open(tmp_path / "study").settings["training"]["options"] == {"width": 4, "dropout": 0.5}


def test_a_study_changes_its_learner_between_rounds_and_says_so(new):
    made, folder = new("--warm-start")
    assert made.code == 0, made
    do_round(folder)
    changed = run_cli(
        "settings", folder, "--learner", NAME, "--learner-option", "width=4", "--steps", "5", "--warm-start"
    )
    assert changed.code == 0, changed
    assert f"learner          {NAME}  (was unet)" in changed.out
    assert "options          width=4  (was none)" in changed.out
    listed = {info["name"]: info["hindrance"] for info in json.loads(run_cli("strategies", folder, "--json").out)}
    assert listed["learning-loss"]  # needs a head that the next model cannot have
    assert not listed["coreset"]
    done = do_round(folder)
    assert "No warm start: the model of the round before was trained by the learner 'unet'" in done.err
    assert [about["learner"] for about in trained(folder, 2)] == [NAME]
    assert "learner" not in trained(folder, 1)[0]
    third = do_round(folder)
    assert "warm start" not in third.err
    study = Study.open(folder)
    records = [study.requests.read_record(number, "config") for number in (1, 2, 3)]
    assert [record["started from"] for record in records] == [None, None, records[1]["model"]]
    assert run_cli("audit", folder).code == 0
    events = [json.loads(line) for line in (folder / "audit" / f"{STUDY_STEM}.jsonl").read_text().splitlines()]
    (event,) = [event for event in events if event["event"] == "settings"]
    assert event["sections"]["training"]["learner"] == NAME
    assert run_cli("predict", folder, "--out", folder.parent / "labels", "--device", "cpu").code == 0


def test_settings_are_shown_and_single_ones_change(new):
    _, folder = new("--learner", NAME, "--learner-option", "width=4")
    before = (folder / "study.json").read_bytes()
    shown = run_cli("settings", folder).out
    assert shown.startswith(f"learner          {NAME}\noptions          width=4\nsteps            6\n")
    assert (folder / "study.json").read_bytes() == before
    again = run_cli("settings", folder, "--learner", NAME, "--steps", "7", "--models", "2")
    assert "steps            7  (was 6)" in again.out
    settings = Study.open(folder).settings
    assert (settings["training"]["options"], settings["members"]) == ({"width": 4}, 2)
    assert run_cli("settings", folder, "--learner-option", "dropout=0.2").code == 0
    assert Study.open(folder).settings["training"]["options"] == {"width": 4, "dropout": 0.2}
    assert run_cli("settings", folder, "--learner", "unet").code == 0
    assert Study.open(folder).settings["training"] == TRAINING_PRESETS["default"].to_json()


def test_strategies_that_need_what_the_learner_lacks_are_refused(new, tmp_path, phantom_cohort):
    made, folder = new("--learner", NAME, "--learner-option", "width=4", "--learner-option", "dropout=0")
    assert made.code == 0, made
    listed = {info["name"]: info["hindrance"] for info in json.loads(run_cli("strategies", folder, "--json").out)}
    assert listed["learning-loss"].startswith("Needs a model that learns to predict its loss")
    assert listed["bald"].startswith("Needs models with dropout")
    assert (listed["entropy"], listed["badge"], listed["recommended"]) == ("", "", "")
    refused = run_cli("suggest", folder, "--count", "2", "--strategy", "balanced:learning-loss")
    assert (refused.code, "which this learner cannot: choose another learner" in refused.err) == (2, True)
    asked = ["--strategies", "random,learning-loss", "--rounds", "2", "--learner", NAME, "--out", tmp_path / "out"]
    compared = run_cli("benchmark", "--cohort", phantom_cohort, *asked)
    assert (compared.code, "which this learner cannot: choose another learner" in compared.err) == (2, True)


def test_the_python_functions_choose_learners_too(tmp_path, phantom_cohort):
    cohort = discover(phantom_cohort)
    study = create_study(tmp_path / "study", cohort, learner=NAME, learner_options={"width": 4})
    assert study.settings["training"]["options"] == {"width": 4}
    choose_learner(study, "unet")
    assert "learner" not in study.settings["training"]
    with pytest.raises(BadInput, match="'width' must be at least 1"):
        choose_learner(study.folder, NAME, {"width": 0})
    with pytest.raises(BadInput, match="'width' must be a whole number"):
        create_study(tmp_path / "other", cohort, learner=NAME, learner_options={"width": "4"})
    assert not (tmp_path / "other").exists()
    assert "learner" not in study.settings["training"]


def test_the_shell_completes_learners():
    asked = {"_ACTIVESEGMENTATION_COMPLETE": "bash_complete", "COMP_CWORD": "3"}
    code = "import sys; from ActiveSegmentationLib.cli.main import main; sys.exit(main())"
    run = environment() | asked | {"COMP_WORDS": "activesegmentation new --learner une"}
    done = subprocess.run([sys.executable, "-c", code], env=run, capture_output=True, text=True, check=False)
    completed = {name for name in learner_names() if name.startswith("une")}
    assert "unet" in completed
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == completed
