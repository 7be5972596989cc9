"""Messages between the user interface and the worker: one JSON object a line, UTF-8, on standard input and output.

To the worker go ``run`` (a job), ``cancel`` (a job) and ``stop``. From it come ``hello`` once, ``alive`` every few
seconds, and for each job ``started``, any number of ``progress`` and ``message``, and one of ``done``, ``cancelled``
and ``error``. A job may carry ``about``: study, volume and slice that were open when it was asked for; all of its
events carry the same, so that what arrives late can be told from what is asked now. Arrays travel through files, whose
paths are in the messages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

VERSION = 2
"""Version of the protocol; client and server of different versions do not talk."""

ALIVE_SECONDS = 2.0
"""Seconds between two signs of life."""

LONGEST_LINE = 64 * 2**20
"""Bytes without a line break after which what comes is taken for garbage."""

FINAL = ("done", "cancelled", "error")
"""Events that end a job."""

_PROGRESS = b'{"event":"progress",'


class Garbage(ValueError):
    """A line that is no message."""


def encode(message: dict[str, Any]) -> bytes:
    """A message as one line, in ASCII: file names may hold half characters, which UTF-8 cannot say.

    Raises:
        ValueError: If it holds what JSON cannot say (NaN, arrays).
        TypeError: The same.
    """
    return json.dumps(message, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes, key: str) -> dict[str, Any]:
    """The message in a line.

    Args:
        line: Bytes of the line, with or without its end.
        key: Name of the field every message has ("event" from the worker, "command" to it).

    Raises:
        Garbage: If the line is not a JSON object with a text in that field.
    """
    try:
        message = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Garbage(f"no message: {line[:200]!r}") from error
    if not isinstance(message, dict) or not isinstance(message.get(key), str):
        raise Garbage(f"a message without '{key}': {line[:200]!r}")
    return message


def latest(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines from the worker without progress reports that a newer one follows at once.

    A reader that was held up shows the newest only, and a worker that reports too often does not hold it up.
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
    """Puts the pieces in which a pipe delivers bytes together to lines."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._length = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that ``data`` completes, without their ends and without empty ones; take all before the next call.

        Raises:
            Garbage: If a line grows longer than ``LONGEST_LINE``; what was gathered of it is dropped.
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
