"""Files of a folder that may be DICOM."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ActiveSegmentationLib.cohort.dicom.instances import looks_like_dicom
from ActiveSegmentationLib.cohort.naming import IMAGE_SUFFIXES, image_suffix
from ActiveSegmentationLib.cohort.walking import walk

_OTHER = (
    *IMAGE_SUFFIXES,
    *(".json", ".csv", ".tsv", ".txt", ".md", ".html", ".htm", ".xml", ".log", ".cfg", ".ini", ".inf", ".pdf"),
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".zip", ".gz", ".exe", ".dll", ".py", ".npy", ".npz"),
)
"""Suffixes of files that are not DICOM and need not be opened."""


def candidates(root: Path) -> Iterator[Path]:
    """Visible files below a folder that may be DICOM by their name, in natural order; linked folders are followed.

    A file instead of a folder stands for itself.
    """
    if root.is_file():
        return iter([root])
    return (path for path in walk(root).files if not path.name.lower().endswith(_OTHER))


def holds_dicom(root: Path) -> bool:
    """Whether a file, or any file below a folder, is DICOM; a file that cannot be opened is not."""
    return any(_is_dicom(path) for path in candidates(root))


def is_dicom_cohort(root: Path) -> bool:
    """Whether DICOM is what a folder is about: it holds DICOM, and not more volume files of other formats than series.

    How many series there are is estimated from the number of files in each folder, without reading headers.
    """
    others = 0 if root.is_file() else sum(image_suffix(path) is not None for path in walk(root).files)
    if not others:
        return holds_dicom(root)
    folders = Counter(path.parent for path in candidates(root) if _is_dicom(path))
    return bool(folders) and sum(max(1, count // _USUAL) for count in folders.values()) >= others


_USUAL = 50
"""Files of a series, to estimate how many series a folder holds."""


def _is_dicom(path: Path) -> bool:
    try:
        return path.name.upper() != "DICOMDIR" and looks_like_dicom(path)
    except OSError:
        return False
