"""Plain folders: labels are matched to images, no label is taken for an image, patients are kept apart."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from cohort_files import SHAPE, save_array, save_image, save_labels

from ActiveSegmentationLib.cohort import AnnotationKind, Cohort, Role, discover, read_image, read_labels, with_roles
from ActiveSegmentationLib.cohort.layouts import matching
from ActiveSegmentationLib.cohort.layouts.patients import Place, patient_in, patients_of
from ActiveSegmentationLib.common.errors import BadInput


def write(root: Path, *names: str) -> None:
    """Image files; those with ":" before their name are label maps."""
    for number, name in enumerate(names):
        path = root / name.lstrip(":")
        _ = save_labels(path) if name.startswith(":") else save_image(path, number)


def masks(cohort: Cohort) -> dict[str, str | None]:
    """Label file of each image, both by path."""
    return {v.channels[0].paths[0]: v.mask.source.paths[0] if v.mask else None for v in cohort.volumes}


LAYOUTS = {
    "kits": {"case_00000/imaging.nii.gz": "case_00000/segmentation.nii.gz"},
    "lits": {"volume-0.nii": "segmentation-0.nii", "volume-10.nii": "segmentation-10.nii"},
    "btcv": {"img/img0001.nii.gz": "label/label0001.nii.gz", "img/img0002.nii.gz": "label/label0002.nii.gz"},
    "pairs": {"p0/image.nii.gz": "p0/label.nii.gz", "p1/image.nii.gz": "p1/label.nii.gz"},
    "suffix": {"p0_image.nii.gz": "p0_label.nii.gz", "p1_image.nii.gz": "p1_label.nii.gz"},
    "dashes": {"p0-ct.nrrd": "p0-seg.nrrd", "p1-ct.nrrd": "p1-seg.nrrd"},
    "prefix": {"ct_train_1001_image.nii.gz": "ct_train_1001_label.nii.gz"},
    "camel": {"p0Image.mha": "p0LiverMask.mha"},
    "capitals": {"images/p0.nii.gz": "Labels/p0.nii.gz", "images/p1.nii.gz": "Labels/p1.nii.gz"},
    "suffixed folders": {"train_images/a1.nii.gz": "train_masks/a1.nii.gz"},
    "raw": {"imagesTr/p0_0000.nii.gz": "labelsTr/p0.nii.gz", "imagesTs/p7_0000.nii.gz": "labelsTs/p7.nii.gz"},
    "modalities": {"CT/p0.nii.gz": "CT/masks/p0.nii.gz", "MR/p0.nii.gz": "MR/masks/p0.nii.gz"},
    "sites": {"siteA/images/1.nii.gz": "siteA/GT/1.nii.gz", "siteB/images/1.nii.gz": "siteB/GT/1.nii.gz"},
    "parallel": {"p0/t1.nii.gz": "labels/p0_t1_seg.nii.gz", "p1/t1.nii.gz": "labels/p1.nii.gz"},
    "deeper": {"p0/t1.nii.gz": "p0/by_smith/seg.nii.gz", "p1/t1.nii.gz": "p1/by_smith/seg.nii.gz"},
    "slicer": {"p0/t1.nrrd": "p0/Segmentation.seg.nrrd", "p1/t1.nrrd": "p1/anything.seg.nrrd"},
    "bids": {"sub-01/anat/sub-01_T1w.nii.gz": "derivatives/manual/sub-01/anat/sub-01_T1w_seg.nii.gz"},
    "bids dseg": {"sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz": "derivatives/x/sub-01/ses-1/sub-01_ses-1_dseg.nii.gz"},
    "bids mask": {"sub-01/anat/sub-01_T1w.nii.gz": "sub-01/anat/sub-01_space-T1w_label-L_desc-T1lesion_mask.nii.gz"},
    "cases": {
        "images/case_0000.nii.gz": "labels/case_0000.nii.gz",
        "images/case_0001.nii.gz": "labels/case_0001.nii.gz",
    },
    "one structure": {"s0/ct.nii.gz": "s0/segmentations/liver.nii.gz", "s1/ct.nii.gz": "s1/segmentations/liver.nii.gz"},
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_labels_find_their_image(tmp_path, name):
    expected = LAYOUTS[name]
    write(tmp_path, *expected, *(f":{label}" for label in expected.values()))
    cohort = discover(tmp_path, layout="folder")
    assert cohort.problems == ()
    assert masks(cohort) == expected


def test_readers_and_findings_are_labels(tmp_path):
    write(tmp_path, "020/t2.nii.gz", ":020/t2_anatomy_reader1.nii.gz", "p1/ct.nii.gz", ":p1/tumor.nii.gz")
    write(tmp_path, "sub-1/ses-2/dwi/sub-1_ses-2_dwi.nii.gz", ":derivatives/sub-1/ses-2/sub-1_ses-2_msk.nii.gz")
    cohort = discover(tmp_path)
    assert [(v.id, v.mask is not None) for v in cohort.volumes] == [
        ("020_t2", True),
        ("p1", True),
        ("sub-1_ses-2_dwi", True),
    ]


def test_images_computed_from_others_are_not_annotated_again(tmp_path):
    raw, derived = "sub-1/anat/sub-1_T1w.nii.gz", "derivatives/prep/sub-1/anat/sub-1_desc-preproc_T1w.nii.gz"
    write(tmp_path, raw, derived, ":derivatives/manual/sub-1/anat/sub-1_label-lesion_mask.nii.gz")
    cohort = discover(tmp_path)
    assert list(masks(cohort)) == [raw]
    assert [(problem.where, problem.message[:23]) for problem in cohort.problems] == [
        ("derivatives", "1 images in derivatives")
    ]
    assert list(masks(discover(tmp_path / "derivatives"))) == [derived.removeprefix("derivatives/")]
    write(tmp_path, ":" + derived.replace("T1w", "dseg"))
    assert sorted(masks(discover(tmp_path))) == sorted([raw, derived])


def test_official_parts_keep_their_role(tmp_path):
    write(tmp_path, "imagesTr/p0_0000.nii.gz", ":labelsTr/p0.nii.gz", "imagesTs/p7_0000.nii.gz", "val/images/p3.nii.gz")
    roles = {volume.id: volume.role for volume in discover(tmp_path).volumes}
    assert roles == {"p0": Role.POOL, "p7": Role.TEST, "p3": Role.VALIDATION}


@pytest.mark.parametrize(
    "name",
    [
        "lost_seg.nii.gz",
        "masks/lost.nii.gz",
        "segmentation-9.nii.gz",
        "p8/label.nii.gz",
        "x.seg.nrrd",
        "GT_final/q.nrrd",
    ],
)
def test_labels_without_image_are_problems_and_never_images(tmp_path, name):
    write(tmp_path, "p1.nii.gz", "p2.nii.gz", f":{name}")
    cohort = discover(tmp_path, layout="folder")
    assert sorted(masks(cohort)) == ["p1.nii.gz", "p2.nii.gz"]
    assert [(problem.where, "does not belong" in problem.message) for problem in cohort.problems] == [(name, True)]


def test_the_same_name_in_two_parts_is_reported(tmp_path):
    write(tmp_path, "imagesTr/p0.nii.gz", "imagesTs/p0.nii.gz", ":labelsTs/p0.nii.gz", ":labelsTr/p0.nii.gz")
    cohort = discover(tmp_path)
    assert masks(cohort)["imagesTs/p0.nii.gz"] == "labelsTs/p0.nii.gz"
    assert ["several parts" in problem.message for problem in cohort.problems] == [True]


def test_labels_alone_are_not_a_cohort(tmp_path):
    write(tmp_path, ":labels/p1.nii.gz", ":labels/p2.nii.gz")
    cohort = discover(tmp_path)
    assert (cohort.volumes, len(cohort.problems)) == ((), 2)


def test_labels_that_fit_several_images_are_reported(tmp_path):
    write(tmp_path, "p1/a7.nii.gz", "p1/b8.nii.gz", ":p1/segmentation.nii.gz")
    cohort = discover(tmp_path)
    assert set(masks(cohort).values()) == {None}
    (problem,) = cohort.problems
    assert "fits several images: p1/a7.nii.gz, p1/b8.nii.gz" in problem.message


def test_of_several_images_the_one_of_the_labels_grid(tmp_path):
    write(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", ":sub-01/anat/sub-01_dseg.nii.gz")
    save_image(tmp_path / "sub-01" / "anat" / "sub-01_T2w.nii.gz", 5, (4, 9, 8))
    cohort = discover(tmp_path)
    assert cohort.problems == ()
    assert masks(cohort)["sub-01/anat/sub-01_T1w.nii.gz"] == "sub-01/anat/sub-01_dseg.nii.gz"
    assert {volume.patient for volume in cohort.volumes} == {"sub-01"}


def test_each_header_is_read_once_to_find_the_grid(tmp_path, monkeypatch):
    write(tmp_path, *(f"site/images/a{n}x.nii.gz" for n in range(6)), *(f":site/labels/b{n}y.nii.gz" for n in range(6)))
    read: list[Path] = []
    original = matching.read_header
    monkeypatch.setattr(matching, "read_header", lambda path: (read.append(path), original(path))[1])
    assert all("fits several images" in problem.message for problem in discover(tmp_path).problems)
    assert len(read) == len(set(read)) == 12


def test_several_label_files_of_one_image_are_reported(tmp_path):
    write(tmp_path, "p1.nii.gz", ":p1_seg.nii.gz", ":labels/p1.nii.gz", "p2.nii.gz")
    write(tmp_path, ":p2_seg_rater1.nii.gz", ":p2_seg_rater2.nii.gz")
    cohort = discover(tmp_path)
    assert masks(cohort) == {"p1.nii.gz": None, "p2.nii.gz": None}
    assert {p.where: p.message for p in cohort.problems} == {
        "p1": "2 label files belong to the image: p1.nii.gz, p1_seg.nii.gz.",
        "p2": "2 label files belong to the image: p2_seg_rater1.nii.gz, p2_seg_rater2.nii.gz.",
    }


# --------------------------------------------------------------------------------------------- channels, structures


RATERS = [f"segmentations/kidney_instance-1_annotation-{number}.nii.gz" for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("others", "used"),
    [
        ((), None),
        (("aggregated_AND_seg.nii.gz", "aggregated_OR_seg.nii.gz"), None),
        (("aggregated_AND_seg.nii.gz", "aggregated_MAJ_seg.nii.gz"), "c1/aggregated_MAJ_seg.nii.gz"),
    ],
)
def test_several_raters_of_a_structure_are_not_merged(tmp_path, others, used):
    write(tmp_path, "c1/imaging.nii.gz", *(f":c1/{name}" for name in (*RATERS, *others)))
    cohort = discover(tmp_path)
    assert masks(cohort) == {"c1/imaging.nii.gz": used}
    (problem,) = cohort.problems
    assert f"{len(RATERS) + len(others)} label files" in problem.message
    assert problem.severity == ("error" if used is None else "warning")


def test_numbered_structures_are_put_together(tmp_path):
    names = ["rib_left_1", "rib_left_2", "vertebrae_L1"]
    write(tmp_path, "s1/ct.nii.gz")
    for number, name in enumerate(names):
        labels = np.zeros(SHAPE, np.uint8)
        labels[number] = 1
        save_array(tmp_path / f"s1/segmentations/{name}.nii.gz", labels)
    assert discover(tmp_path).labels == {1: "rib_left_1", 2: "rib_left_2", 3: "vertebrae_l1"}


@pytest.mark.parametrize("style", ["BraTS_{0:03}/BraTS_{0:03}_{1}.nii.gz", "c{0}-{1}.nii.gz", "p{0}/{1}.nii.gz"])
def test_sequences_with_one_label_are_channels(tmp_path, style):
    sequences = ("flair", "t1", "t1ce", "t2")
    written = {}
    for n in range(3):
        for m, sequence in enumerate(sequences):
            written[n, sequence] = save_image(tmp_path / style.format(n, sequence), 10 * n + m)
        if n < 2:
            save_labels(tmp_path / style.format(n, "seg"))
    (tmp_path / style.format(1, "t2")).unlink()
    cohort = discover(tmp_path)
    assert [len(volume.channels) for volume in cohort.volumes] == [4, 4]
    assert [volume.mask is not None for volume in cohort.volumes] == [True, False]
    assert np.array_equal(read_image(cohort, cohort.volumes[0]), [written[0, sequence] for sequence in sequences])
    (problem,) = cohort.problems
    assert "3 of 4 channels" in problem.message


def test_sequences_of_different_grids_are_images_of_their_own(tmp_path):
    for n in range(2):
        write(tmp_path, f"p{n}/t1.nii.gz", f":p{n}/seg.nii.gz")
        save_image(tmp_path / f"p{n}" / "t2.nii.gz", n + 7, (4, 9, 8))
    save_image(tmp_path / "p1" / "t1.nii.gz", 9)
    cohort = discover(tmp_path)
    assert cohort.problems == ()
    assert [(v.patient, v.mask is not None) for v in cohort.volumes] == [
        ("p0", True),
        ("p0", False),
        ("p1", True),
        ("p1", False),
    ]


def save_structure(path: Path, start: int, stop: int, value: int = 1) -> None:
    array = np.zeros(SHAPE, np.uint8)
    array[:, start:stop] = value
    save_array(path, array)


def test_a_file_a_structure(tmp_path):
    for n, names in enumerate((("liver", "spleen", "kidney_left"), ("spleen", "kidney_left"))):
        save_image(tmp_path / f"s{n}" / "ct.nii.gz", n)
        for number, name in enumerate(names):
            save_structure(tmp_path / f"s{n}" / "segmentations" / f"{name}.nii.gz", 3 * number, 3 * number + 2, 255)
    cohort = discover(tmp_path)
    (problem,) = cohort.problems
    assert "merged: 1 kidney_left, 2 liver, 3 spleen" in problem.message
    assert cohort.labels == {1: "kidney_left", 2: "liver", 3: "spleen"}
    first, second = (read_labels(cohort, volume, AnnotationKind.MASK) for volume in cohort.volumes)
    assert [first[0, row, 0] for row in (0, 3, 6, 9)] == [2, 3, 1, 0]
    assert [second[0, row, 0] for row in (0, 3, 6)] == [3, 1, 0]
    assert Cohort.from_json(cohort.to_json(), cohort.root) == cohort


@pytest.mark.parametrize("fault", ["overlap", "values", "grid"])
def test_structures_that_cannot_be_put_together(tmp_path, fault):
    save_image(tmp_path / "s0" / "ct.nii.gz")
    folder = tmp_path / "s0" / "segmentations"
    save_structure(folder / "liver.nii.gz", 0, 4)
    save_structure(folder / "spleen.nii.gz", 3 if fault == "overlap" else 5, 7)
    if fault == "values":
        save_labels(folder / "spleen.nii.gz", top=2)
    if fault == "grid":
        save_labels(folder / "spleen.nii.gz", shape=(3, 12, 11))
        (problem,) = (found for found in discover(tmp_path).problems if found.severity == "error")
        assert "spleen.nii.gz" in problem.message
        return
    cohort = discover(tmp_path)
    with pytest.raises(BadInput, match=r"spleen\.nii\.gz.*(overlaps liver|several values)"):
        read_labels(cohort, cohort.volumes[0], AnnotationKind.MASK)


# ----------------------------------------------------------------------------------------------------------- patients


@pytest.mark.parametrize(
    ("stem", "patient"),
    [
        ("p01_visit1", "p01"),
        ("p01_visit_2_T1", "p01"),
        ("patient001_frame12", "patient001"),
        ("sub-01_ses-2_run-1_T1w", "sub-01"),
        ("case_0000", "case_0000"),
        ("volume-10", "volume-10"),
        ("mri_scan1", "mri_scan1"),
        ("7_ct", "7"),
        ("MR_7", "MR_7"),
        ("T1", "T1"),
        ("knee 3 left", "knee 3"),
        ("Müller_pre", "Müller"),
        ("amos_0001", "amos_0001"),
        ("scan_20200101", "scan_20200101"),
        ("p3_20200101", "p3"),
    ],
)
def test_the_patient_in_a_name(stem, patient):
    assert patient_in(stem) == patient


@pytest.mark.parametrize(
    ("paths", "patients"),
    [
        (["p1/t1", "p1/t2", "p2/t1"], ["p1", "p1", "p2"]),
        (["siteA/p1", "siteA/p2", "siteB/p3"], ["p1", "p2", "p3"]),
        (["site1/p1", "site2/p1"], ["site1/p1", "site2/p1"]),
        (["Philips/a1", "Philips/a2", "GE/a3"], ["a1", "a2", "a3"]),
        (["p1/ses-1/t1", "p1/ses-2/t1", "p2/ses-1/t1"], ["p1", "p1", "p2"]),
        (["sub-01/ses-1/sub-01_ses-1_T1w", "sub-02/ses-1/sub-02_ses-1_T1w"], ["sub-01", "sub-02"]),
        (["case_1/imaging", "case_2/imaging"], ["case_1", "case_2"]),
        (["p1/001", "p1/002", "p2/001", "p2/002"], ["p1", "p1", "p2", "p2"]),
        (["p1/export/a", "p2/export/a"], ["p1", "p2"]),
        (["a/1/x", "b/1/x"], ["a/1", "b/1"]),
        (["p1_ed", "p1_es", "p2_ed"], ["p1", "p1", "p2"]),
    ],
)
def test_patients_of_folders(paths, patients):
    places = [Place(tuple(path.split("/")[:-1]), path.split("/")[-1]) for path in paths]
    assert patients_of(places) == patients


def test_accented_letters_of_two_systems(tmp_path):
    one, two = (unicodedata.normalize(form, "Jürgen") for form in ("NFC", "NFD"))
    write(tmp_path, f"images/{two}.nii.gz", f":labels/{one}.nii.gz", f"images/{one}2.nii.gz")
    cohort = discover(tmp_path)
    assert masks(cohort)[f"images/{two}.nii.gz"] == f"labels/{one}.nii.gz"
    split = with_roles(cohort, {Role.TEST: (one,), Role.POOL: (f"{two}2",)})
    assert {unicodedata.normalize("NFC", v.patient): v.role for v in split.volumes} == {
        one: Role.TEST,
        f"{one}2": Role.POOL,
    }
    (tmp_path / "t.csv").write_text(f"patient,volume,image\n1,1,images/{one}.nii.gz\n", encoding="utf-8")
    assert discover(tmp_path / "t.csv").problems == ()


def test_suffixes_in_any_case(tmp_path):
    names = ["A.NII.GZ", "b.Nii.gz", "c.nii.GZ", "d.NII", "e.Nii", "f.MHA", "g.Mha", "h.NRRD", "i.Nrrd"]
    written = {name[0].lower(): save_image(tmp_path / name, n) for n, name in enumerate(names)}
    cohort = discover(tmp_path)
    assert cohort.problems == ()
    assert {v.id.lower(): read_image(cohort, v)[0].tolist() for v in cohort.volumes} == {
        name: array.tolist() for name, array in written.items()
    }
