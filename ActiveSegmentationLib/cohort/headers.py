"""Headers of image files: geometry and components without reading pixels, and whether the pixels are all there."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.cohort.contents import REPAIR, unreadable
from ActiveSegmentationLib.cohort.nifti import Nifti, is_nifti, read_nifti, require_whole
from ActiveSegmentationLib.cohort.nifti_transforms import nifti_geometry, transform_warning, transforms_of
from ActiveSegmentationLib.cohort.pixel_files import has_pixel_files, pixel_files, require_files, require_sizes
from ActiveSegmentationLib.cohort.transforms import Transforms
from ActiveSegmentationLib.cohort.types import Geometry
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, require_regular
from ActiveSegmentationLib.common.itk import simpleitk

_BYTES = {"8-bit": 1, "16-bit": 2, "32-bit": 4, "64-bit": 8}
_NOT_A_REASON = ("sitk::ERROR", "Reason: No such file", "No such file")
_TIME_AXES = "number of domain axes in the NRRD file"


@dataclass(frozen=True)
class Header:
    """The header of an image.

    Attributes:
        geometry: Grid of the image; a 2D image has one slice.
        components: Values per voxel.
        bytes: Bytes that the pixels take uncompressed.
        warnings: Ambiguities of an image that can be used nevertheless.
        transforms: Both transforms of a NIfTI image.
    """

    geometry: Geometry
    components: int
    bytes: int
    warnings: tuple[str, ...] = ()
    transforms: Transforms | None = None


def read_header(path: Path, *, channels: bool = False) -> Header:
    """Read the header of a volume file or a 2D image.

    Args:
        path: The file.
        channels: Whether the fourth axis of a NIfTI file are channels, and not time points.

    Raises:
        BadInput: If the file does not exist, cannot be read, is complex-valued, has several time points, no voxel or an
            impossible spacing, or is shorter than its header says.
    """
    require_regular(path)
    if is_nifti(path):
        return _nifti_header(path, channels=channels)
    if not has_pixel_files(path):
        return _image_header(path, open_header(path))
    with explained(path):
        empty = path.stat().st_size == 0
    if empty:
        raise unreadable(path)
    files = pixel_files(path)
    require_files(files)
    header = _image_header(path, open_header(path))
    require_sizes(files, header.bytes)
    return header


def data_files(path: Path) -> tuple[Path, ...]:
    """Separate files with the pixels of an image.

    None if the file has them itself, or where its header cannot be read, which is reported when the image is read.
    """
    try:
        if is_nifti(path) and not path.name.lower().removesuffix(".gz").endswith(".nii"):
            pair = read_nifti(path)
            return tuple({pair.head, pair.pixels} - {path})
        if has_pixel_files(path):
            return tuple(file for file in pixel_files(path).files if file != path and file.is_file())
    except BadInput:
        return ()
    return ()


def reading_error(path: Path, error: RuntimeError) -> BadInput:
    """The error for a file whose pixels SimpleITK cannot read, with SimpleITK's reason if there is one."""
    reason = _library_reason(error)
    message = f"The pixels cannot be read: {reason}." if reason else "The pixels cannot be read; the file is damaged."
    if has_pixel_files(path) and pixel_files(path).encoding == "text":
        message = "The pixels, stored as text, cannot be read: values are missing, or the last line has no end."
    return BadInput(message, where=path, advice="Copy or export it again, or leave the volume out.")


def _nifti_header(path: Path, *, channels: bool) -> Header:
    nifti = read_nifti(path)
    if nifti.dtype.kind == "c":
        raise _complex(path)
    require_whole(nifti)
    try:
        header = _image_header(path, open_header(path), channels=channels)
    except _Unplaced:
        header = _header_by_nibabel(nifti, path, channels=channels)
    warning = transform_warning(nifti, header.geometry)
    return replace(header, warnings=(warning,) if warning else (), transforms=transforms_of(nifti))


def _header_by_nibabel(nifti: Nifti, path: Path, *, channels: bool) -> Header:
    """Header of what SimpleITK cannot read: NIfTI-2, gzip data under .nii, types of 128 bits."""
    shape = nifti.shape
    vector = len(shape) == 5 and shape[3] == 1 and int(nifti.header["intent_code"]) == 1007
    times = 1 if channels else _require_one_time(path, shape[3:4] if vector else shape[3:])
    along = shape[4] if vector else math.prod(shape[3:]) if channels else times
    components = along * len(nifti.dtype.fields or "1")
    return Header(nifti_geometry(nifti, path), components, nifti.end - nifti.offset)


