from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.output_folder import RECORD, output_folder


def write(folder: Path, *names: str, text: str = "x", holds: str = "predictions", owner: str = "1", **options) -> None:
    targets = [folder / name for name in names]
    with output_folder(folder, targets, holds, owner, **options):
        for target in targets:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text + target.name)


def test_what_was_written_before_is_written_again(tmp_path):
    out = tmp_path / "new" / "out"
    write(out, "a.nii.gz", "imagesTr/b.nii.gz")
    write(out, "a.nii.gz", text="y")
    write(out, "c.csv")
    assert (out / "a.nii.gz").read_text() == "ya.nii.gz"
    assert set(json.loads((out / RECORD).read_text())["files"]) == {"a.nii.gz", "imagesTr/b.nii.gz", "c.csv"}
    (out / "a.nii.gz").unlink()
    write(out, "a.nii.gz")
    (out / ".DS_Store").write_text("")
    (out / "Thumbs.db").write_text("")
    write(out, "a.nii.gz")


@pytest.mark.parametrize("foreign", ["notes.txt", "deep/er/scan.nii.gz", "a.nii.gz"])
def test_files_of_other_origin_are_left_alone(tmp_path, foreign):
    (tmp_path / foreign).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / foreign).write_text("mine")
    with pytest.raises(BadInput, match=f"not written by this program, such as {Path(foreign).name}"):
        write(tmp_path, "a.nii.gz")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / foreign]
    assert (tmp_path / foreign).read_text() == "mine"


def test_a_file_that_was_changed_since_is_not_overwritten(tmp_path):
    write(tmp_path, "a.nii.gz", "b.nii.gz")
    (tmp_path / "a.nii.gz").write_text("corrected manually")
    with pytest.raises(BadInput, match=r"a\.nii\.gz: The file was changed after it was written"):
        write(tmp_path, "a.nii.gz", "b.nii.gz", text="new")
    assert (tmp_path / "b.nii.gz").read_text() == "xb.nii.gz"
    write(tmp_path, "b.nii.gz", text="new")
    with pytest.raises(BadInput, match=r"a\.nii\.gz"):
        write(tmp_path, "a.nii.gz")


def test_a_run_that_was_killed_or_failed_can_be_repeated(tmp_path):
    killed = []

    def fail() -> None:
        with output_folder(tmp_path, [tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"], "predictions", "1"):
            (tmp_path / "a.nii.gz").write_text("half")
            killed.append((tmp_path / RECORD).read_bytes())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    shutil.copy(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz")
    (tmp_path / RECORD).write_bytes(killed[0])  # as a kill leaves it
    write(tmp_path, "a.nii.gz", "b.nii.gz")
    assert (tmp_path / "b.nii.gz").read_text() == "xb.nii.gz"


@pytest.mark.parametrize("content", ["{", "[]", '{"files": 3}', '{"files": {"a": "b"}}'])
def test_a_damaged_record_is_named(tmp_path, content):
    (tmp_path / RECORD).write_text(content)
    with pytest.raises(BadInput, match="activesegmentation"):
        write(tmp_path, "a.nii.gz")


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(BadInput, match="file is used as a folder"):
        write(tmp_path / "out", "a.nii.gz")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"holds": "annotations"}, "holds predictions and would be replaced by annotations"),
        ({"owner": "2"}, "holds predictions of another study"),
    ],
)
def test_a_file_is_replaced_only_by_what_it_held(tmp_path, other, message):
    write(tmp_path, "a.nii.gz")
    with pytest.raises(BadInput, match=rf"a\.nii\.gz: The file {message}"):
        write(tmp_path, "a.nii.gz", text="new", **other)
    assert (tmp_path / "a.nii.gz").read_text() == "xa.nii.gz"
    write(tmp_path, "b.nii.gz", **other)


def test_what_is_no_longer_part_of_a_data_set_is_removed(tmp_path):
    write(tmp_path, "annotations.csv", holds="table")
    write(tmp_path, "labels/a.nii.gz", "labels/b.nii.gz", holds="data set", whole=True)
    write(tmp_path, "labels/a.nii.gz", holds="data set", whole=True)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"a.nii.gz", "annotations.csv", RECORD}
    (tmp_path / "labels/a.nii.gz").write_text("corrected manually")
    with pytest.raises(BadInput, match=r"a\.nii\.gz: The file was changed"):
        write(tmp_path, "labels/c.nii.gz", holds="data set", whole=True)
    assert (tmp_path / "labels/a.nii.gz").read_text() == "corrected manually"
