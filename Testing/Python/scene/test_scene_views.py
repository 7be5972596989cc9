"""Views on one array slice: aligned for every grid, recognised again, saved and restored."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scene_helpers import grid, randomGrid, viewMatrix, voxelsOfView

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.scene import alignToSlice, restoreView, saveView, shownSlice

PROPERTY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@PROPERTY
@given(seed=st.integers(0, 10**6), axis=st.integers(0, 2), data=st.data())
def test_view_shows_exactly_the_slice(application, seed, axis, data):
    application.clear()
    geometry = randomGrid(seed)
    index = data.draw(st.integers(0, geometry.size[axis] - 1))
    view = application.addSliceNode(data.draw(st.sampled_from(["Axial", "Sagittal", "Coronal"])))
    alignToSlice(view, geometry, axis, index)
    assert shownSlice(view, geometry, axis) == index
    depths = voxelsOfView(view, geometry)[:, axis]
    assert np.allclose(depths, index, atol=1e-6)
    matrix = viewMatrix(view)[:3, :3]
    assert np.allclose(matrix.T @ matrix, np.eye(3), atol=1e-9)
    for other in {0, 1, 2} - {axis}:
        assert shownSlice(view, geometry, other) is None


@PROPERTY
@given(seed=st.integers(0, 10**6), axis=st.integers(0, 2))
def test_view_is_the_nearest_of_all_choices(application, seed, axis):
    """Against a reference implementation: all 48 signed permutations with the right normal, and the three presets."""
    application.clear()
    geometry = randomGrid(seed)
    view = application.addSliceNode()
    alignToSlice(view, geometry, axis, 0)
    axes = np.diag([-1, -1, 1]) @ np.reshape(geometry.direction, (3, 3))
    presets = [
        slicer.util.arrayFromVTKMatrix(view.GetSliceOrientationPreset(n)) for n in ("Axial", "Sagittal", "Coronal")
    ]
    preset = max(presets, key=lambda columns: abs(columns[:, 2] @ axes[:, axis]))
    first, second = (other for other in range(3) if other != axis)
    choices = [
        np.stack([sx * axes[:, x], sy * axes[:, y], sz * axes[:, axis]], axis=1)
        for x, y in ((first, second), (second, first))
        for sx in (1, -1)
        for sy in (1, -1)
        for sz in (1, -1)
    ]
    best = max(np.trace(choice.T @ preset) for choice in choices)
    assert np.trace(viewMatrix(view)[:3, :3].T @ preset) == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize(("axis", "name"), [(0, "Sagittal"), (1, "Coronal"), (2, "Axial")])
@pytest.mark.parametrize("flip", [1.0, -1.0])
def test_views_of_straight_volumes_are_slicers_own(application, axis, name, flip):
    view = application.addSliceNode("Sagittal" if name == "Axial" else "Axial")
    assert alignToSlice(view, grid(direction=np.diag([flip, 1.0, -flip])), axis, 3)
    assert view.GetOrientation() == name


def test_zoom_and_pan_are_kept_from_slice_to_slice(application):
    geometry = randomGrid(5)
    view = application.addSliceNode()
    assert alignToSlice(view, geometry, 2, 0)
    view.SetFieldOfView(40.0, 40.0, 1.0)
    view.SetXYZOrigin(1.5, -0.5, 0.0)
    before = viewMatrix(view)
    assert not alignToSlice(view, geometry, 2, 4)
    after = viewMatrix(view)
    assert view.GetFieldOfView() == (40.0, 40.0, 1.0)
    assert view.GetXYZOrigin() == (1.5, -0.5, 0.0)
    assert np.array_equal(before[:3, :3], after[:3, :3])
    moved = after[:3, 3] - before[:3, 3]
    assert np.allclose(abs(moved @ after[:3, 2]), 4 * geometry.spacing[2])
    assert np.allclose(np.cross(moved, after[:3, 2]), 0, atol=1e-9)


def test_zoom_is_kept_when_the_view_turns(application):
    view = application.addSliceNode()
    view.SetFieldOfView(40.0, 40.0, 1.0)
    assert alignToSlice(view, randomGrid(5), 2, 0)
    assert view.GetFieldOfView() == (40.0, 40.0, 1.0)


def test_view_that_looks_elsewhere_is_centred(application):
    """The next case has the same orientation and lies at another place."""
    near, far = grid(origin=(0.0, 0.0, 0.0)), grid(origin=(500.0, 0.0, 0.0))
    view = application.addSliceNode("Coronal")
    assert alignToSlice(view, near, 2, 0)
    assert alignToSlice(view, far, 2, 0)
    assert np.allclose(voxelsOfView(view, far).mean(axis=0)[:2], (np.array(far.size[:2]) - 1) / 2, atol=0.5)
    view.SetXYZOrigin(300.0, 0.0, 0.0)
    assert alignToSlice(view, far, 2, 1)
    assert view.GetXYZOrigin() == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("shift", "expected"),
    [(0.0, 2), (0.4, 2), (-0.4, 2), (0.6, 3), (0.5, None), (-2.4, 0), (-2.6, None), (2.45, 4), (2.6, None)],
)
def test_shown_slice_between_slices_and_outside(application, shift, expected):
    geometry = grid()
    view = application.addSliceNode("Coronal")
    alignToSlice(view, geometry, 2, 2)
    matrix = viewMatrix(view)
    sign = np.sign(matrix[2, 2])
    view.GetSliceToRAS().SetElement(2, 3, matrix[2, 3] + sign * shift * geometry.spacing[2])
    view.UpdateMatrices()
    assert shownSlice(view, geometry, 2) == expected


@pytest.mark.parametrize(("degrees", "expected"), [(0.03, 2), (0.1, None), (90.0, None)])
def test_tilted_view_shows_no_slice(application, degrees, expected):
    geometry = grid()
    view = application.addSliceNode("Coronal")
    alignToSlice(view, geometry, 2, 2)
    matrix = viewMatrix(view)
    angle = np.radians(degrees)
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    matrix[:3, :3] = tilt @ matrix[:3, :3]
    slicer.util.updateVTKMatrixFromArray(view.GetSliceToRAS(), matrix)
    view.UpdateMatrices()
    assert shownSlice(view, geometry, 2) == expected


def test_view_turned_within_its_plane_still_shows_the_slice(application):
    geometry = grid()
    view = application.addSliceNode("Coronal")
    alignToSlice(view, geometry, 2, 2)
    matrix = viewMatrix(view)
    matrix[:3, :2] = matrix[:3, 1::-1]
    slicer.util.updateVTKMatrixFromArray(view.GetSliceToRAS(), matrix)
    view.UpdateMatrices()
    assert shownSlice(view, geometry, 2) == 2


@pytest.mark.parametrize("index", [-1, 5])
def test_slice_that_does_not_exist_is_refused(application, index):
    with pytest.raises(BadInput, match="from 0 to 4"):
        alignToSlice(application.addSliceNode(), grid(), 2, index)


def test_view_without_presets_is_refused(application):
    view = slicer.vtkMRMLSliceNode()
    with pytest.raises(BadInput, match="no orientation 'Axial'"):
        alignToSlice(view, grid(), 2, 0)


@pytest.mark.parametrize("orientation", ["Axial", "Sagittal", "Coronal"])
def test_view_is_restored(application, orientation):
    view = application.addSliceNode(orientation)
    view.SetFieldOfView(120.0, 120.0, 2.0)
    view.SetXYZOrigin(3.0, 4.0, 0.0)
    before = viewMatrix(view)
    saved = saveView(view)
    alignToSlice(view, randomGrid(5), 2, 1)
    view.SetFieldOfView(10.0, 10.0, 1.0)
    assert view.GetOrientation() == "Reformat"
    restoreView(view, saved)
    assert np.array_equal(viewMatrix(view), before)
    assert view.GetFieldOfView() == (120.0, 120.0, 2.0)
    assert view.GetXYZOrigin() == (3.0, 4.0, 0.0)
    assert view.GetOrientation() == saved.orientation == orientation


def test_restored_pixels_are_square_after_the_view_was_resized(application):
    view = application.addSliceNode()
    saved = saveView(view)
    view.SetDimensions(512, 256, 1)
    restoreView(view, saved)
    width, height, _ = view.GetFieldOfView()
    assert width == pytest.approx(2 * height)
