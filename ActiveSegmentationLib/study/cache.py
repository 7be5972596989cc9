"""Removal of a study's cache."""

from __future__ import annotations

import shutil
from pathlib import Path

from ActiveSegmentationLib.common.durability import temporaries
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, remove_tree, tree_size


def remove_cache(folder: Path) -> int:
    """Delete a cache folder, with what a removal that was killed has left; links are deleted, not followed.

    The caller holds the study's lock, so nobody else is removing it.

    Args:
        folder: The folder; it need not exist.

    Returns:
        Bytes that were freed.

    Raises:
        BadInput: If the folder is a link to another place, or cannot be removed.
    """
    with explained(folder):
        if folder.resolve() != folder.parent.resolve() / folder.name:
            advice = f"Delete what is in {folder.resolve()} yourself if it holds nothing else."
            raise BadInput("The cache is a link; nothing was deleted.", where=folder, advice=advice)
        freed = tree_size(folder)
        remove_tree(folder)
        for leftover in temporaries(folder.parent, [folder.name]):
            freed += tree_size(leftover)
            shutil.rmtree(leftover)
    return freed
