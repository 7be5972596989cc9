"""NIfTI and Analyze files, read with nibabel: sizes and values as they are on disk.

SimpleITK provides the geometry, as for every other format, but its NIfTI reader turns NaN into 0, pads truncated files
with zeros, adds scl_inter where scl_slope is 0, and does not read NIfTI-2.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.cohort.contents import GZIP, broken_gzip, gzip_length, unpacked, unreadable
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained

SUFFIXES = (".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz")
"""Names that NIfTI and Analyze files have."""

TRUNCATED = "The file is truncated: pixels are missing."
AGAIN = "Copy or export it again."
_LONGEST = 540
_AT_ONCE = 1 << 22
"""Pixels that are scaled at once, so that large files need little more memory than their result."""
_SINGLE = {348: 352, 540: 544}
"""Size of the header, which is its first number, and the first byte of the pixels in a single file."""


@dataclass(frozen=True)
class Nifti:
    """Header of a NIfTI or Analyze file and the file with its pixels.

    Attributes:
        header: nibabel's header.
        head: File that holds the header.
        pixels: File that holds the pixels.
    """

    header: Any
    head: Path
    pixels: Path

    @property
    def single(self) -> bool:
        """Whether header and pixels share the file."""
        return self.head == self.pixels

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of all axes by the header."""
        return tuple(int(n) for n in self.header.get_data_shape())

    @property
    def dtype(self) -> np.dtype:
        """Type of a voxel on disk; structured for colours."""
        return self.header.get_data_dtype()

    @property
    def offset(self) -> int:
        """First byte of the pixels."""
        return int(self.header.get_data_offset())

    @property
    def end(self) -> int:
        """Minimum size of the decompressed file in bytes."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def is_nifti(path: Path) -> bool:
    """Whether the name is that of a NIfTI or Analyze file."""
    return path.name.lower().endswith(SUFFIXES)


def read_nifti(path: Path) -> Nifti:
    """Read the header of a NIfTI-1, NIfTI-2 or Analyze file, compressed or not, regardless of its suffix.

    Raises:
        BadInput: If it is another format, has an unsupported voxel type, or its second file is missing.
    """
    from nibabel.spatialimages import HeaderDataError

    head, pixels = _halves(path)
    start = _start(head)
    kind = _header_class(start, head, single=pixels == head)
    size = kind.template_dtype.itemsize
    header = kind(start[:size], check=False)
    try:
        dtype = header.get_data_dtype()
        if dtype.kind == "V" and not dtype.fields:
            raise HeaderDataError("single bits")
    except (HeaderDataError, KeyError) as error:
        advice = "Save the image with integer or floating-point voxels."
        message = f"The header has a type of voxel that cannot be read (code {int(header['datatype'])}: {error})."
        raise BadInput(message, where=head, advice=advice) from error
    nifti = Nifti(header, head, pixels)
    if not 1 <= int(header["dim"][0]) <= 7 or min(nifti.shape) < 1:
        message = f"The header has impossible sizes: {', '.join(str(int(n)) for n in header['dim'][:8])}."
        raise BadInput(message, where=head, advice=AGAIN)
    if not math.isfinite(float(header["vox_offset"])) or nifti.offset < (_SINGLE[size] if nifti.single else 0):
        advice = "Save the image again with a program that writes valid NIfTI."
        message = f"The header says that the pixels start at byte {float(header['vox_offset']):g} (vox_offset)."
        raise BadInput(message, where=head, advice=advice)
    return nifti


def require_whole(nifti: Nifti) -> None:
    """Refuse a file that is shorter than its header says; compressed ones are decompressed only if their last bytes are
    suspicious.

    Raises:
        BadInput: If pixels are missing.
    """
    path = nifti.pixels
    with explained(path):
        size = path.stat().st_size
        with open(path, "rb") as file:
            packed = file.read(2) == GZIP
            file.seek(-min(4, size), 2)
            stated = int.from_bytes(file.read(4), "little")
    if not packed:
        if size < nifti.end:
            raise BadInput(f"{TRUNCATED} It has {size} of {nifti.end} bytes.", where=path, advice=AGAIN)
        return
    if 0 <= stated - nifti.end % 2**32 < 2**16:  # anything may follow the pixels
        return
    length = gzip_length(path)
    if length < nifti.end:
        raise BadInput(f"{TRUNCATED} It has {length} of {nifti.end} bytes, unpacked.", where=path, advice=AGAIN)


def read_nifti_pixels(path: Path, *, single: bool = False) -> np.ndarray:
    """Read the values of a file, scaled as its header says.

    Args:
        path: The file.
        single: Whether scaled values are rounded to float32, which saves memory.

    Returns:
        (k, j, i), or (k, j, i, C) if there are components. The type on disk where nothing is scaled; NaN stays NaN.

    Raises:
        BadInput: If pixels are missing or damaged.
    """
    nifti = read_nifti(path)
    require_whole(nifti)
    shape = nifti.shape
    content = _content(nifti)
    stored = np.frombuffer(content, nifti.dtype, math.prod(shape), nifti.offset).reshape(shape, order="F")
    return _arranged(_scaled(stored, nifti.header, single=single), shape)


def _content(nifti: Nifti) -> bytearray:
    """The decompressed file up to its last pixel; all of it is decompressed, so that its checksum is verified."""
    content = bytearray()
    with explained(nifti.pixels), open(nifti.pixels, "rb") as file:
        packed = file.read(2) == GZIP
        file.seek(0)
        if not packed:
            return bytearray(file.read(nifti.end))
        try:
            for block in unpacked(file):
                content += block[: nifti.end - len(content)]
        except (EOFError, zlib.error) as error:
            raise broken_gzip(nifti.pixels, error) from error
    return content


def _scaled(stored: np.ndarray, header: Any, *, single: bool) -> np.ndarray:
    """Values by scl_slope and scl_inter; a slope of 0 or that is not finite means that nothing is scaled."""
    if "scl_slope" not in header or stored.dtype.fields:
        return stored
    slope = float(header["scl_slope"])
    inter = float(header["scl_inter"]) if "scl_inter" in header else 0.0
    if slope == 0 or not math.isfinite(slope):
        return stored
    inter = inter if math.isfinite(inter) else 0.0
    if (slope, inter) == (1, 0):
        return stored
    flat = stored.reshape(-1, order="F")
    scaled = np.empty(flat.shape, dtype=np.float32 if single else (flat[:1] * slope + inter).dtype)
    for start in range(0, len(flat), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        scaled[part] = flat[part] * slope + inter
    return scaled.reshape(stored.shape, order="F")


def _arranged(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """From (i, j, k, ...) in the order of the file to (k, j, i), or (k, j, i, C)."""
    if values.dtype.fields:
        from numpy.lib.recfunctions import structured_to_unstructured

        values = structured_to_unstructured(values)
    grid = (*shape, 1, 1, 1)[:3]
    turned = values.reshape((*grid, -1), order="F").transpose(2, 1, 0, 3)
    return np.ascontiguousarray(turned if turned.shape[-1] > 1 else turned[..., 0])


def _halves(path: Path) -> tuple[Path, Path]:
    """File with the header and file with the pixels."""
    name = path.name.lower()
    packed = ".gz" if name.endswith(".gz") else ""
    plain = name.removesuffix(".gz")
    if not plain.endswith((".hdr", ".img")):
        return path, path
    wanted = plain[:-4] + (".img" if plain.endswith(".hdr") else ".hdr")
    names = [wanted + packed, wanted, wanted + ".gz"]
    with explained(path):
        found = {entry.name.lower(): entry for entry in path.parent.iterdir() if entry.name.lower() in names}
    other = next((found[name] for name in names if name in found), None)
    if other is None:
        advice = "Copy it too; the two files belong together."
        raise BadInput(f"The file {wanted + packed} that belongs to it is missing.", where=path, advice=advice)
    return (path, other) if plain.endswith(".hdr") else (other, path)


def _start(path: Path) -> bytes:
    """The first bytes of the decompressed content, enough for a header."""
    with explained(path), open(path, "rb") as file:
        start = file.read(1 << 14)
        if not start.startswith(GZIP):
            return start
        try:  # no more than needed, so that later damage does not matter here
            content = zlib.decompressobj(wbits=31).decompress(start, _LONGEST)
            if len(content) < _LONGEST:
                file.seek(0)
                content = b"".join(unpacked(file))[:_LONGEST]
        except (EOFError, zlib.error) as error:
            raise unreadable(path, broken_gzip(path, error).message) from error
    return content


def _header_class(start: bytes, path: Path, *, single: bool) -> Any:
    import nibabel

    sizes = {int.from_bytes(start[:4], order) for order in ("little", "big")}  # type: ignore[arg-type]
    if 348 not in sizes and 540 not in sizes:
        raise unreadable(path, "This is not a readable image: it has no NIfTI header.")
    if len(start) < min(sizes & {348, 540}):
        raise BadInput("The file is truncated: it ends within its header.", where=path, advice=AGAIN)
    if 540 in sizes:
        return nibabel.Nifti2Header if single else nibabel.nifti2.Nifti2PairHeader
    if start[344:347] not in (b"n+1", b"ni1"):
        if single:
            raise unreadable(path, "This is not a readable image: it has no NIfTI header.")
        return nibabel.Spm2AnalyzeImage.header_class
    return nibabel.Nifti1Header if single else nibabel.nifti1.Nifti1PairHeader
