"""What an annotator has drawn and not committed yet, kept so that a crash costs no more than the last seconds."""

from __future__ import annotations

import glob
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.cohort import AnnotationKind, SliceId, Volume
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import atomic_path, explained
from ActiveSegmentationLib.study.names import annotator_stem
from ActiveSegmentationLib.study.times import now

_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Draft:
    """One slice as it was drawn when it was last saved; it may be empty or hold overlaps, which a commit may not.

    Attributes:
        slice: Which slice.
        kind: What it is to become.
        planes: For each segment id, (rows, columns) bool in the array order of the volume.
        seconds: Time spent on it so far.
        prelabel: What was shown as a start (key of a model), or None.
        saved_at: Time in ISO 8601; "" means now when it is saved.
    """

    slice: SliceId
    kind: AnnotationKind
    planes: Mapping[str, np.ndarray]
    seconds: float = 0.0
    prelabel: str | None = None
    saved_at: str = ""


class DraftStore:
    """The ``drafts`` folder of a study: one file a slice and annotator, no history.

    Args:
        folder: The folder.
        volumes: The cohort's volumes by id.
    """

    def __init__(self, folder: Path, volumes: Mapping[str, Volume]) -> None:
        self._folder = folder
        self._volumes = volumes

    def save(self, draft: Draft, annotator: str) -> None:
        """Write a draft, replacing an earlier one of the slice; see ``Study.save_draft``."""
        shape = self._volumes[draft.slice.volume].plane_shape
        for segment, plane in draft.planes.items():
            if plane.shape != shape:
                advice = "Draw on the slice plane of the volume."
                raise BadInput(f"Segment '{segment}' has shape {plane.shape}.", where=draft.slice.volume, advice=advice)
        stacked = np.array([*draft.planes.values()], dtype=bool).reshape(len(draft.planes), *shape)
        with atomic_path(self._path(draft.slice, annotator)) as temporary:
            np.savez_compressed(
                temporary,
                format=_FORMAT,
                kind=str(draft.kind),
                segments=np.array(list(draft.planes), dtype=str),
                planes=stacked,
                seconds=draft.seconds,
                prelabel=draft.prelabel or "",
                saved_at=draft.saved_at or now(),
            )

    def all(self, annotator: str, volume: str | None = None) -> dict[SliceId, Draft]:
        """Every draft of an annotator, or those of one volume, in order of slices.

        Raises:
            BadInput: If a file is damaged; it names the file.
        """
        folder = self._folder / annotator_stem(annotator)
        with explained(folder):
            paths = sorted(folder.glob(f"{'*' if volume is None else glob.escape(volume)}/*.npz"))
        drafts = [self._read(path) for path in paths if path.parent.name in self._volumes and path.stem.isdecimal()]
        return {draft.slice: draft for draft in sorted(drafts, key=lambda draft: draft.slice)}

    def _read(self, path: Path) -> Draft:
        try:
            with explained(path), np.load(path, allow_pickle=False) as stored:
                planes = dict(zip(stored["segments"].tolist(), stored["planes"], strict=True))
                return Draft(
                    slice=SliceId(path.parent.name, int(path.stem)),
                    kind=AnnotationKind(str(stored["kind"])),
                    planes=planes,
                    seconds=float(stored["seconds"]),
                    prelabel=str(stored["prelabel"]) or None,
                    saved_at=str(stored["saved_at"]),
                )
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            advice = "Delete this file; the strokes in it are lost, committed slices are not concerned."
            raise BadInput("The unfinished annotation is damaged.", where=path, advice=advice) from error

    def discard(self, slice_id: SliceId, annotator: str) -> None:
        """Remove the draft of a slice where there is one."""
        path = self._path(slice_id, annotator)
        with explained(path):
            path.unlink(missing_ok=True)

    def _path(self, slice_id: SliceId, annotator: str) -> Path:
        return self._folder / annotator_stem(annotator) / slice_id.volume / f"{slice_id.index}.npz"
