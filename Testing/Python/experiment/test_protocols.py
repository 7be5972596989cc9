"""Protocol files: what they may say, how they are refused, and that each of ours runs."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

import pytest
from smallest_protocol import SMALLEST

from ActiveSegmentationLib.cli.main import main
from ActiveSegmentationLib.cohort import Role, discover, with_roles, write_phantom
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.evaluation import read_requests_csv, read_results_csv
from ActiveSegmentationLib.experiment import (
    ExperimentOptions,
    find_protocol,
    protocol_names,
    protocol_run,
    read_protocol,
    reporting,
    run_experiment,
    show_text,
)
from ActiveSegmentationLib.experiment.parts import split_cohorts, with_copies
from ActiveSegmentationLib.experiment.protocol_arms import loop_settings_of, training_of, unusable_learners
from ActiveSegmentationLib.experiment.protocol_settings import FIELDS, ArmSettings, Splits
from ActiveSegmentationLib.segmentation import TrainingSettings

CLAIMS = Path(__file__).parents[3] / "Testing" / "Benchmarks" / "claims"

OWN = (
    """
title = "Mine"

[experiment]
strategies = ["random", "strided"]
rounds = [2, 4]"""
    + SMALLEST
    + """

[arms.masks]

[arms.scribbles]
annotation = "scribble"
training_settings = { steps = 3 }

