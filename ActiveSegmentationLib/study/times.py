"""Times as the study writes them: UTC, ISO 8601."""

from __future__ import annotations

import datetime

from ActiveSegmentationLib.common.errors import BadInput


def now() -> str:
    """The time now in UTC, to the millisecond, for example "2025-03-01T09:30:12.125+00:00"."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def as_utc(text: str) -> str:
    """An ISO 8601 time in UTC, to the microsecond where it has them; the time now where the text is empty.

    Args:
        text: The time; without an offset it is taken as UTC.

    Raises:
        BadInput: If it is not such a time.
    """
    if not text:
        return now()
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        advice = "Write it as 2025-03-01T09:30:00+00:00."
        raise BadInput(f"{text!r} is not a time.", where="committed_at", advice=advice) from error
    if time.tzinfo is None:
        time = time.replace(tzinfo=datetime.UTC)
    return time.astimezone(datetime.UTC).isoformat(timespec="auto" if time.microsecond % 1000 else "milliseconds")


def just_after(time: str) -> str:
    """A millisecond after a time of ``as_utc``."""
    later = datetime.datetime.fromisoformat(time) + datetime.timedelta(milliseconds=1)
    return later.isoformat(timespec="auto" if later.microsecond % 1000 else "milliseconds")
