"""Checks of MetaImage and NRRD headers before SimpleITK reads them.

SimpleITK's readers keep the axes of a header in fields of fixed length and allocate what its sizes promise: a header of
a few bytes can crash them or take all memory.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ActiveSegmentationLib.cohort.contents import unreadable
from ActiveSegmentationLib.common.errors import BadInput

_MOST_AXES = {"MetaImage": 10, "NRRD": 16}
_LONGEST_NAME, _LONGEST_VALUE = 200, 8192
_MOST_COMPONENTS = 4096
_BEST_RATIO = 1100
"""No deflate data unpacks to more than 1032 times its size."""
_ADVICE = "Export the image again, or leave it out."
_BYTES = {"char": 1, "short": 2, "int": 4, "long": 4, "long_long": 8, "float": 4, "double": 8}


def check_metaimage(
    path: Path, fields: Mapping[str, str], lines: Sequence[str], available: int, *, packed: bool
) -> None:
    """Refuse a MetaImage header that SimpleITK cannot survive.

    Args:
        path: The header file, for messages.
        fields: Its values by lower-case name.
        lines: Its lines.
        available: Bytes of all files with pixels.
        packed: Whether the pixels are compressed.

    Raises:
        BadInput: If the number of axes, a size, a length or the promised amount of pixels is impossible.
    """
    names = [re.split("[=:]", line, maxsplit=1)[0].strip().lower() for line in lines]
    for name in ("ndims", "dimsize", "elementtype", "elementnumberofchannels"):
        if names.count(name) > 1:
            raise BadInput(f"The header has {name} {names.count(name)} times.", where=path, advice=_ADVICE)
    if any(len(line) > _LONGEST_NAME + _LONGEST_VALUE for line in lines) or any(len(n) > _LONGEST_NAME for n in names):
        raise BadInput("A line of the header is too long.", where=path, advice=_ADVICE)
    if "ndims" not in fields:
        raise unreadable(path, "The header does not name the number of axes (NDims).")
    axes = _axes(path, fields["ndims"], "MetaImage")
    sizes = _sizes(path, fields.get("dimsize", ""), axes)
    channels = _whole(fields.get("elementnumberofchannels", "1"))
    if channels is None or not 1 <= channels <= _MOST_COMPONENTS:
        raise BadInput("The header has an impossible number of channels.", where=path, advice=_ADVICE)
    kind = fields.get("elementtype", "").lower().removeprefix("met_").removesuffix("_array")
    _require_available(path, math.prod(sizes) * channels * _BYTES.get(kind.removeprefix("u"), 1), available, packed)


def check_nrrd(path: Path, fields: Mapping[str, str], available: int, *, packed: bool) -> None:
    """Refuse a NRRD header that promises what cannot be there; arguments as for ``check_metaimage``.

    Raises:
        BadInput: If the number of axes, a size or the promised amount of pixels is impossible.
    """
    if "dimension" not in fields:
        raise unreadable(path, "The header does not name the number of axes (dimension).")
    axes = _axes(path, fields["dimension"], "NRRD")
    sizes = _sizes(path, fields.get("sizes", ""), axes)
    _require_available(path, math.prod(sizes), available, packed)


def _whole(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def _axes(path: Path, text: str, what: str) -> int:
    axes = _whole(text)
    if axes is None or not 1 <= axes <= _MOST_AXES[what]:
        message = f"The header has {text[:40].strip() or 'no number of'!r} axes; 1 to {_MOST_AXES[what]} are possible."
        raise BadInput(message, where=path, advice=_ADVICE)
    return axes


def _sizes(path: Path, text: str, axes: int) -> list[int]:
    sizes = [_whole(word) for word in text.split()]
    known = [size for size in sizes if size is not None and size > 0]
    if len(known) != len(sizes) or len(known) != axes:
        message = f"The header has the sizes {text[:80].strip()!r}, which {axes} axes cannot have."
        raise BadInput(message, where=path, advice=_ADVICE)
    return known


def _require_available(path: Path, promised: int, available: int, packed: bool) -> None:
    """Refuse sizes whose pixels cannot be in compressed files: a safe lower bound, the exact check follows."""
    most = available * _BEST_RATIO
    if packed and promised > most:
        message = f"The file is truncated: its sizes need {promised} bytes of pixels, and there can be at most {most}."
        raise BadInput(message, where=path, advice="Copy or export it again.")
