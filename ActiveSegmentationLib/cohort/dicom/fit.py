"""Whether planes form one regular stack: even spacing, no sideways shift, one image per position."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ActiveSegmentationLib.cohort.dicom.planes import Plane
from ActiveSegmentationLib.cohort.types import Geometry

SAME_POSITION = 0.02
"""Slices closer than this fraction of their spacing (or thickness) count as being at the same position."""

ROUNDING = 0.01
"""Deviation from even positions, as a fraction of the spacing, that is not reported."""

ROUNDING_MM = 0.06
"""Deviation in mm that is not reported if it is below a tenth of the spacing: positions are often rounded to 0.1 mm."""

LARGEST_ERROR = 0.1
"""Maximum deviation of slices from even positions, as a fraction of the spacing; beyond ``ROUNDING`` it is reported."""

LARGEST_SHIFT = 0.1
"""Maximum sideways shift of slices, as a fraction of a pixel."""

SAME_DIRECTION = 1e-3
"""Largest difference of direction cosines of planes of one stack."""


@dataclass(frozen=True)
class Fault:
    """Why planes do not form a regular stack.

    Attributes:
        kind: "positions" (several images at one position), "tilt", "gap" or "axes".
        message: What is wrong.
        advice: What to do.
    """

    kind: str
    message: str
    advice: str


@dataclass(frozen=True)
class Fit:
    """A regular stack.

    Attributes:
        planes: The planes in the order of the slices.
        geometry: The grid.
        error: Largest deviation of a slice from its even position, in millimetres.
    """

    planes: tuple[Plane, ...]
    geometry: Geometry
    error: float


def normal_of(plane: Plane) -> np.ndarray:
    """Unit vector across a plane that has an orientation."""
    across = np.cross(plane.orientation[:3], plane.orientation[3:])
    return across / (np.linalg.norm(across) or 1.0)


def by_position(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Planes of one orientation, grouped by position, along the normal."""
    offsets = np.array([plane.position for plane in planes]) @ normal_of(planes[0])
    order = np.argsort(offsets, kind="stable")
    gaps = np.diff(offsets[order])
    widest = float(gaps.max(initial=0.0))
    limit = SAME_POSITION * min(widest, abs(planes[0].distance or widest))
    groups = [[planes[order[0]]]]
    for gap, number in zip(gaps, order[1:], strict=True):
        if gap > limit:
            groups.append([])
        groups[-1].append(planes[number])
    return groups


def fit(planes: Sequence[Plane]) -> Fit | Fault:
    """Sort planes of one shape and orientation and compare them with an even stack."""
    fault = _axes_fault(planes[0])
    if fault is not None:
        return fault
    groups = by_position(planes)
    most = max(len(group) for group in groups)
    if most > 1:
        return _positions_fault(len(groups), most, min(len(group) for group in groups))
    ordered = tuple(group[0] for group in groups)
    positions = np.array([plane.position for plane in ordered])
    normal = normal_of(ordered[0])
    offsets = (positions - positions[0]) @ normal
    sideways = np.linalg.norm(positions - positions[0] - np.outer(offsets, normal), axis=1)
    fault = _tilt_fault(ordered, offsets, sideways) or _gap_fault(offsets)
    if fault is not None:
        return fault
    return Fit(ordered, _geometry(ordered, normal, offsets), _error(offsets))


def _axes_fault(plane: Plane) -> Fault | None:
    rows, columns = np.reshape(plane.orientation, (2, 3))
    lengths = np.linalg.norm(rows), np.linalg.norm(columns)
    if np.allclose(lengths, 1, atol=1e-2) and abs(float(rows @ columns)) < SAME_DIRECTION * 10:
        return None
    advice = "Correct ImageOrientationPatient, or leave the series out."
    return Fault("axes", "Rows and columns are not two directions at right angles (ImageOrientationPatient).", advice)


def _positions_fault(positions: int, most: int, fewest: int) -> Fault:
    count = f"{most}" if most == fewest else f"{fewest} to {most}"
    message = (
        f"Several images are at the same position ({positions} positions with {count} images each): time points, "
        "echoes or b-values that the headers do not distinguish completely."
    )
    return Fault("positions", message, "Put each time point into a separate series or file, or leave the series out.")


def _tilt_fault(planes: Sequence[Plane], offsets: np.ndarray, sideways: np.ndarray) -> Fault | None:
    largest = float(sideways.max())
    if largest <= LARGEST_SHIFT * min(planes[0].spacing):
        return None
    steady = np.allclose(sideways, offsets * (sideways[-1] / offsets[-1]), atol=0.1 * largest)
    if not steady:
        message = f"Slices are shifted sideways by up to {largest:.2f} mm, so they do not form a stack."
        return Fault("tilt", message, "Resample the series to a regular grid, or leave it out.")
    angle = math.degrees(math.atan2(float(sideways[-1]), float(offsets[-1])))
    message = (
        f"Gantry tilt: the slices are not perpendicular to their axis ({angle:.1f} degrees), so the last one is "
        f"{largest:.2f} mm aside."
    )
    advice = (
        "Resample it to a grid at right angles (dcm2niix does so for CT; in Slicer load it with acquisition geometry "
        "regularization and harden the transform), and use the result as NIfTI or NRRD."
    )
    return Fault("tilt", message, advice)


def _gap_fault(offsets: np.ndarray) -> Fault | None:
    if len(offsets) < 3:
        return None
    gaps = np.diff(offsets)
    usual = float(np.median(gaps))
    error, mean = _error(offsets), float(offsets[-1] - offsets[0]) / (len(offsets) - 1)
    if error <= LARGEST_ERROR * mean:
        return None
    worst = int(np.argmax(gaps))
    where = f"the distance of slices {worst + 1} and {worst + 2} is {gaps[worst]:g} mm, the usual one {usual:g} mm"
    deviation = f"{where}; at an even spacing the farthest slice would be {error:.2f} mm off its position"
    if gaps[worst] > 1.5 * usual:
        advice = "Restore the missing files, or leave the series out."
        return Fault("gap", f"Slices are missing in the series: {deviation}.", advice)
    advice = "Resample the series to an even spacing, or leave it out."
    return Fault("gap", f"The spacing of the slices is uneven: {deviation}.", advice)


def _error(offsets: np.ndarray) -> float:
    even = np.linspace(offsets[0], offsets[-1], len(offsets))
    return float(np.abs(offsets - even).max())


def is_reported(found: Fit) -> bool:
    """Whether the unevenness of a stack is more than rounding."""
    spacing = found.geometry.spacing[2]
    return found.error > ROUNDING * spacing and found.error > min(ROUNDING_MM, LARGEST_ERROR * spacing)


def _geometry(planes: Sequence[Plane], normal: np.ndarray, offsets: np.ndarray) -> Geometry:
    first = planes[0]
    rows = np.array(first.orientation[:3]) / np.linalg.norm(first.orientation[:3])
    columns = np.cross(normal, rows)
    count = len(planes)
    spacing = float(offsets[-1]) / (count - 1) if count > 1 else abs(first.distance or 1.0)
    direction = np.column_stack((rows, columns, normal))
    return Geometry(
        (first.shape[1], first.shape[0], count),
        (first.spacing[1], first.spacing[0], spacing),
        (first.position[0], first.position[1], first.position[2]),
        tuple(float(value) for value in direction.ravel()),
    )
