"""Kinds of DICOM objects by SOP class, and supported compressions."""

from __future__ import annotations

_STORAGE = "1.2.840.10008.5.1.4.1.1."

SEGMENTATIONS = (f"{_STORAGE}66.4", f"{_STORAGE}66.7")
"""Segmentation and label map segmentation."""

CONTOURS = f"{_STORAGE}481.3"
"""RT structure set."""

DIRECTORY = "1.2.840.10008.1.3.10"
"""The index of a medium (DICOMDIR)."""

_SCREENSHOTS = f"{_STORAGE}7"
_WITH_PIXELS = {f"{_STORAGE}481.2": "RT Dose", f"{_STORAGE}77.1.6": "Whole Slide Microscopy Image"}
"""Objects with pixels that are not annotated here."""

_IMAGES = ("Parametric Map", "Enhanced US Volume")
"""Classes of images without "Image" in their names."""

_OTHER_MODALITIES = (
    *("SR", "PR", "KO", "DOC", "REG", "FID", "AU", "ECG", "HD", "EPS", "RESP", "RWV", "PLAN", "ANN", "TEXTUREMAP"),
    *("RTPLAN", "RTDOSE", "RTRECORD", "M3D", "STAIN", "SMR", "ASMT"),
)
"""Modalities of objects without images."""

_PLANAR = tuple(f"{_STORAGE}{number}" for number in (2, "2.1", "2.2", 4, "4.1", "4.3", "4.4", 128, "128.1", 130))
_PLANAR_MODALITIES = ("CT", "MR", "PT")

NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")
"""Transfer syntaxes without compression of pixels."""

DEFLATED = "1.2.840.10008.1.2.1.99"
"""Transfer syntax in which the whole data set is compressed."""

_RLE = "1.2.840.10008.1.2.5"
_UNPACKED_BY_ITK = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81, 90, 91))
"""JPEG, JPEG lossless, JPEG-LS and JPEG 2000."""


def not_an_image(sop_class: str, modality: str, has_pixels: bool) -> str | None:
    """Name of an object without images to annotate, or None for an image."""
    if sop_class in _WITH_PIXELS:
        return _WITH_PIXELS[sop_class]
    name = class_name(sop_class)
    if modality in _OTHER_MODALITIES:
        return name if name and " Image" not in name else f"object(s) of modality {modality}"
    if not sop_class or " Image" in name or (has_pixels and name in ("", *_IMAGES)):
        return None
    return name or "object(s) of a vendor's own class"


def class_name(sop_class: str) -> str:
    """The standard's name of a SOP class without "Storage"; empty if it is unknown."""
    from pydicom.uid import UID

    name = UID(sop_class).name
    return "" if name == sop_class else name.removesuffix(" Storage")


def is_screenshot(sop_class: str) -> bool:
    """Whether an object is a secondary capture."""
    return sop_class == _SCREENSHOTS or sop_class.startswith(f"{_SCREENSHOTS}.")


def lies_in_patient(sop_class: str, modality: str) -> bool:
    """Whether images of a class are slices that need a position in the patient."""
    return sop_class in _PLANAR or modality in _PLANAR_MODALITIES


def unpacked_by_pydicom(syntax: str) -> bool:
    """Whether pydicom reads the pixels of a transfer syntax without further packages."""
    return syntax in NATIVE or syntax == _RLE


def can_unpack(syntax: str) -> bool:
    """Whether the pixels of a transfer syntax can be read."""
    return unpacked_by_pydicom(syntax) or syntax in _UNPACKED_BY_ITK
