"""Volumes as they were acquired, read through the slice stack."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import SimpleITK as sitk
from stack_phantoms import add_volume, pixels

from ActiveSegmentationLib.cohort import Cohort, SliceStack, StackSettings, Turn, build_stack, slices_first
from ActiveSegmentationLib.cohort.grid import PlaneGrid
from ActiveSegmentationLib.common.errors import BadInput

SPACING = (0.7, 0.9, 4.0)


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """Two channels, of which the second is used; pixels of 1 mm where the images have others."""
    root = tmp_path_factory.mktemp("sources")
    volumes = [
        add_volume(root, name, pixels(n, (2, 5, 20, 26)), spacing=SPACING, axis=axis)
        for n, (name, axis) in enumerate((("across", 2), ("along", 1)))
    ]
    settings = StackSettings(spacing=1.0, size=(24, 24), channels=(1,))
    return build_stack(Cohort(root, "test", tuple(volumes)), settings, root / "cache", workers=1)


@pytest.mark.parametrize("name", ["across", "along"])
def test_pixels_and_spacing_are_those_of_the_file_slices_first(stack, name):
    volume = stack.volume(name)
    found = stack.source_volume(name)
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(stack.folder.parents[1] / f"{name}_0001.nii.gz")))
    np.testing.assert_array_equal(found.image[0], slices_first(stored, volume.axis))
    assert found.image.shape == (1, volume.slice_count, *volume.plane_shape)
    assert found.image.dtype == np.float32
    assert found.spacing == (volume.geometry.spacing[volume.axis], *volume.plane_spacing)
    assert found.axis == volume.axis


def test_planes_are_turned_like_those_of_the_stack(tmp_path):
    array = pixels(3, (4, 12, 16))
    turn = Turn(transpose=True, flip_columns=True)
    volume = add_volume(tmp_path, "v", array, spacing=SPACING)
    turned = Cohort(tmp_path, "test", (volume.__class__(**{**vars(volume), "turn": turn}),))
    stack = build_stack(turned, StackSettings(percentiles=(0, 100), spacing=0.0, size=(16, 12)), tmp_path / "cache")
    found = stack.source_volume("v")
    assert found.spacing == (4.0, 0.7, 0.9)
    low, high = array.min(), array.max()
    np.testing.assert_allclose((found.image[0] - low) / (high - low), stack.images[:, 0], atol=1e-3)
    np.testing.assert_array_equal(found.turn.undo(found.image[0]), array)


def test_a_stack_opened_alone_says_how_to_get_at_its_images(stack):
    alone = SliceStack(stack.folder)
    with pytest.raises(BadInput, match=r"opened without its cohort.*build_stack"):
        alone.source_volume("across")
    sent = pickle.loads(pickle.dumps(stack))
    np.testing.assert_array_equal(sent.source_volume("across").image, stack.source_volume("across").image)
    with pytest.raises(BadInput, match="no volume 'other'"):
        stack.source_volume("other")


def test_probabilities_of_acquired_planes_come_to_the_grid_and_go_back(stack):
    rows, columns = np.mgrid[:20, :26]
    first = np.exp(-((rows - 9) ** 2 + (columns - 12) ** 2) / 60).astype(np.float32)
    planes = np.stack([1 - first, first])[None].repeat(3, axis=0)
    found = stack.planes_to_grid(planes, "across")
    assert found.shape == (3, 2, 24, 24)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    outside = ~stack.inside(stack.volume_rows("across")[:1])[0]
    assert outside.any()
    assert (found[:, 0, outside] == 1).all()
    back = stack.from_grid(found, "across")
    assert np.abs(back - planes).max() < 0.08  # smoothed twice by linear interpolation


@pytest.mark.parametrize("turn", [Turn(), Turn(transpose=True, flip_rows=True)])
def test_without_resampling_nothing_is_lost(turn):
    grid = PlaneGrid((6, 9), (12, 10) if not turn.transpose else (10, 12), (1.0, 1.0), turn)
    planes = np.random.default_rng(1).dirichlet(np.ones(3), (2, 6, 9)).astype(np.float32).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(grid.probabilities_from_grid(grid.probabilities_to_grid(planes)), planes)
