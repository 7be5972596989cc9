"""Checks on the volumes of a study: whether a volume exists, and whether it is excluded."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path

from ActiveSegmentationLib.cohort import Volume
from ActiveSegmentationLib.common.errors import BadInput


def require_volume(volumes: Mapping[str, Volume], volume_id: str) -> Volume:
    """The volume called ``volume_id``.

    Args:
        volumes: The volumes of the study by id.
        volume_id: Which one.

    Raises:
        BadInput: If there is none.
    """
    if volume_id not in volumes:
        raise BadInput(f"The study has no volume '{volume_id}'.", where="volume", advice="Check the spelling.")
    return volumes[volume_id]


def require_included(volume_id: str, excluded: Container[str], folder: Path) -> None:
    """Refuse a volume that is excluded.

    Args:
        volume_id: Which one.
        excluded: Ids of the excluded volumes.
        folder: Folder of the study, for the message.

    Raises:
        BadInput: If it is excluded.
    """
    if volume_id in excluded:
        advice = "Take it back first (exclude --undo)."
        raise BadInput(f"Volume '{volume_id}' is excluded.", where=folder, advice=advice)
