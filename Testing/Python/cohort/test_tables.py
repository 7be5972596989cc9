"""Tables and split files as programs and users save them: encodings, delimiters, blanks, headers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cohort_files import save_image, save_labels

from ActiveSegmentationLib.cohort import Role, discover, read_split
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.text import read_any_json, read_any_text

ROWS = [
    ["Patient", " VOLUME ", "image", "Mask", "role"],
    ["Jürgen", "v1", "Größe/a.nii.gz", "Größe/a_seg.nii.gz", "Train"],
    ["p2", "v2", "b.nii.gz", "", "TEST"],
]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    save_image(tmp_path / "Größe" / "a.nii.gz", 1)
    save_labels(tmp_path / "Größe" / "a_seg.nii.gz")
    save_image(tmp_path / "b.nii.gz", 2)
    return tmp_path


def found(table: Path) -> list[tuple[str, str, bool, Role]]:
    cohort = discover(table)
    assert cohort.problems == ()
    return [(v.patient, v.id, v.mask is not None, v.role) for v in cohort.volumes]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
@pytest.mark.parametrize("cut", [",", ";", "\t", "|"])
def test_encodings_and_delimiters(files, encoding, cut):
    table = files / "cohort.csv"
    table.write_bytes("\r\n".join(cut.join(row) for row in ROWS).encode(encoding))
    assert found(table) == [("Jürgen", "v1", True, Role.POOL), ("p2", "v2", False, Role.TEST)]


def test_blank_lines_quotes_and_excels_mark(files):
    lines = ["sep=;", ";".join(ROWS[0]), "", ";;;;", '"p2";"v2";"b.nii.gz";"";"test"', "   "]
    (files / "cohort.csv").write_text("\n".join(lines))
    assert found(files / "cohort.csv") == [("p2", "v2", False, Role.TEST)]


def test_channels_paths_of_windows_and_other_names_of_columns(files):
    table = files / "cohort.csv"
    table.write_text('Patient ID;Volume;Images;Label\np1;v1;"b.nii.gz;b.nii.gz";Größe\\a_seg.nii.gz\n', "utf-8")
    cohort = discover(table)
    assert len(cohort.volumes[0].channels) == 2
    assert cohort.volumes[0].mask is not None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "empty"),
        ("patient,volume,image,Image\np,v,b.nii.gz,b.nii.gz\n", "'image' occurs twice"),
        ("patient,volume,image,mask,label\np,v,b.nii.gz,,\n", "mask and label both"),
        ("patient;volume\np;v\n", "image"),
        ('patient,volume,image\np,v,"b.nii.gz\n' + "x" * 200_000, "cannot be read"),
    ],
)
def test_tables_that_cannot_be_used(files, text, word):
    (files / "cohort.csv").write_text(text)
    with pytest.raises(BadInput, match=word):
        discover(files / "cohort.csv")


def test_no_text_at_all(files):
    (files / "cohort.csv").write_bytes(bytes(range(256)) * 4)
    with pytest.raises(BadInput, match=r"cohort\.csv.*encoding"):
        discover(files / "cohort.csv")


def test_rows_that_cannot_be_used_name_their_line(files):
    lines = ["patient,volume,image", "p1,v1,b.nii.gz,surplus", "", "p2,v2,Größe/none.nii.gz", "p3,v3,b.nii.gz"]
    (files / "cohort.csv").write_bytes("\n".join(lines).encode("cp1252"))
    cohort = discover(files / "cohort.csv")
    assert [volume.id for volume in cohort.volumes] == ["v3"]
    first, second = cohort.problems
    assert "Row 2" in first.message
    assert "Row 4" in second.message
    assert "not UTF-8" in second.advice


def test_a_column_of_images_that_is_not_used_is_reported(files):
    (files / "cohort.csv").write_text("patient,volume,image,t2,age\np2,v2,b.nii.gz,b.nii.gz,44\n")
    (problem,) = discover(files / "cohort.csv").problems
    assert (problem.where, problem.severity) == ("t2", "warning")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_split_files_in_other_encodings(tmp_path, encoding):
    path = tmp_path / "split.json"
    path.write_bytes(
        json.dumps({"Training": ["Jürgen"], "valid": ["b"], "seed": 3}, ensure_ascii=False).encode(encoding)
    )
    assert read_split(path) == {Role.POOL: ("Jürgen",), Role.VALIDATION: ("b",)}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('[{"train": ["a"], "val": ["b"]}]', "folds"),
        ('{"train": ["a"], "tset": ["b"]}', "'tset'"),
        ('{"train": ["a"], "train": ["b"]}', "twice"),
        ('{"train": [1, 2]}', "'train'"),
    ],
)
def test_split_files_that_cannot_be_used(tmp_path, text, word):
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(BadInput, match=word):
        read_split(tmp_path / "split.json")


def test_text_is_the_same_in_every_encoding(tmp_path):
    for encoding in ("utf-8", "utf-16", "utf-16-le", "utf-32", "cp1252"):
        (tmp_path / "t").write_bytes('{"a": "Ä"}'.encode(encoding))
        assert read_any_json(tmp_path / "t") == {"a": "Ä"}
        assert read_any_text(tmp_path / "t")[0] == '{"a": "Ä"}'
