"""Volumes written slice by slice, so that results larger than the memory can be saved."""

from __future__ import annotations

import contextlib
import gzip
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ActiveSegmentationLib.cohort.nifti import is_nifti
from ActiveSegmentationLib.cohort.nifti_transforms import with_transforms
from ActiveSegmentationLib.cohort.transforms import Transforms
from ActiveSegmentationLib.cohort.types import Geometry, volume_order
from ActiveSegmentationLib.common.durability import make_folder
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import atomic_path, explained
from ActiveSegmentationLib.common.itk import simpleitk

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha")
"""File types that can be written slice by slice."""

BLOCK = 32 << 20
"""Bytes that are held in memory while the file is put together, unless a single plane has more."""

LEVEL = 3
"""Compression level of zlib; float32 probabilities hardly get smaller at higher ones, which take several times as
long."""

_LONGEST_SIDE = 32767
_PROBE = (2, 2, 2)


@dataclass(frozen=True)
class VolumeFormat:
    """What the file of a volume holds.

    Attributes:
        geometry: Grid of the volume.
        axis: Image axis (0 = i, 1 = j, 2 = k) across which its slices lie.
        dtype: Type of the values.
        components: Values of each voxel; 0 for an image without components.
        transforms: Transforms of the NIfTI image with this grid, which a NIfTI file gets too, see ``write_volume``.
    """

    geometry: Geometry
    axis: int
    dtype: np.dtype
    components: int = 0
    transforms: Transforms | None = None

    @property
    def planes_shape(self) -> tuple[int, int, int, int]:
        """Slices, components (1 if there are none), rows and columns."""
        rows, columns = self.geometry.plane_shape(self.axis)
        return self.geometry.slice_count(self.axis), max(1, self.components), rows, columns


class VolumeWriter:
    """Takes the slices of a volume in their order; ``volume_writer`` makes one.

    They are kept in a temporary file, because the order of voxels in an image file is another one.

    Args:
        content: What the file holds.
        scratch: The temporary file.
    """

    def __init__(self, content: VolumeFormat, scratch: BinaryIO) -> None:
        self._content, self._scratch, self._added = content, scratch, 0

    def add(self, planes: np.ndarray) -> None:
        """Append slices.

        Args:
            planes: (n, h, w), or (n, components, h, w), converted to the volume's type.

        Raises:
            ValueError: If they are too many, or have another shape.
        """
        slices, *plane = self._content.planes_shape
        expected = plane if self._content.components else plane[1:]
        if list(planes.shape[1:]) != expected or self._added + len(planes) > slices:
            raise ValueError(f"planes {planes.shape} after {self._added} do not fit {self._content.planes_shape}")
        self._scratch.write(np.ascontiguousarray(planes, dtype=self._content.dtype).data)
        self._added += len(planes)

    def blocks(self, *, interleaved: bool) -> Iterator[np.ndarray]:
        """The voxels in the order of an image file, a block at a time.

        Args:
            interleaved: Whether the components of a voxel lie together, rather than each component by itself.

        Yields:
            (k, j, i, components), or (k, j, i, 1).

        Raises:
            ValueError: If slices are missing.
        """
        if self._added != self._content.planes_shape[0]:
            raise ValueError(f"{self._added} of {self._content.planes_shape[0]} slices were written")
        components = self._content.planes_shape[1]
        depth, *plane = self._content.geometry.array_shape
        parts = [range(components)] if interleaved else [range(n, n + 1) for n in range(components)]
        for part in parts:
            step = max(1, BLOCK // (plane[0] * plane[1] * len(part) * self._content.dtype.itemsize))
            for first in range(0, depth, step):
                last = min(first + step, depth)
                block = np.empty((last - first, *plane, len(part)), dtype=self._content.dtype)
                for place, component in enumerate(part):
                    block[..., place] = self._part(component, first, last)
                yield block

    def _part(self, component: int, first: int, last: int) -> np.ndarray:
        """The planes ``first`` to ``last`` (not included) along k of a component, (k, j, i)."""
        content = self._content
        slices, components, rows, columns = content.planes_shape
        along_k = content.axis == 2
        chosen = range(first, last) if along_k else range(slices)
        top, bottom = (0, rows) if along_k else (first, last)
        found = np.empty((len(chosen), bottom - top, columns), dtype=content.dtype)
        for place, number in zip(found, chosen, strict=True):
            pixels = ((number * components + component) * rows + top) * columns
            self._scratch.seek(pixels * content.dtype.itemsize)
            self._scratch.readinto(place.data)  # type: ignore[attr-defined]
        return volume_order(found, content.axis)


@contextlib.contextmanager
def volume_writer(path: Path, content: VolumeFormat) -> Iterator[VolumeWriter]:
    """Write a volume slice by slice within this block; the file appears, complete, when the block ends.

    Values and header are those that ``write_volume`` writes. The memory that is needed does not depend on the size of
    the volume. A block that fails leaves no file.

    Args:
        path: The file; its suffix, one of ``SUFFIXES``, names the format. The folder needs room for the uncompressed
            volume in addition to the file.
        content: What the file holds.

    Raises:
        BadInput: If the folder cannot be written or the suffix names no format.
        JobFailed: If the disk is full.

    Example:
        >>> with volume_writer(path, VolumeFormat(volume.geometry, volume.axis, np.dtype("uint8"))) as writer:
        ...     for planes in predict_planes(model, stack, volume.id):
        ...         writer.add(planes.argmax(1))
    """
    if not path.name.lower().endswith(SUFFIXES):
        advice = f"Use a name that ends in {', '.join(SUFFIXES)}."
        raise BadInput("The image cannot be written.", where=path, advice=advice)
    with explained(path):
        make_folder(path.parent)
        with tempfile.TemporaryFile(dir=path.parent, prefix=".tmp-") as scratch:
            writer = VolumeWriter(content, scratch)
            yield writer
            with atomic_path(path) as temporary:
                _write(writer, content, temporary)


def _write(writer: VolumeWriter, content: VolumeFormat, target: Path) -> None:
    name = target.name.lower()
    if is_nifti(target):
        head, blocks = _nifti_header(content, target), writer.blocks(interleaved=False)
        with contextlib.ExitStack() as files:
            file: Any = files.enter_context(open(target, "wb"))
            if name.endswith(".gz"):
                file = files.enter_context(_gzip(file))
            file.write(head)
            _copy(blocks, file.write)
        return
    blocks = writer.blocks(interleaved=True)
    if name.endswith(".nrrd"):
        with open(target, "wb") as file:
            file.write(_nrrd_header(content))
            with _gzip(file) as packed:
                _copy(blocks, packed.write)
        return
    with tempfile.TemporaryFile(dir=target.parent, prefix=".tmp-") as pixels, open(target, "wb") as file:
        packer = zlib.compressobj(LEVEL)
        _copy(blocks, lambda data: pixels.write(packer.compress(data)))
        pixels.write(packer.flush())
        file.write(_metaimage_header(content, pixels.tell()))
        pixels.seek(0)
        shutil.copyfileobj(pixels, file, 1 << 20)


def _gzip(file: BinaryIO) -> gzip.GzipFile:
    """Compresses what is written to it, to the same bytes for the same content."""
    return gzip.GzipFile("", "wb", compresslevel=LEVEL, fileobj=file, mtime=0)


def _copy(blocks: Iterator[np.ndarray], write: Callable[[memoryview], object]) -> None:
    for block in blocks:
        write(block.astype(block.dtype.newbyteorder("<"), copy=False).data.cast("B"))


def _header(content: VolumeFormat, suffix: str) -> bytes:
    """The header that SimpleITK writes for this grid and type, with a size of 2 x 2 x 2 and without compression."""
    sitk = simpleitk()
    vector = content.components > 0
    shape = (*_PROBE, content.components) if vector else _PROBE
    image = sitk.GetImageFromArray(np.zeros(shape, dtype=content.dtype), isVector=vector)
    image.SetSpacing(content.geometry.spacing)
    image.SetOrigin(content.geometry.origin)
    image.SetDirection(content.geometry.direction)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"header{suffix}")
        sitk.WriteImage(image, str(path), useCompression=False)
        file = path.read_bytes()
    return file[: len(file) - int(np.prod(shape)) * content.dtype.itemsize]


