"""Headers of image files: geometry and type without reading pixels, and whether the pixels are all there."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.cohort.types import Geometry
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained

_BYTES = {"8-bit": 1, "16-bit": 2, "32-bit": 4, "64-bit": 8}
REPAIR = "Export the image again, or leave it out."


@dataclass(frozen=True)
class Header:
    """What the header of an image says.

    Attributes:
        geometry: Grid of the image; a 2D image has one slice.
        components: Values a voxel.
        bytes: Bytes that the pixels take uncompressed.
    """

    geometry: Geometry
    components: int
    bytes: int


def read_header(path: Path) -> Header:
    """Read the header of a volume file or a 2D image.

    Raises:
        BadInput: If there is no such file, it cannot be read, is complex-valued, has several time points, no voxel or
            an impossible spacing, or is shorter than its header says.
    """
    reader = _reader(path)
    size, spacing = list(reader.GetSize()), list(reader.GetSpacing())
    dimension = reader.GetDimension()
    origin, direction = list(reader.GetOrigin()), list(reader.GetDirection())
    if dimension > 3 and math.prod(size[3:]) > 1:
        advice = "Split it into one 3D file a time point, or use one time point."
        raise BadInput(
            f"The image has {math.prod(size[3:])} time points, and one is needed.", where=path, advice=advice
        )
    if dimension < 2:
        raise BadInput(f"The image has {dimension} dimension(s).", where=path, advice=REPAIR)
    pixel_type = _type_name(reader.GetPixelID())
    if "complex" in pixel_type:
        raise BadInput("The image is complex-valued.", where=path, advice="Save its magnitude.")
    if dimension == 2:
        size, spacing, origin = [*size, 1], [*spacing, 1.0], [*origin, 0.0]
        direction = [direction[0], direction[1], 0.0, direction[2], direction[3], 0.0, 0.0, 0.0, 1.0]
    elif dimension > 3:
        direction = [direction[row * dimension + column] for row in range(3) for column in range(3)]
    if min(size[:3]) < 1 or not all(math.isfinite(mm) and mm > 0 for mm in spacing[:3]):
        raise BadInput(f"Size {size[:3]} with spacing {spacing[:3]} mm is impossible.", where=path, advice=REPAIR)
    geometry = Geometry(tuple(size[:3]), tuple(spacing[:3]), tuple(origin[:3]), tuple(direction))
    width = next((count for name, count in _BYTES.items() if pixel_type.find(name) >= 0), 1)
    header = Header(geometry, reader.GetNumberOfComponents(), math.prod(size) * width * reader.GetNumberOfComponents())
    _require_whole(path, header)
    return header


def read_tags(path: Path, tags: Sequence[str]) -> dict[str, str]:
    """Values of DICOM tags ("0010|0020"); absent ones are left out.

    Raises:
        BadInput: If the file cannot be read.
    """
    reader = _reader(path)
    return {tag: reader.GetMetaData(tag).strip() for tag in tags if reader.HasMetaDataKey(tag)}


def _reader(path: Path) -> Any:
    import SimpleITK as sitk

    with explained(path), open(path, "rb"):
        pass  # tells a missing or forbidden file apart from one that is no image
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if "orthonormal" in str(error).lower():
            advice = "Correct the orientation in the header (qform and sform), for example by resampling the image."
            raise BadInput("The axes in the header are not at right angles.", where=path, advice=advice) from error
        raise BadInput("This is no readable image.", where=path, advice=REPAIR) from error
    return reader


def _type_name(pixel_id: int) -> str:
    import SimpleITK as sitk

    return sitk.GetPixelIDValueAsString(pixel_id)


def _require_whole(path: Path, header: Header) -> None:
    name = path.name.lower()
    short = False
    if name.endswith(".nii.gz"):
        short = _gzip_is_short(path, header.bytes)
    elif name.endswith((".nii", ".mha")) and not _is_compressed(path):
        short = path.stat().st_size < header.bytes
    elif name.endswith(".mhd"):
        short = _raw_is_short(path, header.bytes)
    if short:
        raise BadInput("The file is truncated: pixels are missing.", where=path, advice="Copy or export it again.")


def _is_compressed(path: Path) -> bool:
    with open(path, "rb") as file:
        head = file.read(4096)
    return b"CompressedData = True" in head


def _gzip_is_short(path: Path, expected: int) -> bool:
    """Whether a gzip file holds fewer bytes than expected; it is unpacked only where its trailer looks wrong."""
    with open(path, "rb") as file:
        file.seek(-4, 2)
        told = int.from_bytes(file.read(4), "little")
    if 0 <= told - expected % 2**32 < 2**16:  # header and extensions come on top of the pixels
        return False
    length = 0
    try:
        with gzip.open(path, "rb") as file:
            while block := file.read(1 << 20):
                length += len(block)
    except (EOFError, OSError, zlib.error):
        return True
    return length < expected


def _raw_is_short(path: Path, expected: int) -> bool:
    lines = (line.partition("=") for line in path.read_text(encoding="latin-1").splitlines())
    fields = {name.strip(): value.strip() for name, _, value in lines}
    data = path.parent / fields.get("ElementDataFile", "")
    if fields.get("CompressedData", "False").lower() == "true" or not data.is_file():
        return not data.is_file()
    return data.stat().st_size < expected
