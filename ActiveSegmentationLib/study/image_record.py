"""Content hashes of a study's image files from when they were first used, in ``cohort.json`` under "content"."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.cohort import Cohort
from ActiveSegmentationLib.cohort.stack_contents import FileHashes, hashes_of_volume
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import hash_json, read_json
from ActiveSegmentationLib.study.ledger import Change, Ledger
from ActiveSegmentationLib.study.names import STUDY_STEM
from ActiveSegmentationLib.study.study_file import COHORT_FILE
from ActiveSegmentationLib.study.volumes import require_volume

ImageHashes = Mapping[str, Mapping[str, str]]
"""For each volume the SHA-256 of each of its image files, by the file's path in the cohort."""

CONTENT = "content"

ADVICE = (
    "Restore the files, or leave the volumes out (activesegmentation exclude STUDY VOLUME). If the change is wanted: "
    "activesegmentation relocate STUDY COHORT --accept-changed."
)


class ImageRecord:
    """The recorded hashes of a study; a study of an older version has none until its images are used again.

    Args:
        folder: Folder of the study.
        cohort: The images.
        ledger: Makes the changes.
    """

    def __init__(self, folder: Path, cohort: Cohort, ledger: Ledger) -> None:
        self._path = folder / COHORT_FILE
        self._cohort = cohort
        self._root = cohort.root
        self._volumes = {volume.id: volume for volume in cohort.volumes}
        self._ledger = ledger
        self._files = FileHashes()

    def changed(self, hashes: ImageHashes) -> dict[str, list[str]]:
        """By volume, the files whose content differs from the record; volumes without a record are left out."""
        known = self._content(read_json(self._path))
        found = {
            volume: [path for path, digest in files.items() if known[volume].get(path) != digest]
            for volume, files in hashes.items()
            if volume in known
        }
        return {volume: paths for volume, paths in found.items() if paths}

    def check(self, hashes: ImageHashes) -> None:
        """Compare image files with their recorded content; volumes without a record pass.

        Args:
            hashes: For each volume the SHA-256 of each of its image files, see ``cohort.image_hashes``.

        Raises:
            BadInput: If files have changed since: the annotations and the models would belong to other images.
        """
        changed = self.changed(hashes)
        if changed:
            lines = [f"  {volume}: {_shortened(paths)}" for volume, paths in changed.items()]
            message = f"The images of {len(changed)} volume(s) changed since this study first used them:\n"
            raise BadInput(message + "\n".join(lines) + "\n", where=self._root, advice=ADVICE)

    def digest(self, volume_id: str) -> str | None:
        """One hash of the image files of a volume as they are now, None if they cannot be read.

        A file is read again only when its size or a time has changed.
        """
        volume = self._volumes.get(volume_id)
        try:
            return None if volume is None else hash_json(hashes_of_volume(self._cohort, volume, self._files))
        except BadInput:
            return None

    def problems(self, volumes: Iterable[str]) -> list[str]:
        """Volumes whose image files cannot be read, or are not those that were recorded; one sentence each."""
        problems = []
        for name in volumes:
            if name not in self._volumes:
                continue
            try:
                found = hashes_of_volume(self._cohort, self._volumes[name], self._files)
            except BadInput as problem:
                problems.append(f"{name}: the images cannot be read: {problem}")
                continue
            changed = self.changed({name: found}).get(name, [])
            if changed:
                problems.append(f"{name}: the images are not those that were recorded: {_shortened(changed)}.")
        return problems

    def record(self, hashes: ImageHashes) -> None:
        """Record the content of volumes without a record; the others stay as they are.

        Call it once the images are used: before that, an unreadable file may still be repaired. Does nothing in a study
        that is read-only.
        """
        known = self._content(read_json(self._path))
        if os.access(self._path.parent, os.W_OK) and hashes.keys() - known.keys():
            self._change(hashes, (), "images")

    def accept(self, volume_ids: Iterable[str]) -> None:
        """Accept the image files of some volumes as they are now; annotations on them are kept.

        Raises:
            BadInput: If there is no such volume, or the study cannot be written.
        """
        accepted = {require_volume(self._volumes, volume_id).id for volume_id in volume_ids}
        self._change({}, accepted, "images-accepted")

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


def _shortened(paths: Sequence[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
