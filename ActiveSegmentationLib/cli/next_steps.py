"""Advice on the next step after a command, in one line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROGRAM = "activesegmentation"


def command_line(name: str, *words: str | Path) -> str:
    """A command line that can be copied; words with spaces are quoted."""
    return " ".join([PROGRAM, name, *(shlex.quote(str(word)) for word in words)])


def after_status(study: Path, status: Mapping[str, Any]) -> str:
    """What to do next with a study.

    Args:
        study: Its folder.
        status: The answer of ``study_overview``.
    """
    model, annotated = status["model"], status["annotated"]
    if any(row["open"] for row in status["rounds"][-1:]):
        return after_suggest(study)
    if not annotated:
        return command_line("suggest", study, "--count", "10")
    if model is None or model["slices"] != annotated:
        return command_line("train", study)
    return after_train(study)


def after_suggest(study: Path) -> str:
    """Annotate the requested slices."""
    return (
        f"draw on these slices in 3D Slicer, or take label maps: {command_line('annotate', study, '--from', 'FOLDER')}"
    )


def after_train(study: Path) -> str:
    """Continue with the next slices, or use the model."""
    more, use = command_line("suggest", study, "--count", "10"), command_line("predict", study, "--out", "labels")
    return f"{more}, or {use}"
