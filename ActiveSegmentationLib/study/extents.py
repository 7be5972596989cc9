"""Where in a volume the structures are: the first and the last slice that show any, as a person marked them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.cohort import Volume
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import read_json
from ActiveSegmentationLib.study.ledger import Change, Ledger
from ActiveSegmentationLib.study.names import STUDY_STEM

EXTENTS_FILE = "extents.json"

_FORMAT = 1

Extents = dict[str, tuple[int, int]]
"""Of a volume the first and the last slice, both included, counted from 0."""


class ExtentStore:
    """``extents.json`` of a study; a study in which nobody marked anything has none.

    Args:
        folder: Folder of the study.
        volumes: The cohort's volumes by id.
        ledger: Makes the changes.
    """

    def __init__(self, folder: Path, volumes: Mapping[str, Volume], ledger: Ledger) -> None:
        self._path = folder / EXTENTS_FILE
        self._volumes = volumes
        self._ledger = ledger

    def all(self) -> Extents:
        """What is marked, in order of volumes.

        Raises:
            BadInput: If the file is damaged, or marks what the cohort does not have.
        """
        if not self._path.is_file():
            return {}
        value = read_json(self._path)
        try:
            if value["format"] != _FORMAT:
                raise ValueError(f"format {value['format']}")
            found = {str(volume): (int(first), int(last)) for volume, (first, last) in value["extents"].items()}
            for volume, (first, last) in found.items():
                self._check(volume, first, last)
        except (KeyError, TypeError, ValueError, AttributeError, BadInput) as error:
            advice = "Restore the file from a backup, or delete it and mark the volumes again."
            raise BadInput(f"The marked extents are damaged ({error}).", where=self._path, advice=advice) from error
        return dict(sorted(found.items()))

    def mark(self, volume_id: str, first: int, last: int) -> None:
        """Mark a volume, replacing what was marked; see ``Study.mark_extent``."""
        self._check(volume_id, first, last)
        event = {"event": "mark-extent", "volume": volume_id, "first": first, "last": last}
        self._change(lambda known: {**known, volume_id: (first, last)}, event)

    def clear(self, volume_id: str) -> None:
        """Forget what was marked in a volume; see ``Study.clear_extent``."""
        event = {"event": "clear-extent", "volume": volume_id}
        self._change(lambda known: {name: both for name, both in known.items() if name != volume_id}, event)

    def _check(self, volume_id: str, first: int, last: int) -> None:
        volume = self._volumes.get(volume_id)
        if volume is None:
            advice = "Choose a volume of the study's cohort."
            raise BadInput(f"There is no volume '{volume_id}'.", where="extent", advice=advice)
        if first > last:
            advice = "Name the first slice first."
            raise BadInput(f"Slice {first + 1} comes after slice {last + 1}.", where=volume_id, advice=advice)
        if not 0 <= first <= last < volume.slice_count:
            raise BadInput(
                f"Slices {first + 1} to {last + 1} are no part of the volume, which has {volume.slice_count}.",
                where=volume_id,
                advice=f"Name a first and a last slice between 1 and {volume.slice_count}, in this order.",
            )

    def _change(self, change: Callable[[Extents], Extents], event: dict[str, Any]) -> None:
        with self._ledger.writing(STUDY_STEM) as writer:
            known = self.all()
            changed = change(known)
            if changed == known:
                return
            value = {"format": _FORMAT, "extents": {name: list(both) for name, both in sorted(changed.items())}}
            content = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
            writer.apply(Change(self._path, content.encode("utf-8"), [event]))
