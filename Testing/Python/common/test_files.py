"""Files: what an operating-system error is turned into."""

from __future__ import annotations

import errno
import os

import pytest

from ActiveSegmentationLib.common.errors import BadInput, JobFailed
from ActiveSegmentationLib.common.files import (
    explain_os_error,
    hash_file,
    read_fields,
    read_json,
    tree_size,
    write_text,
)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EACCES, "No permission"),
        (errno.ENOENT, "no such file"),
        (errno.EEXIST, "exists already"),
        (errno.ENOTDIR, "used as a folder"),
        (errno.EISDIR, "is a folder"),
        (errno.EROFS, "No permission to write"),
    ],
)
def test_a_path_that_cannot_be_used_is_bad_input(tmp_path, number, message):
    explained = explain_os_error(OSError(number, os.strerror(number)), tmp_path)
    assert isinstance(explained, BadInput)
    assert str(tmp_path) in str(explained)
    assert message in str(explained)
    assert explained.advice


def test_a_disk_that_fails_is_not_the_users_mistake(tmp_path):
    assert isinstance(explain_os_error(OSError(errno.ENOSPC, "full"), tmp_path), JobFailed)
    assert isinstance(explain_os_error(OSError(errno.EIO, "broken"), tmp_path), JobFailed)


def test_reading_what_may_not_be_read_says_nothing_of_writing(tmp_path, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "image.nii").touch()
    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(BadInput, match="No permission") as caught:
        hash_file(tmp_path / "image.nii")
    assert "permission to write" not in str(caught.value)


def test_folders_and_files_in_each_others_place(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="folder"):
        read_json(tmp_path)
    with pytest.raises(BadInput, match=r"as a folder|exists already"):
        write_text(tmp_path / "file" / "inner", "x")


def test_the_size_of_a_folder_is_that_of_its_files(tmp_path):
    assert tree_size(tmp_path / "nowhere") == 0
    (tmp_path / "inner").mkdir()
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "inner" / "b").write_bytes(b"123")
    assert tree_size(tmp_path) == 8


@pytest.mark.parametrize("content", ["NaN", "7", '"x"', "[null]", "{}"])
def test_a_file_with_other_content_than_fields_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_text(content, encoding="utf-8")
    with pytest.raises(BadInput) as refusal:
        read_fields(tmp_path / "a.json", "key")
    assert refusal.value.where == str(tmp_path / "a.json")
