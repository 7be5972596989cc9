"""Embeddings cached on disk, so that they are computed once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.common.files import atomic_path
from ActiveSegmentationLib.common.parsing import parsing


def cached_embeddings(folder: Path, key: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """The embeddings with this key: read from the folder, or computed and written there.

    Args:
        folder: Folder of the cache, created if needed; everything in it can be deleted at any time.
        key: File name that identifies everything the embeddings depend on (encoder and stack).
        compute: Computes the (n, d) float32 array.

    Returns:
        (n, d) float32.

    Raises:
        BadInput: If the file of the cache is damaged, or the folder cannot be written.
        JobFailed: If the disk is full.
    """
    path = Path(folder) / f"{key}.npy"
    if path.is_file():
        with parsing(path, "The cached embeddings are damaged.", "Delete this file; it is computed again."):
            return np.load(path, allow_pickle=False)
    embeddings = np.ascontiguousarray(compute(), dtype=np.float32)
    with atomic_path(path) as temporary:
        np.save(temporary, embeddings, allow_pickle=False)
    return embeddings
