"""Splits the images of one DICOM series into volumes: by grid, by acquisition, and by time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ActiveSegmentationLib.cohort.dicom.fit import SAME_DIRECTION, Fault, Fit, by_position, fit, is_reported, normal_of
from ActiveSegmentationLib.cohort.dicom.planes import MARKS, TIMES, Plane
from ActiveSegmentationLib.cohort.naming import natural_key

_LATE_MARKS = ("acquisition",)
"""Properties that are tested after time: they often number time points."""

_STACK = 3
"""Minimum number of positions for images of another grid to be a separate volume."""


@dataclass(frozen=True)
class Stack:
    """One volume of a series.

    Attributes:
        fit: Its planes and grid.
        mark: What distinguishes it from the other volumes of the series ("t02", "b1000", "coronal"), or "".
    """

    fit: Fit
    mark: str = ""


@dataclass
class Sorted:
    """The result of splitting a series.

    Attributes:
        stacks: The volumes.
        refusals: Images that cannot be used.
        notes: What was left out or split: (message, advice).
    """

    stacks: list[Stack] = field(default_factory=list)
    refusals: list[Fault] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)


def sort_series(planes: Sequence[Plane], same_picture: Callable[[Plane, Plane], bool]) -> Sorted:
    """Sort the planes of a series into volumes.

    Args:
        planes: All planes of the series, each with a position.
        same_picture: Whether two planes have the same pixels; called only where nothing else distinguishes them.
    """
    found = Sorted()
    grids = _grids(planes)
    large = [grid for grid in grids if len(grids) == 1 or len(by_position(grid)) >= _STACK]
    if not large:
        found.refusals.append(_scattered(grids))
        return found
    names = _grid_names(large)
    for grid, name in zip(large, names, strict=True):
        result = _volumes(grid, name, same_picture, found)
        if isinstance(result, Fault):
            found.refusals.append(result)
        else:
            found.stacks += result
    if len(large) > 1:
        message = f"The series has images of {len(large)} grids ({', '.join(names)}); each is a separate volume."
        found.notes.append((message, ""))
    rest = [plane for grid in grids if grid not in large for plane in grid]
    if rest:
        advice = "No action is needed if they are localizers or screenshots."
        message = f"{len(rest)} of {len(planes)} images have another size, spacing or orientation and are left out."
        found.notes.append((message, advice))
    return found


def _grids(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Planes of the same shape, pixel size and orientation together, the largest group first."""
    groups: list[list[Plane]] = []
    for plane in planes:
        group = next((known for known in groups if _same_grid(known[0], plane)), None)
        if group is None:
            groups.append(group := [])
        group.append(plane)
    return sorted(groups, key=len, reverse=True)


def _same_grid(one: Plane, other: Plane) -> bool:
    if (one.shape, one.components) != (other.shape, other.components):
        return False
    turned = max(abs(a - b) for a, b in zip(one.orientation, other.orientation, strict=True))
    scaled = max(abs(a - b) / a for a, b in zip(one.spacing, other.spacing, strict=True))
    return turned <= SAME_DIRECTION and scaled <= 1e-3


def _scattered(grids: list[list[Plane]]) -> Fault:
    count = sum(len(grid) for grid in grids)
    message = f"The {count} images have {len(grids)} different sizes or orientations: a localizer or a radial series."
    return Fault("grids", message, "Leave the series out; its images do not form a stack.")


def _grid_names(grids: list[list[Plane]]) -> list[str]:
    if len(grids) == 1:
        return [""]
    names = [_anatomical(grid[0]) for grid in grids]
    if len(set(names)) < len(names):
        names = [f"{name}{number + 1}" for number, name in enumerate(names)]
    return names


def _anatomical(plane: Plane) -> str:
    """Name of the plane nearest to an orientation."""
    return ("sagittal", "coronal", "axial")[int(np.argmax(np.abs(normal_of(plane))))]


def _volumes(
    grid: list[Plane], name: str, same_picture: Callable[[Plane, Plane], bool], found: Sorted
) -> list[Stack] | Fault:
    result = _split(grid, [])
    if isinstance(result, Fault) and result.kind == "positions":
        once = _without_copies(grid, same_picture)
        if len(once) < len(grid):
            again = _split(once, [])
            if not isinstance(again, Fault):
                message = f"{len(grid) - len(once)} images are copies of others in the series; each is used once."
                found.notes.append((message, ""))
                result = again
    if isinstance(result, Fault):
        return result
    reasons = list(dict.fromkeys(reason for _, _, reason in result if reason))
    if reasons:
        message = f"The series holds {len(result)} volumes, distinguished by {' and '.join(reasons)}."
        found.notes.append((message, "Exclude those that are not wanted."))
    return [Stack(stack, _joined(name, mark)) for stack, mark, _ in result]


