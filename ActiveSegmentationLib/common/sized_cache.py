"""A cache whose memory is bounded, for arrays of very different sizes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")

CACHED_BYTES = 2**29
"""Default bound: two label maps of 512 x 512 x 1,000 voxels."""


class SizedCache(Generic[Value]):
    """Keeps the values used last, as many as fit into a number of bytes; the last one is kept whatever its size.

    Threads may share it; two that want the same new value at once may both make it.

    Args:
        size: Bytes of a value.
        limit: Bytes of all values together.
    """

    def __init__(self, size: Callable[[Value], int], limit: int = CACHED_BYTES) -> None:
        self._size, self._limit = size, limit
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key, made if it is not there.

        Args:
            key: Everything that the value depends on.
            make: Makes the value; where it fails, nothing is kept.
        """
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            self._values[key] = value
            while len(self._values) > 1 and sum(map(self._size, self._values.values())) > self._limit:
                self._values.popitem(last=False)
        return value
