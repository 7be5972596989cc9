"""Sweeps in several processes of this computer: their errors, and processes that are killed."""

from __future__ import annotations

import os
import signal
import time

import pytest

from ActiveSegmentationLib.common.errors import BadInput, JobFailed
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.experiment import jobs as jobs_module
from ActiveSegmentationLib.experiment.processes import execute_in_processes
from ActiveSegmentationLib.experiment.workers import Workers


class Scripted:
    """A job whose steps are empty files; what it does at its second step is up to the test."""

    rounds = 3

    def __init__(self, folder, second=None):
        self.folder, self._second = folder, second

    def finished_rounds(self):
        return len(list(self.folder.glob("step-*")))

    def execute(self, progress=None, finished=None):
        while (step := self.finished_rounds()) < self.rounds:
            if step == 1 and self._second is not None:
                self._second(self.folder)
            (self.folder / f"step-{step}").write_text(str(os.getpid()))


def refuse(folder):
    raise BadInput("It does not fit.", where="rounds")


def die(folder):
    os._exit(9)


def die_once(folder):
    if not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)


def outlive(folder):
    """Go on some time after the process of the other job has died."""
    while not (folder.parent / "0" / "died").exists():
        time.sleep(0.05)
    time.sleep(1)


def scripted(folder, *seconds):
    jobs = [Scripted(folder / str(number), second) for number, second in enumerate(seconds)]
    for job in jobs:
        job.folder.mkdir()
    return jobs


def test_an_error_of_another_process_comes_as_it_was_raised(tmp_path):
    with pytest.raises(BadInput) as caught:
        execute_in_processes(scripted(tmp_path, refuse), 1, "Steps", Progress())
    assert type(caught.value) is BadInput
    assert str(caught.value) == "rounds: It does not fit."


def test_what_a_killed_process_leaves_is_computed_again_and_the_others_go_on(tmp_path, listener):
    jobs = scripted(tmp_path, die_once, outlive)
    execute_in_processes(jobs, 2, "Steps", listener)
    assert [job.finished_rounds() for job in jobs] == [3, 3]
    processes = [{path.read_text() for path in job.folder.glob("step-*")} for job in jobs]
    assert [len(each) for each in processes] == [2, 1]
    assert any("a worker died" in message for message in listener.messages)
    assert listener.reports[-1] == ("Steps", 6, 6)


def test_a_sweep_whose_workers_only_die_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs_module, "DEATHS", 2)
    jobs = scripted(tmp_path, die)
    with pytest.raises(JobFailed, match="died 2 times without finishing a round"):
        execute_in_processes(jobs, 1, "Steps", Progress())
    assert jobs[0].finished_rounds() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheduler": "tcp://a:1", "cluster": "slurm"}, "--scheduler names a running cluster"),
        ({"cluster": "slurn"}, "no job queue called 'slurn'. Choose one of: htcondor"),
    ],
)
def test_options_that_do_not_go_together(options, message):
    with pytest.raises(BadInput, match=message):
        Workers(**options)
