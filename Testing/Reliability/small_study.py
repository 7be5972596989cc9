"""A study small enough to be broken thousands of times."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ActiveSegmentationLib.cohort import AnnotationKind, Cohort, SliceId, discover
from ActiveSegmentationLib.study import LabelSet, Request, RequestList, SliceAnnotation, Study

NAMES = {5: "left ventricle", 85: "myocardium"}
SIZE = (6, 5, 4)


def write_cohort(root: Path, volumes: int = 3) -> Cohort:
    """A cohort of small NIfTI images, read from disk."""
    import nibabel

    root.mkdir(parents=True)
    for number in range(volumes):
        pixels = np.random.default_rng(number).integers(0, 500, SIZE).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(pixels, np.diag([1.5, 1.25, 8.0, 1.0])), root / f"v{number:03d}.nii.gz")
    return discover(root)


def create_study(folder: Path, cohort: Cohort) -> Study:
    return Study.create(folder, cohort, LabelSet.from_names(NAMES), AnnotationKind.MASK)


def labels_of(seed: int, shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.array([0, *NAMES], np.uint8), shape)


def annotation(
    study: Study, volume: str, index: int, seed: int, annotator: str = "Anna", round: int | None = None
) -> SliceAnnotation:
    labels = labels_of(seed, study.cohort.volume(volume).plane_shape)
    return SliceAnnotation(SliceId(volume, index), labels, AnnotationKind.MASK, annotator, round, 2.0, "")


def requests(study: Study, round: int, slices: list[tuple[str, int]]) -> RequestList:
    found = [(study.cohort.volume(volume), index) for volume, index in slices]
    chosen = [Request(SliceId(v.id, index), v.patient, v.axis, 0.5, "no slice yet") for v, index in found]
    return RequestList(round, "random", 0, {}, tuple(chosen))
