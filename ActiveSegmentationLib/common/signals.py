"""Signals: one part of the program says that something happened, others listen. Needs no Qt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, ParamSpec

P = ParamSpec("P")


class Signal(Generic[P]):
    """Calls its listeners, in the order in which they were connected.

    An error in a listener goes to the code that emits; listeners after it are not called.

    Example:
        >>> saved: Signal[[str]] = Signal()
        >>> saved.connect(print)
        >>> saved.emit("study.json")
        study.json
        >>> saved.disconnect(print)
    """

    def __init__(self) -> None:
        self._listeners: list[Callable[P, object]] = []

    def __bool__(self) -> bool:
        """Whether anything is connected."""
        return bool(self._listeners)

    def connect(self, listener: Callable[P, object]) -> None:
        """Call ``listener`` at every ``emit`` from now on; what it returns is ignored."""
        self._listeners.append(listener)

    def disconnect(self, listener: Callable[P, object]) -> None:
        """Stop calling ``listener``.

        Raises:
            ValueError: If it is not connected.
        """
        self._listeners.remove(listener)

    def emit(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call every listener; changes to the listeners meanwhile take effect at the next call."""
        for listener in tuple(self._listeners):
            listener(*args, **kwargs)
