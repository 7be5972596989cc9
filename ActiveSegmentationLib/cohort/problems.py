"""Groups problems of one kind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ActiveSegmentationLib.cohort.types import Problem

SHOWN = 3
"""Number of volumes or files of a group that are named; the others are counted."""


@dataclass(frozen=True)
class ProblemGroup:
    """Problems that differ only in numbers, file names and the volume concerned.

    Attributes:
        severity: "error" or "warning".
        message: Message of the first of them.
        advice: What to do.
        where: The affected volumes or files, in order.
    """

    severity: str
    message: str
    advice: str
    where: tuple[str, ...]

    def text(self) -> str:
        """One line for all of them."""
        named = ", ".join(self.where[:SHOWN])
        rest = len(self.where) - SHOWN
        if len(self.where) == 1:
            return f"{self.severity}: {named}: {self.message} {self.advice}".rstrip()
        more = f" and {rest} more" if rest > 0 else ""
        return f"{self.severity}, {len(self.where)} times ({named}{more}): {self.message} {self.advice}".rstrip()

    def to_json(self) -> dict[str, Any]:
        """The group as JSON values."""
        group = {"severity": self.severity, "message": self.message, "advice": self.advice}
        return group | {"count": len(self.where), "where": list(self.where)}


def grouped_problems(problems: Sequence[Problem]) -> list[ProblemGroup]:
    """Group problems by kind, in the order of the first of each kind."""
    groups: dict[tuple[str, str, str], list[Problem]] = {}
    for problem in problems:
        groups.setdefault(_kind(problem), []).append(problem)
    return [
        ProblemGroup(alike[0].severity, alike[0].message, alike[0].advice, tuple(problem.where for problem in alike))
        for alike in groups.values()
    ]


def repeated(problems: Sequence[Problem]) -> tuple[list[Problem], list[ProblemGroup]]:
    """Split problems into single ones, and groups of more than ``SHOWN`` of one kind."""
    many = [group for group in grouped_problems(problems) if len(group.where) > SHOWN]
    kinds = {_kind(problem) for group in many for problem in problems if problem.message == group.message}
    return [problem for problem in problems if _kind(problem) not in kinds], many


def _kind(problem: Problem) -> tuple[str, str, str]:
    """The kind of a problem: its text without file names, quoted names and numbers."""
    text = problem.message.replace(problem.where, "*")
    text = re.sub(r"'[^']*'|^[^:]*[/.][^:]*(?=: )|\S*/\S*|\S+\.[A-Za-z]\w*(?=\W|$)", "*", text)
    return problem.severity, re.sub(r"\d+(\.\d+)?", "#", text), problem.advice
