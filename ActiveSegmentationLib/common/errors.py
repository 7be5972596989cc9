"""Errors that say what is wrong, where, and what to do about it."""

from __future__ import annotations

from pathlib import Path


class ActiveSegmentationError(Exception):
    """Base of every error meant for a person.

    Args:
        message: What is wrong, one sentence.
        where: The file, field or slice concerned.
        advice: What the person can do about it, one sentence.
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

    def __reduce__(self):  # keyword-only arguments do not survive Exception's own pickling between processes
        return _rebuild, (type(self), self.message, self.where, self.advice)


def _rebuild(cls: type[ActiveSegmentationError], message: str, where: str | None, advice: str):
    return cls(message, where=where, advice=advice)


class BadInput(ActiveSegmentationError):
    """The person's input (a file, a folder, an option) cannot be used as it is: exit code 2."""

    exit_code = 2
    kind = "bad input"


class JobFailed(ActiveSegmentationError):
    """The input was fine and the work failed all the same (disk full, out of memory): exit code 1."""

    exit_code = 1
    kind = "failed"


class Cancelled(ActiveSegmentationError):
    """The person asked to stop; whatever was finished is kept."""

    exit_code = 1
    kind = "cancelled"

    def __init__(self, message: str = "Cancelled.", *, where: str | Path | None = None, advice: str = "") -> None:
        super().__init__(message, where=where, advice=advice)
