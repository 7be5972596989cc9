"""Recognises files that are not the image that their name suggests, by their first bytes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained

REPAIR = "Export the image again, or leave it out."
GZIP = b"\x1f\x8b"
"""First bytes of gzip data."""

_HEAD = 1024
_FETCH = "Fetch the file itself"
_UNPACK = "Unpack it first."

_POINTERS = (
    (b"version https://git-lfs", "a Git LFS pointer and not the image itself", f"{_FETCH} (git lfs pull)."),
    (b"version https://hawser", "a Git LFS pointer and not the image itself", f"{_FETCH} (git lfs pull)."),
    (b"/annex/objects/", "a git-annex pointer and not the image itself", f"{_FETCH} (git annex get)."),
)
_DOWNLOAD = "Download it again; the server answered with a page or a message."
_TEXTS = (
    (b"<!doctype html", "an HTML page", _DOWNLOAD),
    (b"<html", "an HTML page", _DOWNLOAD),
    (b"<head", "an HTML page", _DOWNLOAD),
    (b"<?xml", "an XML document", _DOWNLOAD),
    (b"{", "a JSON text", _DOWNLOAD),
)
_MAGIC = (
    (b"PK\x03\x04", "a ZIP archive", _UNPACK),
    (b"BZh", "compressed with bzip2", _UNPACK),
    (b"\xfd7zXZ", "compressed with xz", _UNPACK),
    (b"7z\xbc\xaf", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", _UNPACK),
    (b"\x89PNG", "a PNG picture", "Rename it to .png, or convert it to NIfTI, NRRD or MetaImage."),
    (b"\xff\xd8\xff", "a JPEG picture", "Convert it to NIfTI, NRRD or MetaImage."),
    (b"II*\x00", "a TIFF picture", "Convert it to NIfTI, NRRD or MetaImage."),
    (b"MM\x00*", "a TIFF picture", "Convert it to NIfTI, NRRD or MetaImage."),
    (b"%PDF", "a PDF document", REPAIR),
    (b"\x89HDF", "an HDF5 file (MINC or MATLAB)", "Convert it to NIfTI, NRRD or MetaImage."),
    (b"NRRD", "a NRRD file", "Rename it to .nrrd."),
    (b"ObjectType", "a MetaImage file", "Rename it to .mha or .mhd."),
    (b"NDims", "a MetaImage file", "Rename it to .mha or .mhd."),
)
_OWN = {"a NRRD file": (".nrrd", ".nhdr"), "a MetaImage file": (".mha", ".mhd"), "a PNG picture": (".png",)}
_NIFTI_NAMES = (".nii", ".nii.gz", ".hdr", ".img")


def unreadable(path: Path, otherwise: str = "This is not a readable image.") -> BadInput:
    """The error for a file that is not the image that its name suggests; it names what the file is, where that is
    known.

    Args:
        path: The file; it exists and is readable.
        otherwise: Message where its first bytes are not recognised.
    """
    with explained(path):
        size = path.stat().st_size
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    if size == 0:
        return BadInput("The file is empty.", where=path, advice="Copy or download it again.")
    if not any(head):
        return BadInput("The file starts with zero bytes only.", where=path, advice="Copy or download it again.")
    found = _identified(head, path)
    if found is None:
        return BadInput(otherwise, where=path, advice=REPAIR)
    kind, advice = found
    return BadInput(f"This is not a readable image: the file is {kind}.", where=path, advice=advice)


def _identified(head: bytes, path: Path) -> tuple[str, str] | None:
    """What a file is by its first bytes, and what to do."""
    text = head.lstrip().lower()
    for kinds, start in ((_POINTERS, head), (_TEXTS, text), (_MAGIC, head)):
        for magic, kind, advice in kinds:
            if start.startswith(magic) and not path.name.lower().endswith(_OWN.get(kind, ("/",))):
                return kind, advice
    if head[128:132] == b"DICM":
        return "a DICOM file", "Put the files of the series into a folder of their own and index that folder."
    if head[257:262] == b"ustar":
        return "a TAR archive", _UNPACK
    if head.startswith(GZIP):
        return _identified_compressed(head, path)
    nifti = head[344:347] in (b"n+1", b"ni1") or head[4:7] in (b"n+2", b"ni2")
    if nifti and not path.name.lower().endswith(_NIFTI_NAMES):
        return "a NIfTI file", "Rename it to .nii."
    return None


def _identified_compressed(head: bytes, path: Path) -> tuple[str, str] | None:
    try:
        inside = zlib.decompressobj(wbits=31).decompress(head)
    except zlib.error:
        return "damaged gzip data", "Copy or download it again."
    if inside.startswith(GZIP):
        return "compressed twice with gzip", "Unpack it once."
    if inside and not any(inside):
        return "gzip data of zero bytes", "Copy or download it again."
    found = _identified(inside, path)
    if found is not None:
        return f"gzip data that holds {found[0]}", f"Unpack it. {found[1]}"
    return None if path.name.lower().endswith(".gz") else ("compressed with gzip", "Unpack it, or add .gz to its name.")


def unpacked(file: IO[bytes]) -> Iterator[bytes]:
    """The decompressed blocks of all members of gzip data, from the present position of a file.

    Trailing bytes after complete gzip data are ignored, as by gzip itself.

    Raises:
        EOFError: If the data is cut off.
        zlib.error: If it is damaged or its checksum is wrong.
    """
    rest = b""
    while True:
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            block = rest or file.read(1 << 20)
            rest = b""
            if not block:
                raise EOFError
            yield member.decompress(block)
        rest = member.unused_data.lstrip(b"\0")
        while not rest and (block := file.read(1 << 20)):
            rest = block.lstrip(b"\0")
        if not rest.startswith(GZIP):
            return


def gzip_length(path: Path, start: int = 0) -> int:
    """Number of bytes of the gzip data from byte ``start`` on, once decompressed.

    Raises:
        BadInput: If it is cut off or damaged.
    """
    with explained(path), open(path, "rb") as file:
        file.seek(start)
        try:
            return sum(len(block) for block in unpacked(file))
        except (EOFError, zlib.error) as error:
            raise broken_gzip(path, error) from error


def broken_gzip(path: Path, error: Exception) -> BadInput:
    """The error for gzip data that cannot be unpacked: cut off, or damaged."""
    message = "The file is truncated: its gzip data ends too early."
    if not isinstance(error, EOFError):
        message = "The file is damaged: its gzip data cannot be unpacked."
    return BadInput(message, where=path, advice="Copy or export it again.")
