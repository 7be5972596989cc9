"""The header of one DICOM file: kind, patient and planes. No pixel is read."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ActiveSegmentationLib.cohort.dicom.data_sets import BoundedFile
from ActiveSegmentationLib.cohort.dicom.kinds import (
    CONTOURS,
    DIRECTORY,
    SEGMENTATIONS,
    is_screenshot,
    lies_in_patient,
    not_an_image,
)
from ActiveSegmentationLib.cohort.dicom.pixel_check import require_pixels
from ActiveSegmentationLib.cohort.dicom.planes import PRIVATE_B_VALUES, Plane, planes_of
from ActiveSegmentationLib.cohort.dicom.tags import BadValue, damaged, number, quiet, text
from ActiveSegmentationLib.common.files import explained

_KEYWORDS: tuple[str, ...] = (
    "SpecificCharacterSet",
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "Modality",
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesDescription",
    "SeriesNumber",
    "InstanceNumber",
    "AcquisitionNumber",
    "AcquisitionDate",
    "AcquisitionTime",
    "AcquisitionDateTime",
    "ContentTime",
    "TemporalPositionIdentifier",
    "TriggerTime",
    "NominalPercentageOfCardiacPhase",
    "FrameReferenceTime",
    "EchoTime",
    "EchoNumbers",
    "InversionTime",
    "FlipAngle",
    "SequenceName",
    "DiffusionBValue",
    "ConvolutionKernel",
    "ReconstructionDiameter",
    "SliceThickness",
    "SpacingBetweenSlices",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "EncryptedAttributesSequence",
    "ReferencedSeriesSequence",
    "ReferencedFrameOfReferenceSequence",
    "SegmentSequence",
    "SegmentationType",
)


@dataclass
class Instance:
    """The header of one DICOM file.

    Attributes:
        path: The file.
        uid: SOP instance UID.
        sop_class: SOP class UID.
        kind: "image", "localizer", "screenshot", "segmentation", "contours", "directory" or "other".
        name: Name of the object where it is "other".
        patient: Patient ID; empty if it is missing.
        person: Name and date of birth, for comparison only.
        study: Study instance UID.
        series: Series instance UID.
        description: Series description.
        number: Series number.
        modality: Modality.
        photometric: Photometric interpretation.
        planes: One plane per frame; empty if the file cannot be used.
        problem: Why the file cannot be used, or None.
        advice: What to do about it.
        references: For segmentations and contours: UIDs of the series they were drawn on.
        instances: For segmentations: UIDs of the images they were drawn on, where known.
        segments: For segmentations: number and name of each segment.
        fractional: Whether a segmentation holds probabilities.
        flat_rescale: Whether the rescale slope is 0.
    """

    path: Path
    uid: str = ""
    sop_class: str = ""
    kind: str = "image"
    name: str = ""
    patient: str = ""
    person: tuple[str, str] = ("", "")
    study: str = ""
    series: str = ""
    description: str = ""
    number: str = ""
    modality: str = ""
    photometric: str = ""
    planes: list[Plane] = field(default_factory=list)
    problem: str | None = None
    advice: str = ""
    references: tuple[str, ...] = ()
    instances: frozenset[str] = frozenset()
    segments: tuple[tuple[int, str], ...] = ()
    fractional: bool = False
    flat_rescale: bool = False


def looks_like_dicom(path: Path) -> bool:
    """Whether a file has the mark of DICOM, or starts as a data set without the preamble does."""
    with open(path, "rb") as file:
        head = file.read(132)
    if head[128:] == b"DICM":
        return True
    group, element = int.from_bytes(head[:2], "little"), int.from_bytes(head[2:4], "little")
    return len(head) == 132 and group in (0x0002, 0x0008) and element <= 0x0018


def read_instance(path: Path) -> Instance | None:
    """Read the header of a file.

    Returns:
        The header, with ``problem`` set where the file cannot be used; None if it is not a DICOM file.

    Raises:
        BadInput: If the file cannot be opened.
    """
    with explained(path):
        if not looks_like_dicom(path):
            return None
        size = path.stat().st_size
    with quiet(), explained(path), open(path, "rb") as file:
        try:
            dataset = _dataset(file)
            found = _identity(path, dataset)
        except damaged() as error:
            broken = Instance(path, problem=f"The header is damaged ({error}).", advice=_COPY)
            return broken if _has_mark(path) else None
        if found.sop_class == DIRECTORY or path.name.upper() == "DICOMDIR":
            found.kind = "directory"
            return found
        if not found.sop_class and "Rows" not in dataset and not found.series:
            found.problem, found.advice = "The file is empty or damaged.", _COPY
            return found if _has_mark(path) else None
        try:
            _describe(found, dataset, file, size)
        except BadValue as error:
            found.problem, found.advice = str(error), found.advice or _LEAVE_OUT
        except damaged() as error:
            found.problem, found.advice = f"The header is damaged ({error}).", _COPY
    return found


_COPY = "Copy or export the file again."
_LEAVE_OUT = "Export the series again, convert it to NIfTI or NRRD, or leave it out."


def _has_mark(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def _dataset(file: Any) -> Any:
    import pydicom

    return pydicom.dcmread(BoundedFile(file), stop_before_pixels=True, force=True, specific_tags=_wanted())


@functools.cache
def _wanted() -> list[Any]:
    from pydicom.tag import Tag

    return [*map(Tag, _KEYWORDS), *map(Tag, PRIVATE_B_VALUES)]


def _identity(path: Path, dataset: Any) -> Instance:
    meta = getattr(dataset, "file_meta", None)
    sop_class = text(dataset, "SOPClassUID") or str(getattr(meta, "MediaStorageSOPClassUID", "") or "")
    return Instance(
        path,
        uid=text(dataset, "SOPInstanceUID"),
        sop_class=sop_class,
        patient=_person_id(dataset),
        person=(_same_name(text(dataset, "PatientName")), text(dataset, "PatientBirthDate")),
        study=text(dataset, "StudyInstanceUID"),
        series=text(dataset, "SeriesInstanceUID"),
        description=text(dataset, "SeriesDescription"),
        number=text(dataset, "SeriesNumber"),
        modality=text(dataset, "Modality"),
        photometric=text(dataset, "PhotometricInterpretation"),
    )


def _same_name(name: str) -> str:
    """A name normalised for comparison."""
    return " ".join(name.casefold().replace("^", " ").split())


def _person_id(dataset: Any) -> str:
    return text(dataset, "PatientID").replace("\\", "/")


def _describe(found: Instance, dataset: Any, file: BinaryIO, size: int) -> None:
    """Set the kind of object and its planes."""
    if found.sop_class in SEGMENTATIONS or found.modality == "SEG":
        found.kind = "segmentation"
        _describe_segmentation(found, dataset)
        return
    if found.sop_class == CONTOURS or found.modality == "RTSTRUCT":
        found.kind = "contours"
        found.references = _contour_references(dataset)
        return
    other = not_an_image(found.sop_class, found.modality, "Rows" in dataset)
    if other is not None:
        found.kind, found.name = "other", other
        return
    _describe_image(found, dataset, file, size)


def _describe_image(found: Instance, dataset: Any, file: BinaryIO, size: int) -> None:
    kinds = text(dataset, "ImageType").upper().split("\\")
    if any(part in ("LOCALIZER", "SCOUT", "TOPOGRAM") for part in kinds):
        found.kind = "localizer"
        return
    if is_screenshot(found.sop_class):
        found.kind = "screenshot"
        return
    require_pixels(dataset, file, size)
    if "MOSAIC" in kinds:
        found.advice = "Convert the series with dcm2niix, which takes the mosaic apart, and use the NIfTI files."
        raise BadValue("The file holds all slices in one picture (Siemens mosaic).")
    slope = number(dataset, "RescaleSlope")
    found.flat_rescale = slope == 0
    found.planes = planes_of(found.path, dataset, needs_place=lies_in_patient(found.sop_class, found.modality))


def _describe_segmentation(found: Instance, dataset: Any) -> None:
    series = [text(item, "SeriesInstanceUID") for item in dataset.get("ReferencedSeriesSequence") or []]
    images = (
        text(image, "ReferencedSOPInstanceUID")
        for item in dataset.get("ReferencedSeriesSequence") or []
        for image in item.get("ReferencedInstanceSequence") or []
    )
    found.references, found.instances = tuple(series), frozenset(images)
    segments = dataset.get("SegmentSequence") or []
    found.segments = tuple(
        (int(item.SegmentNumber), text(item, "SegmentLabel") or f"segment {item.SegmentNumber}") for item in segments
    )
    found.fractional = text(dataset, "SegmentationType") == "FRACTIONAL"


def _contour_references(dataset: Any) -> tuple[str, ...]:
    return tuple(
        text(series, "SeriesInstanceUID")
        for frame in dataset.get("ReferencedFrameOfReferenceSequence") or []
        for study in frame.get("RTReferencedStudySequence") or []
        for series in study.get("RTReferencedSeriesSequence") or []
    )
