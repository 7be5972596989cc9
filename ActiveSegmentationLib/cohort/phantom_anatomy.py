"""Anatomy and imaging of the phantom: a beating heart in its chest, cut in short-axis slices, as MR would show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

FIELD_OF_VIEW = 144.0
"""Millimetres that the rows of a slice cover, and that the slices' spacing is derived from."""

COVERAGE = 80.0
"""Millimetres from the first to the last slice, both included."""

RV, MYO, LV = 1, 2, 3
GROUPS = ("NOR", "DCM", "HCM", "MINF", "RV")
"""Healthy; dilated; thick-walled; weakened by an infarct; right ventricle dilated: the groups of ACDC."""


class Tissue(NamedTuple):
    """Brightness of the tissues of one patient, in units of the scanner."""

    air: float
    lung: float
    myocardium: float
    muscle: float
    liver: float
    blood: float
    right_blood: float
    fat: float


@dataclass(frozen=True)
class Patient:
    """What differs between patients and stays the same between phases; lengths in mm, angles in radians.

    Attributes:
        group: Disease group, one of ``GROUPS``.
        radius: Radius of the left ventricle's cavity at the base at end-diastole.
        wall: Thickness of its wall at end-diastole.
        septum: Factor of the wall's thickness at the septum.
        contraction: Cavity radius at end-systole as a part of that at end-diastole.
        right_width: Width factor of the right ventricle.
        base: Position of the base along the slices, from the first slice's outer face.
        length: From base to apex at end-diastole.
        centre: Position (row, column) of the left ventricle, from the image centre.
        tilt: Shift (row, column) of the axis over one mm along the slices.
        rotation: Of the heart about its long axis.
        roll: Of the whole chest in the image.
        scale: Of the heart.
        lobes: Amplitude and phase of the contour's second and third harmonic.
        tissue: Brightness of the tissues.
        chest: Random placement of the neighbouring organs, each in [-1, 1].
        blur: Standard deviation of the point spread in mm.
        noise: Standard deviation of the noise in either channel, in units of the scanner.
    """

    group: str
    radius: float
    wall: float
    septum: float
    contraction: float
    right_width: float
    base: float
    length: float
    centre: tuple[float, float]
    tilt: tuple[float, float]
    rotation: float
    roll: float
    scale: float
    lobes: tuple[tuple[float, float], ...]
    tissue: Tissue
    chest: tuple[float, ...]
    blur: float
    noise: float


def draw_patient(group: str, rng: np.random.Generator) -> Patient:
    """Draw a patient of a disease group."""
    uniform = rng.uniform
    factor = {"DCM": 1.25, "HCM": 0.85}.get(group, 1.0)
    wall = {"DCM": 6.5, "HCM": 12.0}.get(group, 8.0)
    contraction = {"DCM": 0.88, "HCM": 0.52, "MINF": 0.82}.get(group, 0.68)
    return Patient(
        group=group,
        radius=factor * uniform(19.5, 23.5),
        wall=wall * uniform(0.9, 1.1),
        septum=uniform(1.2, 1.5) if group == "HCM" else uniform(0.95, 1.1),
        contraction=contraction * uniform(0.93, 1.07),
        right_width=uniform(1.3, 1.55) if group == "RV" else uniform(0.85, 1.1),
        base=uniform(3.0, 12.0),
        length=uniform(56.0, 64.0),
        centre=(uniform(-6, 6), uniform(0, 14)),
        tilt=(uniform(-0.15, 0.15), uniform(-0.15, 0.15)),
        rotation=uniform(-0.5, 0.5),
        roll=uniform(-0.25, 0.25),
        scale=uniform(0.85, 1.05),
        lobes=tuple((uniform(0.0, 0.05), uniform(0, 2 * np.pi)) for _ in range(2)),
        tissue=_draw_tissue(rng),
        chest=tuple(uniform(-1, 1, size=8)),
        blur=uniform(0.8, 1.4),
        noise=uniform(6.0, 14.0),
    )


def _draw_tissue(rng: np.random.Generator) -> Tissue:
    levels = np.array([6.0, 28.0, 85.0, 105.0, 115.0, 220.0, 205.0, 235.0])
    levels *= rng.uniform(0.85, 1.15, size=levels.size)
    levels[2] = min(levels[2], levels[3])
    gamma = rng.uniform(0.8, 1.25)
    return Tissue(*(rng.uniform(0.7, 1.5) * 220 * (levels / 220) ** gamma))


class Grid(NamedTuple):
    """Places at which the anatomy is evaluated: rows, columns and depth in mm, broadcasting to (S, h, w)."""

    rows: np.ndarray
    columns: np.ndarray
    depth: np.ndarray

    @classmethod
    def of(cls, slices: int, size: tuple[int, int], fine: int = 1) -> Grid:
        """Centres of the voxels of a volume, or of ``fine`` x ``fine`` parts of each in the plane."""
        pixel = FIELD_OF_VIEW / size[0] / fine
        rows, columns = ((np.arange(n * fine) - (n * fine - 1) / 2) * pixel for n in size)
        depth = (np.arange(slices) + 0.5) * COVERAGE / slices
        return cls(rows[None, :, None], columns[None, None, :], depth[:, None, None])