def _without_copies(planes: Sequence[Plane], same_picture: Callable[[Plane, Plane], bool]) -> list[Plane]:
    kept: list[Plane] = []
    for group in by_position(planes):
        own: list[Plane] = []
        for plane in group:
            if not any(same_picture(known, plane) for known in own):
                own.append(plane)
        kept += own
    return kept


_Part = tuple[Fit, str, str]


def _split(planes: list[Plane], used: list[str]) -> list[_Part] | Fault:
    """Regular stacks of the planes with a mark and what distinguishes them, or why there are none."""
    result = fit(planes)
    if isinstance(result, Fit):
        return [(result, "", "")]
    if result.kind not in ("positions", "gap"):
        return result
    early = [name for name in MARKS if name not in used and name not in _LATE_MARKS]
    least = 2 if result.kind == "positions" else _STACK
    for name in early:
        if parts := _by_mark(planes, name, used, least):
            return parts
    if result.kind == "positions" and (parts := _by_time(planes)):
        return parts
    late = [name for name in _LATE_MARKS if name not in used]
    return next((parts for name in late if (parts := _by_mark(planes, name, used, least))), result)


def _by_mark(planes: list[Plane], name: str, used: list[str], least: int) -> list[_Part] | None:
    """Split planes by the values of a property, where each part is regular, possibly after further splits.

    Args:
        planes: The planes.
        name: The property.
        used: Properties by which the planes have been split already.
        least: Minimum number of positions of each part, where the planes have that many.
    """
    groups: dict[str, list[Plane]] = {}
    for plane in planes:
        groups.setdefault(plane.marks.get(name, ""), []).append(plane)
    positions = len(by_position(planes))
    if len(groups) < 2 or any(len(by_position(group)) < min(positions, least) for group in groups.values()):
        return None
    parts: list[_Part] = []
    for value in sorted(groups, key=natural_key):
        result = _split(groups[value], [*used, name])
        if isinstance(result, Fault):
            return None
        part = _part_name(name, value, list(groups))
        parts += [(stack, _joined(part, mark), _reason(name, reason)) for stack, mark, reason in result]
    return parts


def _joined(*parts: str) -> str:
    return "_".join(part for part in parts if part)


def _reason(name: str, further: str) -> str:
    return f"{name}, {further}" if further else name


def _part_name(name: str, value: str, values: list[str]) -> str:
    """A value of a property as part of a name: of several words only those that differ."""
    words = value.split("\\")
    shared = set.intersection(*(set(other.split("\\")) for other in values))
    own = "-".join(word for word in words if word not in shared) if len(words) > 1 else value
    with contextlib.suppress(ValueError):  # names of kernels and kinds of images stay as they are
        own = f"{float(own):g}"
    return f"{MARKS[name]}{own or 'other'}"


def _by_time(planes: list[Plane]) -> list[_Part] | None:
    """Split planes by time, where every position has the same number of images and a time distinguishes them."""
    groups = by_position(planes)
    count = len(groups[0])
    if any(len(group) != count for group in groups):
        return None
    for name in TIMES:
        if all(len({plane.times.get(name) for plane in group} - {None}) == count for group in groups):
            ranked = [sorted(group, key=lambda plane: plane.times[name]) for group in groups]
            stacks = [fit([group[number] for group in ranked]) for number in range(count)]
            if all(isinstance(stack, Fit) for stack in stacks):
                width = len(str(count))
                return [
                    (stack, f"t{number + 1:0{width}d}", f"time ({name})")
                    for number, stack in enumerate(stacks)
                    if isinstance(stack, Fit)
                ]
    return None


def unevenness(stack: Stack) -> tuple[str, str] | None:
    """A warning about slices that deviate from even positions by more than rounding."""
    if not is_reported(stack.fit):
        return None
    message = f"The spacing of the slices is not quite even: the farthest is {stack.fit.error:.2f} mm off its position."
    return message, "Check that no file is missing; the volume is used with an even spacing."
