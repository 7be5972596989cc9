"""Which files of a folder are read: links, dead links, loops, system files, pairs, and unused files."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from cohort_files import save_image, save_labels

from ActiveSegmentationLib.cohort import discover, read_image
from ActiveSegmentationLib.cohort.walking import walk, walking_once
from ActiveSegmentationLib.common.errors import BadInput

needs_links = pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")


def names(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in walk(root).files]


def found_problems(root: Path) -> dict[str, str]:
    return {problem.where: problem.message for problem in discover(root).problems}


@needs_links
def test_linked_folders_and_files_are_read_like_others(tmp_path):
    for n in range(2):
        save_image(tmp_path / "real" / "images" / f"p{n}.nii.gz", n)
        save_labels(tmp_path / "real" / "labels" / f"p{n}.nii.gz")
    root = tmp_path / "cohort"
    root.mkdir()
    (root / "images").symlink_to(tmp_path / "real" / "images")
    (root / "labels").symlink_to(tmp_path / "real" / "labels")
    cohort = discover(root)
    assert [(v.id, v.mask is not None) for v in cohort.volumes] == [("p0", True), ("p1", True)]
    assert cohort.problems == ()
    assert read_image(cohort, cohort.volumes[1]).shape == (1, 3, 12, 10)


@needs_links
def test_loops_end_and_a_folder_is_read_once_by_its_own_name(tmp_path):
    save_image(tmp_path / "p1" / "a.nii.gz")
    (tmp_path / "a-link").symlink_to(tmp_path / "p1")
    (tmp_path / "p1" / "up").symlink_to(tmp_path)
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    assert names(tmp_path) == ["p1/a.nii.gz"]
    messages = {problem.where: problem for problem in walk(tmp_path).problems}
    assert "p1, which is read already" in messages["a-link"].message
    assert "own folder" in messages["p1/up"].message
    assert "to itself" in messages["itself"].message
    assert [messages[name].severity for name in ("a-link", "itself")] == ["warning", "error"]


def test_a_folder_is_walked_once_within_the_block(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with walking_once():
        assert names(tmp_path) == ["a.txt"]
        (tmp_path / "b.txt").write_text("x")
        assert names(tmp_path) == ["a.txt"]
    assert names(tmp_path) == ["a.txt", "b.txt"]


@needs_links
def test_dead_links_are_named(tmp_path):
    save_image(tmp_path / "images" / "p1.nii.gz")
    (tmp_path / "images" / "p2.nii.gz").symlink_to(tmp_path / "nowhere.nii.gz")
    assert "dead" in found_problems(tmp_path)["images/p2.nii.gz"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="everything may be read here")
def test_locked_folders_are_named(tmp_path):
    save_image(tmp_path / "p1" / "a.nii.gz")
    save_image(tmp_path / "p2" / "a.nii.gz")
    (tmp_path / "p2").chmod(0)
    try:
        assert "cannot be read" in found_problems(tmp_path)["p2"]
    finally:
        (tmp_path / "p2").chmod(0o755)


@needs_links
def test_names_that_are_not_text_are_named(tmp_path):
    save_image(tmp_path / "good.nii.gz")
    (tmp_path / os.fsdecode(b"M\xfcller.nii.gz")).write_bytes(b"x")
    assert names(tmp_path) == ["good.nii.gz"]
    assert "not valid text" in found_problems(tmp_path)["M\\udcfcller.nii.gz"]
    folder = tmp_path / os.fsdecode(b"Gr\xf6\xdfe")
    folder.mkdir()
    (folder / "a.nii.gz").write_bytes((tmp_path / "good.nii.gz").read_bytes())
    with pytest.raises(BadInput, match="not valid text"):
        discover(folder)


def test_what_systems_leave_behind_is_not_an_image(tmp_path):
    save_image(tmp_path / "a.nii.gz")
    for name in ("._a.nii.gz", ".DS_Store", "Thumbs.db", "desktop.ini", "~$a.nii.gz", "__MACOSX/._a.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    cohort = discover(tmp_path)
    assert [volume.id for volume in cohort.volumes] == ["a"]
    assert cohort.problems == ()


def test_pairs_of_header_and_pixels(tmp_path):
    written = save_image(tmp_path / "written.hdr", 4)
    for suffix in ("hdr", "img"):
        (tmp_path / f"written.{suffix}").rename(tmp_path / f"p1.{suffix}")
    save_image(tmp_path / "p2.nii.gz", 5)
    cohort = discover(tmp_path)
    assert [volume.id for volume in cohort.volumes] == ["p1", "p2"]
    assert cohort.problems == ()
    assert (read_image(cohort, cohort.volumes[0])[0] == written).all()


def test_files_that_could_be_images_and_are_not_used_are_counted(tmp_path):
    save_image(tmp_path / "a.nii.gz")
    for name in ("b.png", "c.PNG", "sub/d.mgz", "data.zip", "readme.md", "e.nii.bz2"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "IM0001").write_bytes(b"\0" * 128 + b"DICM")
    problems = discover(tmp_path, layout="folder").problems
    (message,) = (problem.message for problem in problems if "not used" in problem.message)
    for part in ("2 .png", "1 .mgz", "1 .zip", "1 .nii.bz2", "1 DICOM"):
        assert part in message
    assert ".md" not in message


def test_a_folder_without_images_says_what_it_holds(tmp_path):
    for n in range(3):
        (tmp_path / f"{n}.png").write_bytes(b"x")
    with pytest.raises(BadInput, match=r"files: 3 \.png"):
        discover(tmp_path)


def test_what_belongs_to_a_header_is_used(tmp_path):
    save_image(tmp_path / "p1.nii.gz", 1)
    image = sitk.ReadImage(str(tmp_path / "p1.nii.gz"))
    sitk.WriteImage(image, str(tmp_path / "p2.mhd"))
    header = (tmp_path / "p2.mhd").read_text().replace("p2.raw", "p2.img")
    (tmp_path / "p2.mhd").write_text(header)
    (tmp_path / "p2.raw").rename(tmp_path / "p2.img")
    analyze = nib.Nifti1Pair(np.ones((4, 5, 6), np.int16), np.diag([1, 1, 5, 1]))
    nib.save(analyze, tmp_path / "p3.hdr")
    (tmp_path / "p3.mat").write_bytes(b"MATLAB")
    assert len(discover(tmp_path).volumes) == 3
    assert not [problem for problem in discover(tmp_path).problems if "not used" in problem.message]
    (tmp_path / "p4.mat").write_bytes(b"MATLAB")
    assert "1 .mat (for example p4.mat)" in discover(tmp_path).problems[0].message


def test_a_file_that_cannot_be_opened_does_not_end_the_index(tmp_path, monkeypatch):
    save_image(tmp_path / "p1.nii.gz", 1)
    (tmp_path / "IM_1").write_bytes(b"x" * 200)
    normal = open

    def locked(file, *words, **names):
        if str(file).endswith("IM_1"):
            raise PermissionError(13, "Permission denied", str(file))
        return normal(file, *words, **names)

    monkeypatch.setattr("builtins.open", locked)
    cohort = discover(tmp_path, layout="folder")
    assert len(cohort.volumes) == 1
    assert "1 that cannot be read (for example IM_1)" in cohort.problems[0].message


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_pipes_and_devices_with_names_of_images_are_named_and_not_read(tmp_path):
    os.mkfifo(tmp_path / "a.nii.gz")
    os.mkfifo(tmp_path / "notes")
    (tmp_path / "b.nii").symlink_to(os.devnull)
    (tmp_path / "c.nii").write_bytes(b"c")
    found = walk(tmp_path)
    assert [path.name for path in found.files] == ["c.nii"]
    assert sorted(problem.where for problem in found.problems) == ["a.nii.gz", "b.nii"]
    assert all("pipe" in problem.message for problem in found.problems)
