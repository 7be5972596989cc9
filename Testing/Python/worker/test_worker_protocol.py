"""Messages and lines, without a process."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ActiveSegmentationLib.worker import protocol
from ActiveSegmentationLib.worker.protocol import Garbage, Lines, decode, encode, latest

TEXTS = st.text(max_size=20) | st.text("ab\udc80\udcff", max_size=5)  # Linux file names may be no UTF-8
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)
MESSAGES = st.dictionaries(TEXTS, VALUES, max_size=5).map(lambda rest: {**rest, "event": "x"})


@given(MESSAGES)
def test_a_message_comes_back_as_it_was(message):
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line, "event") == message
    assert decode(line.rstrip(b"\n"), "event") == message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.zeros(2), np.float32(1), {1, 2}, b"x"])
def test_what_json_cannot_say_is_refused(value):
    with pytest.raises((ValueError, TypeError)):
        encode({"event": "x", "value": [value]})


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff\xfe\x00",
        b"Loading torch ...",
        b"{",
        b"null",
        b"3",
        b'"event"',
        b"[]",
        b'["event"]',
        b"{}",
        b'{"event": 3}',
        b'{"event": null}',
        b'{"command": "run"}',
        b"[" * 200_000,
        b'{"event":' * 50_000,
        b"1" * 10_000,
        b'{"event": "x"} {"event": "y"}',
        b'{"event": "half',
    ],
    ids=lambda line: line[:16].decode("latin-1"),
)
def test_a_line_that_is_not_a_message_is_garbage(line):
    with pytest.raises(Garbage) as caught:
        decode(line, "event")
    assert len(str(caught.value)) < 1000


@given(st.binary(max_size=60))
def test_random_bytes_are_garbage_or_a_message(line):
    try:
        message = decode(line, "event")
    except Garbage:
        return
    assert isinstance(message["event"], str)


@given(st.lists(MESSAGES, max_size=6), st.data())
def test_lines_do_not_depend_on_how_the_pipe_splits_them(messages, data):
    stream = b"".join(encode(message) for message in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    lines, found = Lines(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found.extend(lines.feed(stream[start:end]))
    assert [decode(line, "event") for line in found] == messages


@given(st.binary(max_size=200), st.integers(1, 7))
def test_lines_are_those_of_the_whole(stream, size):
    lines, found = Lines(), []
    for start in range(0, len(stream), size):
        found.extend(lines.feed(stream[start : start + size]))
    assert found == [line for line in stream.split(b"\n")[:-1] if line.strip()]


def test_windows_line_ends_and_empty_lines():
    message = {"event": "alive", "silent": 0.1}
    found = list(Lines().feed(b"\r\n\n  \n" + json.dumps(message).encode() + b"\r\n"))
    assert [decode(line, "event") for line in found] == [message]


def test_a_line_without_end_is_dropped_and_the_next_is_heard(monkeypatch):
    monkeypatch.setattr(protocol, "LONGEST_LINE", 100)
    lines, found = Lines(), []

    def feed(data):
        found.extend(lines.feed(data))

    feed(encode({"event": "first"}))
    for _ in range(10):
        feed(b"x" * 10)
    with pytest.raises(Garbage, match="more than 100 bytes"):
        feed(b"x")
    feed(b"rest of it\n" + encode({"event": "second"}))
    assert found == [b'{"event":"first"}', b"rest of it", b'{"event":"second"}']


def test_messages_before_an_overlong_line_are_not_lost(monkeypatch):
    monkeypatch.setattr(protocol, "LONGEST_LINE", 100)
    feed = Lines().feed(b"{}\n[]\n" + b"x" * 101)
    assert [next(feed), next(feed)] == [b"{}", b"[]"]
    with pytest.raises(Garbage):
        next(feed)


def test_a_long_line_that_is_whole_is_a_line():
    message = {"event": "done", "result": {"text": "x" * 3_000_000}}
    stream = encode(message)
    lines, found = Lines(), []
    for start in range(0, len(stream), 65536):
        found.extend(lines.feed(stream[start : start + 65536]))
    assert [decode(line, "event") for line in found] == [message]


def test_of_progress_reports_in_a_row_the_newest_is_left():
    def report(done):
        return encode({"event": "progress", "id": "1", "done": done}).rstrip()

    other = encode({"event": "message", "id": "1", "text": '"event":"progress"'}).rstrip()
    lines = [report(1), report(2), other, other, report(3), report(4), report(5)]
    assert list(latest(lines)) == [report(2), other, other, report(5)]
    assert list(latest([])) == []
