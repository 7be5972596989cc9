"""Scores of finished rounds in TensorBoard or MLflow, for people who follow their experiments there; off by default.

Everything is read from the files of the results, by the process that started the experiment: workers know nothing of
it, and an experiment that is continued shows only what is not there yet.
"""

from __future__ import annotations

import importlib
import os
import re
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ActiveSegmentationLib.common.errors import BadInput, JobFailed
from ActiveSegmentationLib.common.files import explained, read_fields, remove_tree, write_json
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.evaluation import ResultRow
from ActiveSegmentationLib.experiment.benchmark import Benchmark
from ActiveSegmentationLib.experiment.run import Run
from ActiveSegmentationLib.segmentation.model_files import HISTORY, member_folders

LOOK_SECONDS = 5.0
"""Time between two looks for finished rounds."""

TENSORBOARD = "tensorboard"
"""Folder of TensorBoard's files in that of a benchmark."""

IDENTITY = "tracking.json"
"""File by which MLflow's runs of a benchmark are found again."""

MEAN = "mean over classes"
"""Name of the mean of an evaluation metric over classes."""

EXPERIMENT = "ActiveSegmentation"
"""Name of the experiment in MLflow, unless the variable MLFLOW_EXPERIMENT_NAME names another."""

Points = dict[tuple[str, int], float]
"""Values by name and step."""


class Tracker(Protocol):
    """Where values are shown."""

    def known(self, benchmark: Benchmark, run: Run) -> set[tuple[str, int]]:
        """Names and steps of the values that it has of a run; called before the first ``add`` of the run."""

    def add(self, benchmark: Benchmark, run: Run, points: Points) -> None:
        """Show more values of a run, which may be none."""


def points_of(run: Run) -> Points:
    """What there is to show of a run.

    Returns:
        The evaluation metrics by the number of annotated slices: "dice/NAME" is the mean of a class over the test
        volumes, "dice/mean over classes" that of the volumes' means over classes. "loss" (of several models "loss 1",
        "loss 2", ...) is that of the last round's training by its step or epoch, where the learner keeps it.
    """
    points = _scores(run.results()[0])
    if run.finished_rounds() == run.rounds:
        members = member_folders(run.model_folder())
        for number, member in enumerate(members, start=1):
            name = "loss" if len(members) == 1 else f"loss {number}"
            if member is not None and (member / HISTORY).is_file():
                losses = read_fields(member / HISTORY).get("loss", [])
                points |= {(name, step): value for step, value in enumerate(losses, start=1)}
    return points


