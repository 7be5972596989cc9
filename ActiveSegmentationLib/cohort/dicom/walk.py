"""Files of a folder that may be DICOM."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ActiveSegmentationLib.cohort.dicom.instances import looks_like_dicom
from ActiveSegmentationLib.cohort.naming import IMAGE_SUFFIXES
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
    for path in candidates(root):
        try:
            if path.name.upper() != "DICOMDIR" and looks_like_dicom(path):
                return True
        except OSError:
            continue
    return False
