"""Signals: order, disconnecting, errors, and changes while they are emitted."""

from __future__ import annotations

import doctest

import pytest

from ActiveSegmentationLib.common import signals
from ActiveSegmentationLib.common.signals import Signal


class Listener:
    """Something with a method that listens."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def hear(self, number: int) -> None:
        self.heard.append(number)


def test_listeners_are_called_in_the_order_in_which_they_were_connected():
    signal: Signal[[int]] = Signal()
    heard: list[str] = []
    signal.connect(lambda number: heard.append(f"first {number}"))
    signal.connect(lambda number: heard.append(f"second {number}"))
    signal.emit(3)
    assert heard == ["first 3", "second 3"]


def test_a_method_can_be_disconnected():
    signal: Signal[[int]] = Signal()
    one, other = Listener(), Listener()
    signal.connect(one.hear)
    signal.connect(other.hear)
    assert signal
    signal.emit(1)
    signal.disconnect(one.hear)
    signal.emit(2)
    assert (one.heard, other.heard) == ([1], [1, 2])
    signal.disconnect(other.hear)
    assert not signal
    with pytest.raises(ValueError, match="not in list"):
        signal.disconnect(other.hear)


def test_an_error_reaches_the_emitter():
    signal: Signal[[int]] = Signal()
    listener = Listener()

    def fail(number: int) -> None:
        raise OSError(str(number))

    signal.connect(listener.hear)
    signal.connect(fail)
    signal.connect(listener.hear)
    with pytest.raises(OSError, match="7"):
        signal.emit(7)
    assert listener.heard == [7]


def test_changes_during_an_emit_count_from_the_next_one_on():
    signal: Signal[[]] = Signal()
    heard: list[str] = []

    def once() -> None:
        heard.append("once")
        signal.disconnect(once)
        signal.connect(lambda: heard.append("later"))

    signal.connect(once)
    signal.connect(lambda: heard.append("always"))
    signal.emit()
    assert heard == ["once", "always"]
    signal.emit()
    assert heard == ["once", "always", "always", "later"]


def test_the_example_of_the_documentation_holds():
    assert doctest.testmod(signals).failed == 0
    assert doctest.testmod(signals).attempted == 4
