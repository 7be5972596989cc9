"""Label pictures (PNG, BMP, GIF, TIFF ...): reads stored values where SimpleITK returns colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ActiveSegmentationLib.cohort.contents import unreadable
from ActiveSegmentationLib.common.files import explained

SUFFIXES = (".png", ".bmp", ".gif", ".tif", ".tiff")
_PNG_GREY = 0
_PNG_DEPTH, _PNG_COLOUR = 24, 25
"""Position of bit depth and colour type in a PNG file."""


def is_picture(path: Path) -> bool:
    """Whether the name is that of a picture whose stored values may differ from its colours."""
    return path.name.lower().endswith(SUFFIXES)


def read_label_picture(path: Path) -> np.ndarray | None:
    """Stored values of a picture with a palette or with fewer than 8 bits per pixel.

    The palette index is the label; SimpleITK returns the palette's colours, and scales 1, 2 and 4 bits to the range of
    8.

    Returns:
        (j, i) uint8, or None if the picture has neither, so that SimpleITK's values are those that were stored.

    Raises:
        BadInput: If it cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    with explained(path), open(path, "rb") as file:
        start = file.read(32)
        file.seek(0)
        try:
            picture = Image.open(file)
            if picture.mode == "P":
                return np.array(picture, dtype=np.uint8)
            if picture.mode == "1":
                return np.array(picture).astype(np.uint8)
            depth = start[_PNG_DEPTH] if start.startswith(b"\x89PNG") else 8
            if depth in (2, 4) and start[_PNG_COLOUR] == _PNG_GREY:
                return np.array(picture.convert("L")) // np.uint8(255 // (2**depth - 1))
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise unreadable(path, "The picture cannot be read; it is damaged or cut off.") from error
    return None
