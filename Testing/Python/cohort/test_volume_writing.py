"""Volumes written slice by slice are those that are written at once, and need little memory."""

from __future__ import annotations

import gzip
import itertools
import tracemalloc
import zlib

import numpy as np
import pytest
import SimpleITK as sitk

from ActiveSegmentationLib.cohort import Geometry, slices_first, volume_writer, write_volume
from ActiveSegmentationLib.cohort.transforms import Transforms
from ActiveSegmentationLib.cohort.volume_writing import SUFFIXES, VolumeFormat
from ActiveSegmentationLib.common.errors import BadInput

ANGLE = 0.3
OBLIQUE = Geometry(
    (7, 5, 6),
    (0.7, 0.75, 3.0),
    (-12.5, 3.25, 100.0),
    (np.cos(ANGLE), -np.sin(ANGLE), 0.0, np.sin(ANGLE), np.cos(ANGLE), 0.0, 0.0, 0.0, 1.0),
)
TRANSFORMS = Transforms(2, 1, tuple(map(float, range(12))), (0.1, 0.2, 0.3, 4.0, 5.0, 6.0), (-1.0, 0.7, 0.75, 3.0), 2)


def content_of(path) -> bytes:
    """The unpacked bytes of a file; of a MetaImage without the size of the packed pixels."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".nrrd":
        head, _, pixels = data.partition(b"\n\n")
        return head + gzip.decompress(pixels)
    if path.suffix == ".mha":
        head, _, pixels = data.partition(b"ElementDataFile = LOCAL\n")
        lines = [line for line in head.splitlines() if not line.startswith(b"CompressedDataSize")]
        return b"\n".join(lines) + zlib.decompress(pixels)
    return data


def written(path, array, axis, *, components=0, transforms=None, step=2) -> None:
    """Write (k, j, i) or (C, k, j, i) values in steps of a few slices."""
    planes = slices_first(array, axis)
    planes = np.moveaxis(planes, 0, 1) if components else planes
    with volume_writer(path, VolumeFormat(OBLIQUE, axis, array.dtype, components, transforms)) as writer:
        for start in range(0, len(planes), step):
            writer.add(planes[start : start + step])


@pytest.mark.parametrize(("suffix", "axis", "components"), list(itertools.product(SUFFIXES, (0, 1, 2), (0, 3))))
def test_the_file_is_the_one_that_is_written_at_once(tmp_path, monkeypatch, suffix, axis, components):
    monkeypatch.setattr("ActiveSegmentationLib.cohort.volume_writing.BLOCK", 300)  # several blocks
    shape = (components, *OBLIQUE.array_shape) if components else OBLIQUE.array_shape
    array = np.random.default_rng(0).random(shape, dtype=np.float32)
    write_volume(tmp_path / f"whole{suffix}", array, OBLIQUE)
    written(tmp_path / f"parts{suffix}", array, axis, components=components)
    assert content_of(tmp_path / f"parts{suffix}") == content_of(tmp_path / f"whole{suffix}")
    image = sitk.ReadImage(str(tmp_path / f"parts{suffix}"))
    values = sitk.GetArrayFromImage(image)
    np.testing.assert_array_equal(values, np.moveaxis(array, 0, -1) if components else array)
    np.testing.assert_allclose(image.GetOrigin(), OBLIQUE.origin, atol=1e-5)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_label_maps_get_the_transforms_of_their_image(tmp_path, suffix):
    labels = np.random.default_rng(1).integers(0, 4, OBLIQUE.array_shape, dtype=np.uint8)
    write_volume(tmp_path / f"whole{suffix}", labels, OBLIQUE, TRANSFORMS)
    written(tmp_path / f"parts{suffix}", labels, 1, transforms=TRANSFORMS)
    assert content_of(tmp_path / f"parts{suffix}") == content_of(tmp_path / f"whole{suffix}")


def test_memory_does_not_grow_with_the_volume(tmp_path, monkeypatch):
    geometry = Geometry((128, 128, 300), (1.0, 1.0, 1.0))
    plane = np.random.default_rng(0).random((1, 2, 300, 128), dtype=np.float32).round(1)
    content = VolumeFormat(geometry, 0, np.dtype("float32"), 2)
    whole = int(np.prod(content.planes_shape)) * 4
    monkeypatch.setattr("ActiveSegmentationLib.cohort.volume_writing.BLOCK", 1 << 20)
    tracemalloc.start()
    try:
        with volume_writer(tmp_path / "large.nrrd", content) as writer:
            for _ in range(128):
                writer.add(plane)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert whole > 35e6
    assert peak < 6 * (1 << 20)


@pytest.mark.parametrize(
    ("counts", "error"), [((2, -1), "interrupted"), ((2,), "2 of 6"), ((7,), "do not fit"), ((4, 4), "do not fit")]
)
def test_a_failed_block_leaves_no_file(tmp_path, counts, error):
    def write() -> None:
        with volume_writer(tmp_path / "a.nrrd", VolumeFormat(OBLIQUE, 2, np.dtype("uint8"))) as writer:
            for count in counts:
                if count < 0:
                    raise ValueError("interrupted")
                writer.add(np.zeros((count, 5, 7)))

    with pytest.raises(ValueError, match=error):
        write()
    assert list(tmp_path.iterdir()) == []


def test_unknown_file_types_and_too_long_axes_are_refused(tmp_path):
    with (
        pytest.raises(BadInput, match="cannot be written"),
        volume_writer(tmp_path / "a.png", VolumeFormat(OBLIQUE, 2, np.dtype("uint8"))),
    ):
        pass
    long = VolumeFormat(Geometry((40_000, 1, 1), (1.0, 1.0, 1.0)), 2, np.dtype("uint8"))
    with pytest.raises(BadInput, match="32767"), volume_writer(tmp_path / "a.nii.gz", long) as writer:
        writer.add(np.zeros((1, 1, 40_000)))
    assert list(tmp_path.iterdir()) == []
