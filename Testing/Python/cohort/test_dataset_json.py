"""Every form of dataset.json in use: read with its names, or refused naming the field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from cohort_files import save_array, save_image, save_labels

from ActiveSegmentationLib.cohort import AnnotationKind, Cohort, Role, discover, read_image, read_labels
from ActiveSegmentationLib.cohort.layouts.label_table import label_table
from ActiveSegmentationLib.common.errors import BadInput

PLAIN = {"background": 0, "wall": 1, "pool": 2}


def describe(root: Path, encoding: str = "utf-8", **fields: Any) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.json").write_bytes(json.dumps(fields, ensure_ascii=False).encode(encoding))


def errors(cohort: Cohort) -> dict[str, str]:
    return {problem.where: problem.message for problem in cohort.problems if problem.severity == "error"}


def warnings(cohort: Cohort) -> list[str]:
    return [problem.message for problem in cohort.problems if problem.severity == "warning"]


def decathlon(root: Path, cases=(1, 2), held=(7,), **fields: Any) -> None:
    for n in cases:
        save_image(root / "imagesTr" / f"case_{n}.nii.gz", n)
        save_labels(root / "labelsTr" / f"case_{n}.nii.gz")
    for n in held:
        save_image(root / "imagesTs" / f"case_{n}.nii.gz", n)
    training = [{"image": f"./imagesTr/case_{n}.nii.gz", "label": f"./labelsTr/case_{n}.nii.gz"} for n in cases]
    listed = {"training": training, "test": [f"./imagesTs/case_{n}.nii.gz" for n in held]}
    describe(root, **({"labels": {"0": "background", "1": "wall", "2": "pool"}} | listed | fields))


def raw(root: Path, cases=("a", "b"), channels=1, suffix=".nii.gz", **fields: Any) -> None:
    for n, case in enumerate(cases):
        for channel in range(channels):
            save_image(root / "imagesTr" / f"{case}_{channel:04d}{suffix}", 10 * n + channel)
        save_labels(root / "labelsTr" / f"{case}{suffix}")
    describe(root, **({"labels": PLAIN, "channel_names": {str(c): f"C{c}" for c in range(channels)}} | fields))


# --------------------------------------------------------------------------------------------------- labels

FORMS = [
    PLAIN,
    {"0": "background", "1": "wall", "2": "pool"},
    {"background": "0", "wall": "1", "pool": "2"},
    {"background": 0, "wall": 1.0, "pool": [2]},
    {"1": "wall", "2": "pool"},
    ["background", "wall", "pool"],
]


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_labels(form):
    assert label_table({"labels": form}, Path("d")).names == {1: "wall", 2: "pool"}


@pytest.mark.parametrize("form", [{"labels": None}, {}, {"labels": {}}, {"labels": []}])
def test_labels_without_names_are_reported(form):
    table = label_table(form, Path("dataset.json"))
    assert table.names == {}
    assert "labels" in table.problems[0].message


@pytest.mark.parametrize(
    ("form", "word"),
    [
        ("wall", "labels"),
        (["wall", "pool"], r"labels\[0\]"),
        ({"background": 0, "wall": "one"}, r"labels\['wall'\]"),
        ({"background": 0, "wall": 1.5}, r"labels\['wall'\]"),
        ({"background": 0, "wall": True}, r"labels\['wall'\]"),
        ({"background": 0, "wall": None}, r"labels\['wall'\]"),
        ({"background": 0, "wall": -1}, r"labels\['wall'\]"),
        ({"background": 0, "wall": []}, r"labels\['wall'\]"),
        ({"background": 0, "wall": [0, 1]}, r"labels\['wall'\]"),
        ({"background": 1, "wall": 2}, r"labels\['background'\]"),
        ({"background": 0, "wall": 1, "pool": 1}, r"labels\['pool'\]"),
        ({"0": "background", "1": None}, r"labels\['1'\]"),
        ({"0": "background", "1": {"name": "wall"}}, r"labels\['1'\]"),
        ({"0": "background", "1": ""}, r"labels\['1'\]"),
        ({"background": 0, "wall": 1, "ignore": [2, 3]}, r"labels\['ignore'\]"),
        ({"background": 0, "wall": 1, "ignore": 1}, r"labels\['ignore'\]"),
    ],
)
def test_other_forms_are_refused_by_field(tmp_path, form, word):
    with pytest.raises(BadInput, match=word) as refused:
        label_table({"labels": form}, tmp_path / "dataset.json")
    assert str(tmp_path / "dataset.json") in str(refused.value)
    assert refused.value.advice


REGIONS = {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing": 3, "ignore": 4}


def test_regions_name_every_value():
    table = label_table({"labels": REGIONS, "regions_class_order": [1, 2, 3]}, Path("dataset.json"))
    assert table.names == {1: "whole tumor without tumor core", 2: "tumor core without enhancing", 3: "enhancing"}
    assert table.ignore == 4
    assert "regions" in table.problems[0].message
    kidney = {"background": 0, "kidney": [1, 2, 3], "masses": [2, 3], "tumor": 2}
    assert label_table({"labels": kidney}, Path("d")).names == {
        1: "kidney without masses",
        2: "tumor",
        3: "masses without tumor",
    }
    told_apart = label_table({"labels": {"background": 0, "organ": [1, 2]}}, Path("d")).names
    assert told_apart == {1: "organ, value 1", 2: "organ, value 2"}


@pytest.mark.parametrize("order", [[1, 2], "1,2,3", [1, 2, 9], [1, 2, "x"]])
def test_an_order_of_regions_that_does_not_fit(order):
    with pytest.raises(BadInput, match="regions_class_order"):
        label_table({"labels": REGIONS, "regions_class_order": order}, Path("d"))


def test_values_above_254_are_labels_of_their_own(tmp_path):
    raw(tmp_path, labels={"background": 0, "wall": 1, "lesion": 255})
    stored = np.array([0, 1, 255])[save_labels(tmp_path / "labelsTr" / "a.nii.gz")].astype(np.uint8)
    save_array(tmp_path / "labelsTr" / "a.nii.gz", stored)
    cohort = discover(tmp_path)
    assert cohort.labels == {1: "wall", 2: "lesion"}
    read = read_labels(cohort, cohort.volume("a"), AnnotationKind.MASK)
    assert set(np.unique(read)) == {0, 1, 2}


# ------------------------------------------------------------------------------------------------ Decathlon, AMOS


def test_parts_of_the_decathlon(tmp_path):
    decathlon(tmp_path)
    save_labels(tmp_path / "labelsTs" / "case_7.nii.gz")
    cohort = discover(tmp_path)
    assert (cohort.layout, cohort.problems) == ("msd", ())
    assert [(v.id, v.role, v.mask is not None) for v in cohort.volumes] == [
        ("case_1", Role.POOL, True),
        ("case_2", Role.POOL, True),
        ("case_7", Role.TEST, True),
    ]


def test_validation_part_of_amos(tmp_path):
    decathlon(tmp_path, held=())
    save_image(tmp_path / "imagesVa" / "amos_9.nii.gz", 9)
    save_labels(tmp_path / "labelsVa" / "amos_9.nii.gz")
    description = json.loads((tmp_path / "dataset.json").read_text())
    validation = [{"image": "./imagesVa/amos_9.nii.gz", "label": "./labelsVa/amos_9.nii.gz"}]
    describe(tmp_path, **description, validation=validation)
    cohort = discover(tmp_path)
    assert cohort.problems == ()
    assert (cohort.volume("amos_9").role, cohort.volume("amos_9").mask is not None) == (Role.VALIDATION, True)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_paths_of_windows_and_other_encodings(tmp_path, encoding):
    decathlon(tmp_path)
    training = [{"image": ".\\imagesTr\\case_1.nii.gz", "label": "labelsTr\\case_1.nii.gz"}, "/imagesTr/case_2.nii"]
    describe(tmp_path, encoding, training=training, test=[], labels={"1": "Gefäß"})
    cohort = discover(tmp_path)
    assert cohort.labels == {1: "Gefäß"}
    assert errors(cohort) == {}
    assert [(v.id, v.mask is not None) for v in cohort.volumes] == [("case_1", True), ("case_2", False)]
    assert any("not used" in text for text in warnings(cohort))  # the test image and a label are not listed


def test_what_the_lists_name_and_is_not_there(tmp_path):
    decathlon(tmp_path, numTraining=5)
    (tmp_path / "imagesTr" / "case_1.nii.gz").unlink()
    (tmp_path / "labelsTr" / "case_2.nii.gz").unlink()
    (tmp_path / "imagesTs" / "case_7.nii.gz").unlink()
    cohort = discover(tmp_path)
    assert [v.id for v in cohort.volumes] == ["case_2"]
    found = errors(cohort)
    assert "training[0]" in found["case_1"]
    assert "case_2.nii.gz" in found["case_2"]
    assert "test[0]" in found["case_7"]
    assert any("numTraining is 5" in text for text in warnings(cohort))


@pytest.mark.parametrize("entry", [{}, {"image": 3}, {"label": "x"}, 7, None, {"image": ["imagesTr/case_1.nii.gz", 2]}])
def test_entries_that_name_no_image(tmp_path, entry):
    decathlon(tmp_path, held=())
    description = json.loads((tmp_path / "dataset.json").read_text())
    description["training"].append(entry)
    describe(tmp_path, **description)
    cohort = discover(tmp_path)
    assert len(cohort.volumes) == 2
    assert "training[2]" in errors(cohort)["training[2]"]


@pytest.mark.parametrize("field", ["training", "validation", "test"])
def test_lists_that_are_not_lists(tmp_path, field):
    decathlon(tmp_path, **{field: {"a": 1}})
    with pytest.raises(BadInput, match=f"field {field}"):
        discover(tmp_path)


def test_a_list_of_files_as_channels(tmp_path):
    decathlon(tmp_path, held=(), training=[{"image": ["imagesTr/case_1.nii.gz", "imagesTr/case_2.nii.gz"]}])
    cohort = discover(tmp_path)
    assert read_image(cohort, cohort.volumes[0]).shape == (2, 3, 12, 10)


def test_without_a_training_list_the_folders_are_read(tmp_path):
    decathlon(tmp_path, training=None, test=None)
    cohort = discover(tmp_path)
    assert [(v.id, v.role, v.mask is not None) for v in cohort.volumes] == [
        ("case_1", Role.POOL, True),
        ("case_2", Role.POOL, True),
        ("case_7", Role.TEST, False),
    ]
    assert cohort.labels == {1: "wall", 2: "pool"}
    assert any("training is missing" in text for text in warnings(cohort))


def test_cases_numbered_like_channels_are_cases(tmp_path):
    for n in range(2):
        save_image(tmp_path / "imagesTr" / f"case_{n:04d}.nii.gz", n)
    describe(tmp_path, labels=PLAIN, training=[{"image": f"./imagesTr/case_{n:04d}.nii.gz"} for n in range(2)])
    cohort = discover(tmp_path)
    assert (cohort.layout, [v.id for v in cohort.volumes]) == ("msd", ["case_0000", "case_0001"])


# -------------------------------------------------------------------------------------------------------- nnU-Net


@pytest.mark.parametrize("layout", [None, "nnunet"])
def test_version_1(tmp_path, layout):
    raw(tmp_path, ("c1", "c2"), channels=2, channel_names=None, modality={"0": "T1", "1": "T2"})
    description = json.loads((tmp_path / "dataset.json").read_text())
    del description["channel_names"]
    description["labels"] = {"0": "background", "1": "wall", "2": "pool"}
    description["training"] = [{"image": f"./imagesTr/c{n}.nii.gz", "label": f"./labelsTr/c{n}.nii.gz"} for n in (1, 2)]
    describe(tmp_path, **description, numTraining=2)
    cohort = discover(tmp_path, layout=layout)
    assert (cohort.layout, cohort.problems) == ("nnunet", ())
    assert [(v.id, len(v.channels), v.mask is not None) for v in cohort.volumes] == [("c1", 2, True), ("c2", 2, True)]
    assert cohort.labels == {1: "wall", 2: "pool"}


def test_test_part_and_labels_without_image(tmp_path):
    raw(tmp_path)
    save_image(tmp_path / "imagesTs" / "t_0000.nii.gz", 5)
    save_labels(tmp_path / "labelsTs" / "t.nii.gz")
    save_labels(tmp_path / "labelsTr" / "lost.nii.gz")
    save_image(tmp_path / "imagesTr" / "unnumbered.nii.gz", 6)
    cohort = discover(tmp_path)
    assert [(v.id, v.role, v.mask is not None) for v in cohort.volumes] == [
        ("a", Role.POOL, True),
        ("b", Role.POOL, True),
        ("t", Role.TEST, True),
    ]
    assert set(errors(cohort)) == {"labelsTr/lost.nii.gz", "imagesTr/unnumbered.nii.gz"}


def test_components_count_as_channels(tmp_path):
    rng = np.random.default_rng(0)
    for n, case in enumerate(("a", "b")):
        (tmp_path / "imagesTr").mkdir(exist_ok=True)
        color = sitk.GetImageFromArray(rng.integers(0, 255, (20, 30, 3)).astype(np.uint8), isVector=True)
        sitk.WriteImage(color, str(tmp_path / "imagesTr" / f"{case}_0000.png"))
        save_array(tmp_path / "labelsTr" / f"{case}.png", np.full((20, 30), n, np.uint8), (1, 1))
    describe(tmp_path, labels=PLAIN, channel_names={"0": "R", "1": "G", "2": "B"}, file_ending=".png")
    cohort = discover(tmp_path)
    assert cohort.problems == ()
    assert [(v.components, v.slice_count, v.mask is not None) for v in cohort.volumes] == [(3, 1, True)] * 2
    describe(tmp_path, labels=PLAIN, channel_names={"0": "R", "1": "G"}, file_ending="png")
    assert "3 of 2 channels" in errors(discover(tmp_path))["a"]


@pytest.mark.parametrize("numbers", [(0, 2), (1, 2), (0,)])
def test_channel_files_that_are_missing(tmp_path, numbers):
    raw(tmp_path, ("a",), channels=3)
    for number in numbers:
        save_image(tmp_path / "imagesTr" / f"b_{number:04d}.nii.gz", number)
    cohort = discover(tmp_path)
    assert [v.id for v in cohort.volumes] == ["a"]
    assert f"{len(numbers)} of 3" in errors(cohort)["b"]


def test_cases_listed_in_the_field_dataset(tmp_path):
    save_image(tmp_path / "elsewhere" / "x.nii.gz", 1)
    save_labels(tmp_path / "elsewhere" / "x_seg.nii.gz")
    listed = {
        "one": {"images": ["elsewhere/x.nii.gz"], "label": "elsewhere/x_seg.nii.gz"},
        "two": {"images": ["elsewhere/none.nii.gz"]},
        "three": {"label": "elsewhere/x_seg.nii.gz"},
    }
    describe(tmp_path, labels=PLAIN, channel_names={"0": "CT"}, file_ending=".nii.gz", numTraining=3, dataset=listed)
    cohort = discover(tmp_path)
    assert (cohort.layout, [v.id for v in cohort.volumes]) == ("nnunet", ["one"])
    assert cohort.volumes[0].mask is not None
    assert "none.nii.gz" in errors(cohort)["two"]
    assert "dataset['three']" in errors(cohort)["three"]
    assert warnings(cohort) == []


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"file_ending": ".nrrd"}, "file_ending"),
        ({"file_ending": 3}, "file_ending"),
        ({"channel_names": 3}, "channel_names"),
        ({"dataset": [1]}, "dataset"),
        ({"labels": [1, 2]}, r"labels\[0\]"),
    ],
)
def test_fields_that_cannot_be_used(tmp_path, fields, word):
    raw(tmp_path, **fields)
    with pytest.raises(BadInput, match=word):
        discover(tmp_path)


def test_fields_named_twice_and_no_object(tmp_path):
    raw(tmp_path)
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "a": 1, "a": 2}, "channel_names": ["x"]}')
    with pytest.raises(BadInput, match="'a' occurs twice"):
        discover(tmp_path)
    (tmp_path / "dataset.json").write_text("[]")
    with pytest.raises(BadInput, match=r"dataset\.json"):
        discover(tmp_path)


def test_the_fourth_axis_of_several_modalities_are_channels(tmp_path):
    decathlon(tmp_path, held=(), modality={"0": "FLAIR", "1": "T1w", "2": "T2w"})
    written = save_image(tmp_path / "imagesTr" / "case_1.nii.gz", 3, (3, 3, 12, 10))
    save_image(tmp_path / "imagesTr" / "case_2.nii.gz", 4, (2, 3, 12, 10))
    cohort = discover(tmp_path)
    (volume,) = cohort.volumes
    assert (volume.components, volume.geometry.size, volume.mask is not None) == (3, (10, 12, 3), True)
    assert np.array_equal(read_image(cohort, volume), written)
    assert "2 of 3 channels" in errors(cohort)["case_2"]
    assert Cohort.from_json(cohort.to_json(), cohort.root) == cohort


def test_time_points_are_not_channels(tmp_path):
    decathlon(tmp_path, held=(), modality={"0": "MRI"})
    save_image(tmp_path / "imagesTr" / "case_1.nii.gz", 3, (3, 3, 12, 10))
    assert "3 time points" in errors(discover(tmp_path))["case_1"]
