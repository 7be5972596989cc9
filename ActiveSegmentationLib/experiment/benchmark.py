"""A benchmark: compare strategies on a cohort with reference labels, in resumable runs."""

from __future__ import annotations

import contextlib
import csv
import datetime
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ActiveSegmentationLib.acquisition import create_strategy
from ActiveSegmentationLib.cohort import AnnotationKind, Role, SliceStack
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.durability import sweep_tree
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, read_fields, write_json, write_text
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.common.text import counted
from ActiveSegmentationLib.evaluation import UPPER_BOUND, RequestRow, ResultRow, write_requests_csv, write_results_csv
from ActiveSegmentationLib.experiment.annotators import Annotator, OracleAnnotator
from ActiveSegmentationLib.experiment.design import Design, RunContext
from ActiveSegmentationLib.experiment.duration import duration_text, measure_speed
from ActiveSegmentationLib.experiment.jobs import EmbeddingJob, FirstRound
from ActiveSegmentationLib.experiment.run import PROGRAMS, Run
from ActiveSegmentationLib.experiment.upper_bound import UpperBound
from ActiveSegmentationLib.experiment.workers import Workers
from ActiveSegmentationLib.loop import (
    Embeddings,
    LoopSettings,
    describe_device,
    is_learned,
    resolve_device,
    versions,
)

AnnotatorFactory = Callable[[SliceStack, AnnotationKind], Annotator]
"""Makes the annotator of an experiment."""


OUTPUTS = (
    "results.csv",
    "requests.csv",
    "timings.csv",
    "learning_curve.png",
    "figures",
    "report.html",
    "runs",
    "tensorboard",
)
"""Files and folders that a benchmark writes, in addition to ``benchmark.json`` and its cache."""


@dataclass(frozen=True)
class Plan:
    """The runs of an experiment.

    Attributes:
        design: What all runs share.
        strategies: Names of the strategies.
        seeds: Seeds; every strategy is run with every seed.
        upper_bound: Whether a model is also trained on the whole pool for every seed.
    """

    design: Design
    strategies: tuple[str, ...]
    seeds: tuple[int, ...]
    upper_bound: bool = False

    def pairs(self) -> list[tuple[str, int]]:
        """Every (strategy, seed), seed by seed, so that early results compare all strategies with the same seeds."""
        names = [*self.strategies, *([UPPER_BOUND] if self.upper_bound else [])]
        return [(strategy, seed) for seed in self.seeds for strategy in names]


