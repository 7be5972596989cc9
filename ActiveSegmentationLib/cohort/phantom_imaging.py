"""How a scanner shows the phantom: chest around the heart, brightness, texture, blur, coil sensitivity and noise."""

from __future__ import annotations

import numpy as np

from ActiveSegmentationLib.cohort.phantom_anatomy import FIELD_OF_VIEW, Grid, Heart, Patient, heart_of

FINE = 2
"""Samples per voxel side for partial volume effects at tissue borders."""


def image_of(
    patient: Patient, systole: bool, slices: int, size: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """MR image of a patient's chest.

    Args:
        patient: The patient.
        systole: At end-systole, or end-diastole.
        slices: Number of slices.
        size: Rows and columns of a slice.
        rng: Source of texture and noise.

    Returns:
        (slices, rows, columns) int16, from 0 to some hundreds.
    """
    from scipy import ndimage

    grid = Grid.of(slices, size, FINE)
    heart = heart_of(patient, systole, grid)
    fine = _brightness(patient, heart, grid, rng)
    pixel = FIELD_OF_VIEW / size[0] / FINE
    fine = ndimage.gaussian_filter(fine, (0.2, patient.blur / pixel, patient.blur / pixel), mode="nearest")
    clean = fine.reshape(slices, size[0], FINE, size[1], FINE).mean(axis=(2, 4))
    clean *= _coil(clean.shape, rng)
    real, imaginary = rng.normal(scale=patient.noise, size=(2, *clean.shape))
    return np.hypot(clean + real, imaginary).round().astype(np.int16)


def _brightness(patient: Patient, heart: Heart, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    tissue = patient.tissue
    shape = heart.left.shape
    image = _chest(patient, grid, shape)
    image[heart.sac] = 0.75 * tissue.fat
    image[heart.above] = 0.95 * tissue.blood
    image[heart.right_wall | heart.wall] = tissue.myocardium
    image[heart.right] = tissue.right_blood
    image[heart.left] = tissue.blood
    image[heart.papillary] = 1.15 * tissue.myocardium
    return image * (1 + 0.1 * _texture(shape, 12, rng) + 0.07 * _texture(shape, 40, rng))


def _chest(patient: Patient, grid: Grid, shape: tuple[int, ...]) -> np.ndarray:
    """Brightness (S, h, w) of everything but the heart: lungs with vessels, aorta, liver, stomach, chest wall, air."""
    tissue, place = patient.tissue, patient.chest
    sine, cosine = np.sin(patient.roll), np.cos(patient.roll)
    row, column = cosine * grid.rows - sine * grid.columns, sine * grid.rows + cosine * grid.columns
    image = np.full(shape, tissue.lung, dtype=np.float64)

    for number in range(6):
        angle = number + 2 * place[number]
        vessel_row, vessel_column = 52 * np.sin(angle) + 0.2 * grid.depth, 52 * np.cos(angle) - 0.2 * grid.depth
        vessel = np.hypot(row - vessel_row, column - vessel_column) < 2.2 + place[number]
        image[np.broadcast_to(vessel, shape)] = 0.7 * tissue.blood

    dome = 34 + 6 * place[0] - 0.35 * grid.depth + 0.006 * (column - 15 * place[1]) ** 2
    liver = np.broadcast_to(row > dome, shape)
    image[liver] = tissue.liver
    image[np.broadcast_to((row > dome) & (row < dome + 2.5), shape)] = tissue.muscle
    stomach = np.hypot((row - dome - 18) / 14, (column - 28 - 8 * place[2]) / (20 + 5 * place[3])) < 1
    image[np.broadcast_to(stomach, shape)] = tissue.fat * (0.55 + 0.25 * place[4])

    aorta = np.hypot(row - 34 - 4 * place[5], column - 46 - 4 * place[6]) < 9 + place[7]
    image[np.broadcast_to(aorta, shape)] = 0.9 * tissue.blood

    wall = np.hypot((row - 14) / (74 + 4 * place[6]), (column + 2) / (70 + 5 * place[7]))
    for inside, brightness in ((1.0, tissue.muscle), (1.07, tissue.fat), (1.22, tissue.air)):
        image[np.broadcast_to((wall > inside) & (row < 50), shape)] = brightness
    return image


def _texture(shape: tuple[int, ...], knots: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth random field of mean 0 and standard deviation 1 over each slice."""
    from scipy import ndimage

    coarse = rng.standard_normal((shape[0], knots, knots))
    field = ndimage.zoom(coarse, (1, shape[1] / knots, shape[2] / knots), order=1, grid_mode=True, mode="nearest")
    return field / field.std()


def _coil(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Sensitivity of the receiving coil: smooth over the volume, within about a third of 1."""
    slices, rows, columns = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    slope = rng.uniform(-0.25, 0.25, size=3)
    bend = rng.uniform(-0.12, 0.12, size=3)
    linear = 0.4 * slope[0] * slices + slope[1] * rows + slope[2] * columns
    return np.exp(linear + bend[0] * rows**2 + bend[1] * columns**2 + bend[2] * rows * columns)
