"""The slice axis of each volume, why it was chosen, and how planes are turned to a common orientation.

The axis comes from the acquisition: the slice direction of a DICOM series, the axis whose spacing is the odd one out
(pixels are square), or a spacing much larger than the others. Volumes whose spacing does not show it, such as isotropic
ones, follow the cohort. All volumes are sliced across the same direction in the patient, the one that most were
acquired along, in any stored order: each along its axis that is nearest to it, so that oblique volumes keep the axis of
their acquisition. Where a volume was acquired along another one, a warning says so. One-slice volumes and frames keep
their own. Planes that are stored in another in-plane order than most are turned in the slice stack; a slice is still
named by its index in the stored array, and labels are written in the stored order.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ActiveSegmentationLib.cohort.turns import AS_STORED, Turn
from ActiveSegmentationLib.cohort.types import Cohort, Geometry, Problem, Volume

PLANES = ("sagittal", "coronal", "axial")
"""Names of the planes perpendicular to the left-right, front-back and foot-head axis."""

OWN = "own"
"""Choice of the axis: every volume along its own axis of acquisition."""

AXIS_CHOICES: tuple[int | str, ...] = (0, 1, 2, "axial", "coronal", "sagittal", OWN)
"""Choices: an image axis from 0, an anatomical plane, or every volume's own axis."""

EQUAL, ODD, LARGE = 0.005, 0.01, 1.5
"""Spacings within ``EQUAL`` of each other are equal; the third is the odd one where it differs by more than ``ODD``.
Without such a pair, a spacing ``LARGE`` times the next one marks the slice axis."""

ALIKE = 0.6
"""Smallest cosine between the normals of planes that are turned to be alike (53 degrees)."""

MARGIN = 0.2
"""Minimum improvement (of a cosine, or a sum of two) for choosing another axis or a turn; oblique volumes between two
of them then stay as they are."""

EVIDENCE = 10
"""Weight in the majority of a volume with a known acquisition axis, relative to one without."""

CHOSEN, ONE, FRAMES, SERIES = (
    "chosen with --axis",
    "one slice",
    "frames in order",
    "slice direction of the DICOM series",
)
LARGEST, SMALLEST, MAJORITY, STORED, FOLLOWED = (
    "largest spacing",
    "spacing that differs from the pixels'",
    "like most of the cohort",
    "the spacing does not decide; as most volumes are stored",
    "not the axis of acquisition, but like most of the cohort",
)
_WITH_SPACING = (LARGEST, SMALLEST)
_ORDINALS = ("first", "second", "third")


@dataclass(frozen=True)
class AxisSummary:
    """Volumes with the same slice axis for the same reason.

    Attributes:
        plane: "axial", "coronal" or "sagittal".
        axis: Image axis, 0 to 2, in the stored order.
        reason: Why it is the slice axis.
        spacing: Smallest and largest distance of their slices in mm.
        volumes: How many volumes.
        total: How many volumes the cohort has.
    """

    plane: str
    axis: int
    reason: str
    spacing: tuple[float, float]
    volumes: int
    total: int

    def __str__(self) -> str:
        low, high = (f"{mm:.4g}" for mm in self.spacing)
        why = f"{self.reason} {low if low == high else f'{low} to {high}'} mm" if self.reason in _WITH_SPACING else ""
        place = f"{_ORDINALS[self.axis]} image axis"
        return f"{self.plane} slices ({place}): {why or self.reason}, in {self.volumes} of {self.total} volumes"


def describe_axes(cohort: Cohort) -> list[AxisSummary]:
    """The slice axes of a cohort and their reasons, the most frequent first."""
    groups: dict[tuple[str, int, str], list[float]] = {}
    for volume in cohort.volumes:
        group = (plane_name(volume), volume.axis, volume.axis_reason or "as the study has it")
        groups.setdefault(group, []).append(volume.geometry.spacing[volume.axis])
    found = [
        AxisSummary(*group, (min(spacings), max(spacings)), len(spacings), len(cohort.volumes))
        for group, spacings in groups.items()
    ]
    return sorted(found, key=lambda summary: -summary.volumes)


