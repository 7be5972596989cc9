"""DICOM files as devices, archives and anonymisers write them, made with pydicom."""

from __future__ import annotations

import io
import itertools
import zlib
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

AXIAL = (1, 0, 0, 0, 1, 0)
CORONAL = (1, 0, 0, 0, 0, -1)
SAGITTAL = (0, 1, 0, 0, 0, -1)
_numbers = itertools.count(1)


def uid() -> str:
    """A UID that no other file has."""
    return f"1.2.826.0.1.3680043.10.999.{next(_numbers)}"


def pixels(shape=(4, 6, 5), seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1000, shape).astype(np.int16)


def header(sop_class: str = CTImageStorage, **tags) -> Dataset:
    """A file without pixels; a tag with the value None is left out."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.1", "1.2.3.1.1"
    dataset.PatientID, dataset.PatientName, dataset.Modality = "P1", "A^B", "CT"
    dataset.SeriesDescription, dataset.SeriesNumber, dataset.InstanceNumber = "chest", 2, 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.FrameOfReferenceUID, dataset.StudyID, dataset.AccessionNumber = "1.2.3.1.9", "1", ""
    dataset.PatientBirthDate = dataset.PatientSex = dataset.StudyDate = dataset.StudyTime = ""
    put(dataset, tags)
    return dataset


def put(dataset: Dataset, tags: dict) -> None:
    for keyword, value in tags.items():
        if value is None:
            if keyword in dataset:
                del dataset[keyword]
        else:
            setattr(dataset, keyword, value)


def add_pixels(dataset: Dataset, array: np.ndarray) -> None:
    """Pixels (rows, columns), (frames, rows, columns) or with a last axis of three colours."""
    color = array.shape[-1] == 3 and array.dtype == np.uint8
    rows, columns = array.shape[-3:-1] if color else array.shape[-2:]
    dataset.Rows, dataset.Columns = rows, columns
    dataset.SamplesPerPixel = 3 if color else 1
    dataset.PhotometricInterpretation = "RGB" if color else "MONOCHROME2"
    if color:
        dataset.PlanarConfiguration = 0
    bits = 8 * array.dtype.itemsize
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(array.dtype.kind == "i")
    dataset.PixelData = np.ascontiguousarray(array).tobytes() + (b"\0" if array.nbytes % 2 else b"")


def save(path: Path, dataset: Dataset, preamble: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    if preamble:
        dataset.save_as(path, enforce_file_format=True)
    else:
        del dataset.file_meta
        pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=True, enforce_file_format=False)
    return path


def write_slice(path: Path, plane: np.ndarray, position=(0, 0, 0), orientation=AXIAL, preamble=True, **tags) -> Path:
    """One slice of a series."""
    dataset = header()
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = list(position), list(orientation)
    dataset.PixelSpacing, dataset.SliceThickness = [1.5, 1.5], 5
    add_pixels(dataset, plane)
    put(dataset, tags)
    return save(path, dataset, preamble)


def write_series(folder: Path, array: np.ndarray, *, step=(0, 0, 5), offsets=None, tags=None, **common) -> list[Path]:
    """A (k, j, i) volume as one file per slice.

    Args:
        folder: Where.
        array: The pixels.
        step: Vector in mm from slice to slice.
        offsets: How many steps from the first slice each one lies; evenly where left out.
        tags: Tags of a slice by its number.
        common: Tags of all slices.
    """
    common = {"SeriesInstanceUID": f"1.2.3.1.{zlib.crc32(folder.name.encode())}", **common}
    offsets = range(len(array)) if offsets is None else offsets
    return [
        write_slice(
            folder / f"IM{k:04d}",
            plane,
            tuple(float(round(o * s, 6)) for s in step),
            InstanceNumber=k + 1,
            **{**common, **(tags(k) if tags else {})},
        )
        for k, (plane, o) in enumerate(zip(array, offsets, strict=True))
    ]


def write_enhanced(path: Path, frames: list[tuple[np.ndarray, tuple, dict]], **tags) -> Path:
    """An enhanced MR file; each frame has pixels, a position, and "slope", "time", "b", "stack" as wanted."""
    dataset = header(EnhancedMRImageStorage, Modality="MR", **tags)
    shared, own = Dataset(), []
    shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=list(AXIAL))]
    shared.PixelMeasuresSequence = [_item(PixelSpacing=[1.5, 1.5], SliceThickness=5, SpacingBetweenSlices=5)]
    for _, position, facts in frames:
        frame = Dataset()
        frame.PlanePositionSequence = [_item(ImagePositionPatient=list(position))]
        content = Dataset()
        if "time" in facts:
            content.TemporalPositionIndex = facts["time"]
        content.StackID, content.InStackPositionNumber = "1", 1
        frame.FrameContentSequence = [content]
        if "slope" in facts:
            frame.PixelValueTransformationSequence = [
                _item(RescaleSlope=facts["slope"], RescaleIntercept=1, RescaleType="US")
            ]
        if "b" in facts:
            frame.MRDiffusionSequence = [_item(DiffusionBValue=float(facts["b"]))]
        own.append(frame)
    dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence = [shared], own
    dataset.NumberOfFrames = len(frames)
    add_pixels(dataset, np.stack([plane for plane, _, _ in frames]))
    return save(path, dataset)


def _item(**tags) -> Dataset:
    dataset = Dataset()
    put(dataset, tags)
    return dataset


def compress(path: Path, compressor: str) -> None:
    """Compress the pixels of a file without loss ("JPEG", "JPEG2000", "JPEG-LS", "RLE")."""
    dataset = pydicom.dcmread(path)
    if compressor in ("JPEG-LS", "RLE"):
        syntax = JPEGLSLossless if compressor == "JPEG-LS" else RLELossless
        dataset.compress(syntax, generate_instance_uid=False)
    else:
        writer = sitk.ImageFileWriter()
        writer.SetFileName(str(path.with_suffix(".tmp.dcm")))
        writer.UseCompressionOn()
        writer.SetCompressor(compressor)
        writer.Execute(sitk.GetImageFromArray(dataset.pixel_array))
        packed = pydicom.dcmread(path.with_suffix(".tmp.dcm"))
        path.with_suffix(".tmp.dcm").unlink()
        dataset.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
        for keyword in ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"):
            dataset[keyword] = packed[keyword]
    dataset.save_as(path)


def encode_jpeg(dataset: Dataset, plane: np.ndarray) -> None:
    """Put a colour image into a dataset as JPEG, as ultrasound devices do."""
    stream = io.BytesIO()
    Image.fromarray(plane).save(stream, "JPEG", quality=95)
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.PixelData = pydicom.encaps.encapsulate([stream.getvalue()])
    dataset["PixelData"].VR = "OB"


def write_segmentation(path: Path, images: list[Path], mask: np.ndarray, names: list[str]) -> Path:
    """A DICOM segmentation of a series; the mask is (k, j, i), or (k, j, i, segments) where segments overlap."""
    import highdicom
    from pydicom.sr.codedict import codes

    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.cid7150.Tissue,
            segmented_property_type=codes.cid7166.ConnectiveTissue,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in enumerate(names, start=1)
    ]
    segmentation = highdicom.seg.Segmentation(
        source_images=[pydicom.dcmread(image) for image in images],
        pixel_array=mask,
        segmentation_type="BINARY",
        segment_descriptions=segments,
        series_instance_uid=uid(),
        series_number=9,
        sop_instance_uid=uid(),
        instance_number=1,
        manufacturer="m",
        manufacturer_model_name="m",
        software_versions="1",
        device_serial_number="1",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    segmentation.save_as(path)
    return path
