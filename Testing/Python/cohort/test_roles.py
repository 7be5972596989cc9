"""Test and validation parts that a layout names, and label names checked against anatomy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cohort_files import save_array, save_image

from ActiveSegmentationLib.cohort import Role, discover, split_text, with_roles
from ActiveSegmentationLib.cohort.anatomy import share_inside
from ActiveSegmentationLib.cohort.roles import role_of_folder


def heart(lv: int = 3, rv: int = 1, myo: int = 2) -> np.ndarray:
    """(3, 60, 60) label values of a short-axis heart: a ring of muscle around the left ventricle, next to the right."""
    j, i = np.mgrid[:60, :60]
    planes = []
    for radius in (8, 10, 9):
        distance = np.hypot(j - 32, i - 34)
        plane = np.where(np.hypot((j - 30) / 1.4, i - 18) < 9, rv, 0)
        plane[distance < radius + 5] = myo
        plane[distance < radius] = lv
        planes.append(plane)
    return np.array(planes)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("TestSet", Role.TEST),
        ("testing", Role.TEST),
        ("imagesTs", Role.TEST),
        ("labelsTs", Role.TEST),
        ("test_images", Role.TEST),
        ("imagesVa", Role.VALIDATION),
        ("Validation-Data", Role.VALIDATION),
        ("val", Role.VALIDATION),
        ("imagesTr", Role.POOL),
        ("TrainingSet", Role.POOL),
        ("test_patient_3", None),
        ("patient01", None),
        ("latest", None),
        ("test01", None),
    ],
)
def test_names_of_folders(name, role):
    assert role_of_folder(name) == role


def test_mscmr_test_set_and_names(tmp_path):
    save_image(tmp_path / "train" / "images" / "subject1_DE.nii.gz", 1, (3, 60, 60))
    save_array(tmp_path / "train" / "labels" / "subject1_DE_scribble.nii.gz", heart().astype(np.uint8))
    save_image(tmp_path / "TestSet" / "images" / "subject7_DE.nii.gz", 2, (3, 60, 60))
    save_array(tmp_path / "TestSet" / "labels" / "subject7_DE_seg.nii.gz", heart().astype(np.uint8))
    cohort = discover(tmp_path)
    assert (cohort.layout, cohort.problems) == ("mscmr", ())
    assert [(v.id, v.role, v.mask is not None) for v in cohort.volumes] == [
        ("subject1_DE", Role.POOL, False),
        ("subject7_DE", Role.TEST, True),
    ]
    assert cohort.labels[3] == "LV"


@pytest.mark.parametrize("swapped", [False, True])
def test_swapped_ventricles_are_reported(tmp_path, swapped):
    values = {"lv": 1, "rv": 3} if swapped else {"lv": 3, "rv": 1}
    save_image(tmp_path / "subject1_LGE.nii.gz", 1, (3, 60, 60))
    save_array(tmp_path / "subject1_LGE_manual.nii.gz", heart(**values).astype(np.uint8))
    problems = discover(tmp_path).problems
    assert bool(problems) == swapped
    if swapped:
        assert "swapped" in problems[0].message
        assert "--labels 1=LV,2=MYO,3=RV" in problems[0].advice


def test_official_values_name_the_left_ventricle(tmp_path):
    save_image(tmp_path / "subject1_C0.nii.gz", 1, (3, 60, 60))
    save_array(tmp_path / "subject1_C0_manual.nii.gz", heart(lv=500, rv=600, myo=200).astype(np.int16))
    assert discover(tmp_path).problems == ()


def test_share_inside_counts_the_border_alone():
    labels = heart()
    assert share_inside(labels, 3, 2) == 1.0
    assert 0 < share_inside(labels, 1, 2) < 0.5
    assert np.isnan(share_inside(labels, 9, 2))


def acdc(root: Path, part: str, patient: int) -> None:
    name = f"patient{patient:03d}"
    save_image(root / part / name / f"{name}_frame01.nii.gz", patient)
    save_image(root / part / name / f"{name}_4d.nii.gz", patient, (2, *(3, 12, 10)))


def test_official_test_parts_stay_out_of_the_pool(tmp_path):
    acdc(tmp_path, "database/training", 1)
    acdc(tmp_path, "database/training", 2)
    acdc(tmp_path, "database/testing", 101)
    cohort = discover(tmp_path)
    assert (cohort.layout, cohort.problems) == ("acdc", ())
    assert [v.role for v in cohort.volumes] == [Role.POOL, Role.POOL, Role.TEST]
    line = split_text(cohort)
    assert "2 volumes of 2 patients" in line
    assert "1 volume of 1 patient for testing" in line
    assert "layout acdc says" in line
    held_back = with_roles(cohort, {Role.VALIDATION: ("patient002",)})
    assert [v.role for v in held_back.volumes] == [Role.POOL, Role.VALIDATION, Role.TEST]


def test_a_name_in_two_parts_is_reported(tmp_path):
    acdc(tmp_path, "training", 1)
    acdc(tmp_path, "testing", 1)
    (problem,) = (p for p in discover(tmp_path).problems if "several parts" in p.message)
    assert problem.where == "patient001"


@pytest.mark.real_data
def test_names_of_acdc_fit_its_masks(real_data):
    assert not [p for p in discover(real_data / "acdc").problems if p.where == "labels"]


def test_parts_of_promise12_and_labels_without_case(tmp_path):
    save_image(tmp_path / "training" / "Case00.mhd", 1)
    save_array(tmp_path / "training" / "Case00_segmentation.mhd", np.zeros((3, 12, 10), np.uint8))
    save_image(tmp_path / "test" / "Case30.mhd", 2)
    save_array(tmp_path / "test" / "Case31_segmentation.mhd", np.zeros((3, 12, 10), np.uint8))
    cohort = discover(tmp_path)
    assert cohort.layout == "promise12"
    assert [(v.id, v.role, v.mask is not None) for v in cohort.volumes] == [
        ("Case00", Role.POOL, True),
        ("Case30", Role.TEST, False),
    ]
    assert [problem.where for problem in cohort.problems] == ["test/Case31_segmentation.mhd"]


@pytest.mark.parametrize("names", [("Case01.mhd", "Case01_seg.mhd"), ("subject1_T2.nii.gz", "subject1_T2_seg.nii.gz")])
def test_other_cohorts_with_such_names_are_plain(tmp_path, names):
    save_image(tmp_path / names[0], 1)
    save_array(tmp_path / names[1], np.zeros((3, 12, 10), np.uint8))
    cohort = discover(tmp_path)
    assert (cohort.layout, cohort.labels, cohort.problems) == ("folder", {}, ())
    assert cohort.volumes[0].mask is not None


@pytest.mark.parametrize("line", ["{0}", "/JPEGImages/480p/{0}/00000.png /Annotations/480p/{0}/00000.png"])
def test_parts_of_davis(tmp_path, line):
    for n, video in enumerate(("bear", "swan", "goat")):
        for frame in range(2):
            file = tmp_path / "JPEGImages" / "480p" / video / f"{frame:05d}.png"
            save_array(file, np.full((8, 9), 10 * n + frame, np.uint8), (1, 1))
    lists = tmp_path / "ImageSets" / "2017"
    lists.mkdir(parents=True)
    for name, video in (("train", "bear"), ("val", "swan"), ("test-dev", "goat")):
        (lists / f"{name}.txt").write_text(line.format(video) + "\n\n")
    roles = {volume.id: volume.role for volume in discover(tmp_path).volumes}
    assert roles == {"bear": Role.POOL, "swan": Role.VALIDATION, "goat": Role.TEST}


def test_a_table_in_the_folder_is_reported(tmp_path):
    save_image(tmp_path / "imagesTr" / "a.nii.gz", 1)
    save_image(tmp_path / "imagesTr" / "b.nii.gz", 2)
    lines = ["patient,volume,image,role", "a,a,imagesTr/a.nii.gz,train", "b,b,imagesTr/b.nii.gz,test"]
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    (tmp_path / "ages.csv").write_text("patient,age\na,40\n")
    (tmp_path / "dataset.json").write_text(
        '{"labels": {"1": "wall"}, "training": ["imagesTr/a.nii.gz", "imagesTr/b.nii.gz"]}'
    )
    folder, table = discover(tmp_path), discover(tmp_path / "manifest.csv")
    (problem,) = folder.problems
    assert (folder.layout, problem.where, problem.severity) == ("msd", "manifest.csv", "warning")
    assert "names 2 volumes, 1 of them for validation or test" in problem.message
    assert [volume.role for volume in table.volumes] == [Role.POOL, Role.TEST]
    assert table.labels == folder.labels == {1: "wall"}
