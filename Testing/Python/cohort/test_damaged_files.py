"""Complete files are read; files with missing or damaged pixels are refused with the true reason."""

from __future__ import annotations

import bz2
import gzip
import os
import struct
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from ActiveSegmentationLib.cohort import discover, read_image
from ActiveSegmentationLib.cohort.headers import read_header
from ActiveSegmentationLib.cohort.io import read_pixels
from ActiveSegmentationLib.cohort.stack_contents import FileHashes
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import read_json

AFFINE = np.diag([1.5, 1.25, 5.0, 1.0])
ARRAY = np.random.default_rng(3).integers(0, 4000, (4, 6, 5)).astype("<i2")
"""(k, j, i)."""


def nifti(path: Path, array: np.ndarray = ARRAY, kind=nibabel.Nifti1Image, **header) -> Path:
    image = kind(array.transpose(2, 1, 0), AFFINE, dtype=array.dtype)
    nibabel.save(image, path)
    if header:
        content = bytearray(path.read_bytes())
        for name, value in header.items():
            offset, form = {"slope": (112, "<ff"), "offset": (108, "<f"), "datatype": (70, "<hh")}[name]
            struct.pack_into(form, content, offset, *value)
        path.write_bytes(bytes(content))
    return path


def metaimage(path: Path, data: str, **fields) -> Path:
    known = {
        "ObjectType": "Image",
        "NDims": 3,
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "ElementSpacing": "1 1 1",
        "DimSize": "5 6 4",
        "ElementType": "MET_SHORT",
        **fields,
    }
    path.write_text("".join(f"{k} = {v}\n" for k, v in known.items()) + f"ElementDataFile = {data}\n")
    return path


def nrrd(path: Path, data: str = "", encoding: str = "raw", extra: str = "", body: bytes = b"") -> Path:
    header = (
        "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 5 6 4\n"
        "space directions: (1,0,0) (0,1,0) (0,0,1)\nkinds: domain domain domain\nendian: little\n"
        f"encoding: {encoding}\nspace origin: (0,0,0)\n{extra}" + (f"data file: {data}\n" if data else "")
    )
    path.write_bytes(header.encode() + (b"" if data.startswith("LIST") else b"\n") + body)
    return path


def slices(folder: Path, short: int | None = None) -> None:
    for k, plane in enumerate(ARRAY):
        content = plane.tobytes()
        (folder / f"s{k:02d}.raw").write_bytes(content[:-4] if k == short else content)


NAMES = "\n".join(f"s{k:02d}.raw" for k in range(4))


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
)
def test_every_type_of_voxel_is_read_whatever_the_scale(tmp_path, dtype):
    array = (ARRAY % 100).astype(dtype)
    assert np.array_equal(read_pixels(nifti(tmp_path / "plain.nii", array)), array)
    scaled = read_pixels(nifti(tmp_path / "scaled.nii", array, slope=(0.5, -7.0)))
    assert np.allclose(scaled, array * 0.5 - 7)


@pytest.mark.parametrize(
    ("slope", "expected"),
    [((0, 7), 0), ((np.nan, np.nan), 0), ((np.inf, 3), 0), ((1, 7), 7), ((1, np.nan), 0), ((1, 0), 0)],
)
def test_slopes_that_scale_nothing(tmp_path, slope, expected):
    assert np.array_equal(read_pixels(nifti(tmp_path / "a.nii", slope=slope)), ARRAY + expected)


def test_other_forms_of_nifti_are_read(tmp_path):
    big = nibabel.Nifti1Header(endianness=">")
    big.set_data_dtype(np.dtype(">i2"))
    nibabel.save(nibabel.Nifti1Image(ARRAY.transpose(2, 1, 0), AFFINE, header=big), tmp_path / "big.nii.gz")
    nifti(tmp_path / "two.nii.gz", kind=nibabel.Nifti2Image)
    nifti(tmp_path / "pair.hdr", kind=nibabel.Nifti1Pair)
    nifti(tmp_path / "analyze.hdr", kind=nibabel.Spm2AnalyzeImage)
    noted = nibabel.Nifti1Image(ARRAY.transpose(2, 1, 0), AFFINE)
    noted.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"x" * 70_000))
    nibabel.save(noted, tmp_path / "extended.nii.gz")
    raw = nifti(tmp_path / "raw.nii").read_bytes()
    (tmp_path / "plain.nii.gz").write_bytes(raw)
    (tmp_path / "packed.nii").write_bytes(gzip.compress(raw))
    (tmp_path / "members.nii.gz").write_bytes(gzip.compress(raw[:300]) + gzip.compress(raw[300:]))
    (tmp_path / "padded.nii.gz").write_bytes(gzip.compress(raw) + b"\0" * 999)
    (tmp_path / "junk.nii.gz").write_bytes(gzip.compress(raw) + b"junk")
    for path in sorted(set(tmp_path.iterdir()) - {tmp_path / "analyze.mat"}):
        assert np.array_equal(read_pixels(path), ARRAY), path.name
        geometry = read_header(path).geometry
        assert np.allclose(geometry.spacing, (1.5, 1.25, 5)), path.name


