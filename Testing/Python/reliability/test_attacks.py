"""The attacks of ``Testing/Reliability``, in a size for every run of the tests."""

from __future__ import annotations

import os

import pytest
from faults import attack as fail
from lying_disk import LyingDisk
from power_loss import attack as cut_power
from tampering import attack as tamper
from writers import attack as write_at_once


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be synced on Windows")
def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path):
    outcome = cut_power(tmp_path / "work", most=60)
    assert outcome.tried == 60
    assert not outcome.faults, outcome.notes


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be synced on Windows")
def test_the_disk_model_loses_what_is_not_synced(tmp_path):
    """The model itself: without syncs there are states without the file, with syncs there are none."""
    import random

    root = tmp_path / "root"
    root.mkdir()
    disk = LyingDisk(root)
    states = []
    disk.cut = lambda: states.append([state.files for state in disk.states(random.Random(0), 40)])
    with disk.watching():
        (root / "folder").mkdir()
        with open(root / "folder" / "file", "wb") as file:
            file.write(b"content")
            file.flush()
            os.fsync(file.fileno())
        for folder in (root / "folder", root):
            descriptor = os.open(folder, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        os.replace(root / "folder" / "file", root / "folder" / "other")
    made, file_synced, folder_synced, all_synced, renamed, _ = states
    assert {} in made
    assert {"folder": None} in file_synced
    assert {} in folder_synced
    assert all(files == {"folder": None, "folder/file": b"content"} for files in all_synced)
    assert {"folder": None, "folder/file": b"content"} in renamed
    assert {"folder": None, "folder/other": b"content"} in renamed


def test_kills_and_failing_disks_lose_nothing(tmp_path):
    for outcome in fail(tmp_path / "work", most=40):
        assert outcome.tried == 40
        assert not outcome.faults, outcome.notes


def test_the_audit_notices_flipped_bytes_cuts_and_swapped_lines(tmp_path):
    outcomes = tamper(tmp_path / "work", most=150)
    assert sum(outcome.tried for outcome in outcomes) == 150
    assert not any(outcome.faults for outcome in outcomes), outcomes


def test_eight_processes_commit_for_two_annotators_at_once(tmp_path):
    outcome = write_at_once(tmp_path / "work", changes=4, train=False)
    assert outcome.tried >= 16
    assert not outcome.faults, outcome.notes


@pytest.mark.skipif(os.name == "nt", reason="needs fork and limits of POSIX")
def test_mutated_files_neither_crash_nor_hang_a_reader(tmp_path):
    from mutation import attack as mutate

    for outcome in mutate(tmp_path / "work", each=40):
        assert outcome.tried == 40
        assert not outcome.faults, outcome.notes
