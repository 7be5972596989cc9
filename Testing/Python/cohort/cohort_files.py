"""Small image files for tests of readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

SHAPE = (3, 12, 10)


def save_image(path: Path, seed: int = 0, shape: tuple[int, ...] = SHAPE, spacing=(1.5, 1.5, 5.0)) -> np.ndarray:
    """Write (k, j, i) int16 noise; an image file of any suffix, its folders with it."""
    return save_array(path, np.random.default_rng(seed).integers(0, 900, shape).astype(np.int16), spacing)


def save_labels(path: Path, top: int = 2, shape: tuple[int, ...] = SHAPE, spacing=(1.5, 1.5, 5.0)) -> np.ndarray:
    """Write a label map with all values from 0 to ``top``."""
    values = np.arange(int(np.prod(shape))) % (top + 1)
    return save_array(path, values.reshape(shape).astype(np.uint8), spacing)


def save_array(path: Path, array: np.ndarray, spacing=(1.5, 1.5, 5.0)) -> np.ndarray:
    """Write an array; the writer knows only lower-case suffixes, so others are renamed afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array, isVector=False)
    image.SetSpacing((*spacing, 1.0)[: image.GetDimension()])
    suffix = "".join(path.suffixes[-2:]).lower() if path.name.lower().endswith(".gz") else path.suffix.lower()
    written = path if path.name.endswith(suffix) else path.with_name(f"written{suffix}")
    sitk.WriteImage(image, str(written))
    if written != path:
        written.rename(path)
    return array
