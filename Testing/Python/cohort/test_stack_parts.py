"""Slices that were prepared in parts, as on other computers, are those of one stack, and no image is read again."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from ActiveSegmentationLib.cohort import (
    StackSettings,
    build_stack,
    discover,
    parts_to_prepare,
    remove_parts,
    write_phantom,
)
from ActiveSegmentationLib.cohort import stack_building as building
from ActiveSegmentationLib.cohort import stack_contents as contents
from ActiveSegmentationLib.common.errors import BadInput

PARTS = "ActiveSegmentationLib.cohort.stack_parts.PART_SLICES"


@pytest.fixture
def cohort(tmp_path):
    return discover(write_phantom(tmp_path / "cohort", patients=3, slices=4, size=(40, 40)))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(PARTS, 8)


def prepared(cohort, cache):
    parts = parts_to_prepare(cohort, StackSettings(), cache)
    for part in parts:
        pickle.loads(pickle.dumps(part)).prepare()
    return parts


def test_the_stack_is_the_same_and_nothing_is_read_twice(cohort, tmp_path, monkeypatch):
    alone = build_stack(cohort, StackSettings(), tmp_path / "alone")
    cache = tmp_path / "cache"
    parts = prepared(cohort, cache)
    assert [len(part.cohort.volumes) for part in parts] == [2, 2, 2]
    assert all(part.is_finished for part in parts)

    def refused(*_):
        raise AssertionError("an image was read again")

    monkeypatch.setattr(building, "prepare_volume", refused)
    monkeypatch.setattr(contents, "hash_file", refused)
    stack = build_stack(cohort, StackSettings(), cache, parts=[part.folder for part in parts])
    assert stack.key == alone.key
    assert np.array_equal(stack.images, alone.images)
    assert stack.settings == alone.settings
    for volume in cohort.volumes:
        assert np.array_equal(stack.truth(volume.id, "mask"), alone.truth(volume.id, "mask"))
    remove_parts(parts)
    assert not any(part.folder.exists() for part in parts)
    assert parts_to_prepare(cohort, StackSettings(), cache) == []  # it is there


def test_a_volume_that_cannot_be_used_is_named_with_those_of_other_parts(cohort, tmp_path):
    for volume in (cohort.volumes[0], cohort.volumes[-1]):
        cohort.path(volume.channels[0].paths[0]).write_bytes(b"no image")
    parts = prepared(cohort, tmp_path / "cache")
    assert all(part.is_finished for part in parts)
    with pytest.raises(BadInput, match=r"2 of 6 volume\(s\) cannot be used") as refusal:
        build_stack(cohort, StackSettings(), tmp_path / "cache", parts=[part.folder for part in parts])
    assert set(refusal.value.problems) == {cohort.volumes[0].id, cohort.volumes[-1].id}


def test_an_image_that_changes_after_its_part_is_prepared_anew(cohort, tmp_path):
    import SimpleITK

    parts = prepared(cohort, tmp_path / "cache")
    path = cohort.path(cohort.volumes[1].channels[0].paths[0])
    image = SimpleITK.ReadImage(str(path))
    SimpleITK.WriteImage(SimpleITK.Flip(image, (True, False, False), False), str(path))
    changed = discover(cohort.root)
    stack = build_stack(changed, StackSettings(), tmp_path / "cache", parts=[part.folder for part in parts])
    assert np.array_equal(stack.images, build_stack(changed, StackSettings(), tmp_path / "other").images)


def test_a_small_cohort_has_no_parts(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(PARTS, 1000)
    assert parts_to_prepare(cohort, StackSettings(), tmp_path / "cache") == []
