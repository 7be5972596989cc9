"""Label maps that are stored as one binary file per structure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.cohort.label_values import distinct
from ActiveSegmentationLib.common.errors import BadInput

_TABLE = "Merge the files into one label map, or list one file per image in a table."


def combine_structures(paths: Sequence[Path], read: Callable[[Path], np.ndarray]) -> np.ndarray:
    """Merge binary maps of one grid.

    Args:
        paths: One file per structure.
        read: Returns the stored values of a file, (k, j, i).

    Returns:
        (k, j, i) int32: 0 background, n where the n-th file (counted from 1) shows its structure.

    Raises:
        BadInput: Naming the file, if one has several values other than 0, or two overlap.
    """
    combined: np.ndarray | None = None
    for number, path in enumerate(paths, start=1):
        stored = read(path)
        values, _ = distinct(stored)
        if not np.isfinite(values).all() or (values != 0).sum() > 1:
            named = ", ".join(f"{value:g}" for value in values[:5]) + (" ..." if len(values) > 5 else "")
            message = f"The file of one structure has several values: {named}."
            raise BadInput(message, where=path, advice=_TABLE)
        combined = np.zeros(stored.shape, np.int32) if combined is None else combined
        own = stored != 0
        both = own & (combined > 0)
        if both.any():
            other = paths[int(combined[both][0]) - 1].name
            raise BadInput(f"It overlaps {other} in {int(both.sum())} voxels.", where=path, advice=_TABLE)
        combined[own] = number
    assert combined is not None
    return combined