def _nifti_header(content: VolumeFormat, path: Path) -> bytes:
    size = content.geometry.size
    if max(size) > _LONGEST_SIDE:
        message = f"NIfTI holds at most {_LONGEST_SIDE} voxels along an axis, and the volume has {max(size)}."
        raise BadInput(message, where=path, advice="Choose nrrd.")
    header = bytearray(_header(content, ".nii"))
    header[42:48] = np.array(size, dtype="<i2").tobytes()  # dim[1], dim[2] and dim[3]
    return bytes(header) if content.transforms is None else with_transforms(bytes(header), content.transforms)


def _nrrd_header(content: VolumeFormat) -> bytes:
    before = [str(content.components)] if content.components else []
    probe, own = ([*before, *map(str, size)] for size in (_PROBE, content.geometry.size))
    sizes = "sizes: " + " ".join(probe), "sizes: " + " ".join(own)
    return _replaced(_header(content, ".nrrd"), sizes, ("encoding: raw", "encoding: gzip"))


def _metaimage_header(content: VolumeFormat, stored: int) -> bytes:
    probe, own = (" ".join(map(str, size)) for size in (_PROBE, content.geometry.size))
    packed = f"CompressedData = True\nCompressedDataSize = {stored}"
    return _replaced(
        _header(content, ".mha"), (f"DimSize = {probe}", f"DimSize = {own}"), ("CompressedData = False", packed)
    )


def _replaced(header: bytes, *changes: tuple[str, str]) -> bytes:
    """The header with lines replaced, each of which must be in it."""
    lines = header.decode("latin-1")
    for old, new in changes:
        if f"\n{old}\n" not in lines:
            raise ValueError(f"SimpleITK's header does not have the line '{old}'")
        lines = lines.replace(f"\n{old}\n", f"\n{new}\n", 1)
    return lines.encode("latin-1")
