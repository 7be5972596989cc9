"""Every layout, written small and read back; every kind of damage as one parameter."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from ActiveSegmentationLib.cohort import (
    AnnotationKind,
    Cohort,
    Geometry,
    Role,
    discover,
    read_image,
    read_label_map,
    read_labels,
    read_split,
    with_roles,
    write_label_map,
    write_volume,
)
from ActiveSegmentationLib.common.errors import BadInput

OBLIQUE = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)
FLIPPED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)


def pixels(seed: int = 0, shape: tuple[int, ...] = (4, 6, 5)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1000, shape).astype(np.int16)


def labels(seed: int = 0, shape: tuple[int, ...] = (4, 6, 5), top: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, top + 1, shape).astype(np.uint8)


def save(path: Path, array: np.ndarray, spacing=(1.5, 1.5, 8.0), direction=None, origin=(1.0, 2.0, 3.0)) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array, isVector=False)
    image.SetSpacing((*spacing, 1.0)[: image.GetDimension()])
    image.SetOrigin((*origin, 0.0)[: image.GetDimension()])
    if direction is not None:
        image.SetDirection(direction)
    sitk.WriteImage(image, str(path))
    return array


def acdc(root: Path, patients=(2, 10)) -> dict[str, np.ndarray]:
    written = {}
    for patient in patients:
        for frame in (1, 12):
            name = f"patient{patient:03d}_frame{frame:02d}"
            folder = root / f"patient{patient:03d}"
            written[name] = save(folder / f"{name}.nii.gz", pixels(patient * 20 + frame), direction=OBLIQUE)
            save(folder / f"{name}_gt.nii.gz", labels(patient), direction=OBLIQUE)
            save(folder / f"{name}_scribble.nii.gz", labels(patient, top=4), direction=OBLIQUE)
        save(root / f"patient{patient:03d}" / f"patient{patient:03d}_4d.nii.gz", pixels(shape=(2, 4, 6, 5)))
        (root / f"patient{patient:03d}" / "Info.cfg").write_text("ED: 1\nES: 12\n")
    return written


def write_dicom(folder: Path, array: np.ndarray, *, patient: str, series: str, modality="MR", names=None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k, plane in enumerate(array):
        image = sitk.GetImageFromArray(plane[None].astype(np.int16))
        image.SetSpacing((1.5, 1.5, 8.0))
        tags = {
            "0010|0020": patient,
            "0008|103e": series,
            "0020|000e": f"1.2.3.{sum(map(ord, patient + series))}",
            "0020|000d": f"1.2.{sum(map(ord, patient))}",
            "0008|0018": f"1.2.3.4.{sum(map(ord, patient + series))}.{k}",
            "0008|0060": modality,
            "0020|0032": f"0\\0\\{k * 8}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0020|0013": str(k + 1),
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / (names[k] if names else f"IM{k:04d}.dcm")))
        writer.Execute(image)


def errors(cohort: Cohort) -> dict[str, str]:
    return {problem.where: problem.message for problem in cohort.problems}


# ------------------------------------------------------------------------------------------------ layouts


@pytest.mark.parametrize("below", ["", "training", "Größe und Platz"])
def test_acdc(tmp_path, below):
    root = tmp_path / below if below != "training" else tmp_path
    written = acdc(root / ("training" if below == "training" else ""))
    cohort = discover(root)
    assert (cohort.layout, cohort.problems) == ("acdc", ())
    assert [v.id for v in cohort.volumes] == list(written)
    assert {v.patient for v in cohort.volumes} == {"patient002", "patient010"}
    assert all((v.axis, v.slice_count, v.plane_shape) == (2, 4, (6, 5)) for v in cohort.volumes)
    volume = cohort.volumes[0]
    assert np.array_equal(read_image(cohort, volume)[0], written[volume.id])
    assert np.array_equal(read_labels(cohort, volume, AnnotationKind.MASK), labels(2))
    scribble = labels(2, top=4)
    assert np.array_equal(read_labels(cohort, volume, AnnotationKind.SCRIBBLE), np.where(scribble == 4, 255, scribble))
    assert cohort.labels == {1: "RV", 2: "MYO", 3: "LV"}


def test_decathlon(tmp_path):
    for n in (2, 10):
        save(tmp_path / "imagesTr" / f"case_{n}.nii.gz", pixels(n), spacing=(1, 1, 1))
        save(tmp_path / "labelsTr" / f"case_{n}.nii.gz", labels(n), spacing=(1, 1, 1))
    save(tmp_path / "imagesTs" / "case_11.nii.gz", pixels(11), spacing=(1, 1, 1))
    description = {
        "labels": {"0": "background", "1": "one", "2": "two"},
        "training": [{"image": f"./imagesTr/case_{n}.nii.gz", "label": f"./labelsTr/case_{n}.nii.gz"} for n in (10, 2)],
        "test": ["./imagesTs/case_11.nii.gz"],
    }
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    cohort = discover(tmp_path)
    assert cohort.layout == "msd"
    assert [(v.id, v.axis, v.mask is not None) for v in cohort.volumes] == [
        ("case_2", 2, True),
        ("case_10", 2, True),
        ("case_11", 2, False),
    ]
    assert cohort.labels == {1: "one", 2: "two"}


def test_nnunet_with_two_channels_and_ignore(tmp_path):
    for channel in (0, 1):
        save(tmp_path / "imagesTr" / f"a_{channel:04d}.nii.gz", pixels(channel))
        if channel == 0:
            save(tmp_path / "imagesTr" / "b_0000.nii.gz", pixels(5))
    save(tmp_path / "labelsTr" / "a.nii.gz", labels(1))
    names = {"background": 0, "organ": 1, "other": 2, "ignore": 3}
    description = {"channel_names": {"0": "T1", "1": "T2"}, "labels": names, "file_ending": ".nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    cohort = discover(tmp_path)
    assert cohort.layout == "nnunet"
    assert [v.id for v in cohort.volumes] == ["a"]
    assert "1 of 2" in errors(cohort)["b"]
    image = read_image(cohort, cohort.volumes[0])
    assert np.array_equal(image, np.stack([pixels(0), pixels(1)]))
    expected = np.where(labels(1) == 3, 255, labels(1))
    assert np.array_equal(read_labels(cohort, cohort.volumes[0], AnnotationKind.MASK), expected)


def test_promise12(tmp_path):
    for n in (0, 1):
        save(tmp_path / f"Case{n:02d}.mhd", pixels(n))
    save(tmp_path / "Case00_segmentation.mhd", labels(0, top=1))
    cohort = discover(tmp_path)
    assert (cohort.layout, cohort.problems) == ("promise12", ())
    assert [(v.id, v.mask is not None) for v in cohort.volumes] == [("Case00", True), ("Case01", False)]


def test_mscmr_maps_the_official_values(tmp_path):
    stored = np.array([0, 600, 200, 500], dtype=np.int16)[labels(1)]  # 500 is the left ventricle
    save(tmp_path / "subject1_LGE.nii.gz", pixels(1))
    save(tmp_path / "subject1_LGE_manual.nii.gz", stored)
    save(tmp_path / "test" / "subject2_LGE.nii.gz", pixels(2))
    save(tmp_path / "scribbles" / "subject1_LGE_scribble.nii.gz", labels(3, top=4))
    cohort = discover(tmp_path)
    assert cohort.layout == "mscmr"
    assert [(v.id, v.role) for v in cohort.volumes] == [("subject1_LGE", Role.POOL), ("subject2_LGE", Role.TEST)]
    volume = cohort.volumes[0]
    assert np.array_equal(read_labels(cohort, volume, AnnotationKind.MASK), labels(1))
    scribble = read_labels(cohort, volume, AnnotationKind.SCRIBBLE)
    assert set(np.unique(scribble)) == {0, 1, 2, 3, 255}
    assert cohort.labels == {1: "RV", 2: "MYO", 3: "LV"}


def test_davis(tmp_path):
    for video in ("bear", "swan"):
        for frame in range(3):
            color = (
                np.random.default_rng(frame + len(video) * ord(video[0])).integers(0, 255, (8, 10, 3)).astype(np.uint8)
            )
            folder = tmp_path / "JPEGImages" / "480p" / video
            folder.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(sitk.GetImageFromArray(color, isVector=True), str(folder / f"{frame:05d}.jpg"))
            save(tmp_path / "Annotations" / "480p" / video / f"{frame:05d}.png", 255 * labels(frame, (8, 10), 1))
    cohort = discover(tmp_path)
    assert (cohort.layout, cohort.problems) == ("davis", ())
    volume = cohort.volumes[0]
    assert (volume.id, volume.axis, volume.components, volume.slice_count) == ("bear", 2, 3, 3)
    assert read_image(cohort, volume).shape == (3, 3, 8, 10)
    mask = read_labels(cohort, volume, AnnotationKind.MASK)
    assert np.array_equal(mask, np.stack([labels(frame, (8, 10), 1) for frame in range(3)]))


def test_dicom_tree_with_two_series_in_a_folder(tmp_path):
    write_dicom(tmp_path / "x" / "y", pixels(1), patient="P1", series="T1", names=[f"a{k}.dcm" for k in range(4)])
    write_dicom(tmp_path / "x" / "y", pixels(2), patient="P1", series="T2", names=[f"b{k}.dcm" for k in range(4)])
    write_dicom(tmp_path / "z", pixels(3), patient="P 2", series="T1")
    (tmp_path / "readme.txt").write_text("hello")
    cohort = discover(tmp_path)
    assert (cohort.layout, cohort.problems) == ("dicom", ())
    assert [v.patient for v in cohort.volumes] == ["P1", "P1", "P 2"] or len(cohort.volumes) == 3
    first = next(v for v in cohort.volumes if v.id.startswith("P1_T1"))
    assert first.geometry.size == (5, 6, 4)
    assert first.geometry.spacing == pytest.approx((1.5, 1.5, 8.0))
    assert np.array_equal(read_image(cohort, first)[0], pixels(1))


def test_dicom_with_a_missing_slice(tmp_path):
    write_dicom(tmp_path / "a", pixels(1, (6, 6, 5)), patient="P1", series="T1")
    write_dicom(tmp_path / "b", pixels(2), patient="P2", series="T1")
    (tmp_path / "a" / "IM0002.dcm").unlink()
    cohort = discover(tmp_path)
    assert [v.patient for v in cohort.volumes] == ["P2"]
    assert any("missing" in message for message in errors(cohort).values())


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_chaos(tmp_path, modality):
    folder = tmp_path / "1" if modality == "CT" else tmp_path / "1" / "T2SPIR"
    names = [f"i{3 - k:04d},0000b.dcm" for k in range(4)]  # names run against the positions
    write_dicom(folder / "DICOM_anon", pixels(1), patient="anon", series="s", modality=modality, names=names)
    values = np.array([0, 255], np.uint8) if modality == "CT" else np.array([0, 63, 126, 189, 252], np.uint8)
    truth = labels(4, top=len(values) - 1)
    for k in range(4):
        save(folder / "Ground" / f"liver_GT_{3 - k:03d}.png", values[truth[k]])
    cohort = discover(tmp_path)
    assert (cohort.layout, cohort.problems) == ("chaos", ())
    volume = cohort.volumes[0]
    assert volume.patient == "1"
    assert np.array_equal(read_image(cohort, volume)[0], pixels(1))
    assert np.array_equal(read_labels(cohort, volume, AnnotationKind.MASK), truth)


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_manifest(tmp_path, suffix):
    save(tmp_path / "i" / "a.nrrd", pixels(1))
    save(tmp_path / "i" / "b.nii.gz", pixels(2))
    save(tmp_path / "m a.nii.gz", labels(1))
    cut = "," if suffix == "csv" else "\t"
    lines = [
        ["Patient", "volume", "image", "mask", "role", "note"],
        ["p1", "a/1", "i/a.nrrd", "m a.nii.gz", "test", "x"],
        ["p2", "b", "i/b.nii.gz;i/a.nrrd", "", "", ""],
        ["p3", "c", "i/none.nii.gz", "", "", ""],
        ["", "d", "i/b.nii.gz", "", "", ""],
        ["p4", "b", "i/b.nii.gz", "", "", ""],
        ["p5", "e", "i/b.nii.gz", "", "teacher", ""],
    ]
    table = tmp_path / f"cohort.{suffix}"
    table.write_text("\n".join(cut.join(line) for line in lines), encoding="utf-8-sig")
    cohort = discover(table)
    assert cohort.layout == "manifest"
    assert [(v.id, v.patient, v.role, len(v.channels)) for v in cohort.volumes] == [
        ("a_1", "p1", Role.TEST, 1),
        ("b", "p2", Role.POOL, 2),
    ]
    found = [problem.message for problem in cohort.problems]
    for row, word in ((4, "none.nii.gz"), (5, "patient"), (6, "row 3"), (7, "teacher")):
        assert any(f"Row {row}" in message and word in message for message in found), found
    assert read_image(cohort, cohort.volumes[1]).shape == (2, 4, 6, 5)


def test_manifest_without_its_columns(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadInput, match="patient, volume, image"):
        discover(tmp_path / "t.csv")


def test_plain_folder(tmp_path):
    save(tmp_path / "p2" / "t1.nii.gz", pixels(1))
    save(tmp_path / "p2" / "t1_seg.nii.gz", labels(1))
    save(tmp_path / "p10" / "t1.nrrd", pixels(2))
    save(tmp_path / "p10" / "t1_scribble.nrrd", np.where(labels(2) == 3, 255, labels(2)).astype(np.uint8))
    save(tmp_path / "p10" / ".hidden.nrrd", pixels(3))
    save(tmp_path / "images" / "x.mha", pixels(4))
    save(tmp_path / "labels" / "x.mha", labels(4))
    cohort = discover(tmp_path)
    assert cohort.layout == "folder"
    assert [(v.patient, v.id) for v in cohort.volumes] == [("p2", "p2_t1"), ("p10", "p10_t1"), ("x", "x")]
    assert [(v.mask is not None, v.scribble is not None) for v in cohort.volumes] == [(1, 0), (0, 1), (1, 0)]
    assert 255 in read_labels(cohort, cohort.volumes[1], AnnotationKind.SCRIBBLE)


def test_patient_from_a_pattern(tmp_path):
    for name in ("s01-v1", "s01-v2", "s02-v1"):
        save(tmp_path / f"{name}.nii.gz", pixels(len(name)))
    cohort = discover(tmp_path, pattern=r"(?P<patient>s\d+)-(?P<volume>.+)")
    assert [(v.patient, v.id) for v in cohort.volumes] == [("s01", "v1"), ("s01", "v2"), ("s02", "v1-2")]
    for wrong in ("(", "no group", r"(?P<patient>x)"):
        with pytest.raises(BadInput, match="pattern"):
            discover(tmp_path, pattern=wrong)


# ------------------------------------------------------------------------------------------------ damage


def test_nothing_to_read(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BadInput, match=path.name):
            discover(path)
    save(tmp_path / "a.nii.gz", pixels())
    with pytest.raises(BadInput, match="nonsense"):
        discover(tmp_path, layout="nonsense")
    with pytest.raises(BadInput, match="axis"):
        discover(tmp_path, axis=3)


def test_damaged_files_are_rows_and_stop_nothing(tmp_path):
    for name in ("good", "copy"):
        save(tmp_path / f"{name}.nii.gz", pixels(1))
    shutil.copy(tmp_path / "good.nii.gz", tmp_path / "copy.nii.gz")
    save(tmp_path / "short.nii", pixels(2, (9, 9, 9)))
    (tmp_path / "short.nii").write_bytes((tmp_path / "short.nii").read_bytes()[:500])
    big = pixels(3, (30, 64, 64))
    save(tmp_path / "shortgz.nii.gz", big)
    content = (tmp_path / "shortgz.nii.gz").read_bytes()
    (tmp_path / "shortgz.nii.gz").write_bytes(content[: len(content) // 2])
    save(tmp_path / "raw.mhd", pixels(4))
    (tmp_path / "raw.raw").write_bytes(b"123")
    (tmp_path / "text.nii.gz").write_bytes(gzip.compress(b"no image"))
    (tmp_path / "empty.nrrd").write_bytes(b"")
    save(tmp_path / "cine.nii.gz", pixels(5, (3, 4, 6, 5)))
    save(tmp_path / "one.nii.gz", pixels(6, (1, 4, 6, 5)))
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((3, 4, 5), np.complex64)), str(tmp_path / "complex.nrrd"))
    cohort = discover(tmp_path)
    assert {v.id for v in cohort.volumes} == {"good", "copy", "one"}
    found = errors(cohort)
    assert set(found) >= {"short", "shortgz", "raw", "text", "empty", "cine", "complex"}
    assert "3 time points" in found["cine"]
    assert "truncated" in found["shortgz"]
    assert "complex" in found["complex"]
    assert [p.severity for p in cohort.problems if "copy" in p.message] == ["warning"]
    assert all(problem.advice for problem in cohort.problems)
    assert read_image(cohort, cohort.volume("one")).shape == (1, 4, 6, 5)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"shape": (4, 6, 4)}, "size"),
        ({"spacing": (1.5, 1.5, 7.0)}, "spacing"),
        ({"direction": FLIPPED}, "orientation"),
    ],
)
def test_labels_of_another_grid_are_left_out(tmp_path, options, word):
    shape = options.pop("shape", (4, 6, 5))
    save(tmp_path / "a.nii.gz", pixels(1))
    save(tmp_path / "a_gt.nii.gz", labels(1, shape), **options)
    cohort = discover(tmp_path)
    assert cohort.volumes[0].mask is None
    assert word in errors(cohort)["a"]
    assert "a_gt.nii.gz" in errors(cohort)["a"]


@pytest.mark.parametrize("value", [1.5, -1, 300, np.nan])
def test_values_that_are_not_labels(tmp_path, value):
    save(tmp_path / "a.nii.gz", pixels(1))
    array = labels(1).astype(np.float32)
    array[1, 2, 3] = value
    save(tmp_path / "a_gt.nrrd", array)
    cohort = discover(tmp_path)
    with pytest.raises(BadInput, match=r"a_gt\.nrrd"):
        read_labels(cohort, cohort.volumes[0], AnnotationKind.MASK)


@pytest.mark.parametrize("suffix", ["nii.gz", "nii", "nrrd", "mha"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_not_numbers(tmp_path, suffix, value):
    array = pixels(1).astype(np.float32)
    array[1, 2, 3] = value
    save(tmp_path / f"a.{suffix}", array)
    cohort = discover(tmp_path)
    with pytest.raises(BadInput, match=f"a.{suffix}.*1 pixel"):
        read_image(cohort, cohort.volumes[0])


def test_files_that_change_after_indexing(tmp_path):
    save(tmp_path / "a.nii.gz", pixels(1))
    save(tmp_path / "b.nii.gz", pixels(2, (30, 64, 64)))
    cohort = discover(tmp_path)
    save(tmp_path / "a.nii.gz", pixels(1, (4, 6, 7)))
    with pytest.raises(BadInput, match=r"a\.nii\.gz.*size"):
        read_image(cohort, cohort.volume("a"))
    content = (tmp_path / "b.nii.gz").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(BadInput, match=r"b\.nii\.gz"):
        read_image(cohort, cohort.volume("b"))


# ------------------------------------------------------------------------------------------------ geometry and roles


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha"])
@pytest.mark.parametrize("direction", [OBLIQUE, FLIPPED])
def test_written_volumes_come_back(tmp_path, suffix, direction):
    geometry = Geometry((5, 6, 4), (1.0, 1.2, 7.5), (-3.0, 2.0, 9.0), direction)
    for name, array in (("i", pixels(1)), ("f", pixels(1).astype(np.float32) / 7), ("l", labels(1))):
        write_volume(tmp_path / f"{name}.{suffix}", array, geometry)
        image = sitk.ReadImage(str(tmp_path / f"{name}.{suffix}"))
        assert np.array_equal(sitk.GetArrayFromImage(image), array)
        assert sitk.GetArrayFromImage(image).dtype == array.dtype
    write_volume(tmp_path / f"v.{suffix}", np.stack([pixels(1), pixels(2)]), geometry)
    assert sitk.ReadImage(str(tmp_path / f"v.{suffix}")).GetNumberOfComponentsPerPixel() == 2
    write_label_map(tmp_path / f"m.{suffix}", labels(2), geometry)
    assert np.array_equal(read_label_map(tmp_path / f"m.{suffix}", geometry), labels(2))
    cohort = discover(tmp_path / f"i.{suffix}")
    assert cohort.volumes[0].geometry.difference(geometry) is None


def test_axis_of_acquisition_or_as_given(tmp_path):
    save(tmp_path / "sagittal.nii.gz", pixels(1), spacing=(5.0, 1.0, 1.0))
    assert discover(tmp_path).volumes[0].axis == 0
    assert discover(tmp_path, axis=1).volumes[0].axis == 1


def test_ids_are_safe_and_different(tmp_path):
    for name in ("a:b", "A?B", "con"):
        save(tmp_path / name / "x.nii.gz", pixels(len(name)))
    ids = [volume.id.casefold() for volume in discover(tmp_path).volumes]
    assert len(set(ids)) == 3
    assert not any(character in name for name in ids for character in ':?/\\ "')


def test_cohort_survives_json(tmp_path):
    acdc(tmp_path)
    cohort = discover(tmp_path)
    assert Cohort.from_json(json.loads(json.dumps(cohort.to_json())), cohort.root) == cohort


def test_roles(tmp_path):
    acdc(tmp_path, patients=(1, 2, 3))
    cohort = discover(tmp_path)
    (tmp_path / "split.json").write_text(json.dumps({"train": ["patient001"], "test": ["patient003"]}))
    split = with_roles(cohort, read_split(tmp_path / "split.json"))
    assert {(v.patient, v.role) for v in split.volumes} == {("patient001", Role.POOL), ("patient003", Role.TEST)}
    rest = with_roles(cohort, {Role.TEST: ("patient002",)})
    assert [v.role for v in rest.volumes].count(Role.POOL) == 4
    with pytest.raises(BadInput, match="unknown"):
        with_roles(cohort, {Role.TEST: ("unknown",)})
    with pytest.raises(BadInput, match="two parts"):
        with_roles(cohort, {Role.POOL: ("patient001_frame01",), Role.TEST: ("patient001_frame12",)})
    for wrong in ("[]", '{"a": []}', '{"train": "x"}', "{"):
        (tmp_path / "split.json").write_text(wrong)
        with pytest.raises(BadInput, match=r"split\.json"):
            read_split(tmp_path / "split.json")


@pytest.mark.real_data
def test_real_cohorts(real_data):
    hippocampus = discover(real_data / "hippocampus")
    assert (hippocampus.layout, len(hippocampus.volumes), hippocampus.problems) == ("msd", 204, ())
    heart = discover(real_data / "acdc")
    assert (heart.layout, len(heart.volumes), heart.problems) == ("acdc", 80, ())
    assert len({v.patient for v in heart.volumes}) == 40
    assert all(v.mask and v.scribble and v.scribble.ignore_label == 4 and v.axis == 2 for v in heart.volumes)
    for cohort in (hippocampus, heart):
        split = with_roles(cohort, read_split(cohort.root / "split.json"))
        assert {v.role for v in split.volumes} == set(Role)
        assert len(split.volumes) == len(cohort.volumes)
