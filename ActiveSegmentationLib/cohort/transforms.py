"""The two transforms of a NIfTI header, kept with the volume and written to results."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Transforms:
    """The transforms of a NIfTI header, field by field and in its own units.

    Attributes:
        sform_code: Code of the sform, 0 where it is not used.
        qform_code: Code of the qform, 0 where it is not used.
        sform: The rows srow_x, srow_y and srow_z, 12 numbers.
        qform: quatern_b, quatern_c, quatern_d, qoffset_x, qoffset_y, qoffset_z.
        pixdim: Handedness of the qform, and the spacing of up to three axes.
        units: The spatial part of xyzt_units: 1 metre, 2 millimetre, 3 micrometre, 0 unknown.
    """

    sform_code: int
    qform_code: int
    sform: tuple[float, ...]
    qform: tuple[float, ...]
    pixdim: tuple[float, ...]
    units: int

    def to_json(self) -> dict[str, Any]:
        """The transforms as JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Transforms:
        """Inverse of ``to_json``."""
        parts: dict[str, Any] = {name: tuple(part) if isinstance(part, list) else part for name, part in value.items()}
        return cls(**parts)


def share_one(one: Transforms | None, other: Transforms | None) -> bool:
    """Whether two images of one size have the same position by their sforms, or by their qforms, where both use these.

    So a label map fits an image with conflicting transforms if it was written with either of them.
    """
    if one is None or other is None or (one.units or 2) != (other.units or 2):
        return False
    by_sform = min(one.sform_code, other.sform_code) > 0 and _near(one.sform, other.sform)
    by_qform = min(one.qform_code, other.qform_code) > 0 and _near(
        (*one.qform, *one.pixdim), (*other.qform, *other.pixdim)
    )
    return by_sform or by_qform


def _near(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return len(one) == len(other) and all(
        math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-3) for a, b in zip(one, other, strict=True)
    )