def _image_header(path: Path, reader: Any, *, channels: bool = False) -> Header:
    size, spacing = list(reader.GetSize()), list(reader.GetSpacing())
    dimension = reader.GetDimension()
    origin, direction = list(reader.GetOrigin()), list(reader.GetDirection())
    along = math.prod(size[3:]) if channels else _require_one_time(path, size[3:])
    if dimension < 2:
        raise BadInput(f"The image has {dimension} dimension(s).", where=path, advice=REPAIR)
    pixel_type = _type_name(reader.GetPixelID())
    if "complex" in pixel_type:
        raise _complex(path)
    if dimension == 2:
        size, spacing, origin = [*size, 1], [*spacing, 1.0], [*origin, 0.0]
        direction = [direction[0], direction[1], 0.0, direction[2], direction[3], 0.0, 0.0, 0.0, 1.0]
    elif dimension > 3:
        direction = [direction[row * dimension + column] for row in range(3) for column in range(3)]
    if min(size[:3]) < 1 or not all(math.isfinite(mm) and mm > 0 for mm in spacing[:3]):
        raise BadInput(f"Size {size[:3]} with spacing {spacing[:3]} mm is impossible.", where=path, advice=REPAIR)
    if not all(math.isfinite(value) for value in (*origin, *direction)):
        message = "The orientation or position in the header is not a finite number."
        raise BadInput(message, where=path, advice=REPAIR)
    geometry = Geometry(tuple(size[:3]), tuple(spacing[:3]), tuple(origin[:3]), tuple(direction))
    width = next((count for name, count in _BYTES.items() if pixel_type.find(name) >= 0), 1)
    components = reader.GetNumberOfComponents() * along
    return Header(geometry, components, math.prod(size[:3]) * width * components)


def _require_one_time(path: Path, sizes: Sequence[int]) -> int:
    if math.prod(sizes) > 1:
        advice = "Split it into one 3D file per time point, or use one time point."
        raise BadInput(f"The image has {math.prod(sizes)} time points, and one is needed.", where=path, advice=advice)
    return 1


def _complex(path: Path) -> BadInput:
    return BadInput("The image is complex-valued.", where=path, advice="Save its magnitude.")


class _Unplaced(BadInput):
    """SimpleITK cannot read a header."""


def open_header(path: Path) -> Any:
    """SimpleITK's reader of a file after it has read the header.

    Raises:
        BadInput: If it cannot be read.
    """
    sitk = simpleitk()

    with explained(path), open(path, "rb"):
        pass  # a missing or unreadable file is another error than one that is not an image
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(image_io(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if "orthonormal" in str(error).lower():
            advice = "Correct the orientation in the header (qform and sform), for example by resampling the image."
            raise BadInput("The axes in the header are not at right angles.", where=path, advice=advice) from error
        if _TIME_AXES in str(error):
            advice = "Export one file per time point."
            raise BadInput("The image has an axis that is not spatial.", where=path, advice=advice) from error
        reason = _library_reason(error)
        otherwise = f"This is not a readable image ({reason})." if reason else "This is not a readable image."
        found = unreadable(path, otherwise)
        raise _Unplaced(found.message, where=found.where, advice=found.advice) from error
    return reader


def image_io(path: Path) -> str:
    """SimpleITK's reader for a file that it would refuse for the case of its suffix (.MHA), otherwise ""."""
    return "MetaImageIO" if path.suffix.lower() in (".mha", ".mhd") and path.suffix != path.suffix.lower() else ""


def _type_name(pixel_id: int) -> str:
    sitk = simpleitk()

    return sitk.GetPixelIDValueAsString(pixel_id)


def _library_reason(error: RuntimeError) -> str:
    """The last line of SimpleITK's message without addresses and paths, or "" if it has no information."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = lines[-1] if lines else ""
    if not line or any(line.startswith(start) for start in _NOT_A_REASON):
        return ""
    line = re.sub(r"^(ITK ERROR:\s*)?(\[\w+\]\s*)?(_?\w+(\(0x[0-9a-f]+\))?:\s*)", "", line)
    return line.rstrip(".")
