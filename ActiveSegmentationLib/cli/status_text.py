"""Text of the commands status and evaluate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ActiveSegmentationLib.cohort import Role
from ActiveSegmentationLib.common.text import counted

if TYPE_CHECKING:
    from ActiveSegmentationLib.loop import ScoreSummary


def status_text(study: str, status: Mapping[str, Any]) -> str:
    """The answer of ``study_overview`` as text.

    Args:
        study: Name of the study.
        status: The result of ``study_overview``.
    """
    return "\n".join(_lines(study, status))


SCORED_ON = {
    Role.TEST: "the {volumes} for testing",
    Role.VALIDATION: "the {volumes} for validation (the best weights may have been chosen on them)",
    Role.POOL: "{volumes} of the pool, whose slices the model may have been trained on",
}
"""What a table of scores says about the scored volumes."""


def scores_text(round_number: int, role: Role, volumes: int, rows: Sequence[ScoreSummary]) -> str:
    """Scores of a model as a table, below a line that says what was scored.

    Args:
        round_number: Round of the model.
        role: Role of the scored volumes.
        volumes: Number of them that have reference masks.
        rows: Means and spread.
    """
    on = SCORED_ON[role].format(volumes=counted(volumes, "volume"))
    lines = [f"Model of round {round_number} against the reference masks of {on}; SD over volumes."]
    lines.append(f"{'class':20} {'metric':8} {'mean':>8} {'SD':>8} {'volumes':>8} {'undefined':>9}")
    for row in rows:
        mean, sd = ("-" if math.isnan(value) else f"{value:.4f}" for value in (row.mean, row.sd))
        name = f"{row.class_name:20} {row.metric:8}"
        lines.append(f"{name} {mean:>8} {sd:>8} {row.volumes:>8} {row.undefined:>9}")
    return "\n".join(lines)


def bytes_text(count: int) -> str:
    """A number of bytes with a suitable unit."""
    size, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"


def _lines(study: str, status: Mapping[str, Any]) -> Iterator[str]:
    held = f"{counted(status['volumes'], 'volume')}, {counted(status['slices'], 'slice')}"
    yield f"{study}: {held}, annotated with {status['annotation']}s."
    times = ", ".join(
        f"{seconds / 60:.1f} minutes on {kind}s" for kind, seconds in status["seconds"].items() if seconds
    )
    spent = f"; {times}" if times else ""
    yield f"Slices: {status['annotated']} annotated, {status['skipped']} skipped, {status['flagged']} flagged{spent}."
    for row in status["rounds"]:
        yield (
            f"Round {row['round']}, {row['strategy']}: {row['requested']} requested, {row['committed']} annotated, "
            f"{row['skipped']} skipped, {row['open']} open."
        )
    for name, row in status["patients"].items():
        yield f"Patient {name}: {row['annotated']} annotated, {row['skipped']} skipped."
    for name, row in status["annotators"].items():
        yield f"Annotator {name}: {row['annotated']} annotated."
    for volume, reason in status["excluded"].items():
        yield f"Excluded: {volume}" + (f" ({reason})." if reason else ".")
    for volume, (first, last) in status["extents"].items():
        yield f"Marked: structures in {volume} from slice {first + 1} to {last + 1}."
    for problem in status["damaged"]:
        yield f"Left out: {problem}"
    yield _model_line(status["model"])
    yield f"Cache: {bytes_text(status['cache bytes'])} (the command clear-cache frees them)."


def _model_line(model: Mapping[str, Any] | None) -> str:
    if model is None:
        return "Model: none is trained yet."
    slices = "an unknown number of" if model["slices"] is None else model["slices"]
    return f"Model: the newest is of round {model['round']}, trained on {slices} slices."