class Benchmark:
    """An experiment in its output folder.

    - The folder may be used again with more strategies or seeds; finished rounds are kept.
    - It may not be used again with another design, because the rows would not be comparable.
    - ``benchmark.json`` lists every session that computed something, with its versions and device; every round records
      its own.

    Args:
        out: Output folder.
        plan: The runs.
        stack: The cohort's slices with their reference labels.
        device: PyTorch device, or "auto" for the one of the computer that computes.
        annotator: Makes the annotator. Default: an oracle that answers from the reference labels.
    """

    def __init__(
        self, out: Path, plan: Plan, stack: SliceStack, *, device: str, annotator: AnnotatorFactory = OracleAnnotator
    ) -> None:
        self.out, self.plan, self.stack, self.device = out, plan, stack, device
        self._annotator = annotator

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Hold the folder, which no other process may use meanwhile, and record what is computed in it.

        Raises:
            BadInput: If the folder holds an experiment of another design, or another process works in it.
        """
        for strategy in self.plan.strategies:
            create_strategy(strategy)  # refuse a wrong name before hours of work
        with self._lock():
            self._settle_design()
            yield

    def report_duration(self, workers: Workers, progress: Progress) -> None:
        """Report how long the runs will take; a first round that several runs share is computed once."""
        runs = self.pending_runs()
        rounds = sum(run.rounds - run.finished_rounds() for run in runs)
        if not rounds:
            return
        if self.plan.design.shares_first_round:
            own = [run for run in runs if not isinstance(run, UpperBound)]
            beginning = [run.seed for run in own if not run.finished_rounds()]
            rounds -= len(beginning) - len(set(beginning))
        to_compute = f"{counted(len(runs), 'run')} with {counted(rounds, 'round')} to compute"
        if workers.remote:
            progress.message(f"{to_compute} on a cluster.")
            return
        at_once = min(workers.count, len(runs))
        speed = measure_speed(self.plan.design, self.stack, resolve_device(self.device))
        if speed is None:
            progress.message(f"{to_compute}, {at_once} at a time. How long that takes shows after the first round.")
            return
        seconds = speed.round_seconds(self.plan.design)
        progress.message(
            f"{to_compute}, {at_once} at a time: about {duration_text(seconds * rounds / at_once)} on "
            f"{describe_device(resolve_device(self.device))}, by the time of a few steps on this machine. Dropout "
            "passes, gradients and learned networks come on top."
        )

    def run(self, strategy: str, seed: int) -> Run:
        """The run of one strategy with one seed."""
        folder = self.out / "runs" / f"{_file_name(strategy)}-seed{seed}"
        annotator = self._annotator(self.stack, self.plan.design.annotation)
        context = RunContext(self.plan.design, self.stack, annotator, self.out / "cache", self.device)
        return UpperBound(folder, seed, context) if strategy == UPPER_BOUND else Run(folder, strategy, seed, context)

    def compute(self) -> Compute:
        """The device of this computer, for pictures."""
        return Compute(resolve_device(self.device))

    def settings_of_seed(self, seed: int) -> LoopSettings:
        """The settings of the loop with which learned networks of a seed are trained."""
        return replace(self.plan.design.settings, seed=seed)

    def oracle(self) -> OracleAnnotator:
        """The reference annotations, for pictures."""
        return OracleAnnotator(self.stack, self.plan.design.annotation)

    def results(self) -> tuple[list[ResultRow], list[RequestRow], list[dict[str, Any]]]:
        """Result rows, request rows and timings of everything finished so far."""
        results: list[ResultRow] = []
        requests: list[RequestRow] = []
        timings: list[dict[str, Any]] = []
        for pair in self.plan.pairs():
            some_results, some_requests, some_timings = self.run(*pair).results()
            results += some_results
            requests += some_requests
            timings += some_timings
        return results, requests, timings

    def write_tables(self) -> None:
        """Write ``results.csv``, ``requests.csv`` and ``timings.csv``."""
        results, requests, timings = self.results()
        write_results_csv(self.out / "results.csv", results)
        write_requests_csv(self.out / "requests.csv", requests)
        text = io.StringIO()
        steps = ["choosing", "training", "scoring"]
        writer = csv.DictWriter(text, ["strategy", "seed", "round", "shared", *steps, "device", *PROGRAMS])
        writer.writeheader()
        writer.writerows(timings)
        write_text(self.out / "timings.csv", text.getvalue())

    def pending_runs(self) -> list[Run]:
        """The runs that have rounds to do."""
        runs = [self.run(*pair) for pair in self.plan.pairs()]
        return [run for run in runs if run.finished_rounds() < run.rounds]

    def first_rounds(self) -> list[FirstRound]:
        """The first rounds that runs of the same seed share, as jobs; none where every run has its own."""
        if not self.plan.design.shares_first_round:
            return []
        own = [run for run in reversed(self.pending_runs()) if not isinstance(run, UpperBound)]
        return [FirstRound(run) for run in {run.seed: run for run in own}.values() if not run.finished_rounds()]

    def networks(self) -> list[EmbeddingJob]:
        """The trainings of learned metrics and autoencoders, one per kind and seed, before runs need them."""
        kinds = self.learned_kinds()
        return [EmbeddingJob(self._embeddings(seed), kind) for seed in self._pending_seeds() for kind in kinds]

    def embedding_parts(self) -> list[EmbeddingJob]:
        """The embeddings of large cohorts in parts; none where it is one part, which the first run computes."""
        jobs = self.networks()
        parts = range(jobs[0].embeddings.parts) if jobs else range(0)
        return [replace(job, part=part) for job in jobs for part in parts if len(parts) > 1]

    def _pending_seeds(self) -> list[int]:
        return sorted({run.seed for run in self.pending_runs()})

    def _embeddings(self, seed: int) -> Embeddings:
        rows, settings = self.plan.design.rows[Role.POOL], self.settings_of_seed(seed)
        return Embeddings(self.stack, rows, settings, self.out / "cache", Compute(self.device))

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        lock = FileLock(self.out / ".lock", timeout=0)
        with explained(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except Timeout as error:
                advice = "Wait for it to end, or choose another --out."
                raise BadInput("Another process is working in this folder.", where=self.out, advice=advice) from error
        try:
            with explained(self.out):
                sweep_tree(self.out)
            yield
        finally:
            lock.release()

    def _settle_design(self) -> None:
        path = self.out / "benchmark.json"
        design = self.plan.design.to_json() | {"stack": self.stack.key}
        design = json.loads(json.dumps(design))  # in the form in which it is read back
        sessions: list[dict[str, Any]] = []
        foreign = sorted(name for name in OUTPUTS if (self.out / name).exists())
        if foreign and not path.is_file():
            message = f"The folder holds {', '.join(foreign)} from another source, which would be overwritten."
            raise BadInput(message, where=self.out, advice="Choose a new or empty folder with --out.")
        if path.is_file():
            record = read_fields(path, "design", "strategies", "seeds")
            sessions = _sessions(record)
            known = record["design"]
            strategies = dict.fromkeys([*record["strategies"], *self.plan.strategies])
            seeds = sorted({*record["seeds"], *self.plan.seeds})
            bound = self.plan.upper_bound or record.get("upper bound", False)
            self.plan = replace(self.plan, strategies=tuple(strategies), seeds=tuple(seeds), upper_bound=bound)
            changed = sorted(key for key in {*known, *design} if known.get(key) != design.get(key))
            if changed:
                advice = "Choose another --out, or use the options of the first call."
                raise BadInput(
                    f"This folder holds an experiment with other settings ({', '.join(changed)}).",
                    where=self.out,
                    advice=advice,
                )
        record = {
            "design": design,
            "strategies": list(self.plan.strategies),
            "seeds": list(self.plan.seeds),
            **({"upper bound": True} if self.plan.upper_bound else {}),
            "sessions": [*sessions, *([self._session()] if self.pending_runs() else [])],
        }
        write_json(path, record)

    def _session(self) -> dict[str, Any]:
        started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return {"started": started, "versions": versions(), "device": self._device_text()}

    def _device_text(self) -> str:
        return "the workers' own" if self.device == "auto" else describe_device(self.device)

    def learned_kinds(self) -> list[str]:
        """Kinds of embedding of these strategies whose network is trained once for each seed."""
        strategies = [*self.plan.strategies, *filter(None, [self.plan.design.initial])]
        kinds = {kind for name in strategies for kind in create_strategy(name).embeddings}
        return sorted(filter(is_learned, kinds))


def _file_name(strategy: str) -> str:
    """A strategy's name as part of a folder's name on every system."""
    plain = strategy.replace(":", "=").replace("/", ",")
    return re.sub(r"[^A-Za-z0-9._+=,-]", lambda found: f"%{ord(found[0]):02X}", plain)


def _sessions(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Time, versions and device of every session; older versions kept the last session only."""
    if "sessions" in record:
        return record["sessions"]
    return [{"started": None, "versions": record["versions"], "device": record["device"]}]
