"""Files of a folder that may be DICOM, linked folders included."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ActiveSegmentationLib.cohort.dicom.instances import looks_like_dicom
from ActiveSegmentationLib.cohort.naming import IMAGE_SUFFIXES, is_hidden, natural_key

_OTHER = (
    *IMAGE_SUFFIXES,
    *(".json", ".csv", ".tsv", ".txt", ".md", ".html", ".htm", ".xml", ".log", ".cfg", ".ini", ".inf", ".pdf"),
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".zip", ".gz", ".exe", ".dll", ".py", ".npy", ".npz"),
)
"""Suffixes of files that are not DICOM and need not be opened."""


def candidates(root: Path) -> Iterator[Path]:
    """Visible files below a folder that may be DICOM by their name; each linked folder is walked once."""
    seen = set()
    for folder, below, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted((name for name in below if not _is_hidden(name)), key=natural_key)
        for name in sorted(names, key=natural_key):
            if not name.lower().endswith(_OTHER) and not _is_hidden(name):
                yield Path(folder) / name


def _is_hidden(name: str) -> bool:
    return is_hidden(Path("/", name), Path("/"))


def holds_dicom(root: Path) -> bool:
    """Whether any file below a folder is DICOM; a file that cannot be opened is not."""
    for path in candidates(root):
        try:
            if path.name.upper() != "DICOMDIR" and looks_like_dicom(path):
                return True
        except OSError:
            continue
    return False
