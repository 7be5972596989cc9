"""Values of DICOM elements as text and numbers, tolerant of non-standard files."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import sqlite3
import struct
import unicodedata
import warnings
from collections.abc import Iterator
from typing import Any


@functools.cache
def damaged() -> tuple[type[Exception], ...]:
    """Errors of pydicom and highdicom for damaged files and values."""
    from pydicom import errors

    own = (errors.InvalidDicomError, errors.BytesLengthException, sqlite3.Error)  # highdicom sorts frames with SQLite
    plain = (ValueError, TypeError, AttributeError, LookupError, EOFError, RuntimeError, ArithmeticError, struct.error)
    return *plain, *own


_BINARY_KINDS = {"US", "SS", "UL", "SL", "FL", "FD"}
"""Value representations that are stored as binary numbers, not as text."""

_SETS = "SpecificCharacterSet"


class BadValue(ValueError):
    """An element that is missing or invalid; the text is a sentence for the user."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within this block pydicom does not warn about values that break the standard."""
    log = logging.getLogger("pydicom")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def text(dataset: Any, keyword: str) -> str:
    """An element as one line of text; several values are joined by a backslash, empty if there is none.

    Bytes that do not fit the file's character set are read as UTF-8 if valid, otherwise as Latin-1, so that different
    names stay different.
    """
    raw = _raw(dataset, keyword)
    if raw is None:
        return ""
    plain = isinstance(raw, bytes) and raw.isascii() and b"\x1b" not in raw  # an escape changes the character set
    if isinstance(raw, bytes) and not _is_binary(keyword) and (plain or _SETS not in dataset):
        return _clean(_guessed(raw))
    try:
        element = dataset.get(_tag(keyword))
        value = None if element is None else element.value
    except damaged():
        return _clean(_guessed(raw)) if isinstance(raw, bytes) else ""
    if value is None:
        return ""
    many = not isinstance(value, str | bytes) and hasattr(value, "__iter__") and hasattr(value, "__getitem__")
    decoded = "\\".join(str(part) for part in value) if many else str(value)
    if "\ufffd" in decoded and isinstance(raw, bytes):
        decoded = _guessed(raw)
    return _clean(decoded)


def numbers(dataset: Any, keyword: str, count: int) -> tuple[float, ...] | None:
    """An element as finite numbers, or None if it is missing or empty.

    Raises:
        BadValue: If it has another number of values or one is not a number.
    """
    stated = text(dataset, keyword)
    if not stated:
        return None
    try:
        found = tuple(float(part) for part in stated.split("\\"))
    except ValueError as error:
        raise BadValue(f"{_named(keyword)} is not a number: '{stated}'.") from error
    if len(found) != count or not all(math.isfinite(number) for number in found):
        raise BadValue(f"{_named(keyword)} must be {count} finite number(s): '{stated}'.")
    return found


def number(dataset: Any, keyword: str) -> float | None:
    """An element as one number; None if it is missing or is not one."""
    try:
        found = numbers(dataset, keyword, 1)
    except BadValue:
        return None
    return None if found is None else found[0]


def first(dataset: Any, *keywords: str) -> Any:
    """The first item of nested sequences, or None where one is missing or empty."""
    for keyword in keywords:
        try:
            sequence = None if dataset is None else dataset.get(keyword)
        except damaged():
            return None
        if not sequence:
            return None
        dataset = sequence[0]
    return dataset


def _raw(dataset: Any, keyword: str) -> Any:
    """The raw bytes of an element, or the value that pydicom has decoded; None without one."""
    try:
        item = dataset.get_item(_tag(keyword))
    except damaged():
        return None
    return getattr(item, "value", None)


@functools.cache
def _tag(keyword: str) -> Any:
    from pydicom.datadict import tag_for_keyword
    from pydicom.tag import Tag

    return Tag(tag_for_keyword(keyword) or 0)


@functools.cache
def _is_binary(keyword: str) -> bool:
    from pydicom.datadict import dictionary_VR

    return dictionary_VR(_tag(keyword)) in _BINARY_KINDS


def _guessed(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _clean(value: str) -> str:
    if value.isascii() and value.isprintable():
        return value.strip() if "  " not in value else " ".join(value.split())
    printable = "".join(letter if letter.isprintable() else " " for letter in value.replace("\0", ""))
    return unicodedata.normalize("NFC", " ".join(printable.split()))


def _named(keyword: str) -> str:
    tag = int(_tag(keyword))
    return f"{keyword} ({tag >> 16:04x},{tag & 0xFFFF:04x})"
