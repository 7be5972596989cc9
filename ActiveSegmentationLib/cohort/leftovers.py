"""Files in a cohort's folder that could be images but are not used."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from ActiveSegmentationLib.cohort.assembly import Draft
from ActiveSegmentationLib.cohort.headers import data_files
from ActiveSegmentationLib.cohort.naming import IMAGE_SUFFIXES
from ActiveSegmentationLib.cohort.types import Problem

_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
_DICOM = (".dcm", ".dicom", ".ima")
_OTHERS = (
    *(".img", ".mgz", ".mgh", ".mnc", ".gipl", ".vti", ".vtk", ".par", ".rec", ".h5", ".hdf5", ".npy", ".npz", ".mat"),
    *(".nii.bz2", ".nii.xz", ".nii.zst", ".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar"),
)
"""Formats that are not read, and archives that may hold images."""

_KNOWN = (*IMAGE_SUFFIXES, *_OTHERS, *_PICTURES, *_DICOM)


def unused_files(root: Path, files: Sequence[Path], draft: Draft, layout: str) -> list[Problem]:
    """Report in one warning which files could be images but are not used.

    Args:
        root: The cohort's folder.
        files: Every file below it.
        draft: What the layout found; files that it uses, names in a problem or leaves aside on purpose are not
        reported.
        layout: Name of the layout; the DICOM layout reports DICOM files itself.
    """
    known = {_key(path) for path in _known_files(root, draft)}
    left = [(path, kind) for path in files if _key(path) not in known and (kind := _kind(path, layout))]
    if not left:
        return []
    counts = Counter(kind for _, kind in left)
    named = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    example = left[0][0].relative_to(root).as_posix()
    message = f"Files that could be images are not used: {named} (for example {example})."
    advice = "If they belong to the cohort, name them in a table, or name the layout with --layout."
    return [Problem(f"{root.name} (folder)", message, advice, "warning")]


def summary_of(files: Iterable[Path]) -> str:
    """The suffixes of files with their numbers, the most frequent first: "12 .png, 1 .txt"."""
    counts = Counter(path.suffix.lower() or "without suffix" for path in files)
    return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(5))


def _known_files(root: Path, draft: Draft) -> Iterable[Path]:
    for candidate in draft.candidates:
        labels = [source.source for source in (candidate.mask, candidate.scribble) if source is not None]
        for source in (*candidate.channels, *labels):
            for path in map(Path, source.paths):
                yield path
                if path.suffix.lower() in (".hdr", ".mhd", ".nhdr"):
                    yield from data_files(path)
                if path.suffix.lower() in (".hdr", ".img"):
                    yield from (path.with_suffix(suffix) for suffix in (".img", ".IMG", ".mat", ".MAT"))
    yield from (root / problem.where for problem in draft.problems)
    yield from draft.aside


def _key(path: Path) -> str:
    return os.path.normcase(os.path.normpath(path))


def _kind(path: Path, layout: str) -> str | None:
    """The suffix of a file that could be an image, or None."""
    suffix = next((known for known in _KNOWN if path.name.lower().endswith(known)), None)
    try:
        is_dicom = suffix in _DICOM or (suffix is None and not path.suffix[1:].isalpha() and _has_dicom_mark(path))
    except OSError:
        return "that cannot be read"
    if is_dicom:
        return None if layout == "dicom" else "DICOM"
    return suffix


def _has_dicom_mark(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"
