"""NIfTI headers with two transforms: the one used is reported, and files are written so that every program agrees."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from ActiveSegmentationLib.cohort import (
    AnnotationKind,
    Cohort,
    discover,
    read_image,
    read_labels,
    write_label_map,
    write_volume,
)
from ActiveSegmentationLib.cohort.headers import read_header
from ActiveSegmentationLib.cohort.io import read_stored_labels

ARRAY = np.random.default_rng(5).integers(0, 900, (4, 6, 5)).astype(np.int16)
TURN = np.deg2rad(15)
SFORM = np.array(
    [
        [np.cos(TURN), -np.sin(TURN), 0, 4],
        [np.sin(TURN), np.cos(TURN), 0, 5],
        [0, 0, 1, -6],
        [0, 0, 0, 1],
    ]
) @ np.diag([1.5, 1.5, 5, 1])
QFORM = np.diag([-1.5, 1.5, 5, 1.0])
QFORM[:3, 3] = 30, -40, 50


def image(sform_code: int, qform_code: int, kind=nibabel.Nifti1Image, sform=SFORM, qform=QFORM, array=ARRAY):
    made = kind(array.transpose(2, 1, 0), None)
    made.header.set_zooms((1.5, 1.5, 5))
    made.set_sform(sform, sform_code)
    made.set_qform(qform, qform_code)
    made.header.set_sform(sform, sform_code)
    made.header.set_qform(qform, qform_code)
    return made


def places(path: Path) -> tuple[np.ndarray, ...]:
    """Where nibabel and SimpleITK see a file, and its codes."""
    header = nibabel.load(path).header
    itk = sitk.ReadImage(str(path))
    codes = [int(header[name]) for name in ("sform_code", "qform_code")]
    seen = [nibabel.load(path).affine, header.get_sform(), header.get_qform(), itk.GetOrigin(), itk.GetDirection()]
    return (*(np.asarray(value) for value in seen), np.asarray(codes))


@pytest.mark.parametrize("codes", [(1, 1), (3, 1), (2, 1), (0, 1), (2, 0), (0, 0), (4, 4)])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
def test_outputs_lie_on_their_image_for_every_program(tmp_path, codes, suffix):
    source = tmp_path / "cohort" / "a.nii.gz"
    source.parent.mkdir()
    nibabel.save(image(*codes), source)
    cohort = discover(source.parent)
    cohort = Cohort.from_json(json.loads(json.dumps(cohort.to_json())), cohort.root)
    volume = cohort.volumes[0]
    assert [problem.severity for problem in cohort.problems] == ["warning"]
    labels = (ARRAY > 400).astype(np.uint8)
    write_label_map(tmp_path / f"labels{suffix}", labels, volume.geometry, volume.transforms)
    write_volume(
        tmp_path / f"classes{suffix}",
        np.stack([labels, 1 - labels]).astype(np.float32),
        volume.geometry,
        volume.transforms,
    )
    for name in ("labels", "classes"):
        for found, expected in zip(places(tmp_path / f"{name}{suffix}"), places(source), strict=True):
            assert np.allclose(found, expected, atol=1e-4), name
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"labels{suffix}"))), labels)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"classes{suffix}", "cohort", f"labels{suffix}"]


def test_the_same_content_gives_the_same_bytes(tmp_path):
    nibabel.save(image(1, 1), tmp_path / "a.nii.gz")
    header = read_header(tmp_path / "a.nii.gz")
    for name in ("one.nii.gz", "two.nii.gz"):
        write_label_map(tmp_path / name, (ARRAY > 9).astype(np.uint8), header.geometry, header.transforms)
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "two.nii.gz").read_bytes()


@pytest.mark.parametrize(
    ("codes", "used", "said"),
    [
        ((1, 1), None, "lie up to"),
        ((0, 1), "qform", "qform is used"),
        ((2, 0), "sform", "sform is used"),
        ((0, 0), None, "neither orientation nor position"),
    ],
)
def test_what_is_ambiguous_is_reported_with_what_is_used(tmp_path, codes, used, said):
    nibabel.save(image(*codes), tmp_path / "a.nii.gz")
    cohort = discover(tmp_path)
    (problem,) = cohort.problems
    assert "a.nii.gz" in problem.message
    assert said in problem.message
    geometry = cohort.volumes[0].geometry
    if used is not None:
        origin = (SFORM if used == "sform" else QFORM)[:3, 3] * (-1, -1, 1)
        assert np.allclose(geometry.origin, origin, atol=1e-4)


@pytest.mark.parametrize("codes", [(1, 1), (2, 1), (4, 1)])
def test_transforms_that_agree_give_no_warning(tmp_path, codes):
    nibabel.save(image(*codes, qform=SFORM), tmp_path / "a.nii.gz")
    assert discover(tmp_path).problems == ()


@pytest.mark.parametrize("codes", [(1, 0), (0, 1)])
def test_a_transform_that_is_not_there_is_no_warning(tmp_path, codes):
    made = nibabel.Nifti1Image(ARRAY.transpose(2, 1, 0), SFORM)
    if codes == (0, 1):
        made.set_qform(SFORM, 1)
        made.header["sform_code"] = 0
        for row in ("srow_x", "srow_y", "srow_z"):
            made.header[row] = 0
    nibabel.save(made, tmp_path / "a.nii.gz")
    assert discover(tmp_path).problems == ()


def test_units_other_than_millimetres_and_other_forms_of_the_image(tmp_path):
    micro = image(1, 1)
    micro.header.set_xyzt_units("micron")
    nibabel.save(micro, tmp_path / "micro.nii.gz")
    nibabel.save(image(1, 1, nibabel.Nifti2Image), tmp_path / "two.nii.gz")
    big = nibabel.Nifti1Header(endianness=">")
    big.set_data_dtype(np.dtype(">i2"))
    made = nibabel.Nifti1Image(ARRAY.transpose(2, 1, 0), SFORM, header=big)
    made.set_qform(QFORM, 1)
    nibabel.save(made, tmp_path / "big.nii.gz")
    cohort = discover(tmp_path)
    assert len(cohort.volumes) == 3
    for volume in cohort.volumes:
        source, out = cohort.path(volume.channels[0].paths[0]), tmp_path / "out" / f"{volume.id}.nii.gz"
        assert np.array_equal(read_image(cohort, volume)[0], ARRAY)
        write_label_map(out, (ARRAY > 9).astype(np.uint8), volume.geometry, volume.transforms)
        assert np.allclose(nibabel.load(out).affine, nibabel.load(source).affine, atol=1e-4), volume.id
        assert read_header(out).geometry.difference(volume.geometry) is None, volume.id


def test_an_image_of_one_plane(tmp_path):
    made = nibabel.Nifti1Image(ARRAY[0].T, SFORM)
    made.set_qform(QFORM, 1)
    nibabel.save(made, tmp_path / "flat.nii.gz")
    cohort = discover(tmp_path)
    volume = cohort.volumes[0]
    write_label_map(tmp_path / "out.nii.gz", (ARRAY[:1] > 9).astype(np.uint8), volume.geometry, volume.transforms)
    found = read_header(tmp_path / "out.nii.gz").geometry
    assert found.size == volume.geometry.size
    assert np.allclose(found.spacing[:2], volume.geometry.spacing[:2])
    assert np.allclose(nibabel.load(tmp_path / "out.nii.gz").affine[:, :2], made.affine[:, :2], atol=1e-4)


def patched(path: Path, offset: int, *values: float) -> Path:
    """An image with an sform whose header is changed at a byte."""
    nibabel.save(nibabel.Nifti1Image(ARRAY.transpose(2, 1, 0), np.diag([2.0, 2.0, 5.0, 1.0])), path)
    content = bytearray(path.read_bytes())
    struct.pack_into(f"<{len(values)}f", content, offset, *values)
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize("spacing", [0.0, 3.0])
def test_a_spacing_that_is_not_that_of_the_sform_is_reported(tmp_path, spacing):
    patched(tmp_path / "a.nii", 88, spacing)
    (problem,) = discover(tmp_path).problems
    assert (problem.severity, problem.where) == ("warning", "a")
    assert "The spacing in the header" in problem.message


def test_positions_that_are_not_numbers_are_refused(tmp_path):
    patched(tmp_path / "a.nii", 280, *[np.nan] * 4)
    cohort = discover(tmp_path)
    assert cohort.volumes == ()
    assert "not a finite number" in cohort.problems[0].message


@pytest.mark.parametrize("made_by", ["sform", "qform"])
def test_labels_made_by_one_transform_of_an_ambiguous_image_lie_on_it(tmp_path, made_by):
    labels = (ARRAY > 400).astype(np.uint8)
    nibabel.save(image(1, 1), tmp_path / "a.nii.gz")
    drawn = nibabel.Nifti1Image(labels.transpose(2, 1, 0), SFORM if made_by == "sform" else QFORM)
    if made_by == "qform":
        drawn.set_sform(None, 0)
        drawn.set_qform(QFORM, 1)
    nibabel.save(drawn, tmp_path / "a_seg.nii.gz")
    cohort = discover(tmp_path)
    volume = cohort.volumes[0]
    assert {problem.severity for problem in cohort.problems} == {"warning"}
    assert np.array_equal(read_labels(cohort, volume, AnnotationKind.MASK), labels)
    assert np.array_equal(read_stored_labels(tmp_path / "a_seg.nii.gz", volume.geometry, volume.transforms), labels)
    moved = np.array(SFORM)
    moved[0, 3] += 9
    nibabel.save(nibabel.Nifti1Image(labels.transpose(2, 1, 0), moved), tmp_path / "a_seg.nii.gz")
    assert discover(tmp_path).volumes[0].mask is None
