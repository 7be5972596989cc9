"""Where MetaImage and NRRD files store their pixels, and whether all of them are present.

SimpleITK reads these formats, but it fills missing pixels of a compressed or multi-file MetaImage with uninitialised
memory, verifies no checksum, and crashes on a file pattern without a step. No library returns the files of a list or
pattern in a header, so these lines are parsed here.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ActiveSegmentationLib.cohort.contents import GZIP, REPAIR, gzip_length, unreadable
from ActiveSegmentationLib.cohort.header_check import check_metaimage, check_nrrd
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained
from ActiveSegmentationLib.common.parsing import parsing

SUFFIXES = (".mha", ".mhd", ".nrrd", ".nhdr")
_AGAIN = "Copy or export it again."
_LONGEST_HEADER = 1 << 20
_STORED_AS_TEXT = ("ascii", "text", "txt", "hex")


@dataclass(frozen=True)
class PixelFiles:
    """Where the pixels of an image are.

    Attributes:
        header: The header file.
        files: Files with pixels, in order; the header itself where they follow it.
        offset: Bytes before the pixels in each file, or None if they are the last bytes of it.
        encoding: "raw", "zlib" (MetaImage), "gzip" (NRRD), "text", or another encoding of NRRD.
        stored: Compressed size by the header, or None.
        pieces: Number of files by the header's sizes.
        fields: Values of the header by lower-case name.
        lines: Lines of the header.
    """

    header: Path
    files: tuple[Path, ...]
    offset: int | None
    encoding: str
    stored: int | None = None
    pieces: int = 1
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)
    lines: Sequence[str] = field(default=(), repr=False)


def has_pixel_files(path: Path) -> bool:
    """Whether the name is that of a MetaImage or NRRD file."""
    return path.name.lower().endswith(SUFFIXES)


def pixel_files(path: Path) -> PixelFiles:
    """Read where the pixels of a MetaImage or NRRD file are.

    Raises:
        BadInput: If the header names files in an unsupported way.
    """
    with explained(path), open(path, "rb") as file:
        start = file.read(_LONGEST_HEADER)
    advice = "Export the image again, or leave it out."
    with parsing(path, "The header is damaged.", advice):
        if _is_nrrd(path):
            return _nrrd(path, start)
        return _metaimage(path, start)


def _is_nrrd(path: Path) -> bool:
    return path.name.lower().endswith((".nrrd", ".nhdr"))


def require_files(found: PixelFiles) -> None:
    """Refuse an image with a missing file or an impossible header; call it before SimpleITK reads the header.

    Raises:
        BadInput: Naming the file.
    """
    if len(found.files) != found.pieces:
        message = f"The header names {len(found.files)} file(s) with pixels, and its sizes need {found.pieces}."
        raise BadInput(message, where=found.header, advice="Restore the list of files, or export the image again.")
    missing = next((file for file in found.files if not file.is_file()), None)
    if missing is not None:
        message = f"The file with its pixels, {missing.name}, is missing."
        raise BadInput(message, where=found.header, advice="Copy it too, or correct its name in the header.")
    available = sum(file.stat().st_size for file in found.files)
    packed = found.encoding not in ("raw", "text")
    if _is_nrrd(found.header):
        check_nrrd(found.header, found.fields, available, packed=packed)
    else:
        check_metaimage(found.header, found.fields, found.lines, available, packed=packed)


def require_sizes(found: PixelFiles, expected: int) -> None:
    """Refuse an image with a file that is too short, by the file sizes.

    Args:
        found: Where its pixels are.
        expected: Bytes that they take uncompressed.

    Raises:
        BadInput: Naming the file and the missing bytes.
    """
    for file in found.files:
        size = file.stat().st_size - (found.offset or 0)
        if found.encoding == "raw":
            _require_size(file, size, expected // found.pieces)
        elif found.stored is not None:
            _require_size(file, size, found.stored)
        elif found.encoding == "gzip" and found.files[0] == found.header:
            _require_gzip(file, expected)


def require_sound(found: PixelFiles, expected: int) -> None:
    """Decompress the pixels of a MetaImage and verify their checksum, which SimpleITK does not.

    Raises:
        BadInput: If they are cut off or damaged.
    """
    if found.encoding != "zlib":
        return
    for file in found.files:
        _require_size(file, _inflated(file, found.offset or 0), expected // found.pieces)


def _inflated(file: Path, offset: int) -> int:
    """The decompressed zlib or gzip data; truncated data and wrong checksums are refused."""
    unpack = zlib.decompressobj(wbits=47)
    length = 0
    with explained(file), open(file, "rb") as data:
        data.seek(offset)
        try:
            while not unpack.eof and (block := data.read(1 << 20)):
                length += len(unpack.decompress(block))
        except zlib.error as error:
            message = "The compressed pixels are damaged (their checksum or coding is wrong)."
            raise BadInput(message, where=file, advice=_AGAIN) from error
    if not unpack.eof:
        message = "The file is truncated: its compressed pixels end too early."
        raise BadInput(message, where=file, advice=_AGAIN)
    return length


def _require_size(file: Path, size: int, expected: int) -> None:
    if size < expected:
        message = f"The file is truncated: it has {max(0, size)} of {expected} bytes of pixels."
        raise BadInput(message, where=file, advice=_AGAIN)


def _require_gzip(file: Path, expected: int) -> None:
    """Refuse truncated gzip data at the end of a file; it is decompressed only where its last bytes do not give its
    length."""
    with open(file, "rb") as data:
        data.seek(-4, 2)
        stated = int.from_bytes(data.read(4), "little")
    if stated == expected % 2**32:
        return
    with open(file, "rb") as data:
        start = data.read(_LONGEST_HEADER)
    packed = start.find(GZIP, _header_end(start) or 0)
    length = gzip_length(file, packed) if packed >= 0 else 0
    _require_size(file, length, expected)


def _header_end(start: bytes) -> int | None:
    """First byte after the blank line that ends an NRRD header."""
    match = re.search(rb"\r?\n\r?\n", start)
    return match.end() if match else None


def _fields(lines: list[str], separator: str) -> dict[str, str]:
    """Values of a header's lines by lower-case name; the first of those that come twice."""
    found: dict[str, str] = {}
    for line in lines:
        name, sign, value = line.partition(separator)
        if sign:
            found.setdefault(name.strip().lower(), value.strip())
    return found


