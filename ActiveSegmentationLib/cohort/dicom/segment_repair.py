"""What simple writers leave out of DICOM segmentations and highdicom needs; nothing of it changes a pixel."""

from __future__ import annotations

from typing import Any

_TISSUE = ("85756007", "SCT", "Tissue")
_UNKNOWN = "1.2.826.0.1.3680043.8.498.1"
"""UID where the file has none."""


def completed(dataset: Any, spacing: float) -> Any:
    """Fill in how segments were made, what they are in general, and the order of the frames, where they are missing.

    Args:
        dataset: A segmentation; changed in place.
        spacing: Millimetres between the slices of the image; used where the segmentation states none, because frames
            without segments are often left out and the rest does not show it.
    """
    for segment in dataset.get("SegmentSequence") or []:
        if not segment.get("SegmentAlgorithmType"):
            segment.SegmentAlgorithmType = "MANUAL"
        if not segment.get("SegmentLabel"):
            segment.SegmentLabel = f"segment {segment.SegmentNumber}"
        for keyword in ("SegmentedPropertyCategoryCodeSequence", "SegmentedPropertyTypeCodeSequence"):
            if not segment.get(keyword):
                setattr(segment, keyword, [_code(*_TISSUE)])
    groups = dataset.get("SharedFunctionalGroupsSequence") or []
    for group in [*groups, *(dataset.get("PerFrameFunctionalGroupsSequence") or [])]:
        for measures in group.get("PixelMeasuresSequence") or []:
            if not measures.get("SpacingBetweenSlices"):
                measures.SpacingBetweenSlices = spacing
            if not measures.get("SliceThickness"):
                measures.SliceThickness = spacing
    if not dataset.get("FrameOfReferenceUID"):
        dataset.FrameOfReferenceUID = _UNKNOWN
    if not dataset.get("SegmentationType"):
        dataset.SegmentationType = "BINARY"
    if dataset.get("SegmentationType") != "LABELMAP" and not _is_ordered(dataset):
        _order(dataset)
    return dataset


def _code(value: str, scheme: str, meaning: str) -> Any:
    from pydicom import Dataset

    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _is_ordered(dataset: Any) -> bool:
    """Whether the dimensions of the frames give segment and position."""
    from pydicom.tag import Tag

    pointers = {item.get("DimensionIndexPointer") for item in dataset.get("DimensionIndexSequence") or []}
    return {Tag("ReferencedSegmentNumber"), Tag("ImagePositionPatient")} <= pointers


def _order(dataset: Any) -> None:
    """Make segment and position the dimensions of the frames; a position gets its place among the sorted ones."""
    from pydicom import Dataset
    from pydicom.tag import Tag

    frames = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    positions = [_position(frame, shared) for frame in frames]
    places = {position: number for number, position in enumerate(sorted(set(positions)), start=1)}
    dimensions = []
    for pointer, group in (
        ("ReferencedSegmentNumber", "SegmentIdentificationSequence"),
        ("ImagePositionPatient", "PlanePositionSequence"),
    ):
        item = Dataset()
        item.DimensionOrganizationUID = _UNKNOWN
        item.DimensionIndexPointer, item.FunctionalGroupPointer = Tag(pointer), Tag(group)
        dimensions.append(item)
    organization = Dataset()
    organization.DimensionOrganizationUID = _UNKNOWN
    dataset.DimensionOrganizationSequence = [organization]
    dataset.DimensionIndexSequence = dimensions
    for frame, position in zip(frames, positions, strict=True):
        identity = frame.get("SegmentIdentificationSequence") or shared.SegmentIdentificationSequence
        content = (frame.get("FrameContentSequence") or [Dataset()])[0]
        content.DimensionIndexValues = [int(identity[0].ReferencedSegmentNumber), places[position]]
        frame.FrameContentSequence = [content]


def _position(frame: Any, shared: Any) -> tuple[float, ...]:
    sequence = frame.get("PlanePositionSequence") or shared.PlanePositionSequence
    return tuple(float(value) for value in sequence[0].ImagePositionPatient)