def test_nifti_2_lies_where_nifti_1_lies(tmp_path):
    turned = nibabel.affines.from_matvec(np.array([[0, -2.0, 0.5], [1.5, 0, 0], [0, 0.5, 2.0]]), [9, -8, 7])
    turned[:3, 1] = (-2.0, 0, 0.5)
    turned[:3, 2] = (0.5, 0, 2.0)
    turned[:3, 0] = (0, 1.5, 0)
    for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image):
        nibabel.save(kind(ARRAY.transpose(2, 1, 0), turned), tmp_path / f"{kind.__name__}.nii.gz")
    one, two = (read_header(path).geometry for path in sorted(tmp_path.iterdir()))
    assert one.difference(two) is None
    assert np.allclose(one.origin, (-9, 8, 7), atol=1e-4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\0" * 3000, "zero bytes"),
        (b"  <!DOCTYPE html><html>429</html>", "HTML page"),
        (b"<?xml version='1.0'?><Error/>", "XML"),
        (b'{"message": "login first"}', "JSON"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        (b"/annex/objects/SHA256E-s1--0.nii.gz\n", "git-annex pointer"),
        (gzip.compress(gzip.compress(b"x" * 999, mtime=0), mtime=0), "compressed twice"),
        (gzip.compress(b"<html>", mtime=0), "HTML page"),
        (bz2.compress(b"x" * 999), "bzip2"),
        (b"PK\x03\x04" + b"x" * 400, "ZIP"),
        (b"NRRD0004\ntype: short\n", "NRRD"),
        (b"\0" * 128 + b"DICM" + b"x" * 400, "DICOM"),
        (b"no image at all", r"not a readable image|does not name"),
    ],
)
def test_the_true_reason_is_named(tmp_path, content, message):
    for name in ("a.nii.gz", "b.nii", "c.mha", "d.nrrd")[: 3 if b"NRRD" in content else 4]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInput, match=message) as caught:
            read_header(tmp_path / name)
        assert "truncated" not in str(caught.value)
        assert caught.value.advice


@pytest.mark.parametrize(
    "name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.mhd", "a.nhdr", "packed.mha", "packed.mhd"]
)
@pytest.mark.parametrize("kept", [0.4, 0.97])
def test_cut_files_are_refused_by_name(tmp_path, name, kept):
    array = np.random.default_rng(1).integers(0, 4000, (9, 32, 32)).astype(np.int16)
    path = tmp_path / name
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path), name.startswith("packed") or name.endswith("gz"))
    data = next((file for file in tmp_path.iterdir() if file != path), path)
    content = data.read_bytes()
    data.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(BadInput, match="truncated") as caught:
        read_header(path)
    assert data.name in str(caught.value)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha", "a.mhd"])
def test_a_changed_byte_of_compressed_pixels_is_refused(tmp_path, name):
    array = np.random.default_rng(1).integers(0, 4000, (9, 32, 32)).astype(np.int16)
    path = tmp_path / name
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path), True)
    data = next((file for file in tmp_path.iterdir() if file != path), path)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 0xFF
    data.write_bytes(bytes(content))
    cohort = discover(tmp_path)
    with pytest.raises(BadInput, match=r"damaged|cannot be read") as caught:
        read_image(cohort, cohort.volumes[0])
    assert data.name in str(caught.value)


