"""Planes of a DICOM file: one for a single image, one per frame for multi-frame images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.cohort.dicom.tags import BadValue, first, number, numbers, text

MARKS = {
    "type": "",
    "echo": "TE",
    "b-value": "b",
    "inversion time": "TI",
    "flip angle": "FA",
    "kernel": "",
    "field of view": "fov",
    "slice thickness": "thick",
    "stack": "stack",
    "acquisition": "acq",
    "sequence": "",
}
"""Properties other than time in which images at one position may differ, with their prefix in volume names."""

TIMES = ("temporal position", "trigger time", "cardiac phase", "frame reference time", "acquisition time", "number")
"""Properties for sorting time points; the first that differs for all of them is used."""


PRIVATE_B_VALUES = (0x0019100C, 0x20011003, 0x00431039)
"""Private elements of Siemens, Philips and GE with b-values."""


@dataclass(frozen=True)
class Plane:
    """One picture of a file.

    Attributes:
        path: The file.
        frame: 0-based frame in a multi-frame file, or None.
        uid: SOP instance UID of the file.
        shape: Rows and columns.
        components: Values per pixel.
        position: LPS position of the first pixel in mm; empty for a picture without a position.
        orientation: Direction cosines of the rows, then of the columns; empty as above.
        spacing: Millimetres between rows and between columns; empty for a picture without it.
        distance: Millimetres between slices as the file states them, for a single slice; None if it does not.
        marks: Values of ``MARKS`` as text, if the file has them.
        times: Values of ``TIMES``, if the file has them.
    """

    path: Path
    frame: int | None
    uid: str
    shape: tuple[int, int]
    components: int
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]
    distance: float | None
    marks: Mapping[str, str]
    times: Mapping[str, float]


def planes_of(path: Path, dataset: Any, *, needs_place: bool) -> list[Plane]:
    """The planes of an image's header.

    Args:
        path: The file.
        dataset: Its header.
        needs_place: Whether an image of this kind needs a position in the patient.

    Raises:
        BadValue: If a plane's position is missing or invalid.
    """
    rows, columns = (int(number(dataset, name) or 0) for name in ("Rows", "Columns"))
    is_palette = text(dataset, "PhotometricInterpretation") == "PALETTE COLOR"
    common = {
        "path": path,
        "uid": text(dataset, "SOPInstanceUID"),
        "shape": (rows, columns),
        "components": 3 if is_palette else int(number(dataset, "SamplesPerPixel") or 1),
    }
    frames = int(number(dataset, "NumberOfFrames") or 1)
    if dataset.get("PerFrameFunctionalGroupsSequence"):
        return _frames(dataset, common, frames)
    if frames > 1:
        raise BadValue(
            f"The {frames} frames of the file have no position: a video, projections or an old kind of scan."
        )
    return [_single(dataset, common, needs_place)]


def rescale_of(dataset: Any, frame: int | None) -> tuple[float, float] | None:
    """Slope and intercept of a plane, or None if the file has none.

    Raises:
        BadValue: If one is not a number.
    """
    groups = [] if frame is None else _groups(dataset, frame)
    for group in groups:
        item = first(group, "PixelValueTransformationSequence")
        if item is not None:
            return _slope(item)
    return _slope(dataset)


def _slope(item: Any) -> tuple[float, float] | None:
    slope, intercept = (numbers(item, name, 1) for name in ("RescaleSlope", "RescaleIntercept"))
    if slope is None and intercept is None:
        return None
    return (1.0 if slope is None else slope[0]), (0.0 if intercept is None else intercept[0])


def _single(dataset: Any, common: dict[str, Any], needs_place: bool) -> Plane:
    _slope(dataset)
    position = numbers(dataset, "ImagePositionPatient", 3)
    orientation = numbers(dataset, "ImageOrientationPatient", 6)
    if needs_place or (position is not None and orientation is not None):
        for value, keyword in ((position, "ImagePositionPatient"), (orientation, "ImageOrientationPatient")):
            if value is None:
                raise BadValue(f"{keyword} is missing, so the slice has no position.")
    else:
        position = orientation = ()
    return Plane(
        frame=None,
        position=position or (),
        orientation=orientation or (),
        spacing=_spacing(dataset, required=bool(position)),
        distance=number(dataset, "SpacingBetweenSlices") or number(dataset, "SliceThickness"),
        marks=_filled(_single_marks(dataset)),
        times=_known(_single_times(dataset)),
        **common,
    )


def _spacing(dataset: Any, *, required: bool) -> tuple[float, ...]:
    others = () if required else ("NominalScannedPixelSpacing", "ImagerPixelSpacing")  # sizes on the detector
    for keyword in ("PixelSpacing", *others):
        found = numbers(dataset, keyword, 2)
        if found is not None:
            if min(found) <= 0:
                raise BadValue(f"{keyword} is {found[0]:g} x {found[1]:g} mm, which is impossible.")
            return found
    if required:
        raise BadValue("PixelSpacing is missing, so the size of the pixels is unknown.")
    return ()


def _single_marks(dataset: Any) -> dict[str, str]:
    return {
        "type": text(dataset, "ImageType"),
        "echo": text(dataset, "EchoTime") or text(dataset, "EchoNumbers"),
        "b-value": text(dataset, "DiffusionBValue") or _private_b_value(dataset),
        "inversion time": text(dataset, "InversionTime"),
        "flip angle": text(dataset, "FlipAngle"),
        "kernel": text(dataset, "ConvolutionKernel"),
        "field of view": text(dataset, "ReconstructionDiameter"),
        "slice thickness": text(dataset, "SliceThickness"),
        "acquisition": text(dataset, "AcquisitionNumber"),
        "sequence": text(dataset, "SequenceName"),
    }


def _private_b_value(dataset: Any) -> str:
    """The b-value of Siemens, Philips or GE; GE adds a large number and further values."""
    for tag in PRIVATE_B_VALUES:
        element = dataset.get(tag)
        if element is not None:
            value = element.value
            stated = value.decode("latin-1").strip(" \0") if isinstance(value, bytes) else str(value)
            first_value = stated.strip("[]").replace(",", "\\").split("\\")[0]
            return str(int(first_value) % 100_000) if first_value.isdecimal() else first_value
    return ""


def _single_times(dataset: Any) -> dict[str, float | None]:
    clock = text(dataset, "AcquisitionDateTime") or text(dataset, "AcquisitionDate") + text(dataset, "AcquisitionTime")
    return {
        "temporal position": number(dataset, "TemporalPositionIdentifier"),
        "trigger time": number(dataset, "TriggerTime"),
        "cardiac phase": number(dataset, "NominalPercentageOfCardiacPhase"),
        "frame reference time": number(dataset, "FrameReferenceTime"),
        "acquisition time": _clock(clock),
        "number": number(dataset, "InstanceNumber"),
    }


def _clock(value: str) -> float | None:
    """A date and time as an increasing number; None if it is not one."""
    try:
        return float(value.partition("+")[0].replace(":", ""))
    except ValueError:
        return None


def _frames(dataset: Any, common: dict[str, Any], count: int) -> list[Plane]:
    stated = len(dataset.PerFrameFunctionalGroupsSequence)
    if stated != count:
        raise BadValue(f"The file has {count} frames and describes {stated}.")
    return [_frame(dataset, common, number) for number in range(count)]


def _groups(dataset: Any, frame: int) -> list[Any]:
    """The description of a frame: its own, then the shared one."""
    own = dataset.get("PerFrameFunctionalGroupsSequence")
    shared = first(dataset, "SharedFunctionalGroupsSequence")
    return ([own[frame]] if own else []) + ([shared] if shared is not None else [])


def _item(groups: list[Any], *keywords: str) -> Any:
    return next((found for group in groups if (found := first(group, *keywords)) is not None), None)


def _frame(dataset: Any, common: dict[str, Any], frame: int) -> Plane:
    groups = _groups(dataset, frame)
    located, tilt = _item(groups, "PlanePositionSequence"), _item(groups, "PlaneOrientationSequence")
    position = None if located is None else numbers(located, "ImagePositionPatient", 3)
    orientation = None if tilt is None else numbers(tilt, "ImageOrientationPatient", 6)
    if position is None or orientation is None:
        raise BadValue(f"Frame {frame + 1} has no position or no orientation.")
    measures = _item(groups, "PixelMeasuresSequence")
    rescale_of(dataset, frame)
    return Plane(
        frame=frame,
        position=position,
        orientation=orientation,
        spacing=_spacing(dataset if measures is None else measures, required=True),
        distance=None
        if measures is None
        else number(measures, "SpacingBetweenSlices") or number(measures, "SliceThickness"),
        marks=_filled(_frame_marks(groups)),
        times=_known(_frame_times(groups, frame)),
        **common,
    )


def _frame_marks(groups: list[Any]) -> dict[str, str]:
    content = _item(groups, "FrameContentSequence")
    kinds = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence")
    kind = next((found for name in kinds if (found := _item(groups, name)) is not None), None)
    where = {
        "type": (kind, "FrameType"),
        "echo": (_item(groups, "MREchoSequence"), "EffectiveEchoTime"),
        "b-value": (_item(groups, "MRDiffusionSequence"), "DiffusionBValue"),
        "kernel": (_item(groups, "CTReconstructionSequence"), "ConvolutionKernel"),
        "slice thickness": (_item(groups, "PixelMeasuresSequence"), "SliceThickness"),
        "stack": (content, "StackID"),
        "acquisition": (content, "FrameAcquisitionNumber"),
    }
    return {name: "" if item is None else text(item, keyword) for name, (item, keyword) in where.items()}


def _frame_times(groups: list[Any], frame: int) -> dict[str, float | None]:
    content = _item(groups, "FrameContentSequence")
    heart = _item(groups, "CardiacSynchronizationSequence")
    return {
        "temporal position": None if content is None else number(content, "TemporalPositionIndex"),
        "trigger time": None if heart is None else number(heart, "NominalCardiacTriggerDelayTime"),
        "cardiac phase": None if heart is None else number(heart, "NominalPercentageOfCardiacPhase"),
        "acquisition time": None if content is None else _clock(text(content, "FrameAcquisitionDateTime")),
        "number": float(frame),
    }


def _filled(marks: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in marks.items() if value}


def _known(times: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in times.items() if value is not None}
