"""Embeddings cached on disk, so that they are computed once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.common.files import atomic_path
from ActiveSegmentationLib.common.parsing import parsing


def cache_file(folder: Path, key: str) -> Path:
    """The file of cached embeddings, there or not."""
    return Path(folder) / f"{key}.npz"  # unlike .npy, with a checksum


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
    path = cache_file(folder, key)
    if path.is_file():
        advice = "Delete this file; it is computed again."
        with parsing(path, "The cached embeddings are damaged.", advice), np.load(path, allow_pickle=False) as stored:
            return stored["embeddings"]
    embeddings = np.ascontiguousarray(compute(), dtype=np.float32)
    with atomic_path(path) as temporary:
        np.savez(temporary, embeddings=embeddings)
    return embeddings