def describe_turns(cohort: Cohort) -> str | None:
    """A line on volumes whose planes are turned, or None if all are as stored."""
    turned = [volume.id for volume in cohort.volumes if volume.turn]
    if not turned:
        return None
    named = ", ".join(turned[:5]) + (" ..." if len(turned) > 5 else "")
    count = f"{len(turned)} of {len(cohort.volumes)} volumes are stored in another order than most"
    return f"{count}; their slices are turned for learning, and results are written in the stored order: {named}"


def plane_name(volume: Volume) -> str:
    """The anatomical plane nearest to a volume's slices."""
    return PLANES[anatomical_axes(volume.geometry)[volume.axis]]


def anatomical_axes(geometry: Geometry) -> tuple[int, int, int]:
    """The anatomical axis (0 left, 1 posterior, 2 superior) nearest to each image axis; each occurs once.

    The pairs are those whose cosines have the largest sum, so that an oblique volume has three axes as well.
    """
    cosines = np.abs(np.reshape(geometry.direction, (3, 3)))  # rows: anatomical, columns: image axes
    orders = [(a, b, 3 - a - b) for a, b in itertools.permutations(range(3), 2)]
    return max(orders, key=lambda order: sum(cosines[a, i] for i, a in enumerate(order)))


def with_axes(volumes: Sequence[Volume], layout: str, wanted: int | str | None) -> tuple[list[Volume], list[Problem]]:
    """Give every volume its slice axis with the reason, and the turn of its planes.

    Args:
        volumes: The volumes; their axis, reason and turn are replaced.
        layout: Name of the layout they come from; "dicom" images have their slices along the third axis.
        wanted: One of ``AXIS_CHOICES``. Default: the axis of the cohort.

    Returns:
        The volumes, and warnings about those that are not sliced along their axis of acquisition.
    """
    evidence = [_acquired(volume, layout) for volume in volumes]
    if isinstance(wanted, int):
        chosen = [replace(volume, axis=wanted, axis_reason=CHOSEN) for volume in volumes]
        return with_turns(chosen), []
    normal = _common_normal(volumes, evidence)
    known = any(found is not None and found[1] not in (ONE, FRAMES) for found in evidence)
    chosen, problems = [], []
    for volume, found in zip(volumes, evidence, strict=True):
        if wanted in PLANES:
            axis = anatomical_axes(volume.geometry).index(PLANES.index(wanted))
        else:
            axis = _nearest_axis(volume.geometry, normal, None if found is None else found[0])
        if found is not None and (found[1] in (ONE, FRAMES) or wanted == OWN or found[0] == axis):
            axis, reason = found[0], CHOSEN if wanted in PLANES and found[1] not in (ONE, FRAMES) else found[1]
        elif wanted is not None and wanted != OWN:
            reason = CHOSEN
        elif found is not None:
            reason = FOLLOWED
            problems.append(_not_acquired(volume, found[0], axis))
        else:
            reason = MAJORITY if known else STORED
        chosen.append(replace(volume, axis=axis, axis_reason=reason))
    return with_turns(chosen), problems


def with_turns(volumes: Sequence[Volume]) -> list[Volume]:
    """Turn the planes of all volumes to the in-plane orientation that most volumes of the same plane are stored in.

    Volumes that are all stored in the same orientation stay as they are, as do frames, which have no orientation.
    """
    frames = {volume.id: _orientation(volume) for volume in volumes if volume.axis_reason != FRAMES}
    by_code: dict[tuple[float, ...], list[np.ndarray]] = {}
    for frame in frames.values():
        by_code.setdefault(tuple(np.rint(frame).ravel().tolist()), []).append(frame)
    usual = [np.mean(alike, axis=0) for alike in sorted(by_code.values(), key=len, reverse=True)]
    return [
        replace(volume, turn=_turn(frames[volume.id], usual) if volume.id in frames else AS_STORED)
        for volume in volumes
    ]


def _orientation(volume: Volume) -> np.ndarray:
    """Directions across the slices, along the order of rows and along that of columns: the rows of (3, 3) float64."""
    direction = np.reshape(volume.geometry.direction, (3, 3))
    down, right = (a for a in (2, 1, 0) if a != volume.axis)
    return direction[:, [volume.axis, down, right]].T


