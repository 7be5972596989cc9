"""Errors with a message, a place and advice."""

from __future__ import annotations

from pathlib import Path


class ActiveSegmentationError(Exception):
    """Base of all errors that are shown to users.

    Args:
        message: What is wrong, one sentence.
        where: The file, field or slice concerned.
        advice: What the user can do about it, one sentence.
    """

    exit_code = 1
    kind = "error"

    def __init__(self, message: str, *, where: str | Path | None = None, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = None if where is None else str(where)
        self.advice = advice

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        advice = f" {self.advice}" if self.advice else ""
        return f"{where}{self.message}{advice}"

    def __reduce__(self):  # Exception's own pickling loses keyword-only arguments
        return _rebuild, (type(self), self.message, self.where, self.advice)


def _rebuild(cls: type[ActiveSegmentationError], message: str, where: str | None, advice: str):
    return cls(message, where=where, advice=advice)


class BadInput(ActiveSegmentationError):
    """The input (a file, a folder, an option) cannot be used as it is: exit code 2."""

    exit_code = 2
    kind = "bad input"


class JobFailed(ActiveSegmentationError):
    """The job failed although the input is valid (disk full, out of memory): exit code 1."""

    exit_code = 1
    kind = "failed"


class Cancelled(ActiveSegmentationError):
    """The user cancelled the job; finished work is kept."""

    exit_code = 1
    kind = "cancelled"

    def __init__(self, message: str = "Cancelled.", *, where: str | Path | None = None, advice: str = "") -> None:
        super().__init__(message, where=where, advice=advice)
