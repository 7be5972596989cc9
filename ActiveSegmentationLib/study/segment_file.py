"""Label maps in 3D Slicer's segmentation format: one-layer ``.seg.nrrd`` files with names, colours and terminology.

Keys and their meaning follow 3D Slicer's developer guide, "Segmentation labelmap file format (.seg.nrrd)".
Every segment's extent is the whole image, as in the files that Slicer writes for segments that share a layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.cohort import IGNORE_LABEL, AnnotationKind, Geometry
from ActiveSegmentationLib.cohort.headers import read_header
from ActiveSegmentationLib.cohort.segments import (
    BACKGROUND_SEGMENT,
    UNLABELLED_SEGMENT_ID,
    meaning_of_names,
    read_segments_of,
    segment_fields,
    segments_in,
)
from ActiveSegmentationLib.common.errors import BadInput, JobFailed
from ActiveSegmentationLib.common.files import atomic_path, require_regular
from ActiveSegmentationLib.common.itk import simpleitk
from ActiveSegmentationLib.study.labels import Label, LabelSet
from ActiveSegmentationLib.study.names import RESTORE
from ActiveSegmentationLib.study.terminology import TISSUE, terminology_for


@dataclass(frozen=True)
class Encoding:
    """Mapping between label values and the values stored in a file.

    - Slices that are not committed are 0.
    - Masks: 0 is background, 255 unlabelled.
    - Scribbles: 0 is unlabelled; drawn background has its own value, so that it is a visible segment in Slicer.

    Attributes:
        background: Stored value of drawn background in scribbles; not a label.
    """

    background: int

    def encode(self, labels: np.ndarray, kind: AnnotationKind) -> np.ndarray:
        """Stored values of label values (0 background, 255 unlabelled), both uint8."""
        if kind == AnnotationKind.MASK:
            return labels
        stored = np.where(labels == 0, np.uint8(self.background), labels)
        return np.where(labels == IGNORE_LABEL, np.uint8(0), stored)

    def decode(self, stored: np.ndarray, kind: AnnotationKind) -> np.ndarray:
        """Inverse of ``encode``."""
        if kind == AnnotationKind.MASK:
            return stored
        labels = np.where(stored == 0, np.uint8(IGNORE_LABEL), stored)
        return np.where(stored == self.background, np.uint8(0), labels)


def write_segments(
    path: Path, array: np.ndarray, geometry: Geometry, labels: LabelSet, encoding: Encoding, annotator: str
) -> None:
    """Write a stored label map atomically, and read it back before it counts.

    Args:
        path: File to write; its name ends with ".seg.nrrd".
        array: (k, j, i) uint8 stored values.
        geometry: Grid of the volume.
        labels: Segments to describe.
        encoding: Values of drawn background.
        annotator: Name of the annotator, written to a tag of every segment.

    Raises:
        BadInput: If the folder cannot be written.
        JobFailed: If the disk is full, or what was written cannot be read back.
    """
    sitk = simpleitk()

    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    for key, value in _header(array, geometry, labels, encoding, annotator).items():
        image.SetMetaData(key, value)
    with atomic_path(path) as temporary:
        temporary.touch()  # raises an informative OSError where the permission is missing
        writer = sitk.ImageFileWriter()
        writer.SetFileName(str(temporary))
        writer.UseCompressionOn()
        try:
            writer.Execute(image)
            written = sitk.GetArrayFromImage(sitk.ReadImage(str(temporary)))
        except RuntimeError as error:
            raise _not_written(path) from error
        if not np.array_equal(written, array):
            raise _not_written(path)


def _not_written(path: Path) -> JobFailed:
    advice = "Free some space, check the permission to write, and commit again."
    return JobFailed("The annotation could not be written completely.", where=path, advice=advice)


def read_segments(path: Path, geometry: Geometry) -> np.ndarray:
    """The stored values of a file written by ``write_segments``.

    Returns:
        (k, j, i) uint8 array.

    Raises:
        BadInput: If the file cannot be read, has several layers, or another grid.
    """
    image = _read(path)
    array = _array(image, path)
    if array.shape != geometry.array_shape:
        found = " x ".join(map(str, image.GetSize()))
        expected = " x ".join(map(str, geometry.size))
        advice = RESTORE
        raise BadInput(f"The annotations have {found} voxels, the volume {expected}.", where=path, advice=advice)
    return array


def _read(path: Path) -> Any:
    sitk = simpleitk()

    require_regular(path)
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        advice = RESTORE
        raise BadInput("The file cannot be read as a segmentation.", where=path, advice=advice) from error


def _array(image: Any, path: Path) -> np.ndarray:
    sitk = simpleitk()

    if image.GetNumberOfComponentsPerPixel() != 1 or image.GetDimension() != 3:
        advice = "In Slicer, forbid overlap (Segment Editor, Masking, Modify other segments) and save again."
        raise BadInput("The segmentation has overlapping layers.", where=path, advice=advice)
    array = sitk.GetArrayFromImage(image)
    if array.dtype.kind not in "iu" or (array.size and not 0 <= array.min() <= array.max() <= IGNORE_LABEL):
        advice = "Save it as a binary label map with values from 0 to 255."
        raise BadInput("The file is not a label map.", where=path, advice=advice)
    return array.astype(np.uint8, copy=False)


def _header(
    array: np.ndarray, geometry: Geometry, labels: LabelSet, encoding: Encoding, annotator: str
) -> dict[str, str]:
    header = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_SourceRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    segments: list[tuple[str, Label | _Extra]] = [(f"Segment_{label.value}", label) for label in labels.labels]
    if (array == encoding.background).any():
        segments.append((BACKGROUND_SEGMENT, _Extra(encoding.background, BACKGROUND_SEGMENT, (0.45, 0.45, 0.45))))
    if (array == IGNORE_LABEL).any():
        segments.append((UNLABELLED_SEGMENT_ID, _Extra(IGNORE_LABEL, UNLABELLED_SEGMENT_ID, (0.9, 0.9, 0.9))))
    extent = " ".join(f"0 {size - 1}" for size in geometry.size)
    for number, (segment_id, label) in enumerate(segments):
        fields = {
            "ID": segment_id,
            "Name": label.name,
            "NameAutoGenerated": "0",
            "Color": " ".join(f"{part:g}" for part in label.color),
            "ColorAutoGenerated": "0",
            "LabelValue": str(label.value),
            "Layer": "0",
            "Extent": extent,
            "Tags": _tags(label.terminology or terminology_for(label.name), annotator),
        }
        header.update({f"Segment{number}_{key}": value for key, value in fields.items()})
    return header


@dataclass(frozen=True)
class _Extra:
    """A segment that is not a label."""

    value: int
    name: str
    color: tuple[float, float, float]
    terminology: str = ""


def _tags(terminology: str, annotator: str) -> str:
    tags = {
        "ActiveSegmentation.Annotator": annotator.replace("|", "/"),
        "Segmentation.Status": "inprogress",
        "TerminologyEntry": terminology or TISSUE,
    }
    return "".join(f"{key}:{value}|" for key, value in tags.items())


def has_segments(path: Path) -> bool:
    """Whether a label map is a segmentation saved by Slicer, whose segments are matched by name.

    Raises:
        BadInput: If it cannot be read.
    """
    return path.name.lower().endswith(".seg.nrrd") or bool(read_segments_of(path))


def read_foreign_segments(path: Path, geometry: Geometry, labels: LabelSet, kind: AnnotationKind) -> np.ndarray:
    """Label values of a ``.seg.nrrd`` file of any origin, with segments matched to the label set by name.

    Slicer numbers segments by their order and may save less than the whole grid, so neither the values nor the size
    of the file can be taken as they are. A segment "Background" is drawn background, "Unlabelled" (in older files
    "Undecided") holds unlabelled pixels; pixels in no segment are background in masks and unlabelled in scribbles.

    Args:
        path: The file.
        geometry: Grid of the volume that it belongs to.
        labels: The label set.
        kind: What the file holds.

    Returns:
        (k, j, i) uint8 label values, 0 background, 255 unlabelled.

    Raises:
        BadInput: If the file cannot be read, has a structure that is not in the set, or is on another grid.
    """
    read_header(path)  # gives the reason if the file cannot be read
    image = _read(path)
    array = _array(image, path)
    rest = 0 if kind == AnnotationKind.MASK else IGNORE_LABEL
    table = np.full(IGNORE_LABEL + 1, IGNORE_LABEL, dtype=np.uint8)
    table[0] = rest
    values = meaning_of_names({label.name.strip().casefold(): label.value for label in labels.labels})
    segments = segments_in(segment_fields(image), path)
    unknown = sorted({segment.name for segment in segments if segment.key not in values})
    if unknown or not segments:
        advice = f"Name the segments as the labels: {', '.join(label.name for label in labels.labels)}."
        names = ", ".join(f"'{name}'" for name in unknown) or "none"
        raise BadInput(f"Segments that are not in the label set: {names}.", where=path, advice=advice)
    for segment in segments:
        table[segment.value] = values[segment.key]
    foreign = sorted(set(np.unique(array).tolist()) - {0} - {segment.value for segment in segments})
    if foreign:
        advice = "Save the segmentation again in Slicer."
        raise BadInput(f"Label values without a segment: {', '.join(map(str, foreign))}.", where=path, advice=advice)
    whole = np.full(geometry.array_shape, rest, dtype=np.uint8)
    _paste(table[array], image, whole, geometry, path)
    return whole


def _paste(part: np.ndarray, image: Any, whole: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Paste ``part`` at its place in the volume; its voxels must be voxels of the volume."""
    matrix = np.reshape(geometry.direction, (3, 3))
    shift = np.linalg.solve(matrix, np.subtract(image.GetOrigin(), geometry.origin)) / geometry.spacing
    start = np.rint(shift).astype(int)
    stop = start + image.GetSize()
    grid = Geometry(geometry.size, image.GetSpacing(), geometry.origin, image.GetDirection())
    problem = geometry.difference(grid)
    if problem is None and not np.allclose(shift, start, atol=0.05):
        problem = "its voxels are between those of the volume"
    if problem is None and ((start < 0).any() or (stop > geometry.size).any()):
        problem = "it reaches beyond the volume"
    if problem is not None:
        advice = "Draw on the grid of the volume itself (in Slicer, set it as source volume), and save again."
        raise BadInput(f"The segmentation is on another grid: {problem}.", where=path, advice=advice)
    (i, j, k), (i_stop, j_stop, k_stop) = start, stop
    whole[k:k_stop, j:j_stop, i:i_stop] = part
