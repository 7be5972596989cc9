"""Ctrl-C ends a comparison in several processes soon, and none of them goes on behind it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import is_alive, wait_until

ROOT = Path(__file__).parents[3]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")]


@pytest.mark.parametrize("to_all", [True, False], ids=["a terminal's Ctrl-C", "the parent alone"])
def test_an_interrupt_leaves_no_process_behind(tmp_path, phantom_cohort, to_all):
    out = tmp_path / "out"
    words = ["benchmark", "--cohort", phantom_cohort, "--strategies", "random,strided"]
    words += [
        "--rounds",
        "2,4",
        "--seeds",
        "0,1",
        "--workers",
        "2",
        "--size",
        "32x32",
        "--spacing",
        "4.5",
        "--steps",
        "100000",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "ActiveSegmentationLib", *words, "--out", out],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        wait_until(lambda: len(list(out.rglob("log.txt"))) == 2, 300)
        (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=300)
        assert process.returncode == 130, err
        assert b"cancelled" in err
        wait_until(lambda: not is_alive(process.pid, group=True), 300)
    finally:
        if is_alive(process.pid, group=True):
            os.killpg(process.pid, signal.SIGKILL)
