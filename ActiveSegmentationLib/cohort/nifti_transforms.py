"""The two transforms of a NIfTI header, sform and qform: which one is used, when they disagree, and writing both."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.cohort.contents import REPAIR
from ActiveSegmentationLib.cohort.nifti import Nifti
from ActiveSegmentationLib.cohort.transforms import Transforms
from ActiveSegmentationLib.cohort.types import Geometry
from ActiveSegmentationLib.common.errors import BadInput

_ROWS = ("srow_x", "srow_y", "srow_z")
_QUATERNION = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
_MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}
"""Length of the units that xyzt_units names: metre, millimetre, micrometre."""

_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SAME = 0.1
"""Transforms count as equal if they move no corner by more than this fraction of the smallest spacing."""


def nifti_geometry(nifti: Nifti, path: Path) -> Geometry:
    """Grid of a file for which SimpleITK has none, by the transform that nibabel uses: sform, qform, or spacing alone.

    Raises:
        BadInput: If the axes are not at right angles.
    """
    matrix = _TO_LPS @ nifti.header.get_best_affine()
    matrix[:3] *= _unit(nifti.header)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    if not (np.isfinite(matrix).all() and spacing.min() > 0):
        raise BadInput("The transform in the header is impossible.", where=path, advice=REPAIR)
    direction = matrix[:3, :3] / spacing
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-3):
        advice = "Correct the orientation in the header (qform and sform), for example by resampling the image."
        raise BadInput("The axes in the header are not at right angles.", where=path, advice=advice)
    i, j, k = (*nifti.shape, 1, 1, 1)[:3]
    x, y, z = (float(mm) for mm in spacing)
    origin = tuple(float(mm) for mm in matrix[:3, 3])
    return Geometry((i, j, k), (x, y, z), origin, tuple(float(v) for v in direction.ravel()))  # type: ignore[arg-type]


def transform_warning(nifti: Nifti, geometry: Geometry) -> str | None:
    """Ambiguities of a file's position, and which transform is used here; None where programs agree.

    Args:
        nifti: Its header.
        geometry: Grid that is used for the file.
    """
    header = nifti.header
    if "sform_code" not in header:
        return "The header has no orientation (Analyze format); left and right cannot be distinguished."
    sform_code, qform_code = int(header["sform_code"]), int(header["qform_code"])
    if sform_code <= 0 and qform_code <= 0:
        return (
            "The header has neither orientation nor position (sform and qform have code 0); "
            "the spacing alone is used, and other programs may place it elsewhere."
        )
    sform, qform, used = _sform(header), _qform(header), _matrix(geometry)
    apart = 0.0 if sform is None or qform is None else _apart(sform, qform, geometry)
    if sform is not None and qform is not None and apart > _SAME * min(geometry.spacing):
        name = "sform" if _apart(sform, used, geometry) <= _apart(qform, used, geometry) else "qform"
        return (
            f"The sform (code {sform_code}) and the qform (code {qform_code}) in the header lie up to {apart:.3g} mm "
            f"apart; the {name} is used, and other programs may take the other one."
        )
    counts = sform if sform_code > 0 else qform
    apart = 0.0 if counts is None else _apart(counts, used, geometry)
    if apart > _SAME * min(geometry.spacing):
        return (
            f"The spacing in the header ({' x '.join(f'{mm:g}' for mm in geometry.spacing)} mm) is used, and its "
            f"{'sform' if sform_code > 0 else 'qform'} lies up to {apart:.3g} mm apart from it."
        )
    return None


def transforms_of(nifti: Nifti) -> Transforms | None:
    """Both transforms of a file; None if it is Analyze, which has none, or they are not finite."""
    header = nifti.header
    if "sform_code" not in header:
        return None
    axes = min(len(nifti.shape), 3) + 1
    found = Transforms(
        sform_code=int(header["sform_code"]),
        qform_code=int(header["qform_code"]),
        sform=tuple(float(value) for row in _ROWS for value in header[row]),
        qform=tuple(float(header[name]) for name in _QUATERNION),
        pixdim=tuple(float(value) for value in header["pixdim"][:axes]),
        units=int(header["xyzt_units"]) & 7,
    )
    return found if np.isfinite([*found.sform, *found.qform, *found.pixdim]).all() else None


def carry_transforms(transforms: Transforms, target: Path) -> None:
    """Give a file both transforms of its image, so that every program places it on the image.

    Args:
        transforms: Transforms of an image with the same grid.
        target: An unpacked single-file NIfTI-1 file, changed in place.
    """
    with open(target, "r+b") as file:
        header = with_transforms(file.read(348), transforms)
        file.seek(0)
        file.write(header)


def with_transforms(start: bytes, transforms: Transforms) -> bytes:
    """The start of a NIfTI-1 file, at least its header of 348 bytes, with other transforms."""
    import nibabel

    header = nibabel.Nifti1Header(start[:348], check=False)
    header["sform_code"], header["qform_code"] = transforms.sform_code, transforms.qform_code
    for row, values in zip(_ROWS, np.reshape(transforms.sform, (3, 4)), strict=True):
        header[row] = values
    for name, value in zip(_QUATERNION, transforms.qform, strict=True):
        header[name] = value
    header["pixdim"][: len(transforms.pixdim)] = transforms.pixdim
    header["xyzt_units"] = transforms.units
    return header.binaryblock + start[348:]


def pack(source: Path, target: Path) -> None:
    """Compress a file with gzip, the same bytes for the same content."""
    with (
        open(source, "rb") as plain,
        open(target, "wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as packed,
    ):
        shutil.copyfileobj(plain, packed, 1 << 20)


def _unit(header: Any) -> float:
    return _MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0) if "xyzt_units" in header else 1.0


def _sform(header: Any) -> np.ndarray | None:
    """The sform in LPS mm, or None if the header holds none."""
    rows = np.array([header[name] for name in _ROWS], dtype=float)
    if not rows.any() or not np.isfinite(rows).all():
        return None
    return _TO_LPS @ np.vstack([rows * _unit(header), [0, 0, 0, 1]])


def _qform(header: Any) -> np.ndarray | None:
    """The qform in LPS mm, or None if the header holds none."""
    from nibabel.spatialimages import HeaderDataError

    values = [float(header[name]) for name in _QUATERNION]
    if int(header["qform_code"]) <= 0 and not any(values):
        return None
    try:
        matrix = header.get_qform(coded=False)
    except (HeaderDataError, ValueError):  # a quaternion longer than 1
        return None
    matrix = np.array(matrix, dtype=float)
    matrix[:3] *= _unit(header)
    return _TO_LPS @ matrix if np.isfinite(matrix).all() else None


def _matrix(geometry: Geometry) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(geometry.direction, (3, 3)) * geometry.spacing
    matrix[:3, 3] = geometry.origin
    return matrix


def _apart(one: np.ndarray, other: np.ndarray, geometry: Geometry) -> float:
    """Largest distance in mm between the places of a corner voxel under two transforms."""
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=float).T
    corners[:3] *= np.subtract(geometry.size, 1)[:, None]
    return float(np.linalg.norm(((one - other) @ corners)[:3], axis=0).max())
