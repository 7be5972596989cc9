"""What the image files of a study contained when they were first used: part of ``cohort.json``, under "content"."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import read_json
from ActiveSegmentationLib.study.ledger import Change, Ledger
from ActiveSegmentationLib.study.names import STUDY_STEM
from ActiveSegmentationLib.study.study_file import COHORT_FILE

ImageHashes = Mapping[str, Mapping[str, str]]
"""For each volume the SHA-256 of each of its image files, by the file's path in the cohort."""

CONTENT = "content"


class ImageRecord:
    """The recorded hashes of a study; a study of an older version has none until its images are used again.

    Args:
        folder: Folder of the study.
        ledger: Makes the changes.
    """

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self._path = folder / COHORT_FILE
        self._ledger = ledger

    def changed(self, hashes: ImageHashes) -> dict[str, list[str]]:
        """Paths of the files that are not what was recorded, by volume, without volumes that nothing is recorded of."""
        known = self._content(read_json(self._path))
        found = {
            volume: [path for path, digest in files.items() if known[volume].get(path) != digest]
            for volume, files in hashes.items()
            if volume in known
        }
        return {volume: paths for volume, paths in found.items() if paths}

    def add(self, hashes: ImageHashes) -> None:
        """Record volumes that nothing is recorded of; the others stay as they are.

        Raises:
            BadInput: If the study cannot be written.
        """
        known = self._content(read_json(self._path))
        if hashes.keys() - known.keys():
            self._change(hashes, (), "images")

    def drop(self, volume_ids: Iterable[str]) -> None:
        """Forget what is recorded of some volumes.

        Raises:
            BadInput: If the study cannot be written.
        """
        self._change({}, set(volume_ids), "images-accepted")

    def _change(self, new: ImageHashes, gone: Iterable[str], event: str) -> None:
        with self._ledger.writing(STUDY_STEM) as writer:
            value = read_json(self._path)
            known = self._content(value)
            added = {volume: dict(files) for volume, files in new.items() if volume not in known}
            dropped = sorted(known.keys() & set(gone))
            if not added and not dropped:
                return
            value[CONTENT] = {v: files for v, files in (known | added).items() if v not in dropped}
            content = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
            record = {"event": event, "volumes": dropped or sorted(added)}
            writer.apply(Change(self._path, content.encode("utf-8"), [record]))

    def _content(self, value: dict[str, Any]) -> dict[str, dict[str, str]]:
        content = value.get(CONTENT, {})
        if not isinstance(content, dict) or not all(isinstance(files, dict) for files in content.values()):
            raise BadInput("The file is damaged.", where=self._path, advice="Restore the file from a backup.")
        return content
