"""Killed at random moments and started again, a command ends where an uninterrupted one would have ended."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import command_of, environment, files_of, run_cli

from ActiveSegmentationLib.study import Study

pytestmark = pytest.mark.slow

SLOW_ENOUGH = ["--size", "32x32", "--spacing", "4.5", "--metric-steps", "40", "--steps", "60", "--batch-size", "4"]
"""Settings under which a command works for seconds after its start, so that kills meet it at work."""


def seconds_of(*words) -> float:
    """Run a command to its end."""
    start = time.monotonic()
    result = run_cli(*words, process=True)
    assert result.code == 0, result.err
    return time.monotonic() - start


def kill_until_done(words: list, rng: np.random.Generator, kills: int, seconds: float) -> int:
    """Start a command, kill it (SIGKILL) after a random time, again and again; the last start is left to end.

    Args:
        words: The command.
        rng: Source of the times.
        kills: Most kills.
        seconds: Time that the command takes if it is not killed. Half of it or more is needed to start.

    Returns:
        How many starts were killed while they were running.
    """
    killed = 0
    for _ in range(kills):
        process = subprocess.Popen(
            command_of(*words), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            process.communicate(timeout=seconds * rng.uniform(0.3, 1.0))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            killed += 1
        _, err = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), err
        if process.returncode == 0:
            break
    seconds_of(*words)
    return killed


def results_of(out: Path) -> dict[str, str]:
    return {name: (out / name).read_text(encoding="utf-8") for name in ("results.csv", "requests.csv")}


def test_benchmark(tmp_path, phantom_cohort):
    words = ["benchmark", "--cohort", phantom_cohort, "--strategies", "group-contrastive-coreset,coreset"]
    words += ["--rounds", "2,4", *SLOW_ENOUGH]
    seconds = seconds_of(*words, "--out", tmp_path / "whole")
    killed = kill_until_done([*words, "--out", tmp_path / "killed"], np.random.default_rng(0), 3, seconds)
    assert killed >= 1
    assert results_of(tmp_path / "killed") == results_of(tmp_path / "whole")


def test_suggest_annotate_and_train(tmp_path, phantom_cohort):
    """Two rounds of a study, every command of them killed; compared with the same two rounds in peace."""
    rng = np.random.default_rng(1)
    studies = {name: tmp_path / name for name in ("whole", "killed")}
    killed, seconds = 0, {}
    for name, folder in studies.items():
        new = run_cli("new", folder, "--cohort", phantom_cohort, "--annotation", "scribble", *SLOW_ENOUGH)
        assert new.code == 0, new.err
        for _ in range(2):
            suggest = ["suggest", folder, "--count", "4", "--strategy", "group-contrastive-coreset"]
            for words in (suggest, ["annotate", folder, "--oracle"], ["train", folder]):
                if name == "whole":
                    seconds[words[0]] = seconds_of(*words)
                elif words[0] == "annotate":
                    killed += kill_annotate(words, rng, seconds["annotate"])
                else:
                    killed += kill_until_done(words, rng, 1, seconds[words[0]])
    assert killed >= 2
    whole, other = (outcome_of(folder) for folder in studies.values())
    assert whole == other
    assert json.loads(run_cli("audit", studies["killed"], "--json").out)["intact"]


def kill_annotate(words: list, rng: np.random.Generator, seconds: float) -> int:
    """Like ``kill_until_done`` for a command that has nothing left to do once it is done."""
    killed = 0
    folder = words[1]
    for _ in range(2):
        before = committed(folder)
        process = subprocess.Popen(command_of(*words), env=environment(), stderr=subprocess.PIPE)
        time.sleep(seconds * rng.uniform(0.3, 1.0))
        if process.poll() is None:
            process.kill()
            killed += 1
        process.communicate()
        after = committed(folder)
        assert before.items() <= after.items(), "a committed annotation was lost"
        if not Study.open(folder).open_requests(max(Study.open(folder).requests.rounds())):
            return killed
    assert run_cli(*words, process=True).code == 0
    return killed


def committed(folder: Path) -> dict:
    return {s: a.labels.tobytes() for s, a in Study.open(folder).annotations().items()}


def outcome_of(folder: Path) -> dict:
    """What a study came to: its requests, annotations and weights; without times, which differ."""
    study = Study.open(folder)
    requests = {
        n: json.loads((study.requests.round_folder(n) / "request.json").read_text())["requests"]
        for n in study.requests.rounds()
    }
    weights = {name: digest for name, digest in files_of(folder / "rounds").items() if name.endswith(".safetensors")}
    assert len(weights) >= 2
    return {"requests": requests, "annotations": committed(folder), "weights": weights}
