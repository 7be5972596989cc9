"""Messages between the user interface and the worker: one JSON object per line, UTF-8, on standard input and output.

- Commands to the worker: ``run`` (a job), ``cancel`` (a job) and ``stop``.
- Events from the worker: ``hello`` once, ``alive`` every few seconds; for each job ``started``, any number of
  ``progress`` and ``message``, and one of ``done``, ``cancelled`` and ``error``.
- A job may have ``about``: the study, volume and slice that were open when it was requested. All of its events repeat
  it, so that late results are recognised.
- Arrays are passed as files, whose paths are in the messages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

VERSION = 2
"""Version of the protocol; client and server must have the same one."""

ALIVE_SECONDS = 2.0
"""Seconds between two signs of life."""

LONGEST_LINE = 64 * 2**20
"""Maximum bytes of a line; longer input counts as garbage."""

FINAL = ("done", "cancelled", "error")
"""Events that end a job."""

_PROGRESS = b'{"event":"progress",'


class Garbage(ValueError):
    """A line that is not a message."""


def encode(message: dict[str, Any]) -> bytes:
    """A message as one line, in ASCII: file names may contain lone surrogates, which UTF-8 cannot encode.

    Raises:
        ValueError, TypeError: If a value cannot be encoded as JSON (NaN, arrays).
    """
    return json.dumps(message, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes, key: str) -> dict[str, Any]:
    """The message in a line.

    Args:
        line: Bytes of the line, with or without its end.
        key: Name of the field that every message has ("event" from the worker, "command" to it).

    Raises:
        Garbage: If the line is not a JSON object with a text in that field.
    """
    try:
        message = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Garbage(f"not a message: {line[:200]!r}") from error
    if not isinstance(message, dict) or not isinstance(message.get(key), str):
        raise Garbage(f"a message without '{key}': {line[:200]!r}")
    return message


def latest(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines from the worker without progress reports that a newer one follows at once.

    A delayed reader then shows only the newest report, and frequent reports do not delay it.
    """
    report = None
    for line in lines:
        if line.startswith(_PROGRESS):
            report = line
            continue
        if report is not None:
            yield report
            report = None
        yield line
    if report is not None:
        yield report


class Lines:
    """Assembles lines from the pieces that a pipe delivers."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._length = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The complete lines up to ``data``, without line ends and empty lines; consume all before the next call.

        Raises:
            Garbage: If a line grows longer than ``LONGEST_LINE``; its beginning is dropped.
        """
        *complete, rest = data.split(b"\n")
        for piece in complete:
            line = b"".join([*self._pieces, piece])
            self._pieces, self._length = [], 0
            if line.strip():
                yield line
        if rest:
            self._pieces.append(rest)
            self._length += len(rest)
        if self._length > LONGEST_LINE:
            self._pieces, self._length = [], 0
            raise Garbage(f"a line of more than {LONGEST_LINE} bytes")