def _turn(own: np.ndarray, usual: Sequence[np.ndarray]) -> Turn:
    """The turn to the most usual orientation of planes of about the same normal, none if it hardly helps."""
    wanted = next((frame for frame in usual if abs(own[0] @ frame[0]) > ALIKE * np.linalg.norm(frame[0])), own)
    turns = [Turn(*parts) for parts in itertools.product((False, True), repeat=3)]  # as stored comes first

    def fit(turn: Turn) -> float:
        down, right = turn.pair((own[1], own[2]))
        return float(down @ wanted[1]) * (1 - 2 * turn.flip_rows) + float(right @ wanted[2]) * (
            1 - 2 * turn.flip_columns
        )

    best = max(turns, key=fit)
    return best if fit(best) > fit(AS_STORED) + MARGIN else AS_STORED


def _acquired(volume: Volume, layout: str) -> tuple[int, str] | None:
    """Axis of acquisition and how it is known, or None if it is unknown."""
    geometry = volume.geometry
    single = [axis for axis in (2, 1, 0) if geometry.size[axis] == 1]
    if single:
        return single[0], ONE
    kind = volume.channels[0].kind
    if kind == "frames":
        return 2, FRAMES
    if kind == "series" or layout == "dicom":
        return 2, SERIES
    return _by_spacing(geometry.spacing)


def _by_spacing(spacing: tuple[float, float, float]) -> tuple[int, str] | None:
    for axis in (2, 1, 0):
        first, second = (mm for a, mm in enumerate(spacing) if a != axis)
        pixel = max(first, second)
        if abs(first - second) <= EQUAL * pixel and abs(spacing[axis] - pixel) > ODD * pixel:
            return axis, LARGEST if spacing[axis] > pixel else SMALLEST
    largest = int(np.argmax(spacing))
    if spacing[largest] >= LARGE * sorted(spacing)[1]:
        return largest, LARGEST
    return None


def _stored(geometry: Geometry) -> int:
    """Axis of a volume of unknown acquisition: that of the largest spacing, the third where spacings hardly differ."""
    largest = max(geometry.spacing)
    return next(axis for axis in (2, 1, 0) if geometry.spacing[axis] >= largest * (1 - ODD))


def _common_normal(volumes: Sequence[Volume], evidence: Sequence[tuple[int, str] | None]) -> np.ndarray:
    """The direction (3,) of the slice axes of most volumes, up to its sign; the superior one in a tie."""
    moment = np.diag([0.0, 1e-6, 2e-6])
    for volume, found in zip(volumes, evidence, strict=True):
        if found is None or found[1] not in (ONE, FRAMES):
            axis, weight = (_stored(volume.geometry), 1) if found is None else (found[0], EVIDENCE)
            normal = np.reshape(volume.geometry.direction, (3, 3))[:, axis]
            moment += weight * np.outer(normal, normal)
    return np.linalg.eigh(moment)[1][:, -1]


def _nearest_axis(geometry: Geometry, normal: np.ndarray, acquired: int | None) -> int:
    """The image axis nearest to a direction, or that of the acquisition where it is about as near."""
    cosines = np.abs(normal @ np.reshape(geometry.direction, (3, 3)))
    best = max((2, 1, 0), key=lambda axis: cosines[axis])
    return best if acquired is None or cosines[best] > cosines[acquired] + MARGIN else acquired


def _not_acquired(volume: Volume, acquired: int, axis: int) -> Problem:
    anatomy = anatomical_axes(volume.geometry)
    pixels = " x ".join(f"{mm:.3g}" for mm in volume.geometry.plane_spacing(axis))
    message = (
        f"It was acquired in {PLANES[anatomy[acquired]]} slices, most of the cohort in {PLANES[anatomy[axis]]} ones; "
        f"its slices are {PLANES[anatomy[axis]]} too, with pixels of {pixels} mm."
    )
    advice = "Create a study of each orientation, or use --axis own to slice every volume along its own axis."
    return Problem(volume.id, message, advice, "warning")