def _nrrd(path: Path, start: bytes) -> PixelFiles:
    end = _header_end(start)
    lines = start[:end].decode("latin-1").splitlines()
    fields = _fields([line for line in lines if not line.startswith("#") and ":=" not in line], ":")
    encoding = {"gz": "gzip", "bz2": "bzip2"}.get(fields.get("encoding", "raw").lower(), fields.get("encoding", "raw"))
    encoding = "text" if encoding.lower() in _STORED_AS_TEXT else encoding.lower()
    if encoding == "bzip2":
        advice = "Save it with gzip compression."
        raise BadInput("The pixels are compressed with bzip2, which cannot be read.", where=path, advice=advice)
    named = fields.get("data file", fields.get("datafile"))
    if named is None:
        return PixelFiles(path, (path,), end or 0, encoding, fields=fields, lines=lines)
    sizes = [int(n) for n in fields.get("sizes", "").split() if n.isdecimal()]
    skip = _number(fields, "byte skip", path) or _number(fields, "byteskip", path)
    offset = None if skip < 0 else skip
    if named.upper().split()[:1] == ["LIST"]:
        at = next(number for number, line in enumerate(lines) if line.lower().replace(" ", "").startswith("datafile:"))
        files = [line.strip() for line in lines[at + 1 :] if line.strip()]
        pieces = math.prod(sizes[_dimension(named, len(sizes) - 1) :])
    else:
        files, pieces = _pattern(path, named, sizes)
    return PixelFiles(path, _near(path, files), offset, encoding, None, pieces, fields, lines)


