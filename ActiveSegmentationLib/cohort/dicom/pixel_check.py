"""Whether the pixels of a DICOM file are complete and readable, by its header and size."""

from __future__ import annotations

import math
from typing import Any, BinaryIO

from ActiveSegmentationLib.cohort.dicom.kinds import DEFLATED, NATIVE, can_unpack
from ActiveSegmentationLib.cohort.dicom.tags import BadValue, number, text

_COLORS = {1: ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"), 3: ("RGB", "YBR_")}
_HEAD = 12
"""Bytes of the pixel data element before the pixels, or before the first fragment of compressed ones."""

_TRUNCATED = "The file is truncated: pixels are missing."


def require_pixels(dataset: Any, file: BinaryIO, size: int) -> None:
    """Refuse a file whose pixels are encrypted, compressed in an unknown way, missing or truncated.

    Args:
        dataset: Header.
        file: The file, at the element of the pixels.
        size: Bytes of the file.

    Raises:
        BadValue: With the reason.
    """
    start = file.tell()
    if "EncryptedAttributesSequence" in dataset and size <= start:
        raise BadValue("The file is encrypted.")
    meta = getattr(dataset, "file_meta", None)
    syntax = str(getattr(meta, "TransferSyntaxUID", "") or NATIVE[0])
    if not can_unpack(syntax):
        raise BadValue(f"The pixels are compressed in a way that is not read: {_syntax_name(syntax)}.")
    _require_format(dataset)
    if syntax == DEFLATED:
        return  # the position in the file is meaningless
    if size <= start:
        raise BadValue("The file is truncated, or was written without pixels.")
    if syntax in NATIVE:
        head = 8 if dataset.original_encoding[0] else _HEAD  # implicit value representations take no space
        if size - start < head + _stored_bytes(dataset):
            raise BadValue(_TRUNCATED)
    else:
        _require_fragments(dataset, file, start, size)


def _stored_bytes(dataset: Any) -> int:
    rows, columns = (number(dataset, name) or 0 for name in ("Rows", "Columns"))
    frames, samples = (number(dataset, name) or 1 for name in ("NumberOfFrames", "SamplesPerPixel"))
    bits = rows * columns * frames * samples * (number(dataset, "BitsAllocated") or 16)
    if text(dataset, "PhotometricInterpretation") == "YBR_FULL_422":
        bits = bits * 2 / 3
    return math.floor(bits / 8)


def _require_fragments(dataset: Any, file: BinaryIO, start: int, size: int) -> None:
    """Refuse compressed pixels with a truncated fragment, or with fewer fragments than frames."""
    from pydicom.encaps import parse_fragments

    file.seek(start + _HEAD)
    try:
        count, places = parse_fragments(file)
    except ValueError as error:
        raise BadValue(_TRUNCATED) from error
    if count < 1 + int(number(dataset, "NumberOfFrames") or 1):  # the first is the offset table
        raise BadValue(_TRUNCATED)
    file.seek(places[-1] + 4)
    if places[-1] + 8 + int.from_bytes(file.read(4), "little") > size:
        raise BadValue(_TRUNCATED)


def _require_format(dataset: Any) -> None:
    """Refuse a file without a description of its pixels."""
    if not number(dataset, "Rows") or not number(dataset, "Columns"):
        raise BadValue("The file has no number of rows and columns.")
    allocated, stored, sign = (number(dataset, name) for name in ("BitsAllocated", "BitsStored", "PixelRepresentation"))
    if allocated not in (1, 8, 16, 32, 64):
        raise BadValue("The number of bits per pixel is missing (BitsAllocated).")
    is_float = allocated >= 32 and stored is None
    if not is_float and (stored is None or not 0 < stored <= allocated or sign not in (0, 1)):
        raise BadValue("The storage format of the pixels is missing (BitsStored, PixelRepresentation).")
    high = number(dataset, "HighBit")
    if stored is not None and high is not None and high != stored - 1:
        raise BadValue("The bits of the pixels are not the lowest ones (HighBit), which is not read.")
    samples, colors = number(dataset, "SamplesPerPixel"), text(dataset, "PhotometricInterpretation")
    if samples not in (1, 3) or not colors.startswith(_COLORS[int(samples)]):
        raise BadValue("The meaning of the pixels is missing (SamplesPerPixel, PhotometricInterpretation).")


def _syntax_name(syntax: str) -> str:
    from pydicom.uid import UID

    return UID(syntax).name
