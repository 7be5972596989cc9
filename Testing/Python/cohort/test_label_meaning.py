"""Label maps of a cohort: no value changes its meaning silently, no part of a picture is dropped."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from ActiveSegmentationLib.cohort import AnnotationKind, Cohort, discover, read_labels
from ActiveSegmentationLib.cohort.dicom.segmentations import LabelNames
from ActiveSegmentationLib.cohort.label_values import distinct
from ActiveSegmentationLib.cohort.layouts.label_table import label_table
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.study import LabelSet, Study, label_set_for

MASK, SCRIBBLE = AnnotationKind.MASK, AnnotationKind.SCRIBBLE
RNG = np.random.default_rng(8)
IMAGE = RNG.integers(0, 900, (3, 8, 9)).astype(np.int16)
MAP = RNG.integers(0, 3, (3, 8, 9)).astype(np.uint8)


def save(path: Path, array: np.ndarray, metadata: dict[str, str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array, isVector=array.ndim == 4)
    image.SetSpacing((1.5, 1.5, 6))
    for key, value in (metadata or {}).items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path), True)


def named(segments: dict[str, int]) -> dict[str, str]:
    fields = {}
    for number, (name, value) in enumerate(segments.items()):
        fields |= {f"Segment{number}_Name": name, f"Segment{number}_LabelValue": str(value)}
    return fields


def pair(root: Path, name: str, label: np.ndarray, suffix: str = "_seg.nii.gz", **metadata) -> None:
    save(root / f"{name}.nii.gz", IMAGE)
    save(root / f"{name}{suffix}", label, **metadata)


def masks(cohort: Cohort) -> dict[str, np.ndarray | None]:
    return {volume.id: read_labels(cohort, volume, MASK) for volume in cohort.volumes}


def test_255_is_the_one_label_or_refused(tmp_path):
    white = ((MAP == 1) * 255).astype(np.uint8)
    pair(tmp_path / "c", "a", white)
    pair(tmp_path / "c", "b", (MAP == 1).astype(np.uint8))
    cohort = discover(tmp_path / "c")
    labels = label_set_for(cohort)
    assert labels.names == {1: "label 1"}
    study = Study.create(tmp_path / "one", cohort, labels, MASK)
    assert all(np.array_equal(mask, MAP == 1) for mask in masks(study.cohort).values())
    seven = Study.create(tmp_path / "seven", cohort, LabelSet.from_names({7: "organ"}), MASK)
    assert np.array_equal(read_labels(seven.cohort, seven.cohort.volume("a"), MASK), (MAP == 1) * 7)
    several = Study.create(tmp_path / "two", cohort, LabelSet.from_names({1: "organ", 2: "tumour"}), MASK)
    with pytest.raises(BadInput, match=r"a_seg\.nii\.gz.*only value.*255.*several labels"):
        read_labels(several.cohort, several.cohort.volume("a"), MASK)


def test_255_among_other_values_is_refused(tmp_path):
    pair(tmp_path, "a", np.where(MAP == 2, 255, MAP).astype(np.uint8))
    cohort = discover(tmp_path)
    with pytest.raises(BadInput, match=r"a_seg\.nii\.gz.*not labels: 255"):
        read_labels(cohort, cohort.volumes[0], MASK)


def test_scribbles_without_unlabelled_pixels_are_refused(tmp_path):
    drawn = np.zeros_like(MAP)
    drawn[1, 2:4, 3:6] = 255
    for name, label, message in (("white", drawn, "255 is drawn"), ("whole", MAP, "every pixel is labelled")):
        pair(tmp_path / name, "a", label, "_scribble.nii.gz")
        cohort = discover(tmp_path / name)
        with pytest.raises(BadInput, match=message):
            read_labels(cohort, cohort.volumes[0], SCRIBBLE)
    sparse = np.where(drawn == 255, 0, 255).astype(np.uint8)  # background alone was drawn
    pair(tmp_path / "fine", "a", sparse, "_scribble.nii.gz")
    cohort = discover(tmp_path / "fine")
    assert np.array_equal(read_labels(cohort, cohort.volumes[0], SCRIBBLE), sparse)


@pytest.mark.parametrize(("value", "named_as"), [(np.nan, "nan"), (1.5, r"1\.5"), (-3, "-3"), (400, "400")])
@pytest.mark.parametrize("suffix", ["_seg.nii.gz", "_seg.nrrd", "_seg.mha"])
def test_values_that_are_not_labels(tmp_path, value, named_as, suffix):
    odd = MAP.astype(np.float32)
    odd[2, 1, 1] = value
    pair(tmp_path, "a", odd, suffix)
    cohort = discover(tmp_path)
    with pytest.raises(BadInput, match=rf"a{suffix}.*not labels: {named_as}"):
        read_labels(cohort, cohort.volumes[0], MASK)


@pytest.mark.parametrize("share", [10, 255, 3])
def test_scaled_labels_are_rounded(tmp_path, share):
    save(tmp_path / "a.nii.gz", IMAGE)
    image = nibabel.Nifti1Image(MAP.transpose(2, 1, 0).astype(np.int16) * share, np.diag([-1.5, -1.5, 6, 1]))
    nibabel.save(image, tmp_path / "a_seg.nii")
    content = bytearray((tmp_path / "a_seg.nii").read_bytes())
    struct.pack_into("<ff", content, 112, 1 / share, 0.0)  # scl_slope and scl_inter
    (tmp_path / "a_seg.nii").write_bytes(bytes(content))
    assert np.array_equal(masks(discover(tmp_path))["a"], MAP)


def test_layers_are_refused_at_index_and_colours_that_agree_are_read(tmp_path):
    layers = np.stack([MAP > 0, MAP == 2], axis=-1).astype(np.uint8)
    pair(tmp_path, "layers", layers, ".seg.nrrd")
    pair(tmp_path, "three", np.stack([MAP, MAP, MAP == 2], -1).astype(np.uint8), ".seg.nrrd")
    pair(tmp_path, "grey", np.stack([MAP] * 3, axis=-1), "_seg.nrrd")
    opaque = np.full_like(MAP, 255)
    pair(tmp_path, "opaque", np.stack([MAP, MAP, MAP, opaque], axis=-1), "_seg.nrrd")
    pair(tmp_path, "colour", np.stack([MAP, MAP, MAP * 0], axis=-1), "_seg.nrrd")
    cohort = discover(tmp_path)
    errors = {problem.where: problem.message for problem in cohort.problems if problem.severity == "error"}
    assert set(errors) == {"layers", "three"}
    assert errors["layers"] == "layers.seg.nrrd: The label map has 2 layers that may overlap."
    for name in ("grey", "opaque"):
        assert np.array_equal(read_labels(cohort, cohort.volume(name), MASK), MAP)
    with pytest.raises(BadInput, match=r"colour_seg\.nrrd.*3 components that differ"):
        read_labels(cohort, cohort.volume("colour"), MASK)


def davis(root: Path, write) -> Cohort:
    for number, plane in enumerate(MAP):
        for folder in ("JPEGImages", "Annotations"):
            (root / folder / "cat").mkdir(parents=True, exist_ok=True)
        grey = Image.fromarray((IMAGE[number] % 256).astype(np.uint8))
        grey.save(root / "JPEGImages" / "cat" / f"{number:05d}.png")
        write(plane, root / "Annotations" / "cat" / f"{number:05d}.png")
    return discover(root, layout="davis")


def palette(plane: np.ndarray, path: Path, mode: str = "P") -> None:
    picture = Image.fromarray(plane, "L").convert("P") if mode != "P" else Image.fromarray(plane).convert("P")
    picture.putdata(plane.ravel().tolist())
    picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [9] * 759)
    picture.save(path)


def test_indices_into_a_palette_are_the_labels(tmp_path):
    assert np.array_equal(masks(davis(tmp_path, palette))["cat"], MAP)


def test_pictures_of_one_bit(tmp_path):
    def one_bit(plane: np.ndarray, path: Path) -> None:
        Image.fromarray(plane > 0).save(path)

    assert np.array_equal(masks(davis(tmp_path, one_bit))["cat"], MAP > 0)


def test_colour_pictures_of_labels(tmp_path):
    def grey(plane: np.ndarray, path: Path) -> None:
        Image.fromarray(np.stack([plane] * 3 + [np.full_like(plane, 255)], -1)).save(path)

    def colour(plane: np.ndarray, path: Path) -> None:
        Image.fromarray(np.stack([plane, plane * 0, plane], -1)).save(path)

    assert np.array_equal(masks(davis(tmp_path / "grey", grey))["cat"], MAP)
    cohort = davis(tmp_path / "colour", colour)
    with pytest.raises(BadInput, match=r"00000\.png.*components that differ"):
        read_labels(cohort, cohort.volumes[0], MASK)


def test_frames_of_several_kinds_are_refused(tmp_path):
    def mixed(plane: np.ndarray, path: Path) -> None:
        Image.fromarray(plane if "00001" in path.name else np.stack([plane] * 3, -1)).save(path)

    cohort = davis(tmp_path, mixed)
    with pytest.raises(BadInput, match="Some frames are grey"):
        read_labels(cohort, cohort.volumes[0], MASK)


def test_segments_have_one_meaning_in_a_cohort(tmp_path):
    pair(tmp_path, "a", MAP, ".seg.nrrd", metadata=named({"organ": 1, "tumour": 2}))
    swapped = np.array([0, 2, 1], np.uint8)[MAP]
    pair(tmp_path, "b", swapped, ".seg.nrrd", metadata=named({"Tumour ": 1, "Organ": 2}))
    far = np.array([0, 7, 40], np.uint8)[MAP]
    pair(tmp_path, "c", far, ".seg.nrrd", metadata=named({"organ": 7, "tumour": 40}))
    cohort = discover(tmp_path)
    assert not [problem for problem in cohort.problems if "copy" not in problem.message]
    assert cohort.labels == {1: "organ", 2: "tumour"}
    again = Cohort.from_json(cohort.to_json(), cohort.root)
    assert all(np.array_equal(mask, MAP) for mask in masks(again).values())


def test_a_name_that_only_a_later_file_has_gets_a_value_of_its_own(tmp_path):
    pair(tmp_path, "a", (MAP == 1).astype(np.uint8), ".seg.nrrd", metadata=named({"organ": 1}))
    pair(tmp_path, "b", (MAP == 1).astype(np.uint8), ".seg.nrrd", metadata=named({"vessel": 1}))
    cohort = discover(tmp_path)
    assert cohort.labels == {1: "organ", 2: "vessel"}
    found = masks(cohort)
    assert np.array_equal(found["a"], MAP == 1)
    assert np.array_equal(found["b"], (MAP == 1) * 2)


def test_segments_that_cannot_be_distinguished_are_named(tmp_path):
    pair(tmp_path, "a", MAP, ".seg.nrrd", metadata=named({"organ": 1, "tumour": 1}))
    cohort = discover(tmp_path)
    (problem,) = cohort.problems
    assert problem.message == "a.seg.nrrd: The segments 'organ' and 'tumour' share the value 1."
    assert cohort.volumes[0].mask is None


def test_names_of_segments_in_other_encodings(tmp_path):
    pair(tmp_path, "a", MAP, ".seg.nrrd", metadata=named({"Groesse": 1, "Rest": 2}))
    path = tmp_path / "a.seg.nrrd"
    path.write_bytes(path.read_bytes().replace(b"Groesse", "Gr\u00f6\u00dfe".encode("latin-1")))
    cohort = discover(tmp_path)
    assert cohort.labels == {1: "Gr\u00f6\u00dfe", 2: "Rest"}
    json.dumps(cohort.to_json()).encode()


def test_pictures_of_two_and_four_bits(tmp_path):
    def few_bits(plane: np.ndarray, path: Path) -> None:
        path.write_bytes(png(plane, 2 if "00001" in path.name else 4))

    assert np.array_equal(masks(davis(tmp_path, few_bits))["cat"], MAP)


@pytest.mark.parametrize(
    ("damage", "message"), [(lambda b: b[:-40], "damaged or cut"), (lambda b: b"<html>", "HTML page")]
)
def test_label_pictures_that_cannot_be_read(tmp_path, damage, message):
    cohort = davis(tmp_path, palette)
    path = tmp_path / "Annotations" / "cat" / "00001.png"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BadInput, match=message) as caught:
        read_labels(cohort, cohort.volumes[0], MASK)
    assert "00001.png" in str(caught.value)


def png(plane: np.ndarray, depth: int) -> bytes:
    """A grey PNG image with few bits per pixel, which Pillow cannot write."""
    rows = b""
    for row in plane:
        bits = "".join(format(int(value), f"0{depth}b") for value in row)
        bits += "0" * (-len(bits) % 8)
        rows += b"\0" + bytes(int(bits[n : n + 8], 2) for n in range(0, len(bits), 8))

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    size = struct.pack(">IIBBBBB", plane.shape[1], plane.shape[0], depth, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "array",
    [
        np.array([[3, 0], [3, 254]], np.uint8),
        np.array([[-128, 127], [0, 127]], np.int8),
        np.array([[0, 2**40], [1, 0]], np.int64),
        np.array([[2**40, 2**40 + 1], [2**40, 2**40]], np.int64),
        np.array([[0, 65535], [7, 7]], np.uint16),
        np.array([[0, 65536], [7, 7]], np.int32),
        np.array([[2.0, 0.0], [-3.0, 2.0]], np.float32),
        np.array([[2.0, 0.5], [1.0000001, 2.0]]),
        np.array([[2.0, np.nan], [np.inf, 2.0]]),
        np.array([[True, False], [True, True]]),
        np.zeros((0, 3)),
    ],
)
def test_distinct_values_are_those_of_numpy(array):
    values, places = distinct(array)
    expected, expected_places = np.unique(array, return_inverse=True)
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(places, expected_places.reshape(array.shape))
    assert places.shape == array.shape


def test_more_names_of_segments_than_values_are_reported(tmp_path):
    for number in range(3):
        names = {f"Segment{n}_Name": f"finding {number}-{n}" for n in range(100)}
        values = {f"Segment{n}_LabelValue": str(n + 1) for n in range(100)}
        image = sitk.GetImageFromArray(np.full((2, 5, 4), number, np.uint8))
        sitk.WriteImage(image, str(tmp_path / f"p{number}.nrrd"))
        for key, value in (names | values).items():
            image.SetMetaData(key, value)
        sitk.WriteImage(image, str(tmp_path / f"p{number}.seg.nrrd"))
    cohort = discover(tmp_path)
    assert [volume.mask is not None for volume in cohort.volumes] == [True, True, False]
    assert [(problem.where, "more than 254 names" in problem.message) for problem in cohort.problems] == [("p2", True)]
    assert len(cohort.labels) == 254


def test_more_names_of_dicom_segments_than_values_are_refused():
    names = LabelNames()
    assert [names.value(str(n), 7) for n in range(254)] == [7, *(n for n in range(1, 255) if n != 7)]
    with pytest.raises(BadInput, match="more than 254 names"):
        names.value("one more", 7)


def test_more_labels_than_values_are_refused():
    labels = {"background": 0} | {f"structure {n}": n for n in range(1, 256)}
    with pytest.raises(BadInput, match="labels has 255 labels, and 254 are possible"):
        label_table({"labels": labels}, Path("dataset.json"))


def test_more_structures_than_values_are_reported(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((2, 5, 4), np.uint8)), str(tmp_path / "ct.nrrd"))
    (tmp_path / "segmentations").mkdir()
    for number in range(255):
        (tmp_path / "segmentations" / f"rib_{number}.nrrd").write_bytes((tmp_path / "ct.nrrd").read_bytes())
    cohort = discover(tmp_path, layout="folder")
    assert cohort.volumes[0].mask is None
    assert any("255 structures are too many" in problem.message for problem in cohort.problems)


def test_reference_labels_that_are_all_empty_are_said_to_be_so(tmp_path):
    pair(tmp_path, "p1", np.zeros_like(MAP))
    with pytest.raises(BadInput, match="its reference labels are all empty"):
        label_set_for(discover(tmp_path))
