"""Strokes through Slicer's editor logic: they change the array exactly where the view shows them."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scene_helpers import brushInView, grid, makeCase, randomGrid, rotation, segmentArray

from ActiveSegmentationLib.cohort import AnnotationKind, discover, slices_first
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.scene import (
    Brush,
    alignToSlice,
    capturePlane,
    createSegmentation,
    drawnSlices,
    loadVolumeNode,
    paint,
    requireGrid,
    shownSlice,
    writePlane,
)
from ActiveSegmentationLib.study import LabelSet

LABELS = LabelSet.from_names({1: "left", 2: "right"})
MASK = AnnotationKind.MASK
PROPERTY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@PROPERTY
@given(seed=st.integers(0, 10**6), axis=st.integers(0, 2), data=st.data())
def test_what_is_painted_in_the_view_lands_in_the_slice_and_nowhere_else(application, seed, axis, data):
    """The stroke goes pixel by pixel from the screen through the view's matrix, as a mouse would take it."""
    application.clear()
    geometry, volume, segmentation = makeCase(randomGrid(seed), LABELS, MASK)
    index = data.draw(st.integers(0, geometry.size[axis] - 1))
    view = application.addSliceNode()
    alignToSlice(view, geometry, axis, index)
    view.SetFieldOfView(12.0, 12.0, 1.0)
    view.SetXYZOrigin(data.draw(st.floats(-3, 3)), data.draw(st.floats(-3, 3)), 0.0)
    assert shownSlice(view, geometry, axis) == index
    brushInView(view, segmentation, volume, "Segment_2")
    painted = slices_first(segmentArray(segmentation, "Segment_2", volume), axis)
    assert painted[index].any()
    assert drawnSlices(segmentation, volume, axis) == [index]
    assert not np.delete(painted, index, axis=0).any()
    plane = capturePlane(segmentation, volume, LABELS, MASK, axis, index)
    assert np.array_equal(plane, painted[index] * 2)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("flip", [False, True])
def test_painted_mask_is_captured(application, axis, flip):
    geometry, volume, segmentation = makeCase(randomGrid(4, flip=flip), LABELS, MASK)
    mask = np.random.default_rng(0).random(geometry.plane_shape(axis)) < 0.4
    paint(segmentation, volume, "Segment_1", axis, 3, mask)
    assert np.array_equal(capturePlane(segmentation, volume, LABELS, MASK, axis, 3), mask.astype(np.uint8))
    assert drawnSlices(segmentation, volume, axis) == [3]


def test_paint_takes_pixels_from_others_and_is_one_step_of_undo(application):
    geometry, volume, segmentation = makeCase(grid(), LABELS, MASK)
    plane = np.zeros(geometry.plane_shape(2), np.uint8)
    plane[:, :5] = 1
    writePlane(segmentation, volume, LABELS, MASK, 2, 2, plane)
    left, right = np.zeros(plane.shape, bool), np.zeros(plane.shape, bool)
    left[:3], right[:, 4:] = True, True
    expected = plane.copy()
    with Brush(segmentation, volume) as brush:
        brush.paint("Segment_2", 2, 2, right)
        expected[right] = 2
        assert np.array_equal(capturePlane(segmentation, volume, LABELS, MASK, 2, 2), expected)
        before = expected.copy()
        brush.erase("Segment_1", 2, 2, left)
        expected[left & (expected == 1)] = 0
        assert np.array_equal(capturePlane(segmentation, volume, LABELS, MASK, 2, 2), expected)
        brush.undo()
        assert np.array_equal(capturePlane(segmentation, volume, LABELS, MASK, 2, 2), before)
        brush.undo()
        assert np.array_equal(capturePlane(segmentation, volume, LABELS, MASK, 2, 2), plane)
        brush.undo()
        assert np.array_equal(capturePlane(segmentation, volume, LABELS, MASK, 2, 2), plane)


def test_brush_leaves_nothing_in_the_scene(application):
    geometry, volume, segmentation = makeCase(grid(), LABELS, MASK)
    before = application.scene.GetNumberOfNodes()
    paint(segmentation, volume, "Segment_1", 2, 0, np.ones(geometry.plane_shape(2), bool))
    with pytest.raises(BadInput):
        paint(segmentation, volume, "Segment_1", 2, 9, np.ones(geometry.plane_shape(2), bool))
    assert application.scene.GetNumberOfNodes() == before


@pytest.mark.parametrize(
    ("segment", "index", "mask", "message"),
    [
        ("Segment_7", 0, np.ones((7, 9), bool), "no segment 'Segment_7'"),
        ("Segment_1", 5, np.ones((7, 9), bool), "index 5"),
        ("Segment_1", -1, np.ones((7, 9), bool), "index -1"),
        ("Segment_1", 0, np.ones((9, 7), bool), "shape"),
        ("Segment_1", 0, np.ones((7, 9), np.uint8), "type uint8"),
    ],
)
def test_strokes_that_do_not_fit_are_refused(application, segment, index, mask, message):
    _, volume, segmentation = makeCase(grid(), LABELS, MASK)
    with pytest.raises(BadInput, match=message):
        paint(segmentation, volume, segment, 2, index, mask)
    assert drawnSlices(segmentation, volume, 2) == []


@pytest.mark.real_data
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("oblique", [False, True])
def test_real_case(application, real_data, tmp_path, axis, oblique):
    """Strokes in the aligned view of a heart are in that slice of the file's own array.

    ACDC's files lie along the patient's axes; written with an oblique header they are as scanners make them.
    """
    cohort = discover(real_data / "acdc")
    if oblique:
        volume = cohort.volumes[0]
        image = sitk.ReadImage(str(cohort.path(volume.channels[0].paths[0])))
        image.SetDirection([float(value) for value in rotation(12).ravel()])
        (tmp_path / "patient").mkdir()
        sitk.WriteImage(image, str(tmp_path / "patient" / "image.nii.gz"))
        cohort = discover(tmp_path)
    volume = cohort.volumes[0]
    node = loadVolumeNode(cohort, volume)
    requireGrid(node, volume.geometry)
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(cohort.path(volume.channels[0].paths[0]))))
    assert np.array_equal(slicer.util.arrayFromVolume(node), stored)
    segmentation = createSegmentation(node, LABELS, MASK, "drawing")
    view = application.addSliceNode()
    index = volume.geometry.size[axis] // 2
    alignToSlice(view, volume.geometry, axis, index)
    assert (view.GetOrientation() == "Reformat") == oblique
    assert shownSlice(view, volume.geometry, axis) == index
    brushInView(view, segmentation, node, "Segment_1")
    painted = slices_first(segmentArray(segmentation, "Segment_1", node), axis)
    assert painted[index].any()
    assert not np.delete(painted, index, axis=0).any()
    pixels = np.arange(painted[index].size).reshape(painted[index].shape)
    plane = np.isin(pixels % 7, (0, 1)).astype(np.uint8)
    writePlane(segmentation, node, LABELS, MASK, axis, index, plane)
    assert np.array_equal(capturePlane(segmentation, node, LABELS, MASK, axis, index), plane)
