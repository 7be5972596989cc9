"""Names: natural order, ids that are safe as file names, suffixes of image files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr")
"""Suffixes of volume files, longer ones before those that they end with; a .hdr has its pixels in an .img file."""

_RESERVED = {"con", "prn", "aux", "nul", *(f"{device}{n}" for device in ("com", "lpt") for n in range(1, 10))}


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which "patient2" comes before "patient10"."""
    parts = re.split(r"(\d+)", text)
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in parts if part)


def image_suffix(path: Path) -> str | None:
    """The image suffix of a file name, or None if it is not a volume file."""
    name = path.name.lower()
    return next((suffix for suffix in IMAGE_SUFFIXES if name.endswith(suffix)), None)


def stem(path: Path) -> str:
    """File name without its image suffix, or without its last suffix."""
    suffix = image_suffix(path)
    return path.name[: -len(suffix)] if suffix else path.stem


def composed(text: str) -> str:
    """A text with each accented letter as one character, as on Windows and Linux; macOS may decompose them."""
    return unicodedata.normalize("NFC", text)


def spellings(name: str) -> list[str]:
    """Spellings of a path on disk: as it is, with "/" for "\\", with accented letters as one or two characters."""
    plain = name.replace("\\", "/")
    return list(dict.fromkeys([name, plain, composed(plain), unicodedata.normalize("NFD", plain)]))


def safe_id(text: str) -> str:
    """A name that is a valid file name on every system, close to ``text``."""
    name = re.sub(r"[^\w.+-]+", "_", text).strip("._ ") or "volume"
    return f"{name}_" if name.casefold().partition(".")[0] in _RESERVED else name[:120]


def unique_ids(names: Iterable[str]) -> list[str]:
    """Safe ids for the names, in order; names that are the same file name on some system get a number."""
    taken: set[str] = set()
    ids = []
    for name in names:
        base = candidate = safe_id(name)
        number = 2
        while candidate.casefold() in taken:
            candidate = f"{base}-{number}"
            number += 1
        taken.add(candidate.casefold())
        ids.append(candidate)
    return ids


_SYSTEM = {"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "lost+found", "@eadir"}
"""Names of system files and folders, in lower case."""


def is_hidden(path: Path, root: Path) -> bool:
    """Whether the file or a folder between it and ``root`` is hidden, temporary or a system file."""
    parts = path.relative_to(root).parts
    return any(part.startswith((".", "~")) or part.lower() in _SYSTEM for part in parts)
