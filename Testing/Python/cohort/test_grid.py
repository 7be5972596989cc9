"""The in-plane map: reference implementation, centre, ramps, round trip, borders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import affine_transform

from ActiveSegmentationLib.cohort.grid import PlaneGrid
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.labels import IGNORE_LABEL

SIZES = st.tuples(st.integers(1, 11), st.integers(1, 11))
ZOOMS = st.tuples(*[st.sampled_from([0.35, 0.5, 0.9, 1.0, 1.15, 1.2])] * 2)


def literal_place(position: int, native: int, grid: int, zoom: float) -> float:
    """Native place of a pixel of the grid: the same distance from the centre, in other pixels."""
    place = (position - (grid - 1) / 2) * zoom + (native - 1) / 2
    return place - 0.5 if zoom == 1 and (native - grid) % 2 else place


def literal_to_grid(plane: np.ndarray, plan: PlaneGrid, fill: float, nearest: bool) -> np.ndarray:
    """Pixel by pixel, in double precision."""
    result = np.full(plan.grid, fill, dtype=np.float64)
    for row in range(plan.grid[0]):
        for column in range(plan.grid[1]):
            y = literal_place(row, plan.native[0], plan.grid[0], plan.zoom[0])
            x = literal_place(column, plan.native[1], plan.grid[1], plan.zoom[1])
            inside = [-0.5 - 1e-6 <= v <= n - 0.5 + 1e-6 for v, n in zip((y, x), plan.native, strict=True)]
            if not all(inside):
                continue
            y, x = min(max(y, 0), plan.native[0] - 1), min(max(x, 0), plan.native[1] - 1)
            if nearest:
                y, x = (min(int(v + 0.5 + 1e-6), n - 1) for v, n in zip((y, x), plan.native, strict=True))
                result[row, column] = plane[y, x]
                continue
            top, left = int(y), int(x)
            bottom, right = min(top + 1, plan.native[0] - 1), min(left + 1, plan.native[1] - 1)
            upper = plane[top, left] * (1 - (x - left)) + plane[top, right] * (x - left)
            lower = plane[bottom, left] * (1 - (x - left)) + plane[bottom, right] * (x - left)
            result[row, column] = upper * (1 - (y - top)) + lower * (y - top)
    return result


@settings(max_examples=60, deadline=None)
@given(native=SIZES, grid=SIZES, zoom=ZOOMS, seed=st.integers(0, 99))
def test_images_equal_the_literal_version(native, grid, zoom, seed):
    plan = PlaneGrid(native, grid, zoom)
    images = np.random.default_rng(seed).normal(size=(2, 3, *native)).astype(np.float32)
    found = plan.images_to_grid(images, fill=np.array([-7.0, 5.0]))
    assert found.shape == (2, 3, *grid)
    assert found.dtype == np.float32
    for channel, fill in enumerate((-7.0, 5.0)):
        for number in range(3):
            expected = literal_to_grid(images[channel, number], plan, fill, nearest=False)
            np.testing.assert_allclose(found[channel, number], expected, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(native=SIZES, grid=SIZES, zoom=ZOOMS, seed=st.integers(0, 99))
def test_labels_equal_the_literal_version(native, grid, zoom, seed):
    plan = PlaneGrid(native, grid, zoom)
    labels = np.random.default_rng(seed).integers(0, 5, (2, *native)).astype(np.uint8)
    found = plan.labels_to_grid(labels)
    assert found.dtype == np.uint8
    for number in range(2):
        np.testing.assert_array_equal(found[number], literal_to_grid(labels[number], plan, IGNORE_LABEL, nearest=True))


def test_probabilities_equal_affine_transform_of_scipy_inside_the_grid():
    plan = PlaneGrid((23, 31), (16, 40), (1.4, 0.8))
    values = np.random.default_rng(0).random((3, 16, 40)).astype(np.float32)
    offset = [((16 - 1) / 2) - ((23 - 1) / 2) / 1.4, ((40 - 1) / 2) - ((31 - 1) / 2) / 0.8]
    expected = [
        affine_transform(value, [1 / 1.4, 1 / 0.8], offset, output_shape=(23, 31), order=1, mode="nearest")
        for value in values
    ]
    found = plan.probabilities_from_grid(values)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@given(native=SIZES, extra=st.tuples(st.integers(0, 9), st.integers(0, 9)), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_without_resampling_or_cropping_the_round_trip_is_exact_to_the_bit(native, extra, seed):
    grid = (native[0] + extra[0], native[1] + extra[1])
    plan = PlaneGrid(native, grid)
    labels = np.random.default_rng(seed).integers(0, 3, native).astype(np.uint8)
    on_grid = plan.labels_to_grid(labels)
    assert (on_grid == IGNORE_LABEL).sum() == grid[0] * grid[1] - native[0] * native[1]
    one_hot = (on_grid == np.arange(3)[:, None, None]).astype(np.float32)
    back = plan.probabilities_from_grid(one_hot)
    np.testing.assert_array_equal(back, (labels == np.arange(3)[:, None, None]).astype(np.float32))
    image = np.random.default_rng(seed).normal(size=(1, 1, *native)).astype(np.float32)
    moved = plan.images_to_grid(image, np.array([9.0]))[0, 0]
    np.testing.assert_array_equal(moved[on_grid != IGNORE_LABEL].reshape(native), image[0, 0])


@given(native=SIZES, grid=SIZES, zoom=st.tuples(*[st.floats(0.3, 4)] * 2))
@settings(max_examples=50, deadline=None)
def test_shapes_and_probabilities_hold_for_every_map(native, grid, zoom):
    plan = PlaneGrid(native, grid, zoom)
    assert plan.labels_to_grid(np.zeros((4, *native), np.uint8)).shape == (4, *grid)
    values = np.random.default_rng(0).dirichlet([1, 1, 1], size=(2, *grid)).transpose(0, 3, 1, 2)
    back = plan.probabilities_from_grid(values)
    assert back.shape == (2, 3, *native)
    np.testing.assert_allclose(back.sum(axis=1), 1, atol=1e-5)
    assert back.min() >= 0
    alone = plan.probabilities_from_grid(values[1])
    np.testing.assert_array_equal(alone, back[1])


@pytest.mark.parametrize("zoom", [(0.5, 0.7), (1.0, 1.0), (1.7, 2.5)])
def test_linear_ramps_are_reproduced(zoom):
    plan = PlaneGrid((61, 61), (15, 15), zoom)
    y, x = np.mgrid[:61, :61].astype(np.float32)
    found = plan.images_to_grid((2 * y - 3 * x)[None, None], np.zeros(1))[0, 0]
    places = [(np.arange(15) - 7) * step + 30 for step in zoom]
    np.testing.assert_allclose(found, 2 * places[0][:, None] - 3 * places[1][None, :], atol=1e-3)


@pytest.mark.parametrize("zoom", [(1.0, 1.0), (0.6, 1.9), (3.0, 3.0)])
@pytest.mark.parametrize("native", [(41, 41), (40, 44)])
def test_the_centre_stays_at_the_centre(native, zoom):
    y, x = (np.arange(n) - (n - 1) / 2 for n in native)
    blob = np.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / 32).astype(np.float32)[None, None]
    grid = (33, 33) if native[0] % 2 else (32, 32)
    found = PlaneGrid(native, grid, zoom).images_to_grid(blob, np.zeros(1))[0, 0]
    np.testing.assert_allclose(found, found[::-1, ::-1], atol=1e-5)


def test_shrinking_does_not_alias():
    stripes = np.tile(np.array([0.0, 1.0], np.float32), 32)[None, None, None, :].repeat(64, axis=2)
    found = PlaneGrid((64, 64), (16, 16), (4.0, 4.0)).images_to_grid(stripes, np.zeros(1))
    np.testing.assert_allclose(found[..., 2:-2], 0.5, atol=0.01)


def test_beyond_the_image_and_beyond_the_grid():
    smaller = PlaneGrid((4, 6), (8, 6))
    on_grid = smaller.labels_to_grid(np.ones((4, 6), np.uint8))
    np.testing.assert_array_equal(on_grid[:, 0], [255, 255, 1, 1, 1, 1, 255, 255])
    cropped = PlaneGrid((8, 6), (4, 6))
    back = cropped.probabilities_from_grid(np.full((2, 4, 6), 0.5, np.float32))
    np.testing.assert_array_equal(back[0, :, 0], [1, 1, 0.5, 0.5, 0.5, 0.5, 1, 1])
    np.testing.assert_array_equal(back[1, :, 0], [0, 0, 0.5, 0.5, 0.5, 0.5, 0, 0])


def test_another_size_is_refused():
    plan = PlaneGrid((4, 6), (8, 8))
    with pytest.raises(BadInput, match="6 x 4 pixels, expected 4 x 6"):
        plan.labels_to_grid(np.zeros((6, 4), np.uint8))
    with pytest.raises(BadInput, match="expected 8 x 8"):
        plan.probabilities_from_grid(np.zeros((2, 4, 6), np.float32))