[scales.small]
about = "Less."
experiment = { rounds = [2], training_settings = { batch_size = 1 } }
arms = { scribbles = { seeds = [7] } }
"""
)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    root = tmp_path_factory.mktemp("protocols") / "acdc"
    write_phantom(root, patients=7, phases=("ED",), slices=4, size=(48, 48))
    parts = {Role.TEST: ("patient007",), Role.VALIDATION: ("patient006",)}
    return with_roles(discover(root), parts | {Role.POOL: [f"patient00{n}" for n in range(1, 6)]})


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(OWN, encoding="utf-8")
    return path


def edited(path: Path, before: str, after: str) -> Path:
    assert before in OWN
    path.write_text(OWN.replace(before, after), encoding="utf-8")
    return path


def test_a_scale_changes_the_experiment_then_the_arm_and_nothing_else(own):
    protocol = read_protocol(own)
    full, small = protocol.arms(), protocol.arms("small")
    assert full["scribbles"].training_settings == {"steps": 3, "batch_size": 2, "features": [4, 4, 4, 4, 4]}
    assert small["scribbles"].training_settings == {"steps": 3, "batch_size": 1, "features": [4, 4, 4, 4, 4]}
    assert (small["masks"].rounds, small["masks"].seeds, small["scribbles"].seeds) == ((2,), (0,), (7,))
    assert (full["masks"].annotation, full["scribbles"].annotation) == ("mask", "scribble")
    assert training_of(small["scribbles"]).batch_size == 1
    assert loop_settings_of(full["masks"]).stack.size == (32, 32)
    text = show_text(protocol, "small")
    assert "rounds: 2, 4 -> 2" in text
    assert "seeds: 0 -> 7 (scribbles)" in text
    assert all(f"  {name} = " in text for name in FIELDS)


def test_steps_of_an_experiment_replace_the_epochs_and_minutes_of_a_preset():
    for learner, wanted in (("resnet50-unet", (200, 20)), ("auto", (200, TrainingSettings().validate_every))):
        found = training_of(ArmSettings(learner=learner, training_settings={"steps": 200}))
        assert (found.epochs, found.minutes) == (0, 0.0)
        assert (found.steps, found.validate_every) == wanted
    assert training_of(ArmSettings(learner="resnet50-unet")).epochs == 50


def test_every_field_is_explained_also_on_its_page():
    assert set(FIELDS) == set(ArmSettings().to_json())
    page = (Path(__file__).parents[3] / "docs" / "protocols.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` | {text} |" in page for name, text in {**FIELDS, **Splits.meanings()}.items())


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("rounds = [2, 4]", 'rounds = ["2 percent"]', r"\[experiment\]: 'rounds'"),
        ("rounds = [2, 4]", "rouns = [2, 4]", r"\[experiment\]: There is no field 'rouns'. Did you mean 'rounds'"),
        ("seeds = [7]", "seeds = [-1]", r"\[scales.small.arms.scribbles\]: 'seeds' must be at least 0"),
        ('annotation = "scribble"', 'annotation = "box"', r"\[arms.scribbles\]: 'annotation' must be one of mask"),
        ("arms = { scribbles", "arms = { boxes", r"\[scales.small\]: There is no arm 'boxes'"),
        ('about = "Less."', "", "'scales.small.about'|about"),
        ("[scales.small]", "[scales.paper]", "'paper' is the file as it is"),
        ("[arms.masks]", '[arms."a b"]', "'a b' cannot be the name of an arm"),
        ('title = "Mine"', "title = Mine", "not a TOML file"),
        ('title = "Mine"', 'titel = "Mine"', "titel"),
        ('"random", "strided"', '"random", "random"', "'strategies' names something twice"),
    ],
)
def test_mistakes_are_named_by_file_table_and_field(own, before, after, message):
    with pytest.raises(BadInput, match=message) as found:
        read_protocol(edited(own, before, after))
    assert "mine.toml" in str(found.value)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"random", "strided"', '"random", "strange"', "strange"),
        ("steps = 3", "learner_ = 1", "learner_"),
        ('metrics = ["dice"]', 'metrics = ["dize"]', "dize"),
        (
            'metrics = ["dice"]',
            'learner = "dream"',
            "2 of 2 arms cannot be run here. masks: There is no learner called 'dream'",
        ),
        ('annotation = "scribble"', 'learner = "dream"', "Run only the other arms with --arms masks"),
    ],
)
def test_what_cannot_run_is_refused_before_any_work(own, cohort, tmp_path, before, after, message):
    options = ExperimentOptions(read_protocol(edited(own, before, after)), "paper", cohort, "c", tmp_path / "out")
    with pytest.raises(BadInput, match=re.escape(message)):
        run_experiment(options)
    assert not (tmp_path / "out").exists()


def test_options_of_a_learner_go_with_it():
    protocol = find_protocol("foellmer-main")
    assert protocol.arms()["all"].learner_options == {"dropout": 0.01}
    assert protocol.arms("small")["all"].learner_options == {}


def test_options_of_a_learner_go_with_its_preset_too(tmp_path):
    path = tmp_path / "two.toml"
    options = 'training = "auto"\nlearner_options = { unlabelled = 0 }'
    path.write_text(
        OWN.replace("rounds = [2, 4]", f"rounds = [2, 4]\n{options}").replace(
            'annotation = "scribble"', 'training = "unet3d"'
        ),
        encoding="utf-8",
    )
    arms = read_protocol(path).arms()
    assert arms["masks"].learner_options == {"unlabelled": 0}
    assert arms["scribbles"].learner_options == {}


@pytest.mark.parametrize("path", sorted(CLAIMS.glob("acdc*.toml")) + sorted(CLAIMS.glob("hippocampus*.toml")), ids=str)
def test_the_protocols_of_the_claims_can_be_run(path):
    assert not unusable_learners(read_protocol(path).arms())


@pytest.mark.parametrize("claim", tomllib.loads((CLAIMS / "claims.toml").read_text())["claim"], ids=lambda c: c["text"])
def test_claims_compare_what_their_protocols_run(claim):
    arms = read_protocol(CLAIMS / f"{claim['results']}.toml").arms()
    for side in (claim["first"], claim["second"]):
        found = {"strategy": side} if isinstance(side, str) else side
        arm = arms[found.get("arm", next(iter(arms)))]
        assert found["strategy"] in arm.strategies
        assert found.get("slices", arm.rounds[-1]) in arm.rounds


def test_names_and_scales_that_do_not_exist(own):
    with pytest.raises(BadInput, match="Did you mean 'gaillochet-main'"):
        find_protocol("gaillochet-mane")
    with pytest.raises(BadInput, match=r"no scale 'huge'.*small, paper"):
        read_protocol(own).arms("huge")


def test_an_own_file_runs_resumes_and_keeps_to_its_folder(own, cohort, tmp_path):
    options = ExperimentOptions(read_protocol(own), "paper", cohort, "heart", tmp_path / "out", device="cpu")
    outcome = run_experiment(options)
    rows = read_results_csv(tmp_path / "out" / "results.csv")
    assert {(row.cohort, row.strategy) for row in rows} == {
        (f"heart, {arm}", strategy) for arm in ("masks", "scribbles") for strategy in ("random", "strided")
    }
    report = outcome.report.read_text(encoding="utf-8")
    assert "% of the time for all masks" in report  # scribbles and masks are compared
    assert (tmp_path / "out" / "arms" / "scribbles" / "report.html").is_file()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("round-*.json")}
    run_experiment(options)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("round-*.json")} == before
    edited(own, "rounds = [2, 4]", "rounds = [2, 5]")
    with pytest.raises(BadInput, match="another version of this protocol"):
        run_experiment(ExperimentOptions(read_protocol(own), "paper", cohort, "heart", tmp_path / "out"))


def test_initial_sets_and_seeds_apart_become_further_seeds(own, cohort, tmp_path):
    edited(own, 'metrics = ["dice"]', 'metrics = ["dice"]\ninitial_seeds = [3, 4]\nseeds = [0, 5]')
    options = ExperimentOptions(read_protocol(own), "paper", cohort, "c", tmp_path / "out", arms=("masks",))
    run_experiment(options)
    rows = read_results_csv(tmp_path / "out" / "results.csv")
    assert {row.seed for row in rows} == {0, 5, 6, 11}
    first = {
        seed: [
            (r.volume, r.slice)
            for r in read_requests_csv(tmp_path / "out" / "requests.csv")
            if (r.seed, r.strategy, r.round) == (seed, "random", 1)
        ]
        for seed in (0, 5, 6, 11)
    }
    assert first[0] == first[5] != first[6] == first[11]


def test_holdouts_and_folds_cut_by_patient(cohort):
    parts = split_cohorts(cohort, Splits(kind="holdout", count=4, validation=0.1, test=0.3))
    assert list(parts) == ["holdout-1", "holdout-2", "holdout-3", "holdout-4"]
    for part in parts.values():
        roles = {}
        for volume in part.volumes:
            assert roles.setdefault(volume.patient, volume.role) == volume.role
        assert sorted(list(roles.values()).count(role) for role in Role) == [1, 2, 4]
    assert len({tuple(v.role for v in part.volumes) for part in parts.values()}) > 1
    folds = split_cohorts(cohort, Splits(kind="fold", count=3)).values()
    tested = [{v.patient for v in fold.volumes if v.role == Role.TEST} for fold in folds]
    assert set.union(*tested) == {v.patient for v in cohort.volumes}
    assert sum(map(len, tested)) == 7
    assert list(split_cohorts(cohort, Splits(kind="fold", count=5, used=2))) == ["fold-1", "fold-2"]
    with pytest.raises(BadInput, match="7 patients with masks are too few"):
        split_cohorts(cohort, Splits(kind="fold", count=8))
    with pytest.raises(BadInput, match="leave patients for the pool"):
        Splits(kind="holdout", count=2, validation=0.5, test=0.5)


def test_copies_are_volumes_of_one_patient(cohort):
    copied = with_copies(cohort, 3)
    new = [volume for volume in copied.volumes if volume.id not in {v.id for v in cohort.volumes}]
    assert len({volume.id for volume in new}) == 3
    assert {volume.patient for volume in new} == {"patient001"}


DRAWN = ("ozdemir-slices", "vepa-weak")
"""Protocols whose figures and reports are made in the test below: repetitions and upper bound, diagnostics."""


@pytest.mark.parametrize("name", protocol_names())
def test_each_protocol_runs_at_the_smallest_scale(name, cohort, tmp_path, monkeypatch):
    protocol = find_protocol(name)
    if name not in DRAWN:  # drawing takes longer than everything else at this scale
        for module in (protocol_run, reporting):
            for name_of in ("write_figures", "write_report"):
                monkeypatch.setattr(module, name_of, lambda *_: [])
    assert {"tiny", "small", "medium", "paper"} == set(protocol.scales)
    assert all(protocol.scale(scale).about for scale in protocol.scales)
    missing = unusable_learners(protocol.arms("tiny"))
    if missing:
        pytest.skip(f"{name} needs what is not here: {missing}")
    outcome = run_experiment(ExperimentOptions(protocol, "tiny", cohort, "phantom", tmp_path / "out", device="cpu"))
    arms = protocol.arms("tiny")
    rows = read_results_csv(tmp_path / "out" / "results.csv")
    for arm, settings in arms.items():
        own = [row for row in rows if row.cohort == ("phantom" if len(arms) == 1 else f"phantom, {arm}")]
        assert {row.strategy for row in own} - {"upper-bound"} == set(settings.strategies)
        assert {row.round for row in own} == set(range(1, len(settings.rounds) + 1))
    assert outcome.table
    if name in DRAWN:
        assert outcome.report.stat().st_size > 10_000
        drawn = {path.name for path in (tmp_path / "out" / "figures").glob("*.png")}
        assert {"clusters.png", "agreement-1.png"} <= drawn if name == "vepa-weak" else len(drawn) >= 2
    shutil.rmtree(tmp_path / "out")


def test_the_command_line_lists_shows_and_runs(own, tmp_path, capsys):
    assert main(["experiment", "list", "--quiet"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in protocol_names())
    assert main(["experiment", "show", str(own), "--scale", "small", "--quiet"]) == 0
    assert "Other scales: paper." in capsys.readouterr().out
    assert main(["experiment", "run", "nothing", "--cohort", "x", "--out", "y"]) == 2
    assert "There is no experiment called 'nothing'" in capsys.readouterr().err
    root = tmp_path / "cohort"
    write_phantom(root, patients=4, slices=3, size=(48, 48))
    words = ["--cohort", str(root), "--out", str(tmp_path / "out"), "--arms", "masks", "--device", "cpu", "--quiet"]
    assert main(["experiment", "run", str(own), *words]) == 0
    assert "random" in capsys.readouterr().out


def test_a_file_without_scales_is_run_as_it_is(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(
        'title = "Own"\n[experiment]\nstrategies = ["random"]\nrounds = [2]\nseeds = [0]\n', encoding="utf-8"
    )
    assert read_protocol(path).usual_scale == "paper"
    assert find_protocol("gaillochet-main").usual_scale == "small"