def test_pixels_in_other_files_are_read(tmp_path):
    slices(tmp_path)
    (tmp_path / "all.raw").write_bytes(ARRAY.tobytes())
    (tmp_path / "header.raw").write_bytes(b"H" * 77 + ARRAY.tobytes())
    (tmp_path / "lines.raw").write_bytes(b"one\ntwo\n" + ARRAY.tobytes())
    (tmp_path / "z.zraw").write_bytes(zlib.compress(ARRAY.tobytes()))
    (tmp_path / "swapped.raw").write_bytes(ARRAY.astype(">i2").tobytes())
    text = " ".join(map(str, ARRAY.ravel())) + "\n"
    cases = [
        metaimage(tmp_path / "list.mhd", f"LIST\n{NAMES}"),
        metaimage(tmp_path / "list2.mhd", f"LIST 2\n{NAMES}\n"),
        metaimage(tmp_path / "pattern.mhd", "s%02d.raw 0 3 1"),
        metaimage(tmp_path / "skip.mhd", "header.raw", HeaderSize=77),
        metaimage(tmp_path / "end.mhd", "header.raw", HeaderSize=-1),
        metaimage(tmp_path / "swapped.mhd", "swapped.raw", BinaryDataByteOrderMSB="True"),
        metaimage(tmp_path / "packed.mhd", "z.zraw", CompressedData="True"),
        nrrd(tmp_path / "list.nhdr", f"LIST\n{NAMES}"),
        nrrd(tmp_path / "pattern.nhdr", "s%02d.raw 0 3 1"),
        nrrd(tmp_path / "skip.nhdr", "header.raw", extra="byte skip: 77\n"),
        nrrd(tmp_path / "end.nhdr", "header.raw", extra="byte skip: -1\n"),
        nrrd(tmp_path / "lines.nhdr", "lines.raw", extra="line skip: 2\n"),
        nrrd(tmp_path / "text.nrrd", encoding="ascii", body=text.encode()),
        nrrd(tmp_path / "hex.nrrd", encoding="hex", body=ARRAY.tobytes().hex().encode()),
        nrrd(tmp_path / "gz.nrrd", encoding="gz", body=gzip.compress(ARRAY.tobytes())),
    ]
    local = metaimage(tmp_path / "local.mhd", "LOCAL")
    local.write_bytes(local.read_bytes() + ARRAY.tobytes())
    written = metaimage(tmp_path / "text.mha", "LOCAL", BinaryData="False")
    written.write_bytes(written.read_bytes() + text.encode())
    for path in (*cases, local, written):
        assert np.array_equal(read_pixels(path), ARRAY), path.name


def test_what_is_wrong_with_pixels_in_other_files_is_named(tmp_path):
    slices(tmp_path, short=2)
    whole = zlib.compress(ARRAY.tobytes())
    (tmp_path / "cut.zraw").write_bytes(whole[:-20])
    (tmp_path / "few.zraw").write_bytes(zlib.compress(ARRAY[:3].tobytes()))
    cases = [
        (metaimage(tmp_path / "a.mhd", f"LIST\n{NAMES}"), r"s02\.raw.*truncated"),
        (metaimage(tmp_path / "b.mhd", "LIST\n" + NAMES.replace("s03", "s09")), r"s09\.raw, is missing"),
        (metaimage(tmp_path / "c.mhd", "LIST\n" + NAMES[:-8]), r"3 file\(s\).*need 4"),
        (metaimage(tmp_path / "d.mhd", "s%02d.raw 0 3"), "names of the files with pixels are incomplete"),
        (metaimage(tmp_path / "e.mhd", "s%02d.raw 1 4 1"), r"s04\.raw, is missing"),
        (metaimage(tmp_path / "f.mhd", "cut.zraw", CompressedData="True"), "truncated"),
        (metaimage(tmp_path / "g.mhd", "few.zraw", CompressedData="True"), "180 of 240"),
        (metaimage(tmp_path / "h.mhd", "nowhere.raw"), r"nowhere\.raw, is missing"),
        (metaimage(tmp_path / "i.mhd", "s00.raw", HeaderSize="x"), "not a whole number"),
        (nrrd(tmp_path / "j.nhdr", f"LIST\n{NAMES}"), r"s02\.raw.*truncated"),
        (nrrd(tmp_path / "k.nhdr", "nowhere.raw"), r"nowhere\.raw, is missing"),
        (nrrd(tmp_path / "l.nrrd", encoding="bzip2", body=bz2.compress(ARRAY.tobytes())), "bzip2"),
        (nifti(tmp_path / "m.nii", offset=(0.0,)), r"byte 0 \(vox_offset\)"),
        (nifti(tmp_path / "n.nii", datatype=(1, 1)), "single bits"),
        (nifti(tmp_path / "o.hdr", kind=nibabel.Nifti1Pair), r"o\.img.*missing"),
    ]
    (tmp_path / "o.img").unlink()
    for path, message in cases:
        with pytest.raises(BadInput, match=message) as caught:
            read_pixels(path)
        assert caught.value.advice, path.name