def _scores(rows: Sequence[ResultRow]) -> Points:
    found: dict[tuple[str, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if not np.isnan(row.value):
            for name in (MEAN, row.class_name):
                found[_plain(f"{row.metric}/{name}"), row.annotated_slices][row.volume].append(row.value)
    return {key: float(np.mean([np.mean(values) for values in each.values()])) for key, each in found.items()}


def _plain(name: str) -> str:
    """A name with characters that both programs allow."""
    return re.sub(r"[^\w./ -]", "_", name, flags=re.ASCII)


class TensorBoard:
    """Event files, one folder for each run; they are made anew when an experiment is continued."""

    def known(self, benchmark: Benchmark, run: Run) -> set[tuple[str, int]]:
        """Nothing; the folder of the run is removed."""
        folder = self._folder(benchmark, run)
        with explained(folder):
            remove_tree(folder)
        return set()

    def add(self, benchmark: Benchmark, run: Run, points: Points) -> None:
        """Write them to a new event file."""
        from torch.utils.tensorboard import SummaryWriter

        folder = self._folder(benchmark, run)
        with explained(folder), SummaryWriter(str(folder)) as writer:
            for (name, step), value in points.items():
                writer.add_scalar(name, value, step)

    def _folder(self, benchmark: Benchmark, run: Run) -> Path:
        return benchmark.out / TENSORBOARD / run.folder.name


class MLflow:
    """Runs of the MLflow server or database that the variable MLFLOW_TRACKING_URI names."""

    def __init__(self) -> None:
        from mlflow import MlflowClient

        with _answering():
            self._client = MlflowClient()
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
            found = self._client.get_experiment_by_name(name)
            self._experiment = self._client.create_experiment(name) if found is None else found.experiment_id
        self._runs: dict[Path, str] = {}

    def known(self, benchmark: Benchmark, run: Run) -> set[tuple[str, int]]:
        """What the server has of the run, which is created there if it is new."""
        tag = f"{_identity(benchmark.out)}/{run.folder.name}"
        with _answering():
            found = self._client.search_runs([self._experiment], f"tags.activesegmentation_run = '{tag}'")
            mine = found[0] if found else self._create(benchmark, run, tag)
            self._runs[run.folder] = mine.info.run_id
            names = list(mine.data.metrics)
            values = [value for name in names for value in self._client.get_metric_history(mine.info.run_id, name)]
        return {(value.key, value.step) for value in values}

    def add(self, benchmark: Benchmark, run: Run, points: Points) -> None:
        """Send them, and say when the run is finished."""
        from mlflow.entities import Metric

        now, mine = int(time.time() * 1000), self._runs[run.folder]
        metrics = [Metric(name, value, now, step) for (name, step), value in points.items()]
        with _answering():
            for start in range(0, len(metrics), 1000):  # more are refused
                self._client.log_batch(mine, metrics[start : start + 1000])
            if run.finished_rounds() == run.rounds and self._client.get_run(mine).info.status == "RUNNING":
                self._client.set_terminated(mine)

    def _create(self, benchmark: Benchmark, run: Run, tag: str) -> Any:
        design = benchmark.plan.design
        name = f"{design.cohort}, {run.strategy}, seed {run.seed}"
        about = {"cohort": design.cohort, "strategy": run.strategy, "seed": run.seed, "annotation": design.annotation}
        about["learner"] = design.settings.training.learner
        made = self._client.create_run(self._experiment, run_name=name, tags={"activesegmentation_run": tag})
        for key, value in about.items():
            self._client.log_param(made.info.run_id, key, str(value))
        return made


@contextmanager
def _answering() -> Iterator[None]:
    """Within this block an error of MLflow becomes one with advice."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        first = str(error).strip().partition("\n")[0]
        advice = "Look at the variable MLFLOW_TRACKING_URI and its server; the same command logs what is missing."
        raise JobFailed(f"MLflow did not take the values ({first}).", where="tracking", advice=advice) from error


def _identity(out: Path) -> str:
    path = out / IDENTITY
    if not path.is_file():
        write_json(path, {"id": uuid.uuid4().hex})
    return read_fields(path, "id")["id"]


@dataclass(frozen=True)
class _Kind:
    package: str
    make: Callable[[], Tracker]


TRACKERS = {"tensorboard": _Kind("tensorboard", TensorBoard), "mlflow": _Kind("mlflow", MLflow)}
"""Trackers by name."""


def require_tracker(name: str) -> None:
    """Refuse a tracker that is not there.

    Args:
        name: Name of the tracker; "" for none.

    Raises:
        BadInput: If there is none of this name, or its package is missing.
    """
    if name and name not in TRACKERS:
        advice = f"Choose one of: {', '.join(TRACKERS)}."
        raise BadInput(f"There is no tracker called '{name}'.", where="track", advice=advice)
    if name:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # which begins when it is imported
        try:
            importlib.import_module(TRACKERS[name].package)
        except ImportError as error:
            advice = f"Install it: pip install 'activesegmentation[{name}]'."
            raise BadInput(f"The Python package '{error.name}' is missing.", where="track", advice=advice) from error


@contextmanager
def tracked(benchmarks: Sequence[Benchmark], name: str, progress: Progress) -> Iterator[None]:
    """Show what the benchmarks have, and every round that is finished within this block, soon after it.

    Args:
        benchmarks: The benchmarks.
        name: Name of the tracker; "" for none.
        progress: Progress reporter.

    Raises:
        BadInput: If there is no such tracker, its package is missing, or its folder cannot be written.
        JobFailed: If MLflow does not take the values, at the beginning or at the end.
    """
    require_tracker(name)
    if not name:
        yield
        return
    tracking = _Tracking(TRACKERS[name].make(), benchmarks)
    tracking.update()
    stop = threading.Event()
    thread = threading.Thread(target=_follow, args=(tracking, stop, progress), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    tracking.update()


def _follow(tracking: _Tracking, stop: threading.Event, progress: Progress) -> None:
    """Show finished rounds from time to time; a server that is lost does not end the experiment."""
    while not stop.wait(LOOK_SECONDS):
        try:
            tracking.update()
        except (BadInput, JobFailed) as error:
            progress.message(f"warning: {error} It is tried again at the end.")
            return


class _Tracking:
    def __init__(self, tracker: Tracker, benchmarks: Sequence[Benchmark]) -> None:
        self._tracker, self._benchmarks = tracker, benchmarks
        self._rounds: dict[Path, int] = {}
        self._known: dict[Path, set[tuple[str, int]]] = {}

    def update(self) -> None:
        for benchmark in self._benchmarks:
            for pair in benchmark.plan.pairs():
                self._update_run(benchmark, benchmark.run(*pair))

    def _update_run(self, benchmark: Benchmark, run: Run) -> None:
        finished = run.finished_rounds()
        if finished == self._rounds.get(run.folder, 0):
            return
        if run.folder not in self._known:
            self._known[run.folder] = self._tracker.known(benchmark, run)
        known = self._known[run.folder]
        new = {key: value for key, value in points_of(run).items() if key not in known}
        self._tracker.add(benchmark, run, new)
        known.update(new)
        self._rounds[run.folder] = finished
