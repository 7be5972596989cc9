"""Slabs: parts of a volume along its slices that a 3D model predicts at once, so that memory is bounded.

A volume is covered by windows at fixed places, which overlap. The prediction of a slice depends on all windows that
cover it, so a slab holds all of those for the slices it is predicted for: predictions are the same as if the volume
were predicted whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ActiveSegmentationLib.segmentation.windows import OVERLAP

VALUES_AT_ONCE = 2**26
"""Values of all classes that a slab predicts, at most, unless two windows have more."""


class Slab(NamedTuple):
    """Consecutive slices of a volume that are predicted together.

    Attributes:
        first: First slice that is given to the model.
        last: One past the last slice that is given to the model.
        begin: First slice whose prediction is complete.
        end: One past the last slice whose prediction is complete.
    """

    first: int
    last: int
    begin: int
    end: int


def window_starts(length: int, window: int) -> list[int]:
    """First slices of the windows that cover a volume, as MONAI's sliding window places them.

    Args:
        length: Slices of the volume.
        window: Slices of a window; a volume with fewer has one window.
    """
    step = max(1, int(window * (1 - OVERLAP)))
    count = 1 + max(0, -(-(length - window) // step))
    return [max(0, min(number * step, length - window)) for number in range(count)]


def slabs(length: int, window: int, values: int, first_slices: Sequence[int] = ()) -> list[Slab]:
    """The slabs of a volume, which together predict every slice once, in order.

    Args:
        length: Slices of the volume.
        window: Slices of a window.
        values: Values that are predicted for a slice: pixels times classes.
        first_slices: First slices of the windows that cover the volume, ascending. Default: ``window_starts``.
    """
    starts = np.array(first_slices or window_starts(length, window))
    most = max(2 * window, VALUES_AT_ONCE // values)
    found: list[Slab] = []
    begin = 0
    while begin < length:
        opening = int(np.flatnonzero(starts + window > begin)[0])
        first = int(starts[opening])
        closing = int(np.flatnonzero(starts + window <= first + most)[-1])
        while closing + 1 < len(starts) and starts[closing + 1] <= begin:  # slices in more than two windows
            closing += 1
        end = length if closing + 1 == len(starts) else int(starts[closing + 1])
        found.append(Slab(first, min(length, int(starts[closing]) + window), begin, end))
        begin = end
    return found