@pytest.mark.parametrize("name", ["a.mhd", "a.nhdr", "a.hdr"])
def test_a_change_of_pixels_in_another_file_is_noticed(tmp_path, name):
    if name == "a.hdr":
        nifti(tmp_path / name, kind=nibabel.Nifti1Pair)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(tmp_path / name))
    data = next(path for path in tmp_path.iterdir() if path.name != name and path.suffix != ".json")
    before = FileHashes(tmp_path / "hashes.json").of(tmp_path / name)
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(bytes(content))
    assert FileHashes(tmp_path / "hashes.json").of(tmp_path / name) != before


def test_images_with_equal_headers_are_not_copies(tmp_path):
    for name, array in (("a", ARRAY), ("b", ARRAY[::-1])):
        nifti(tmp_path / f"{name}.hdr", array, kind=nibabel.Nifti1Pair)
        nifti(tmp_path / f"{name}.hdr", array, kind=nibabel.Nifti1Pair)
    assert (tmp_path / "a.hdr").read_bytes() == (tmp_path / "b.hdr").read_bytes()
    cohort = discover(tmp_path)
    assert len(cohort.volumes) == 2
    assert not [problem for problem in cohort.problems if "copy" in problem.message]


META = """ObjectType = Image
NDims = 3
CompressedData = {packed}
DimSize = {sizes}
ElementType = MET_SHORT
ElementDataFile = {pixels}
"""


@pytest.mark.parametrize("axes", ["65536", "4294967296", "0", "-1", "3.5", "three", ""])
@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_a_header_that_would_crash_the_reader_is_refused(tmp_path, axes, suffix):
    path = tmp_path / f"a{suffix}"
    meta = META.format(packed=False, sizes="4 5 6", pixels="LOCAL").replace("NDims = 3", f"NDims = {axes}")
    nrrd = f"NRRD0004\ntype: short\ndimension: {axes}\nsizes: 4 5 6\nencoding: raw\nendian: little\n\n"
    path.write_bytes((meta if suffix == ".mha" else nrrd).encode() + bytes(240))
    with pytest.raises(BadInput, match=r"axes|damaged"):
        read_header(path)


def test_four_gigabytes_from_a_small_file_are_refused_before_they_are_allocated(tmp_path):
    content = zlib.compress(bytes(1000))
    path = tmp_path / "a.mha"
    path.write_bytes(META.format(packed=True, sizes="1300 1300 1300", pixels="LOCAL").encode() + content)
    with pytest.raises(BadInput, match="truncated"):
        read_header(path)
    nrrd = "NRRD0004\ntype: short\ndimension: 3\nsizes: 1300 1300 1300\nencoding: gzip\nendian: little\n\n"
    path = tmp_path / "a.nrrd"
    path.write_bytes(nrrd.encode() + gzip.compress(bytes(1000)))
    with pytest.raises(BadInput, match="truncated"):
        read_header(path)


def test_pixels_outside_of_the_cohort_are_not_read(tmp_path):
    (tmp_path / "secret.raw").write_bytes(bytes(240))
    cohort = tmp_path / "cohort"
    (cohort / "headers").mkdir(parents=True)
    (cohort / "pixels").mkdir()
    (cohort / "pixels" / "b.raw").write_bytes(bytes(240))
    for name, pixels in (("a", "../../secret.raw"), ("b", "../pixels/b.raw"), ("c", str(tmp_path / "secret.raw"))):
        header = META.format(packed=False, sizes="4 5 6", pixels=pixels)
        (cohort / "headers" / f"{name}.mhd").write_text(header)
    found = discover(cohort)
    assert [volume.id for volume in found.volumes] == ["headers_b"]
    outside = [problem.where for problem in found.problems if "outside of the cohort" in problem.message]
    assert outside == ["headers_a", "headers_c"]


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    for name in ("a.nii", "a.mha", "a.csv", "a.json"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(BadInput, match="pipe"):
            discover(tmp_path / name) if name == "a.csv" else read_header(tmp_path / name)
        with pytest.raises(BadInput, match="pipe"):
            read_json(tmp_path / name)