def _metaimage(path: Path, start: bytes) -> PixelFiles:
    text = start.decode("latin-1")
    match = re.search(r"^[ \t]*ElementDataFile[ \t]*[=:][ \t]*([^\n]*?)[ \t\r]*(?:\n|\Z)", text, re.MULTILINE)
    if match is None:
        raise unreadable(path, "The header does not name the file with the pixels (ElementDataFile).")
    lines = [line.replace(":", "=", 1) if "=" not in line else line for line in text[: match.start()].splitlines()]
    fields = _fields(lines, "=")
    named = match[1]
    sizes = [int(n) for n in fields.get("dimsize", "").split() if n.isdecimal()]
    encoding = "raw" if _is_true(fields.get("binarydata", "True")) else "text"
    encoding = "zlib" if _is_true(fields.get("compresseddata", "False")) else encoding
    stated = fields.get("compresseddatasize", "")
    stored = int(stated) if encoding == "zlib" and stated.isdecimal() and int(stated) > 0 else None
    if named.upper() == "LOCAL":
        length = len(text[: match.end()].encode("latin-1"))
        return PixelFiles(path, (path,), length, encoding, stored, fields=fields, lines=lines)
    offset = _number(fields, "headersize", path)
    if named.upper().split()[:1] == ["LIST"]:
        files = [line.strip() for line in text[match.end() :].splitlines() if line.strip()]
        pieces = math.prod(sizes[_dimension(named, len(sizes) - 1) :])
        stored = None
    else:
        files, pieces = _pattern(path, named, sizes)
        stored = stored if pieces == 1 else None
    start_of_pixels = None if offset < 0 else offset
    return PixelFiles(path, _near(path, files), start_of_pixels, encoding, stored, pieces, fields, lines)


def _number(fields: dict[str, str], name: str, path: Path) -> int:
    """The whole number of a field, 0 if there is none."""
    text = fields.get(name, "") or "0"
    try:
        return int(text)
    except ValueError:
        advice = "Correct the header, or export the image again."
        raise BadInput(f"The header's {name} is '{text}', not a whole number.", where=path, advice=advice) from None


def _is_true(text: str) -> bool:
    return text[:1].lower() in ("t", "1")


def _dimension(named: str, usual: int) -> int:
    """Axes that one file of a list holds."""
    words = named.split()
    return int(words[1]) if len(words) > 1 and words[1].isdecimal() else usual


def _pattern(path: Path, named: str, sizes: list[int]) -> tuple[list[str], int]:
    """Files of "name%03d.raw FIRST LAST STEP [AXES]", or the one that is named; and how many the sizes need."""
    if "%" not in named:
        return [named], 1
    match = re.fullmatch(r"([^%]*%[-+ 0#]*\d*[di][^%]*?)((?:\s+-?\d+)*)", named)
    numbers = [int(word) for word in match[2].split()] if match else []
    if match is None or len(numbers) < 3 or numbers[2] == 0:
        advice = "Write PATTERN FIRST LAST STEP, for example slice%03d.raw 1 20 1."
        raise BadInput(f"The names of the files with pixels are incomplete: '{named}'.", where=path, advice=advice)
    first, last, step = numbers[:3]
    axes = numbers[3] if len(numbers) > 3 else len(sizes) - 1
    counted = range(first, last + (1 if step > 0 else -1), step)
    if len(counted) > 1_000_000:
        raise BadInput(f"The header names {len(counted)} files with pixels.", where=path, advice=REPAIR)
    return [match[1] % number for number in counted], math.prod(sizes[axes:])


def _near(path: Path, names: list[str]) -> tuple[Path, ...]:
    return tuple(path.parent / name for name in names)
