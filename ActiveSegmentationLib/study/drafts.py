"""Drafts: saved uncommitted strokes, so that a crash loses at most the last seconds."""

from __future__ import annotations

import glob
import io
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.cohort import AnnotationKind, SliceId, Volume
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import atomic_path, explained, hash_bytes
from ActiveSegmentationLib.common.parsing import parsing
from ActiveSegmentationLib.study.annotations import check_slice
from ActiveSegmentationLib.study.names import annotator_stem
from ActiveSegmentationLib.study.times import now
from ActiveSegmentationLib.study.volumes import require_volume

_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Draft:
    """Uncommitted strokes of one slice; unlike a commit, a draft may be empty or hold overlaps.

    Attributes:
        slice: Which slice.
        kind: Mask or scribble.
        planes: For each segment id, (rows, columns) bool in the array order of the volume.
        seconds: Time spent on it so far.
        prelabel: Key of the model whose prediction was the starting point, or None.
        saved_at: Time in ISO 8601. Default: the time of saving.
    """

    slice: SliceId
    kind: AnnotationKind
    planes: Mapping[str, np.ndarray]
    seconds: float = 0.0
    prelabel: str | None = None
    saved_at: str = ""


class DraftStore:
    """The ``drafts`` folder of a study: one file per slice and annotator, no history.

    Two processes that draw under the same name never replace each other's files: the second one keeps its strokes
    under another name.

    Args:
        folder: The folder.
        volumes: The cohort's volumes by id.
    """

    def __init__(self, folder: Path, volumes: Mapping[str, Volume]) -> None:
        self._folder = folder
        self._volumes = volumes
        self._seen: dict[Path, str] = {}  # hash of each file when it was last read or written here
        self._moved: dict[Path, str] = {}  # the name of a draft whose own file belongs to another process

    def save(self, draft: Draft, annotator: str) -> str:
        """Keep the uncommitted strokes of a slice; replaces an earlier draft of the slice.

        A draft that another process has written since it was read here is not replaced.

        Returns:
            The name under which it is kept: the annotator's, or "NAME 2" and so on if that file belongs to another
            process.

        Raises:
            BadInput: If there is no such slice, a plane has another shape, or the folder cannot be written.
            JobFailed: If the disk is full.
        """
        volume = require_volume(self._volumes, draft.slice.volume)
        check_slice(draft.slice, volume)
        shape = volume.plane_shape
        for segment, plane in draft.planes.items():
            if plane.shape != shape:
                advice = "Draw on the slice plane of the volume."
                raise BadInput(f"Segment '{segment}' has shape {plane.shape}.", where=draft.slice.volume, advice=advice)
        stacked = np.array([*draft.planes.values()], dtype=bool).reshape(len(draft.planes), *shape)
        name = self._name_for(draft.slice, annotator)
        path = self._path(draft.slice, name)
        with atomic_path(path) as temporary:
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
            self._seen[path] = hash_bytes(temporary.read_bytes())
        return name

    def _name_for(self, slice_id: SliceId, annotator: str) -> str:
        """The annotator, or the first free name if another process has written that draft."""
        own = self._path(slice_id, annotator)
        names = itertools.chain([self._moved.get(own, annotator)], _numbered(annotator))
        name = next(name for name in names if not self._is_foreign(self._path(slice_id, name)))
        if name == annotator:
            self._moved.pop(own, None)
        else:
            self._moved[own] = name
        return name

    def _is_foreign(self, path: Path) -> bool:
        """Whether a file was changed since it was last read or written here."""
        with explained(path):
            return path.exists() and hash_bytes(path.read_bytes()) != self._seen.get(path)

    def all(self, annotator: str, volume: str | None = None) -> dict[SliceId, Draft]:
        """The drafts of an annotator, in order of slices.

        Args:
            annotator: Whose drafts.
            volume: Only those of this volume. Default: all volumes.

        Raises:
            BadInput: If a file is damaged; it names the file.
        """
        folder = self._folder / annotator_stem(annotator)
        with explained(folder):
            paths = sorted(folder.glob(f"{'*' if volume is None else glob.escape(volume)}/*.npz"))
        drafts = [self._read(path) for path in paths if path.parent.name in self._volumes and path.stem.isdecimal()]
        return {draft.slice: draft for draft in sorted(drafts, key=lambda draft: draft.slice)}

    def damaged(self) -> list[tuple[Path, BadInput]]:
        """Files of drafts, of all annotators, that cannot be read, with what is wrong."""
        found = []
        for path in sorted(self._folder.glob("*/*/*.npz")):
            try:
                _read(path)
            except BadInput as problem:
                found.append((path, problem))
        return found

    def _read(self, path: Path) -> Draft:
        draft, self._seen[path] = _read(path)
        return draft

    def discard(self, slice_id: SliceId, annotator: str) -> None:
        """Delete the draft of a slice; does nothing if there is none, or another process has written it since."""
        own = self._path(slice_id, annotator)
        path = self._path(slice_id, self._moved.pop(own, annotator))
        if not self._is_foreign(path):
            with explained(path):
                path.unlink(missing_ok=True)
            self._seen.pop(path, None)

    def _path(self, slice_id: SliceId, annotator: str) -> Path:
        return self._folder / annotator_stem(annotator) / slice_id.volume / f"{slice_id.index}.npz"


def _read(path: Path) -> tuple[Draft, str]:
    """A draft and the hash of its file."""
    advice = (
        "Delete this file, or let the command repair set it aside: its uncommitted strokes are lost; committed slices "
        "are unaffected."
    )
    with parsing(path, "The draft is damaged.", advice):
        content = path.read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            draft = Draft(
                slice=SliceId(path.parent.name, int(path.stem)),
                kind=AnnotationKind(str(stored["kind"])),
                planes=dict(zip(stored["segments"].tolist(), stored["planes"], strict=True)),
                seconds=float(stored["seconds"]),
                prelabel=str(stored["prelabel"]) or None,
                saved_at=str(stored["saved_at"]),
            )
    return draft, hash_bytes(content)


def _numbered(annotator: str) -> Iterator[str]:
    """ "Ann 2", "Ann 3" and so on, shortened to what a file name may have."""
    for number in itertools.count(2):
        name = annotator
        while not _fits(f"{name} {number}"):
            name = name[:-1]
        yield f"{name} {number}"


def _fits(name: str) -> bool:
    try:
        annotator_stem(name)
    except BadInput:
        return False
    return True
