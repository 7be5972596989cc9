"""nnU-Net in the loop: killed in a selection and in a training and started again, a benchmark ends as if in peace."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_helpers import environment, files_of, run_cli
from threads import one_thread

from ActiveSegmentationLib.cohort.phantom import write_phantom

pytest.importorskip("nnunetv2", reason="nnU-Net is not installed (pip install nnunetv2)")

EAGER = """
import sys
from ActiveSegmentationLib.cli.main import main
from ActiveSegmentationLib.training import checkpoints
checkpoints.SAVE_SECONDS = -1
sys.exit(main(sys.argv[1:]))
"""
"""The program with a checkpoint after every step."""

PATIENCE = 300.0
"""Seconds after which a process that was to be killed should have reached its place."""


def kill_when(there: Callable[[str], bool], words: list, errors: Path) -> None:
    """Start a command, and kill it (SIGKILL) when what it has told satisfies a condition."""
    begun = time.monotonic()
    with open(errors, "wb") as file:
        command = [sys.executable, "-c", EAGER, *(str(word) for word in words)]
        process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=file)
    try:
        while not there(errors.read_text(encoding="utf-8", errors="replace")):
            assert process.poll() is None, errors.read_text(encoding="utf-8", errors="replace")
            assert time.monotonic() - begun < PATIENCE
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()


def results_of(out: Path) -> dict[str, str]:
    """Scores, requests and weights; without times, which differ."""
    files = files_of(out)
    assert sum(name.endswith(".safetensors") for name in files) == 1
    return {name: files[name] for name in files if name.endswith((".safetensors", "results.csv", "requests.csv"))}


def test_usim_with_nnunet_is_killed_and_resumed(tmp_path):
    cohort = write_phantom(tmp_path / "cohort", patients=3, slices=2, size=(32, 32))
    words = [
        "benchmark",
        "--cohort",
        cohort,
        "--strategies",
        "usim-cosine/passes=2",
        "--rounds",
        "1,2",
        "--device",
        "cpu",
    ]
    words += ["--training", "foellmer2024", "--steps", "4", "--metrics", "dice"]
    for option in ("batch_size=2", "memory=0.3", "iterations=2"):
        words += ["--learner-option", option]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    kill_when(lambda told: "round 2 of 2: Measuring" in told, [*words, "--out", killed], tmp_path / "selection.txt")
    training = "runs/*/model-2/**/checkpoint.pt"
    kill_when(lambda told: any(killed.glob(training)), [*words, "--out", killed], tmp_path / "training.txt")
    assert "round 1" not in (tmp_path / "training.txt").read_text(encoding="utf-8")
    assert list(killed.glob(training))
    with one_thread():
        for out in (killed, whole):
            result = run_cli(*words, "--out", out)
            assert result.code == 0, result.err
    assert results_of(killed) == results_of(whole)
