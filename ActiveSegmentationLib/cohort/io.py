"""Reading and writing pixels, always held against the geometry that was indexed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.cohort.headers import REPAIR, read_header
from ActiveSegmentationLib.cohort.types import UNDECIDED, AnnotationKind, Cohort, Geometry, LabelSource, Source, Volume
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import atomic_path, explained


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
        array = _read_source(cohort, source, volume.geometry)
        array = array[None] if array.ndim == 3 else np.moveaxis(array, -1, 0)
        if len(array) != volume.components:
            message = f"The image has {len(array)} component(s), and {volume.components} were indexed."
            raise BadInput(message, where=path, advice="Index the cohort again.")
        values = array.astype(np.float32)
        _require_finite(path, values)
        channels.append(values)
    return np.concatenate(channels)


def read_labels(cohort: Cohort, volume: Volume, kind: AnnotationKind) -> np.ndarray | None:
    """Read the reference masks or scribbles of a volume.

    Returns:
        (k, j, i) uint8 label values, 255 where undecided; None where the volume has none.

    Raises:
        BadInput: Naming the file, if it cannot be read, has another grid, or values that are no labels.
    """
    labels = volume.labels(kind)
    if labels is None:
        return None
    array = _read_source(cohort, labels.source, volume.geometry)
    path = cohort.path(labels.source.paths[0])
    if array.ndim == 4:  # a colour picture of labels: all components say the same
        array = array[..., 0]
    return _label_values(array, labels, path)


def read_label_map(path: Path, geometry: Geometry, ignore_value: int | None = None) -> np.ndarray:
    """Read a label map from anywhere and hold it against a grid.

    Args:
        path: The file.
        geometry: The grid it must have.
        ignore_value: Stored value of undecided pixels, or None.

    Returns:
        (k, j, i) uint8 label values, 255 where undecided.

    Raises:
        BadInput: If it cannot be read, has another grid, or values that are no labels.
    """
    image = _read(path)
    _require_grid(path, _geometry_of(image), geometry)
    array = _array_of(image)
    if array.ndim == 4:
        advice = "Save it as one layer without overlaps."
        raise BadInput("The label map has several layers.", where=path, advice=advice)
    source = LabelSource(Source("file", (str(path),)), ignore_value, ((UNDECIDED, UNDECIDED),))
    return _label_values(array, source, path)


def write_label_map(path: Path, labels: np.ndarray, geometry: Geometry) -> None:
    """Write (k, j, i) uint8 labels as NIfTI, NRRD or MetaImage (by suffix), compressed, atomically."""
    write_volume(path, np.ascontiguousarray(labels, dtype=np.uint8), geometry)


def write_volume(path: Path, array: np.ndarray, geometry: Geometry) -> None:
    """Write a (k, j, i) array, or (C, k, j, i) as one component a channel, compressed, atomically.

    Raises:
        BadInput: If the folder cannot be written or the suffix names no format.
        JobFailed: If the disk is full.
    """
    import SimpleITK as sitk

    vector = array.ndim == 4
    values = np.moveaxis(array, 0, -1) if vector else array
    image = sitk.GetImageFromArray(np.ascontiguousarray(values), isVector=vector)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    with atomic_path(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), useCompression=True)
        except RuntimeError as error:
            with explained(path):
                temporary.write_bytes(b"")  # tells a full or forbidden disk, which the library hides, from the rest
            advice = "Use a name that ends in .nii.gz, .nrrd or .mha."
            raise BadInput("The image cannot be written.", where=path, advice=advice) from error


def _require_finite(path: Path, values: np.ndarray) -> None:
    stored = values
    if path.name.lower().endswith((".nii", ".nii.gz")):  # SimpleITK's NIfTI reader turns NaN into 0 without a word
        import nibabel

        kept = nibabel.load(path).dataobj  # type: ignore[attr-defined]
        stored = kept.get_unscaled() if kept.dtype.kind == "f" else values
    bad = int(stored.size - np.isfinite(stored).sum())
    if bad:
        advice = "Replace these pixels (by the background value, say), or leave the volume out."
        raise BadInput(f"{bad} pixel(s) are not finite numbers (NaN or infinite).", where=path, advice=advice)


def _read_source(cohort: Cohort, source: Source, geometry: Geometry) -> np.ndarray:
    paths = [cohort.path(name) for name in source.paths]
    if source.kind == "frames":
        return _read_frames(paths, geometry)
    image = _read(paths[0]) if source.kind == "file" else _read(paths)
    _require_grid(paths[0], _geometry_of(image), geometry)
    return _array_of(image)


def _read_frames(paths: Sequence[Path], geometry: Geometry) -> np.ndarray:
    planes = []
    for path in paths:
        plane = np.squeeze(_array_of(_read(path)))
        if plane.shape[:2] != geometry.array_shape[1:]:
            rows, columns = geometry.array_shape[1:]
            message = f"The frame has {plane.shape[0]} x {plane.shape[1]} pixels, not {rows} x {columns} like the rest."
            raise BadInput(message, where=path, advice=REPAIR)
        planes.append(plane)
    return np.stack(planes)


def _read(path: Path | Sequence[Path]) -> Any:
    import SimpleITK as sitk

    first = path if isinstance(path, Path) else path[0]
    for file in [path] if isinstance(path, Path) else path:
        with explained(file), open(file, "rb"):
            pass
    if isinstance(path, Path):
        read_header(path)  # tells a truncated file, which SimpleITK fills up with zeros
    try:
        return sitk.ReadImage(str(path) if isinstance(path, Path) else [str(file) for file in path])
    except RuntimeError as error:
        message = "The pixels cannot be read; the file is damaged or truncated."
        raise BadInput(message, where=first, advice="Copy or export it again, or leave the volume out.") from error


def _array_of(image: Any) -> np.ndarray:
    """(k, j, i), or (k, j, i, C) where there are components; a fourth dimension of length 1 is dropped."""
    import SimpleITK as sitk

    array = sitk.GetArrayFromImage(image)
    spatial = array.ndim - (image.GetNumberOfComponentsPerPixel() > 1)
    if spatial == 2:
        return array[None]
    return array[0] if spatial == 4 else array


def _geometry_of(image: Any) -> Geometry:
    dimension = image.GetDimension()
    size, spacing, origin = (list(value) for value in (image.GetSize(), image.GetSpacing(), image.GetOrigin()))
    direction = np.eye(3)
    shared = min(dimension, 3)
    direction[:shared, :shared] = np.reshape(image.GetDirection(), (dimension, dimension))[:shared, :shared]
    size, spacing, origin = ([*size, 1][:3], [*spacing, 1.0][:3], [*origin, 0.0][:3])
    return Geometry(tuple(size), tuple(spacing), tuple(origin), tuple(float(v) for v in direction.ravel()))


def _require_grid(path: Path, found: Geometry, wanted: Geometry) -> None:
    difference = found.difference(wanted)
    if difference is not None:
        advice = "Resample it to the image's grid, or index the cohort again if the image was replaced."
        raise BadInput(f"The grid differs from the image's: {difference}.", where=path, advice=advice)


def _label_values(array: np.ndarray, labels: LabelSource, path: Path) -> np.ndarray:
    stored = np.unique(array)
    mapping = dict(labels.values)
    if labels.undecided is not None:
        mapping[labels.undecided] = UNDECIDED
    bad = [value for value in stored.tolist() if not _is_label(value, mapping)]
    if bad:
        named = ", ".join(f"{value:g}" for value in bad[:5]) + (" ..." if len(bad) > 5 else "")
        advice = "Labels are whole numbers from 0 to 254; save the label map with such values."
        raise BadInput(f"The label map has values that are no labels: {named}.", where=path, advice=advice)
    table = np.array([mapping.get(int(value), int(value)) for value in stored], dtype=np.uint8)
    return table[np.searchsorted(stored, array)]


def _is_label(value: float, mapping: dict[int, int]) -> bool:
    return value in mapping or (0 <= value < UNDECIDED and value == int(value))
