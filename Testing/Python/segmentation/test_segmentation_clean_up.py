"""Clean-up of label maps: largest parts and holes, against what is drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation import CleanUp, cleaned


def block(shape=(7, 10, 10)):
    """A block of class 1 with a hole that slice 3 encloses, one that all sides enclose, and class 2 in the latter."""
    classes = np.zeros(shape, dtype=np.uint8)
    classes[1:6, 1:8, 1:8] = 1
    classes[:, 2, 2] = 0  # open to the slices before and after
    classes[3, 5, 4:7] = 0
    classes[3, 5, 5] = 2
    return classes


def test_nothing_is_changed_by_default():
    classes = block()
    assert not CleanUp()
    assert cleaned(classes, CleanUp()) is classes


def test_only_the_largest_part_of_each_structure_stays():
    classes = block()
    classes[0, 9, 9] = 1  # touches nothing
    classes[6, 0, 0:2] = 2
    before = classes.copy()
    found = cleaned(classes, CleanUp(largest=True))
    expected = block()
    expected[3, 5, 5] = 0  # the smaller part of class 2
    expected[6, 0, 0:2] = 2
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(classes, before)


def test_voxels_that_touch_at_a_corner_are_one_part():
    classes = np.zeros((3, 4, 4), dtype=np.uint8)
    classes[0, 0, 0] = classes[1, 1, 1] = classes[2, 2, 2] = 1
    assert (cleaned(classes, CleanUp(largest=True)) == classes).all()


def test_holes_of_the_volume_are_enclosed_on_all_sides():
    found = cleaned(block(), CleanUp(holes="3d"))
    expected = block()
    expected[3, 5, [4, 6]] = 1
    np.testing.assert_array_equal(found, expected)


def test_holes_of_a_slice_may_be_open_to_the_next_slice():
    found = cleaned(block(), CleanUp(holes="2d"))
    expected = block()
    expected[3, 5, [4, 6]] = 1
    expected[1:6, 2, 2] = 1
    np.testing.assert_array_equal(found, expected)


def test_a_hole_at_the_border_of_the_volume_is_open():
    classes = np.ones((3, 5, 5), dtype=np.uint8)
    classes[0, 2, 2] = 0
    classes[1, 0, 2] = 0
    assert (cleaned(classes, CleanUp(holes="3d")) == classes).all()
    assert cleaned(classes, CleanUp(holes="2d"))[0, 2, 2] == 1
    assert cleaned(classes, CleanUp(holes="2d"))[1, 0, 2] == 0


def test_holes_are_those_of_what_is_left_of_a_structure():
    classes = np.zeros((1, 9, 9), dtype=np.uint8)
    classes[0, 1:8, 1:8] = 1
    classes[0, 3:6, 3:6] = 0
    classes[0, 4, 4] = 1  # a smaller part in the hole
    assert cleaned(classes, CleanUp(largest=True, holes="2d")).sum() == 49


def test_empty_and_absent_classes():
    empty = np.zeros((2, 3, 3), dtype=np.uint8)
    assert not cleaned(empty, CleanUp(largest=True, holes="3d")).any()
    only = empty.copy()
    only[0, 0, 0] = 3
    np.testing.assert_array_equal(cleaned(only, CleanUp(largest=True, holes="2d")), only)


def test_unknown_ways_are_refused():
    with pytest.raises(BadInput, match="holes"):
        CleanUp.from_json({"holes": "4d"})
    with pytest.raises(BadInput, match="Unknown settings: larger"):
        CleanUp.from_json({"larger": True})
