"""Experiments on a real Dask scheduler with two workers on this computer, and on a job queue that is played."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from cluster_jobs import Never, Refusing, Slow
from dask_here import DaskHere
from smallest_protocol import SMALLEST
from threads import one_thread
from waiting import is_alive, wait_until

from ActiveSegmentationLib.cohort import Role, discover, with_roles
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.experiment import ExperimentOptions, Workers, read_protocol, run_experiment
from ActiveSegmentationLib.experiment import cluster as our_cluster
from ActiveSegmentationLib.experiment.workers import opened

pytest.importorskip("distributed", reason="clusters are an optional extra")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="kills processes with POSIX signals")]

ROOT = Path(__file__).parents[3]
PATHS = (ROOT, ROOT / "Testing" / "Python", Path(__file__).parent)
"""Where workers find the library and the jobs of this file."""

PROTOCOL = (
    """
title = "Sweep"

[experiment]
strategies = ["strided", "group-contrastive-coreset"]
rounds = [2, 4]
seeds = [0, 1]
metric_steps = 2"""
    + SMALLEST
    + """

[arms.masks]

[arms.scribbles]
annotation = "scribble"
seeds = [0]
"""
)


@pytest.fixture
def dask(tmp_path):
    playground = DaskHere(tmp_path, PATHS)
    playground.scheduler()
    yield playground
    playground.close()


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """Address of a scheduler with two workers."""
    playground = DaskHere(tmp_path_factory.mktemp("workers"), PATHS)
    playground.scheduler()
    playground.worker("first")
    playground.worker("second")
    yield playground.address
    playground.close()


@pytest.fixture
def options(tmp_path, phantom_cohort) -> ExperimentOptions:
    path = tmp_path / "sweep.toml"
    path.write_text(PROTOCOL, encoding="utf-8")
    cohort = with_roles(discover(phantom_cohort), {Role.TEST: ("patient004",)})
    return ExperimentOptions(read_protocol(path), "paper", cohort, "heart", tmp_path / "alone", device="cpu")


def tables(out: Path) -> list[bytes]:
    return [(out / name).read_bytes() for name in ("results.csv", "requests.csv")]


def when_steps(folder: Path, count: int, action) -> threading.Thread:
    """Does something as soon as so many steps are done."""

    def wait() -> None:
        while len(list(folder.glob("jobs/*/step-*"))) < count:
            time.sleep(0.02)
        action()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_a_cluster_gives_the_tables_of_one_process(options, workers, tmp_path, monkeypatch, listener):
    monkeypatch.setattr("ActiveSegmentationLib.cohort.stack_parts.PART_SLICES", 10)
    out = tmp_path / "cluster"
    run_experiment(replace(options, out=out, workers=Workers(scheduler=workers), device="auto"), listener)
    assert any(stage == "Parts of the slices" and done == total > 1 for stage, done, total in listener.reports)
    assert not list(out.rglob("parts/*/*"))  # put together and deleted
    with one_thread():
        run_experiment(options)
    assert tables(out) == tables(options.out)
    logs = [path.read_text(encoding="utf-8") for path in out.glob("arms/*/runs/*/log.txt")]
    assert len(logs) == 6
    assert all("Done." in log for log in logs)


def test_a_killed_worker_and_a_lost_scheduler(dask, tmp_path, listener):
    """A worker is killed, then the scheduler with another one; a new scheduler at its address is found."""
    jobs = [Slow(tmp_path / "jobs" / str(number)) for number in range(6)]

    def new_scheduler() -> None:
        dask.kill("scheduler", "second")
        dask.scheduler()
        dask.worker("third")

    dask.worker("first")
    dask.worker("second")
    killers = [when_steps(tmp_path, 3, lambda: dask.kill("first")), when_steps(tmp_path, 8, new_scheduler)]
    with opened(Workers(scheduler=dask.address), listener) as execute:
        execute(jobs, "Steps", listener)
    assert not any(thread.is_alive() for thread in killers)
    assert any("the scheduler was lost" in message for message in listener.messages)
    assert [job.finished_rounds() for job in jobs] == [5] * 6
    assert len(list(tmp_path.glob("jobs/*/step-*"))) == 30  # nothing that was finished is done again
    assert listener.reports[-1] == ("Steps", 30, 30)


def test_after_an_error_the_other_jobs_end(workers, tmp_path, listener):
    job = Slow(tmp_path / "job")
    job.rounds = 1000
    with opened(Workers(scheduler=workers), listener) as execute, pytest.raises(BadInput, match="It does not fit"):
        execute([Refusing(tmp_path / "other", job), job], "Steps", listener)
    wait_until(lambda: "Ended by Cancelled" in (job.folder / "log.txt").read_text(encoding="utf-8"), 300)
    assert job.finished_rounds() < 1000


@pytest.mark.parametrize(
    ("threads", "libraries", "message"),
    [
        (2, {}, "several jobs in one process.*--nthreads 1"),
        (1, {"numpy": "0.1"}, r"other versions: numpy .* instead of 0\.1"),
    ],
)
def test_workers_that_cannot_compute_the_same_are_refused(monkeypatch, threads, libraries, message):
    worker = SimpleNamespace(state=SimpleNamespace(nthreads=threads), address="tcp://10.0.0.7:1")
    monkeypatch.setattr("distributed.get_worker", lambda: worker)
    with pytest.raises(BadInput, match=f"10.0.0.7.*{message}"):
        our_cluster.work(b"", our_cluster._libraries() | libraries)


def test_a_scheduler_that_is_not_there(tmp_path, monkeypatch, listener):
    monkeypatch.setattr(our_cluster, "ANSWER_SECONDS", 1.0)
    jobs = [Never(tmp_path)]
    with (
        opened(Workers(scheduler="tcp://127.0.0.1:9"), listener) as execute,
        pytest.raises(BadInput, match=r"No scheduler answers at tcp://127\.0\.0\.1:9\. Start it with: dask scheduler"),
    ):
        execute(jobs, "Rounds", listener)
    with (
        opened(Workers(scheduler="10.0.0.1"), listener) as execute,
        pytest.raises(BadInput, match="is not an address"),
    ):
        execute(jobs, "Rounds", listener)


QUEUE = """#!{shell}
# Plays Slurm: starts the script that it is given and prints a number for it.
sh "$1" > {folder}/job.log 2>&1 &
echo $! >> {folder}/jobs
cp "$1" {folder}/script
echo "Submitted batch job $!"
"""


def test_a_job_queue_is_asked_for_workers_with_one_thread(options, tmp_path, monkeypatch, listener):
    before = signal.getsignal(signal.SIGINT)
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in (("sbatch", QUEUE), ("scancel", "#!{shell}\nkill $1\n")):
        (commands / name).write_text(text.format(shell="/bin/sh", folder=tmp_path), encoding="utf-8")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    our_cluster._job_queues()  # its own defaults first
    import dask

    settings = {"cores": 4, "memory": "1GB", "job-extra-directives": ["--gres=gpu:1"], "interface": "lo"}
    with dask.config.set({f"jobqueue.slurm.{name}": value for name, value in settings.items()}):
        outcome = run_experiment(
            replace(options, arms=("scribbles",), workers=Workers(1, cluster="slurm"), out=tmp_path / "queue"), listener
        )
    assert outcome.report.is_file()
    assert signal.getsignal(signal.SIGINT) is before  # dask-jobqueue replaces it
    assert any(re.match(r"1 worker asked for; the scheduler is tcp://", message) for message in listener.messages)
    script = (tmp_path / "script").read_text(encoding="utf-8")
    assert "#SBATCH --gres=gpu:1" in script
    assert script.rindex("--nthreads 1") > script.index("--nthreads 4")
    (job,) = (tmp_path / "jobs").read_text().split()
    wait_until(lambda: not is_alive(int(job)), 300)


def test_a_queue_that_is_not_described(tmp_path, listener):
    with (
        pytest.raises(BadInput, match=r"No worker can be started.*jobqueue\.yaml"),
        opened(Workers(2, cluster="slurm"), listener),
    ):
        pytest.fail("it was opened")


def test_results_that_do_not_appear_cause_no_endless_loop(tmp_path, monkeypatch):
    monkeypatch.setattr(our_cluster, "VISIBLE_SECONDS", 1.0)
    with pytest.raises(BadInput, match="What a worker wrote does not appear here"):
        our_cluster._wait_for_files([Never(tmp_path)])
