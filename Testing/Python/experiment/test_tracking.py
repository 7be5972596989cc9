"""Scores in TensorBoard and MLflow: what is shown, that nothing is shown twice, and what happens without them."""

from __future__ import annotations

import sys
import threading
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ActiveSegmentationLib.cli.main import main
from ActiveSegmentationLib.common.errors import BadInput, JobFailed
from ActiveSegmentationLib.evaluation import learning_curves
from ActiveSegmentationLib.experiment import run_benchmark, tracking
from ActiveSegmentationLib.experiment.service import make_benchmark


def shown_by_tensorboard(folder):
    """(name, step) of everything that TensorBoard shows of a run, with its values."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [(name, one.step, one.value) for name in events.Tags()["scalars"] for one in events.Scalars(name)]


def test_scores_are_those_of_the_learning_curve(make_options):
    options = make_options(metrics=("dice", "hd95"))
    run_benchmark(options)
    benchmark = make_benchmark(options)
    points = tracking.points_of(benchmark.run("random", 0))
    (curve,) = learning_curves(benchmark.results()[0])
    assert [points[f"dice/{tracking.MEAN}", step] for step in curve.annotated] == pytest.approx(list(curve.mean))
    losses = [value for (name, _), value in points.items() if name == "loss"]
    assert len(losses) == 2  # the steps of a training
    classes = {name for name, _ in points if name.startswith("dice/")} - {f"dice/{tracking.MEAN}"}
    assert len(classes) == 3
    assert np.mean([points[name, 2] for name in classes]) == pytest.approx(points[f"dice/{tracking.MEAN}", 2])


def test_tensorboard_shows_everything_once_also_when_continued(make_options):
    pytest.importorskip("tensorboard", reason="TensorBoard is an optional extra")
    options = make_options(track="tensorboard")
    run_benchmark(options)
    run_benchmark(replace(options, seeds=(0, 1)))
    benchmark = make_benchmark(options)
    for seed in (0, 1):
        expected = tracking.points_of(benchmark.run("random", seed))
        shown = shown_by_tensorboard(options.out / "tensorboard" / f"random-seed{seed}")
        assert sorted((name, step) for name, step, _ in shown) == sorted(expected)
        assert [expected[name, step] for name, step, _ in shown] == pytest.approx([value for *_, value in shown])


def test_mlflow_shows_everything_once_also_when_continued(make_options, tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="MLflow is an optional extra")
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    options = make_options(track="mlflow")
    run_benchmark(options)
    run_benchmark(replace(options, seeds=(0, 1)))
    client, benchmark = MlflowClient(), make_benchmark(options)
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    runs = {run.data.params["seed"]: run for run in client.search_runs([experiment.experiment_id])}
    assert sorted(runs) == ["0", "1"]
    for seed, run in runs.items():
        expected = tracking.points_of(benchmark.run("random", int(seed)))
        histories = [client.get_metric_history(run.info.run_id, name) for name in run.data.metrics]
        shown = [((one.key, one.step), one.value) for history in histories for one in history]
        assert len(shown) == len(expected)
        assert dict(shown) == expected
        assert (run.info.status, run.data.params["strategy"]) == ("FINISHED", "random")


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_missing_package_is_named_before_anything_is_read(monkeypatch, capsys, tmp_path, name):
    monkeypatch.setitem(sys.modules, name, None)
    words = ["--cohort", str(tmp_path / "not read"), "--out", str(tmp_path / "out"), "--track", name]
    for command in (["experiment", "run", "gaillochet-main"], ["benchmark", "--strategies", "random", "--rounds", "2"]):
        assert main([*command, *words]) == 2
        assert f"Install it: pip install 'activesegmentation[{name}]'." in capsys.readouterr().err


def test_a_tracker_that_does_not_exist(make_options):
    with pytest.raises(BadInput, match=r"no tracker called 'wandb'.*tensorboard, mlflow"):
        run_benchmark(make_options(track="wandb"))


class Failing:
    """A tracker that takes nothing while the experiment runs, and everything afterwards."""

    def __init__(self):
        self.points = {}

    def known(self, benchmark, run):
        return set()

    def add(self, benchmark, run, points):
        if threading.current_thread() is not threading.main_thread():
            raise JobFailed("The server is lost.")
        self.points |= points


def test_a_lost_server_does_not_end_the_experiment(make_options, listener, monkeypatch):
    failing = Failing()
    monkeypatch.setitem(tracking.TRACKERS, "mlflow", tracking._Kind("json", lambda: failing))
    monkeypatch.setattr(tracking, "LOOK_SECONDS", 0.01)
    options = make_options(track="mlflow")
    run_benchmark(options, listener)
    assert any("The server is lost. It is tried again at the end." in message for message in listener.messages)
    assert failing.points == tracking.points_of(make_benchmark(options).run("random", 0))


def test_extras_name_the_packages():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(tracking.TRACKERS) <= set(project["optional-dependencies"])