class Heart(NamedTuple):
    """Which places lie in which part of the heart: bool arrays (S, h, w), and the distance from its axis.

    Attributes:
        left: Cavity of the left ventricle, papillary muscles included.
        wall: Myocardium of the left ventricle.
        right: Cavity of the right ventricle.
        right_wall: Its thin free wall, which is not labelled.
        papillary: Muscles within the left cavity.
        above: Atria and great vessels above the base.
        sac: The heart with the fat around it.
    """

    left: np.ndarray
    wall: np.ndarray
    right: np.ndarray
    right_wall: np.ndarray
    papillary: np.ndarray
    above: np.ndarray
    sac: np.ndarray

    def labels(self) -> np.ndarray:
        """Label values (S, h, w) uint8: 0 background, 1 RV, 2 myocardium, 3 LV."""
        return np.select([self.left, self.wall, self.right], [LV, MYO, RV], 0).astype(np.uint8)


def heart_of(patient: Patient, systole: bool, grid: Grid) -> Heart:
    """Where the parts of the patient's heart are, at end-systole or end-diastole."""
    base = patient.base + (8.0 if systole else 0.0)
    length = patient.length - (8.0 if systole else 0.0)
    level = (grid.depth - base) / length
    inside = (level >= 0) & (level < 1)
    row = (grid.rows - patient.centre[0] - patient.tilt[0] * (grid.depth - base)) / patient.scale
    column = (grid.columns - patient.centre[1] - patient.tilt[1] * (grid.depth - base)) / patient.scale
    row, column = _turned(row, column, patient.rotation + patient.roll)
    angle, distance = np.arctan2(row, column), np.hypot(row, column)

    cavity, wall = _left_radii(patient, systole, angle)
    taper = _taper(level)
    outer = (cavity + wall) * taper
    inner = np.maximum(cavity * _taper(level / 0.9), 0)
    left = inside & (distance < inner)
    muscle = inside & (distance < outer) & ~left
    right_size = (patient.radius + patient.wall) * _taper(level / 0.85) * (0.82 if systole else 1.0)
    reach = _right_reach(patient, right_size, row, column)
    right = inside & (reach < 1) & (distance >= outer + 0.5)
    right_wall = inside & (reach < 1.12) & (distance >= outer) & ~right
    sac = (distance < outer + 3 + 4 * np.cos(2 * angle + 1)) | (inside & (reach < 1.28))
    return Heart(
        left=left,
        wall=muscle,
        right=right,
        right_wall=right_wall,
        papillary=left & _papillary(row, column, inner, level),
        above=_above(patient, level, row, column),
        sac=sac & (level > -0.3) & (level < 1.05),
    )


def _turned(row: np.ndarray, column: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    sine, cosine = np.sin(angle), np.cos(angle)
    return cosine * row - sine * column, sine * row + cosine * column


def _taper(level: np.ndarray) -> np.ndarray:
    """Radius at a level between base (0) and apex (1) as a part of that at the base: a half-ellipsoid."""
    return np.sqrt(np.clip(1 - np.clip(level, 0, 1) ** 2.4, 0, 1))


def _left_radii(patient: Patient, systole: bool, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cavity radius and wall thickness at the base in every direction; the wall keeps its area when it contracts."""
    lobes = sum(size * np.cos((n + 2) * angle - phase) for n, (size, phase) in enumerate(patient.lobes))
    septal = 0.5 - 0.5 * np.cos(angle)
    wall = patient.wall * (1 + (patient.septum - 1) * septal**2)
    cavity = np.full_like(angle, patient.radius)
    if systole:
        moving = np.full_like(angle, 1 - patient.contraction)
        if patient.group == "MINF":
            moving = moving * (0.4 + 0.6 * (1 - np.exp(-((np.mod(angle - 1.0, 2 * np.pi) - np.pi) ** 2))))
        contracted = cavity * (1 - moving)
        wall = np.sqrt(contracted**2 + (cavity + wall) ** 2 - cavity**2) - contracted
        cavity = contracted
    return cavity * (1 + lobes), wall


def _right_reach(patient: Patient, size: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Below 1 within the ellipse that the right ventricle's cavity is cut from; the left one's wall takes the rest."""
    width, height = 0.98 * patient.right_width, 1.02 * np.sqrt(patient.right_width)
    size = np.maximum(size, 1e-3)
    across = (column / size + 0.72) / width
    along = (row / size - 0.1 * across) / height
    return np.hypot(across, along)


def _papillary(row: np.ndarray, column: np.ndarray, inner: np.ndarray, level: np.ndarray) -> np.ndarray:
    inner = np.maximum(inner, 1e-3)
    found = np.zeros(np.broadcast_shapes(row.shape, inner.shape), dtype=bool)
    for angle in (0.9, -1.1):
        away = np.hypot(row / inner - 0.68 * np.sin(angle), column / inner - 0.68 * np.cos(angle))
        found |= away < 0.19
    return found & (level > 0.2) & (level < 0.75)


def _above(patient: Patient, level: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Blood above the base: left atrium, outflow tract and right atrium."""
    size = patient.radius
    left = np.hypot(row / (0.8 * size) - 0.5, column / (1.1 * size) - 0.3) < 1
    outflow = np.hypot(row / size + 0.75, column / size + 0.15) < 0.62
    right = np.hypot(row / size - 0.2, column / size + 1.5) < 0.8
    return (left | outflow | right) & (level < 0)
