"""Extents: the first and last slice of a volume that show a structure, as marked by an annotator."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.cohort import Volume
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import read_json
from ActiveSegmentationLib.common.parsing import parsing
from ActiveSegmentationLib.study.ledger import Change, Ledger
from ActiveSegmentationLib.study.names import RESTORE, STUDY_STEM
from ActiveSegmentationLib.study.volumes import require_included, require_volume

EXTENTS_FILE = "extents.json"

_FORMAT = 1

Extents = dict[str, tuple[int, int]]
"""By volume, the first and last slice that show a structure, both included, counted from 0."""


class ExtentStore:
    """``extents.json`` of a study; there is no such file before the first extent is marked.

    Args:
        folder: Folder of the study.
        volumes: The cohort's volumes by id.
        ledger: Makes the changes.
        excluded: Returns the ids of the excluded volumes.
    """

    def __init__(
        self, folder: Path, volumes: Mapping[str, Volume], ledger: Ledger, excluded: Callable[[], Container[str]]
    ) -> None:
        self._path = folder / EXTENTS_FILE
        self._volumes = volumes
        self._ledger = ledger
        self._excluded = excluded

    def all(self) -> Extents:
        """The extents of the volumes that are not excluded, in order of volumes.

        Raises:
            BadInput: If the file is damaged, or names a slice or volume that the cohort does not have.
        """
        excluded = self._excluded()
        return {volume: extent for volume, extent in self._read().items() if volume not in excluded}

    def _read(self) -> Extents:
        if not self._path.is_file():
            return {}
        value = read_json(self._path)
        advice = RESTORE
        with parsing(self._path, "The marked extents are damaged.", advice):
            if value["format"] != _FORMAT:
                raise ValueError(f"format {value['format']}")
            found = {str(volume): (int(first), int(last)) for volume, (first, last) in value["extents"].items()}
            for volume, (first, last) in found.items():
                try:
                    self._check(volume, first, last)
                except BadInput as error:
                    raise ValueError(str(error)) from error
        return dict(sorted(found.items()))

    def mark(self, volume_id: str, first: int, last: int) -> None:
        """Set the extent of a volume, replacing an earlier one.

        Args:
            volume_id: The volume.
            first: First slice that shows any structure, counted from 0.
            last: Last slice that shows any structure, not before ``first``.

        Raises:
            BadInput: If there is no such volume or slice, the volume is excluded, or the study cannot be written.
        """
        require_volume(self._volumes, volume_id)
        require_included(volume_id, self._excluded(), self._path.parent)
        self._check(volume_id, first, last)
        event = {"event": "mark-extent", "volume": volume_id, "first": first, "last": last}
        self._change(lambda known: {**known, volume_id: (first, last)}, event)

    def clear(self, volume_id: str) -> None:
        """Delete the extent of a volume; does nothing if there is none.

        Raises:
            BadInput: If there is no such volume, or the study cannot be written.
        """
        require_volume(self._volumes, volume_id)
        event = {"event": "clear-extent", "volume": volume_id}
        self._change(lambda known: {name: both for name, both in known.items() if name != volume_id}, event)

    def _check(self, volume_id: str, first: int, last: int) -> None:
        volume = require_volume(self._volumes, volume_id)
        if first > last:
            advice = "Give the first slice first."
            raise BadInput(f"Slice {first + 1} comes after slice {last + 1}.", where=volume_id, advice=advice)
        if not 0 <= first <= last < volume.slice_count:
            raise BadInput(
                f"Slices {first + 1} to {last + 1} are not in the volume, which has {volume.slice_count}.",
                where=volume_id,
                advice=f"Give a first and a last slice between 1 and {volume.slice_count}, in this order.",
            )

    def _change(self, change: Callable[[Extents], Extents], event: dict[str, Any]) -> None:
        with self._ledger.writing(STUDY_STEM) as writer:
            known = self._read()
            changed = change(known)
            if changed == known:
                return
            value = {"format": _FORMAT, "extents": {name: list(both) for name, both in sorted(changed.items())}}
            content = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
            writer.apply(Change(self._path, content.encode("utf-8"), [event]))
