"""A cohort layout in its own package: ``scans/PATIENT.nii.gz`` with masks in ``truth/PATIENT.nii.gz``."""

from pathlib import Path

from ActiveSegmentationLib.cohort import LabelSource
from ActiveSegmentationLib.cohort.assembly import Candidate, Draft, file_source
from ActiveSegmentationLib.cohort.layouts.base import Layout


def recognises(path: Path) -> bool:
    """Whether a folder looks like this layout; called for every folder, so it must be cheap."""
    return (path / "scans").is_dir() and (path / "truth").is_dir()


def read(path: Path) -> Draft:
    """Every scan is one volume of one patient."""
    images = sorted((path / "scans").glob("*.nii.gz"))
    return Draft([_candidate(image, path / "truth" / image.name) for image in images])


def _candidate(image: Path, mask: Path) -> Candidate:
    name = image.name.removesuffix(".nii.gz")
    return Candidate(name, name, (file_source(image),), LabelSource(file_source(mask)) if mask.exists() else None)


LAYOUT = Layout("paired-folders", "Folders scans and truth with files of the same names.", recognises, read)
