"""A study and an experiment trained for a budget of time: measured once, recorded, the same after an interruption."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from ActiveSegmentationLib.cohort import AnnotationKind, Role, StackSettings, discover, with_roles
from ActiveSegmentationLib.common.errors import Cancelled
from ActiveSegmentationLib.common.files import read_json
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.experiment import BenchmarkOptions, OracleAnnotator, run_benchmark
from ActiveSegmentationLib.loop import LoopSettings, StudyLoop
from ActiveSegmentationLib.segmentation import TrainingSettings, network_learner
from ActiveSegmentationLib.study import Study, label_set_for

ASKED = TrainingSettings(learner="auto", minutes=0.1)


@pytest.fixture(autouse=True)
def measured(monkeypatch):
    """Measurements of a step, each slower than the one before; six seconds hold 6, 3, 2, ... steps."""
    found: list[float] = []

    def seconds_per_step(training) -> float:
        found.append(1.0 + len(found))
        return found[-1]

    monkeypatch.setattr(network_learner, "FEWEST_STEPS", 1)
    monkeypatch.setattr(network_learner, "seconds_per_step", seconds_per_step)
    return found


@pytest.fixture
def cohort(tmp_path, phantom_cohort):
    shutil.copytree(phantom_cohort, tmp_path / "cohort")
    return discover(tmp_path / "cohort")


@pytest.fixture
def settings():
    return LoopSettings(stack=StackSettings(spacing=4.5, size=(32, 32)), training=ASKED)


@pytest.fixture
def loop(tmp_path, cohort, settings):
    labels = label_set_for(cohort, None)
    study = Study.create(tmp_path / "study", cohort, labels, AnnotationKind.MASK, settings=settings.to_json())
    loop = StudyLoop(study, device="cpu")
    asked = loop.suggest(3, "strided")
    oracle = OracleAnnotator(loop.stack, AnnotationKind.MASK)
    study.commit(oracle.annotate([r.slice for r in asked.requests], 1))
    return loop


class _Stops(Progress):
    """Cancels when a training has done two steps."""

    def __init__(self) -> None:
        super().__init__(lambda: self.done)
        self.done = False

    def show(self, stage, done, total, **values):
        self.done = self.done or (stage.startswith("Training") and done == 2)


def test_a_training_that_was_stopped_keeps_its_number_of_steps(loop, measured):
    loop.compute = replace(loop.compute, progress=_Stops())
    with pytest.raises(Cancelled):
        loop.train()
    loop.compute = replace(loop.compute, progress=Progress())
    _, model = loop.train(ensemble_members=2)
    assert [member.settings.steps for member in model.members] == [6, 6]
    assert measured == [1.0]


def test_the_record_of_the_round_says_what_was_decided_and_repeats_it(loop, measured):
    _, model = loop.train()
    record = read_json(loop.study.folder / "rounds" / "1" / "config.json")
    assert record["settings"]["training"] == json.loads(json.dumps(ASKED.to_json()))
    used = TrainingSettings.from_json(record["training settings"])
    assert (used.learner, used.steps, used.minutes) == ("auto", 6, 0.0)
    assert used == model.members[0].settings
    assert len(used.features) == 4
    assert loop.train()[1].key == model.key
    assert len(measured) == 1


def test_the_next_round_starts_from_the_model_before(loop):
    _, before = loop.train()
    loop.settings = replace(loop.settings, training=replace(ASKED, warm_start=True))
    asked = loop.suggest(2, "strided")
    oracle = OracleAnnotator(loop.stack, AnnotationKind.MASK)
    loop.study.commit(oracle.annotate([r.slice for r in asked.requests], 2))
    loop.train()
    assert read_json(loop.study.folder / "rounds" / "2" / "config.json")["started from"] == before.key


def test_a_number_of_steps_replaces_the_minutes(loop, measured):
    _, model = loop.train(steps=4)
    assert model.members[0].settings.steps == 4
    assert not measured


def test_runs_of_an_experiment_record_what_was_decided(tmp_path, cohort, settings, measured):
    parts = with_roles(cohort, {Role.TEST: ("patient004",)})
    run_benchmark(
        BenchmarkOptions(
            cohort=parts,
            name="phantom",
            strategies=("random",),
            rounds="2,4",
            seeds=(0,),
            out=tmp_path / "out",
            metrics=("dice",),
            settings=settings,
            device="cpu",
        )
    )
    (first,) = (tmp_path / "out").glob("runs/*/round-1.json")
    steps = [read_json(path)["training settings"]["steps"] for path in (first, first.with_name("round-2.json"))]
    assert all(step == int(6 / seconds) for step, seconds in zip(steps, measured[-2:], strict=True))
