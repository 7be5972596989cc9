"""Reading and writing pixels, with a check against the indexed geometry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.cohort.contents import REPAIR
from ActiveSegmentationLib.cohort.dicom.pixels import read_planes
from ActiveSegmentationLib.cohort.dicom.segments import read_segmentations
from ActiveSegmentationLib.cohort.headers import image_io, read_header, reading_error
from ActiveSegmentationLib.cohort.label_values import (
    label_values,
    mask_kind,
    one_component,
    only_255,
    require_scribbles,
)
from ActiveSegmentationLib.cohort.nifti import is_nifti, read_nifti_pixels
from ActiveSegmentationLib.cohort.nifti_transforms import carry_transforms, pack
from ActiveSegmentationLib.cohort.pictures import is_picture, read_label_picture
from ActiveSegmentationLib.cohort.pixel_files import has_pixel_files, pixel_files, require_sound
from ActiveSegmentationLib.cohort.structures import combine_structures
from ActiveSegmentationLib.cohort.transforms import Transforms, share_one
from ActiveSegmentationLib.cohort.types import AnnotationKind, Cohort, Geometry, LabelSource, Source, Volume
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import atomic_path, explained
from ActiveSegmentationLib.common.itk import simpleitk
from ActiveSegmentationLib.common.labels import IGNORE_LABEL


def read_image(cohort: Cohort, volume: Volume) -> np.ndarray:
    """Read the pixels of a volume.

    Returns:
        (C, k, j, i) float32, finite.

    Raises:
        BadInput: Naming the file, if it cannot be read, is not what was indexed, or holds NaN or infinite pixels.
    """
    channels = []
    for source in volume.channels:
        path = cohort.path(source.paths[0])
        array = _read_source(cohort, source, volume)
        array = array[None] if array.ndim == 3 else np.moveaxis(array, -1, 0)
        if len(array) != volume.components:
            message = f"The image has {len(array)} component(s), and {volume.components} were indexed."
            raise BadInput(message, where=path, advice="Index the cohort again.")
        _require_finite(path, array)
        channels.append(array.astype(np.float32, order="C", copy=False))
    return channels[0] if len(channels) == 1 else np.concatenate(channels)


def read_labels(cohort: Cohort, volume: Volume, kind: AnnotationKind) -> np.ndarray | None:
    """Read the reference masks or scribbles of a volume.

    In masks of a cohort with one label, 255 stands for that label where it is the only value other than 0.

    Returns:
        (k, j, i) uint8 label values, 255 where unlabelled; None if the volume has none.

    Raises:
        BadInput: Naming the file, if it cannot be read, has another grid, values that are not labels, or components
            that differ; if scribbles leave nothing unlabelled.
    """
    labels = volume.labels(kind)
    if labels is None:
        return None
    path = cohort.path(labels.source.paths[0])
    array = one_component(_read_source(cohort, labels.source, volume, labels=True), path)
    if mask_kind(kind, labels) and only_255(array):
        labels = replace(labels, values=((IGNORE_LABEL, _only_label(cohort, path)),))
    values = label_values(array, labels, path)
    if kind == AnnotationKind.SCRIBBLE:
        require_scribbles(values, labels, path)
    return values


def read_stored_labels(path: Path, geometry: Geometry, transforms: Transforms | None = None) -> np.ndarray:
    """Read the stored values of a label map of any origin, with a check against a grid.

    Returns:
        (k, j, i) stored values of any type.

    Raises:
        BadInput: If it cannot be read, has another grid, or components that differ.
    """
    _require_label_grid(path, geometry, transforms)
    return one_component(_read_label_file(path), path)


def read_label_map(path: Path, geometry: Geometry, ignore_label: int | None = None) -> np.ndarray:
    """Read a label map of any origin, with a check against a grid.

    Args:
        path: The file.
        geometry: The grid it must have.
        ignore_label: Stored value of unlabelled pixels, or None.

    Returns:
        (k, j, i) uint8 label values, 255 where unlabelled.

    Raises:
        BadInput: If it cannot be read, has another grid, or values that are not labels.
    """
    source = LabelSource(Source("file", (str(path),)), ignore_label, ((IGNORE_LABEL, IGNORE_LABEL),))
    return label_values(read_stored_labels(path, geometry), source, path)


def write_label_map(path: Path, labels: np.ndarray, geometry: Geometry, transforms: Transforms | None = None) -> None:
    """Write (k, j, i) uint8 labels as NIfTI, NRRD or MetaImage (by suffix), compressed, atomically.

    Args:
        path: The file.
        labels: The labels.
        geometry: Their grid.
        transforms: Transforms of the image, see ``write_volume``.
    """
    write_volume(path, np.ascontiguousarray(labels, dtype=np.uint8), geometry, transforms)


def write_volume(path: Path, array: np.ndarray, geometry: Geometry, transforms: Transforms | None = None) -> None:
    """Write a (k, j, i) array, or (C, k, j, i) with one component per channel, compressed, atomically.

    Args:
        path: The file; its suffix names the format.
        array: The values.
        geometry: Their grid.
        transforms: Transforms of the NIfTI image with this grid, or None. A NIfTI file gets both, so that programs that
            use the sform and those that use the qform place it on the image.

    Raises:
        BadInput: If the folder cannot be written or the suffix names no format.
        JobFailed: If the disk is full.
    """
    sitk = simpleitk()

    vector = array.ndim == 4
    values = np.moveaxis(array, 0, -1) if vector else array
    image = sitk.GetImageFromArray(np.ascontiguousarray(values), isVector=vector)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    carries = transforms is not None and is_nifti(path)
    with atomic_path(path) as temporary:
        plain = temporary.with_name(temporary.name.removesuffix(".gz")) if carries else temporary
        try:
            sitk.WriteImage(image, str(plain), useCompression=not carries)
            if carries and transforms is not None:
                carry_transforms(transforms, plain)
            if plain != temporary:
                pack(plain, temporary)
        except RuntimeError as error:
            with explained(path):
                temporary.write_bytes(b"")  # the library hides whether the disk is full or write-protected
            advice = "Use a name that ends in .nii.gz, .nrrd or .mha."
            raise BadInput("The image cannot be written.", where=path, advice=advice) from error
        finally:
            if plain != temporary:
                plain.unlink(missing_ok=True)


def _only_label(cohort: Cohort, path: Path) -> int:
    """The one label of a cohort, which 255 stands for in a mask drawn in white."""
    if len(cohort.labels) == 1:
        return next(iter(cohort.labels))
    which = "names several labels" if cohort.labels else "does not name its label"
    advice = "Save the mask with the value of its label in place of 255."
    message = f"The only value of the mask other than 0 is 255, and the cohort {which}."
    raise BadInput(message, where=path, advice=advice)


def _require_finite(path: Path, values: np.ndarray) -> None:
    if values.dtype.kind != "f":
        return
    bad = sum(plane.size - int(np.count_nonzero(np.isfinite(plane))) for channel in values for plane in channel)
    if bad:
        advice = "Replace these pixels, for example by the background value, or leave the volume out."
        raise BadInput(f"{bad} pixel(s) are not finite numbers (NaN or infinite).", where=path, advice=advice)


def _read_source(cohort: Cohort, source: Source, volume: Volume, *, labels: bool = False) -> np.ndarray:
    """(k, j, i), or (k, j, i, C) if there are components."""
    geometry = volume.geometry
    paths = [cohort.path(name) for name in source.paths]
    read = _read_label_file if labels else _read_single
    if source.kind == "frames":
        return _read_frames(paths, geometry, read)
    if source.kind == "series":
        return read_planes(paths, source.frames, geometry)
    if source.kind == "segmentation":
        return read_segmentations(paths, geometry)
    if source.kind == "structures":
        return combine_structures(paths, lambda path: read_stored_labels(path, geometry, volume.transforms))
    if labels:
        _require_label_grid(paths[0], geometry, volume.transforms)
        return read(paths[0])
    header = read_header(paths[0], channels=source.kind == "channels")
    _require_grid(paths[0], header.geometry, geometry)
    channels = source.kind == "channels" and is_nifti(paths[0])
    return read_nifti_pixels(paths[0], single=True) if channels else read(paths[0])


def _read_frames(paths: Sequence[Path], geometry: Geometry, read: Callable[[Path], np.ndarray]) -> np.ndarray:
    planes = []
    for path in paths:
        plane = read(path)[0]
        if plane.shape[:2] != geometry.array_shape[1:]:
            rows, columns = geometry.array_shape[1:]
            message = f"The frame has {plane.shape[0]} x {plane.shape[1]} pixels, not {rows} x {columns} like the rest."
            raise BadInput(message, where=path, advice=REPAIR)
        planes.append(plane)
    counts = {plane.shape[2:] for plane in planes}
    if len(counts) > 1:
        message = "Some frames are grey and others in colour, or have another number of components."
        raise BadInput(message, where=paths[0].parent, advice="Save all frames in the same way.")
    return np.stack(planes)


def _read_label_file(path: Path) -> np.ndarray:
    """Stored values of a label file; those of a picture with a palette are the indices."""
    picture = read_label_picture(path) if is_picture(path) else None
    return read_pixels(path) if picture is None else picture[None]


def _read_single(path: Path) -> np.ndarray:
    return read_pixels(path, single=True)


def read_pixels(path: Path, *, single: bool = False) -> np.ndarray:
    """Read the values of one file.

    Args:
        path: The file.
        single: Whether values that are scaled by the header may be rounded to float32, which saves memory.

    Returns:
        (k, j, i), or (k, j, i, C) if there are components. Any type; NaN stays NaN.

    Raises:
        BadInput: If it cannot be read, or pixels are missing or damaged.
    """
    header = read_header(path)
    if is_nifti(path):
        return read_nifti_pixels(path, single=single)
    if has_pixel_files(path):
        require_sound(pixel_files(path), header.bytes)
    return _array_of(_read(path))


def _read(path: Path) -> Any:
    sitk = simpleitk()

    try:
        return sitk.ReadImage(str(path), imageIO=image_io(path))
    except RuntimeError as error:
        raise reading_error(path, error) from error


def _array_of(image: Any) -> np.ndarray:
    """(k, j, i), or (k, j, i, C) if there are components; a fourth dimension of length 1 is dropped."""
    sitk = simpleitk()

    array = sitk.GetArrayFromImage(image)
    spatial = array.ndim - (image.GetNumberOfComponentsPerPixel() > 1)
    if spatial == 2:
        return array[None]
    while spatial > 3:
        array, spatial = array[0], spatial - 1
    return array


def _require_label_grid(path: Path, geometry: Geometry, transforms: Transforms | None) -> None:
    """As ``_require_grid``; a map that shares one transform with an image whose two disagree lies on it."""
    header = read_header(path)
    if header.geometry.size != geometry.size or not share_one(header.transforms, transforms):
        _require_grid(path, header.geometry, geometry)


def _require_grid(path: Path, found: Geometry, wanted: Geometry) -> None:
    difference = found.difference(wanted)
    if difference is not None:
        advice = "Resample it to the image's grid, or index the cohort again if the image was replaced."
        raise BadInput(f"The grid differs from the image's: {difference}.", where=path, advice=advice)
