"""A generated cohort: short-axis images of beating hearts in the ACDC layout, with masks and scribbles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.cohort.phantom_anatomy import COVERAGE, FIELD_OF_VIEW, GROUPS, Grid, draw_patient, heart_of
from ActiveSegmentationLib.cohort.phantom_imaging import image_of
from ActiveSegmentationLib.cohort.scribbles import scribble_from_mask
from ActiveSegmentationLib.cohort.types import Geometry
from ActiveSegmentationLib.common.errors import JobFailed
from ActiveSegmentationLib.common.files import atomic_path, write_text
from ActiveSegmentationLib.common.itk import simpleitk
from ActiveSegmentationLib.common.progress import Progress, or_silent
from ActiveSegmentationLib.common.seeds import generator

PHASES = ("ED", "ES")

STORED_IGNORE_LABEL = 4
"""Value of pixels without a scribble in the ACDC scribble files."""


def write_phantom(
    folder: str | Path,
    *,
    patients: int = 12,
    phases: Sequence[str] = PHASES,
    slices: int = 8,
    size: tuple[int, int] = (96, 96),
    seed: int = 0,
    scribbles: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Write a cohort of generated hearts in the layout of the ACDC challenge.

    Patients take turns through the groups of ACDC (healthy, dilated, thick-walled, infarcted, right ventricle dilated)
    and differ in shape, pose, contrast, coil sensitivity and noise. Slices run from above the base to below the apex,
    so that some hold no heart. Patient n of a seed is the same regardless of the number of patients.

    Args:
        folder: Folder to write to; created if needed. Files of the same names are replaced, others stay.
        patients: Number of patients, at least 1.
        phases: Phases to write for each: "ED" (end-diastole), "ES" (end-systole) or both.
        slices: Slices per volume, at least 1; together they cover 80 mm.
        size: Rows and columns of a slice, each at least 16; the rows cover 144 mm.
        seed: Non-negative; same seed, same voxels.
        scribbles: Whether to write ``_scribble`` files (0 background, 1 RV, 2 myocardium, 3 LV, 4 not drawn).
        progress: Progress reporter, called after every volume.

    Returns:
        ``folder``, with ``patientNNN/patientNNN_frameMM.nii.gz`` (int16), ``..._gt.nii.gz`` (uint8: 1 RV, 2 myocardium,
        3 LV), ``..._scribble.nii.gz`` (uint8) and ``Info.cfg``.

    Raises:
        ValueError: If an argument is out of its range.
        BadInput: If the folder cannot be written.
        JobFailed: If the disk is full.

    Example:
        >>> folder = write_phantom("phantom", patients=4, size=(48, 48))
        >>> sorted(path.name for path in folder.iterdir())
        ['patient001', 'patient002', 'patient003', 'patient004']
    """
    if patients < 1 or slices < 1 or min(size) < 16 or not set(phases) <= set(PHASES):
        raise ValueError("A phantom has at least 1 patient, 1 slice, 16 x 16 pixels, and the phases ED and ES.")
    progress = or_silent(progress)
    folder = Path(folder)
    total = patients * len(phases)
    for number in range(1, patients + 1):
        for done, (phase, frame) in enumerate(_frames(number, phases, seed).items(), start=(number - 1) * len(phases)):
            progress.update("Writing the phantom", done, total)
            path = folder / f"patient{number:03d}" / f"patient{number:03d}_frame{frame:02d}.nii.gz"
            _write_volume(path, number, phase, slices, size, seed, scribbles)
        write_text(folder / f"patient{number:03d}" / "Info.cfg", _info(number, seed))
    progress.update("Writing the phantom", total, total)
    return folder


def _frames(number: int, phases: Sequence[str], seed: int) -> dict[str, int]:
    """Frame number, from 1, of each phase."""
    frames = {"ED": 1, "ES": int(generator(seed, "phantom", "frames", number).integers(8, 15))}
    return {phase: frames[phase] for phase in phases}


def _info(number: int, seed: int) -> str:
    frames = _frames(number, PHASES, seed)
    rng = generator(seed, "phantom", "body", number)
    height, weight = rng.uniform(155, 190), rng.uniform(50, 100)
    return (
        f"ED: {frames['ED']}\nES: {frames['ES']}\nGroup: {_group(number)}\n"
        f"Height: {height:.1f}\nNbFrame: 30\nWeight: {weight:.1f}\n"
    )


def _group(number: int) -> str:
    return GROUPS[(number - 1) % len(GROUPS)]


def _write_volume(
    path: Path, number: int, phase: str, slices: int, size: tuple[int, int], seed: int, scribbles: bool
) -> None:
    patient = draw_patient(_group(number), generator(seed, "phantom", "patient", number))
    systole = phase == "ES"
    geometry = _geometry(slices, size, generator(seed, "phantom", "geometry", number))
    rng = generator(seed, "phantom", "image", number, phase)
    masks = heart_of(patient, systole, Grid.of(slices, size)).labels()
    _write(path, image_of(patient, systole, slices, size, rng), geometry)
    _write(_sibling(path, "gt"), masks, geometry)
    if scribbles:
        rng = generator(seed, "phantom", "scribbles", number, phase)
        drawn = np.stack([scribble_from_mask(mask, rng, ignore_label=STORED_IGNORE_LABEL) for mask in masks])
        _write(_sibling(path, "scribble"), drawn, geometry)


def _sibling(path: Path, what: str) -> Path:
    return path.with_name(path.name.replace(".nii.gz", f"_{what}.nii.gz"))


def _geometry(slices: int, size: tuple[int, int], rng: np.random.Generator) -> Geometry:
    """Grid of a short-axis scan: oblique, about as the heart's axis lies in the chest."""
    from scipy.spatial.transform import Rotation

    pixel = FIELD_OF_VIEW / size[0]
    turns = Rotation.from_euler("zxz", rng.uniform((35, 50, -25), (60, 75, 25)), degrees=True)
    origin = tuple(float(value) for value in rng.uniform(-100, 100, size=3).round(2))
    return Geometry(
        size=(size[1], size[0], slices),
        spacing=(pixel, pixel, COVERAGE / slices),
        origin=(origin[0], origin[1], origin[2]),
        direction=tuple(float(value) for value in turns.as_matrix().ravel()),
    )


def _write(path: Path, array: np.ndarray, geometry: Geometry) -> None:
    sitk = simpleitk()

    image: Any = sitk.GetImageFromArray(array)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    with atomic_path(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), useCompression=True)
        except RuntimeError as error:
            reason = str(error).strip().rpartition("\n")[2]
            advice = "Check free space and permissions, then run the same command again."
            raise JobFailed(f"The image could not be written ({reason}).", where=path, advice=advice) from error
