"""Pixels of DICOM planes: stored values, each with the rescale of its own plane."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.cohort.dicom.data_sets import read_data_set
from ActiveSegmentationLib.cohort.dicom.kinds import NATIVE, unpacked_by_pydicom
from ActiveSegmentationLib.cohort.dicom.planes import Plane, planes_of, rescale_of
from ActiveSegmentationLib.cohort.dicom.tags import BadValue, damaged, quiet, text
from ActiveSegmentationLib.cohort.types import Geometry
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained
from ActiveSegmentationLib.common.itk import simpleitk

_COPY = "Copy or export it again, or leave the volume out."
_CHANGED = "Index the cohort again."
_FORMAT = ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PlanarConfiguration", "PhotometricInterpretation")
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_BITS = ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData")
_LOOKUP = tuple(
    f"{color}PaletteColorLookupTable{part}" for color in ("Red", "Green", "Blue") for part in ("Data", "Descriptor")
)


def read_planes(paths: Sequence[Path], frames: Sequence[int], geometry: Geometry) -> np.ndarray:
    """Read the slices of a volume.

    Args:
        paths: The file of each slice, in the order of the slices.
        frames: 0-based frame of each slice in a multi-frame file; empty for files of one image.
        geometry: The grid that was indexed.

    Returns:
        (k, j, i) or (k, j, i, C) float32: stored value times slope plus intercept of its own slice; colours as red,
        green and blue. MONOCHROME1 and padding pixels are left as they are stored.

    Raises:
        BadInput: Naming the file, if it is missing, damaged, or another one than was indexed.
    """
    slices: list[np.ndarray | None] = [None] * len(paths)
    for path, numbers in _by_file(paths):
        wanted = [frames[number] for number in numbers] if frames else [None]
        for number, pixels in zip(numbers, _read_file(path, wanted, numbers, geometry), strict=True):
            slices[number] = pixels
    return np.stack([pixels for pixels in slices if pixels is not None])


def same_picture(one: Plane, other: Plane) -> bool:
    """Whether two planes have the same stored pixels."""
    try:
        return np.array_equal(_stored_of(one), _stored_of(other))
    except BadInput:
        return False


def _stored_of(plane: Plane) -> np.ndarray:
    dataset = _dataset(plane.path)
    return next(iter(_stored(plane.path, dataset, [plane.frame])))


def _by_file(paths: Sequence[Path]) -> Iterator[tuple[Path, list[int]]]:
    numbers: dict[Path, list[int]] = {}
    for number, path in enumerate(paths):
        numbers.setdefault(path, []).append(number)
    yield from numbers.items()


def _dataset(path: Path) -> Any:
    with quiet(), explained(path):
        try:
            dataset = read_data_set(path, force=True)
        except damaged() as error:
            raise BadInput(f"The file is damaged or truncated ({error}).", where=path, advice=_COPY) from error
    if not any(name in dataset for name in _PIXELS):
        raise BadInput("The file is truncated: pixels are missing.", where=path, advice=_COPY)
    return dataset


def _read_file(
    path: Path, frames: Sequence[int | None], numbers: Sequence[int], geometry: Geometry
) -> list[np.ndarray]:
    dataset = _dataset(path)
    with quiet():
        try:
            planes = planes_of(path, dataset, needs_place=False)
            for frame, number in zip(frames, numbers, strict=True):
                _require_place(planes[frame or 0], geometry, number)
            stored = _stored(path, dataset, frames)
            _require_shape(path, stored, geometry)
            return [_rescaled(dataset, frame, pixels) for frame, pixels in zip(frames, stored, strict=True)]
        except BadValue as error:
            raise BadInput(str(error), where=path, advice=_CHANGED) from error
        except damaged() as error:
            raise BadInput(
                f"The file is damaged, or is not what was indexed ({error}).", where=path, advice=_COPY
            ) from error


def _require_place(plane: Plane, geometry: Geometry, number: int) -> None:
    """Refuse a plane that differs from the indexed slice ``number`` (0-based)."""
    columns, rows = geometry.size[:2]
    if plane.shape != (rows, columns):
        message = f"The image has {plane.shape[0]} x {plane.shape[1]} pixels, and {rows} x {columns} were indexed."
        raise BadInput(message, where=plane.path, advice=_CHANGED)
    if not plane.position:
        return
    normal = np.reshape(geometry.direction, (3, 3))[:, 2]
    expected = np.array(geometry.origin) + number * geometry.spacing[2] * normal
    distance = float(np.linalg.norm(np.array(plane.position) - expected))
    if distance > 0.2 * max(geometry.spacing):
        message = f"Slice {number + 1} is {distance:.2f} mm away from where it was indexed."
        raise BadInput(message, where=plane.path, advice=_CHANGED)


def _require_shape(path: Path, stored: Sequence[np.ndarray], geometry: Geometry) -> None:
    wrong = [pixels.shape for pixels in stored if pixels.shape[:2] != geometry.array_shape[1:]]
    if wrong:
        size = f"{wrong[0][0]} x {wrong[0][1]}"
        message = f"The compressed picture has {size} pixels, its header has another size."
        raise BadInput(message, where=path, advice=_COPY)


def _stored(path: Path, dataset: Any, frames: Sequence[int | None]) -> list[np.ndarray]:
    """Stored pixels of some frames, (j, i) or (j, i, 3)."""
    with explained(path), quiet():
        try:
            syntax = str(getattr(dataset.file_meta, "TransferSyntaxUID", NATIVE[0]))
            if unpacked_by_pydicom(syntax):
                return _unpacked(dataset, frames)
            return _unpacked_by_itk(dataset, frames)
        except damaged() as error:
            message = f"The pixels cannot be read ({error}); the file is damaged or truncated."
            raise BadInput(message, where=path, advice=_COPY) from error


def _unpacked(dataset: Any, frames: Sequence[int | None]) -> list[np.ndarray]:
    from pydicom.pixels import apply_color_lut, iter_pixels

    if not getattr(dataset.file_meta, "TransferSyntaxUID", None):  # files without preamble
        from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

        explicit = not dataset.original_encoding[0]
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if explicit else ImplicitVRLittleEndian
    planes = list(iter_pixels(dataset, indices=[frame or 0 for frame in frames]))
    if text(dataset, "PhotometricInterpretation") == "PALETTE COLOR":
        return [_as_bytes(apply_color_lut(plane, dataset)) for plane in planes]
    return planes


def _as_bytes(color: np.ndarray) -> np.ndarray:
    """Colours of a palette of 16 bits, as 8 bits."""
    return color if color.dtype == np.uint8 else (color >> 8).astype(np.uint8)


def _unpacked_by_itk(dataset: Any, frames: Sequence[int | None]) -> list[np.ndarray]:
    """Pixels that SimpleITK decompresses, without its conversion of values."""
    sitk = simpleitk()
    from pydicom.dataset import Dataset

    bare = Dataset()
    bare.file_meta = dataset.file_meta
    for name in (*_FORMAT, *_BITS, *_LOOKUP):
        if name in dataset:
            bare[name] = dataset[name]
    bare.SOPClassUID, bare.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "image.dcm"
        bare.save_as(file, enforce_file_format=True)
        image = sitk.ReadImage(str(file))
    array = sitk.GetArrayFromImage(image)
    planes = array if array.ndim - (image.GetNumberOfComponentsPerPixel() > 1) == 3 else array[None]
    return [planes[frame or 0] for frame in frames]


def _rescaled(dataset: Any, frame: int | None, pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 3:
        return pixels.astype(np.float32)
    rescale = rescale_of(dataset, frame)
    if rescale is not None:
        return (pixels.astype(np.float64) * rescale[0] + rescale[1]).astype(np.float32)
    if "ModalityLUTSequence" in dataset:
        from pydicom.pixels import apply_modality_lut

        return apply_modality_lut(pixels, dataset).astype(np.float32)
    return pixels.astype(np.float32)
