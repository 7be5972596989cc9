"""The one place where errors of parsers become messages about a file."""

from __future__ import annotations

import contextlib
import csv
import errno
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, require_regular

_RAISED_BY_PARSERS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    csv.Error,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What Python, NumPy, zlib and file format libraries raise for content that they cannot use. MemoryError comes from
headers that promise more than there is; RuntimeError from nesting that is too deep, and from SimpleITK."""


def require_types(found: object, types: Mapping[str, type | UnionType]) -> None:
    """Check values that were parsed.

    Args:
        found: What has them as attributes.
        types: Types that they may have, by name.

    Raises:
        TypeError: If one has another type; it names it.
    """
    for name, allowed in types.items():
        if not isinstance(getattr(found, name), allowed):
            raise TypeError(f"'{name}' is {getattr(found, name)!r}")


@contextlib.contextmanager
def parsing(where: str | Path, message: str, advice: str, *, reason: bool = True) -> Iterator[None]:
    """Within this block, only content is parsed: whatever a parser raises becomes a ``BadInput``.

    Args:
        where: The file, or a field of it.
        message: What is wrong, one sentence without the reason: "The draft is damaged."
        advice: What the user can do about it.
        reason: Whether the message ends with what the parser said.

    Raises:
        BadInput: If the content cannot be used, or the file cannot be read.
        JobFailed: If the disk fails.
    """
    if os.path.exists(where):
        require_regular(Path(where))
    try:
        with explained(Path(where)):
            try:
                yield
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                raise ValueError(str(error)) from error  # damage let the parser seek to an impossible place
    except _RAISED_BY_PARSERS as error:
        said = " ".join(str(error).split())[:300]
        text = (
            f"{message.removesuffix('.')} ({type(error).__name__}{': ' if said else ''}{said})." if reason else message
        )
        raise BadInput(text, where=where, advice=advice) from error
