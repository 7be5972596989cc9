"""A client in the test host, and the processes that its tests must not leave behind."""

from __future__ import annotations

import importlib
import os
import sys

import pytest
from host.conftest import host, pytest_pycollect_makemodule  # noqa: F401 - fixtures and hook of this folder too

from .worker_fakes import Submitted, gone, make_study, script


@pytest.fixture
def client(host):  # noqa: F811
    """The module of the client, which needs Qt to be imported; numbers that mean other processes are not killed."""
    real = os.kill

    def kill(pid, number):
        assert pid > 1, f"kill {pid} would end these tests and more"
        assert pid not in (os.getpid(), os.getppid())
        real(pid, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "kill", kill)
        yield importlib.import_module("ActiveSegmentationLib.worker.client")


@pytest.fixture
def worker(host, client):  # noqa: F811
    """worker(*words, **options): a client whose command is this Python with these words; all end with the test."""
    made, pids = [], set()

    class Watched(client.WorkerClient):
        def _setState(self, state):  # noqa: N802 - as the client calls it
            if self.pid:
                pids.add(self.pid)
            super()._setState(state)

    def make(*words, **options):
        made.append(Watched([sys.executable, *map(str, words)], **options))
        return made[-1]

    make.pids = pids
    yield make
    for running in made:
        running.stop()
        assert running.state == "stopped"
        assert not running.busy
    assert host.waitFor(lambda: all(map(gone, pids)), 10), "a worker was left behind"


@pytest.fixture
def fake(tmp_path, worker):
    """fake(text): a client whose command is a script of these lines, see ``script``; each notes its number."""

    def make(text, **options):
        path = tmp_path / f"fake{len(list(tmp_path.glob('fake*.py')))}.py"
        path.write_text(script(text), encoding="utf-8")
        return worker(path, **options)

    make.pids = lambda: {int(path.suffix[1:]) for path in tmp_path.glob("fake*.py.*")}
    yield make
    worker.pids |= make.pids()


@pytest.fixture
def quick(client, monkeypatch):
    """Short time limits, for clients that are created later."""
    monkeypatch.setattr(client, "WATCH_SECONDS", 0.1)
    monkeypatch.setattr(client, "START_SECONDS", 0.6)
    monkeypatch.setattr(client, "STUCK_SECONDS", 0.4)


@pytest.fixture
def submitted(host):  # noqa: F811
    """submitted(client, job, options): submits a job and records its signals."""
    jobs = []

    def submit(client, name="describe", options=None, about=None):
        job = Submitted(client, name, options or {}, about)
        jobs.append(job)
        return job

    yield submit
    host.settle(0.05)
    for job in jobs:
        assert len(job.ends) == (0 if job.job.active else 1), (job.job.name, job.ends)


@pytest.fixture
def study(tmp_path, phantom_cohort):
    """A study on the phantom cohort whose learning takes seconds, in a folder with a space and an umlaut."""
    return make_study(tmp_path / "Studie für zwei", phantom_cohort)
