"""Removal of a study's cache."""

from __future__ import annotations

import shutil
from pathlib import Path

from ActiveSegmentationLib.common.files import explained, remove_tree, tree_size


def remove_cache(folder: Path) -> int:
    """Delete a cache folder, with what a removal that was killed has left behind.

    Returns:
        Bytes that were freed.

    Raises:
        BadInput: If the folder cannot be removed.
    """
    with explained(folder):
        freed = tree_size(folder)
        place = folder.resolve()
        remove_tree(place)
        for leftover in place.parent.glob(f".tmp-removed-{place.name}-*"):
            freed += tree_size(leftover)
            shutil.rmtree(leftover)
        if folder.is_symlink():  # the cache stays on the disk that the link points to
            place.mkdir()
    return freed
