"""Protocols in words: the list of them, one with every field explained, and what a scale changes."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.text import counted
from ActiveSegmentationLib.experiment.protocol_arms import training_of, unusable_learners
from ActiveSegmentationLib.experiment.protocol_files import FULL_SCALE, Protocol
from ActiveSegmentationLib.experiment.protocol_settings import FIELDS, ArmSettings

WIDTH = 118


def list_rows(protocols: Sequence[Protocol]) -> list[dict[str, Any]]:
    """One entry for each protocol: name, title, source, scales, and why arms cannot be run here."""
    return [
        {
            "name": protocol.name,
            "title": protocol.content.title,
            "source": protocol.content.source,
            "scales": protocol.scales,
            "arms": protocol.arm_names(),
            "cannot run": unusable_learners(protocol.arms()),
        }
        for protocol in protocols
    ]


def list_text(rows: Sequence[dict[str, Any]]) -> str:
    """The list for a terminal."""
    width = max(len(row["name"]) for row in rows)
    lines = []
    for row in rows:
        lines.append(f"{row['name'].ljust(width)}  {row['title']} ({row['source']})")
        lines += [f"{'':{width}}  cannot be run here: {arm}: {why}" for arm, why in row["cannot run"].items()]
    return "\n".join(lines)


def show_json(protocol: Protocol, scale: str) -> dict[str, Any]:
    """A protocol at a scale, every field of every arm with its value and what it means."""
    arms = {
        name: {
            "fields": {key: {"value": value, "meaning": FIELDS[key]} for key, value in _values(arm).items()},
            "size": size_of(arm),
        }
        for name, arm in protocol.arms(scale).items()
    }
    content = protocol.content
    about = {"name": protocol.name, "title": content.title, "source": content.source, "about": content.about}
    chosen = {"scale": scale, "scales": protocol.scales, "changes": difference_lines(protocol, scale)}
    return about | {"differences": list(content.differences)} | chosen | {"arms": arms}


def show_text(protocol: Protocol, scale: str) -> str:
    """A protocol at a scale for a terminal: what it is, and every field with its value and what it means."""
    content = protocol.content
    lines = [content.title, *(["Source: " + content.source] if content.source else []), ""]
    lines += _wrapped(content.about) if content.about else []
    for text in content.differences:
        lines += _wrapped(text, "Differs from the source: ")
    lines += _wrapped(protocol.scale(scale).about, f"Scale {scale}: ")
    others = [name for name in protocol.scales if name != scale]
    lines += [f"Other scales: {', '.join(others)}."] if others else []
    for line in difference_lines(protocol, scale):
        lines += _wrapped(line, "  ")
    reasons = unusable_learners(protocol.arms(scale))
    for name, arm in protocol.arms(scale).items():
        lines += ["", f"Arm {name}: {size_of(arm)}"]
        lines += [f"  Cannot be run here: {reasons[name]}"] if name in reasons else []
        for key, value in _values(arm).items():
            lines += _wrapped(f"{_text(value)}", f"  {key} = ")
            lines += _wrapped(FIELDS[key], "      ")
    return "\n".join(lines)


def size_of(arm: ArmSettings) -> str:
    """How much an arm computes, in words."""
    repetitions = (arm.splits.used or arm.splits.count if arm.splits else 1) * max(1, len(arm.initial_seeds))
    runs = repetitions * len(arm.seeds) * len(arm.strategies)
    rounds = len(arm.rounds)
    try:
        training = training_of(arm)
        steps = f" of {training.epochs} epochs" if training.epochs else f" of {training.steps} steps"
    except BadInput:  # its learner is not there; show says so in a line of its own
        steps = ""
    trainings = runs * rounds * arm.models + (repetitions * len(arm.seeds) * arm.models if arm.upper_bound else 0)
    return f"{counted(runs, 'run')} of {counted(rounds, 'round')}, {counted(trainings, 'training')}{steps}."


def difference_lines(protocol: Protocol, scale: str) -> list[str]:
    """What a scale changes, one line for each field: "steps: 30000 -> 200 (arm ...)"."""
    if scale == FULL_SCALE:
        return []
    full, small = protocol.arms(), protocol.arms(scale)
    lines: dict[str, list[str]] = {}
    for name, arm in small.items():
        before, now = full[name].to_json(), arm.to_json()
        for key in FIELDS:
            if before.get(key) != now.get(key):
                lines.setdefault(f"{key}: {_text(before.get(key))} -> {_text(now.get(key))}", []).append(name)
    left_out = [name for name in full if name not in small]
    found = [line if len(names) == len(small) else f"{line} ({', '.join(names)})" for line, names in lines.items()]
    return [*found, *([f"left out: {', '.join(left_out)}"] if left_out else [])]


def _values(arm: ArmSettings) -> dict[str, Any]:
    """Every field of an arm as JSON values."""
    return arm.to_json()


def _text(value: Any) -> str:
    if value is None or value in ({}, [], ""):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) and not math.isnan(value) else str(value)


def _wrapped(text: str, start: str = "") -> list[str]:
    indent = " " * min(len(start), 6)
    return textwrap.wrap(text, WIDTH, initial_indent=start, subsequent_indent=indent, break_long_words=False)
