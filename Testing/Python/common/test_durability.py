"""Folders that outlast a power cut, temporary files that do not outlast their process, private files."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time

import pytest

from ActiveSegmentationLib.common import durability
from ActiveSegmentationLib.common.durability import make_folder, sweep, sweep_tree, temporary_name
from ActiveSegmentationLib.common.files import write_text
from ActiveSegmentationLib.common.output_folder import output_folder

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX only")


def name_of_dead_process(name: str) -> str:
    process = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    own = temporary_name(name)
    return f"{own[:11]}{int(process.stdout):06x}{own[17:]}"


@posix
def test_every_new_folder_is_synced_into_the_one_above(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(durability, "sync_folder", synced.append)
    make_folder(tmp_path / "a" / "b" / "c")
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    make_folder(tmp_path / "a" / "b" / "c")
    assert len(synced) == 3


@posix
def test_a_file_system_that_cannot_sync_folders_is_used_and_one_that_fails_is_not(tmp_path, monkeypatch):
    def refuse(number):
        def fsync(descriptor):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fsync)

    import errno

    refuse(errno.EINVAL)
    durability.sync_folder(tmp_path)
    refuse(errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        durability.sync_folder(tmp_path)


@posix
def test_temporary_files_of_dead_processes_are_deleted_and_others_kept(tmp_path):
    dead = name_of_dead_process("map.nii.gz")
    foreign = f".tmp-000000{dead[11:]}"
    old, older_version, removed = f".tmp-000001{dead[11:]}", ".tmp-0123456789ab-map.nii.gz", ".tmp-removed-cache-17"
    mine, other = temporary_name("map.nii.gz"), ".tmp-notes.txt"
    for name in (dead, foreign, old, older_version, mine, other):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / removed).mkdir()
    yesterday = time.time() - 2 * 86400
    for name in (old, older_version, removed, mine):
        os.utime(tmp_path / name, (yesterday, yesterday))
    sweep(tmp_path, ["other.nii.gz"])
    assert len(os.listdir(tmp_path)) == 7
    sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([foreign, mine, other])


@posix
def test_sweeping_a_tree_follows_no_link(tmp_path):
    dead = name_of_dead_process("x")
    for folder in ("root/a", "root/cache", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / dead).write_bytes(b"x")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / dead).symlink_to(tmp_path / "elsewhere")
    sweep_tree(tmp_path / "root")
    assert sorted(os.listdir(tmp_path / "root")) == ["a", "cache", "link"]
    assert os.listdir(tmp_path / "root" / "a") == []
    assert os.listdir(tmp_path / "root" / "cache") == []
    assert os.listdir(tmp_path / "elsewhere") == [dead]


@posix
def test_an_export_deletes_what_a_killed_export_left(tmp_path):
    dead = name_of_dead_process("v1.nii.gz")
    (tmp_path / dead).write_bytes(b"half a label map")
    with output_folder(tmp_path, [tmp_path / "v1.nii.gz"], "predictions", "study"):
        (tmp_path / "v1.nii.gz").write_bytes(b"map")
    assert sorted(os.listdir(tmp_path)) == [".activesegmentation.json", "v1.nii.gz"]


@posix
def test_files_in_a_private_folder_are_private(tmp_path):
    def mode(path):
        return stat.S_IMODE(path.stat().st_mode)

    old = os.umask(0o022)
    try:
        for rights, folder_wanted, file_wanted in ((0o700, 0o700, 0o600), (0o750, 0o750, 0o640), (0o755, 0o755, 0o644)):
            folder = tmp_path / f"{rights:o}"
            folder.mkdir()
            folder.chmod(rights)
            write_text(folder / "inner" / "file", "x")
            assert mode(folder / "inner" / "file") == file_wanted
            assert mode(folder / "inner") == folder_wanted
    finally:
        os.umask(old)
