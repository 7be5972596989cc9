import io
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from ActiveSegmentationLib.evaluation import (
    PredictionView,
    ResultRow,
    SliceView,
    learning_curve,
    prediction_gallery,
    slice_picture,
)
from ActiveSegmentationLib.evaluation.curve_figure import spread
from ActiveSegmentationLib.evaluation.drawing import grey_levels, label_color


def pixels(png):
    assert png.startswith(b"\x89PNG\r\n")
    return imread(io.BytesIO(png))[..., :3]


def close_to(picture, color):
    """How many pixels have about this colour."""
    return np.count_nonzero(np.abs(picture - np.array(color)).max(axis=-1) < 0.06)


def rows(strategies=("a", "b"), seeds=(0, 1), budgets=(10, 20), cohort="c"):
    return [
        ResultRow(cohort, s, seed, n, b, b / 10, "p", "v", "LV", "dice", 0.5 + 0.1 * n + 0.01 * seed + 0.05 * place)
        for place, s in enumerate(strategies)
        for seed in seeds
        for n, b in enumerate(budgets)
    ]


@pytest.mark.parametrize("narrow", [False, True])
def test_learning_curves_show_every_strategy_in_its_colour(narrow):
    picture = pixels(learning_curve(rows(), narrow=narrow))
    blue, vermillion = (0, 0.447, 0.698), (0.835, 0.369, 0)
    assert close_to(picture, blue) > 300
    assert close_to(picture, vermillion) > 300
    assert close_to(pixels(learning_curve(rows(("a",)), narrow=narrow)), vermillion) == 0
    assert (picture[[0, -1]] > 0.99).all()  # nothing is cut off above or below


@pytest.mark.parametrize(
    "some",
    [
        rows(seeds=(0,), budgets=(10,)),
        rows(tuple(f"strategy-{i}" for i in range(12)), budgets=(1, 2, 3, 5, 1000)),
        rows() + rows(cohort="d", budgets=(5,)),
    ],
)
def test_unusual_learning_curves_can_be_drawn(some):
    assert pixels(learning_curve(some)).std() > 0.02


def test_the_same_rows_give_the_same_bytes():
    assert learning_curve(rows()) == learning_curve(rows()[::-1])


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="no value"):
        learning_curve([])
    with pytest.raises(ValueError, match="no prediction"):
        prediction_gallery([])


def test_labels_are_spread_and_kept_within_the_limits():
    assert spread([1, 5, 9], 1, (0, 10)) == [1, 5, 9]
    assert spread([5, 5, 5], 1, (0, 10)) == [4, 5, 6]
    assert spread([0, 0, 0.5], 1, (0, 10)) == [0, 1, 2]
    assert spread([9.9, 10, 10], 2, (0, 10)) == [6, 8, 10]
    rng = np.random.default_rng(0)
    for _ in range(50):
        places = sorted(rng.random(8) * 10)
        found = spread(places, 0.9, (0, 10))
        assert (np.diff(found) > 0.9 - 1e-9).all()
        assert found[0] > -1e-9
        assert found[-1] < 10 + 1e-9


def plane(shape=(40, 50)):
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    labels = np.zeros(shape, np.uint8)
    labels[10:25, 10:30] = 1
    labels[25:35, 10:30] = 2
    return image, labels


def test_masks_are_drawn_as_contours_and_scribbles_as_strokes():
    image, labels = plane()
    bare = pixels(slice_picture(SliceView(image)))
    assert close_to(bare, label_color(1)) == close_to(bare, label_color(2)) == 0
    mask = pixels(slice_picture(SliceView(image, labels)))
    assert 100 < close_to(mask, label_color(1)) < 0.3 * (labels == 1).mean() * mask[..., 0].size
    assert close_to(mask, label_color(0)) == 0
    scribble = np.full(labels.shape, 255, np.uint8)
    scribble[15, 12:28], scribble[2, 5:45] = 1, 0
    strokes = pixels(slice_picture(SliceView(np.zeros_like(image), scribble), colors={0: (0, 0, 1), 1: (1, 0, 0)}))
    assert close_to(strokes, (0.9, 0, 0)) > 100
    assert close_to(strokes, (0, 0, 0.9)) > 100


def test_thin_scribbles_on_large_planes_stay_visible():
    scribble = np.full((600, 600), 255, np.uint8)
    scribble[300, 100:500] = 1
    picture = pixels(slice_picture(SliceView(np.zeros((600, 600)), scribble, ""), colors={1: (1, 0, 0)}, pixels=200))
    assert close_to(picture, (0.9, 0, 0)) > 200


def test_neighbouring_and_coarse_label_values_have_colours_of_their_own():
    for values in (range(8), (0, 63, 126, 189, 252), (5, 85)):
        assert len({label_color(value) for value in values}) == len(values)


def test_a_picture_has_the_proportions_of_the_plane():
    image, labels = plane((40, 80))
    assert pixels(slice_picture(SliceView(image, labels), pixels=200)).shape[:2] == (100, 200)
    assert pixels(slice_picture(SliceView(image, labels, aspect=4.0), pixels=200)).shape[:2] == (200, 100)


@pytest.mark.parametrize("count", [1, 5])
def test_galleries_show_what_they_are_given(count):
    image, labels = plane()
    some = [PredictionView(image, labels, np.roll(labels, 3, 0), f"volume {i}") for i in range(count)]
    assert close_to(pixels(prediction_gallery(some, names={1: "left"})), label_color(2)) > 200 * count
    assert close_to(pixels(prediction_gallery([PredictionView(image, labels * 0, labels * 0)])), label_color(2)) == 0


def test_grey_levels_survive_odd_images():
    assert (grey_levels(np.full((3, 3), 7.0)) == 0.5).all()
    odd = grey_levels(np.array([[np.nan, 0.0], [1.0, np.inf]]))
    assert odd.tolist() == [[0, 0], [1, 0]]
    assert grey_levels(np.full((2, 2), np.nan)).tolist() == [[0, 0], [0, 0]]


def test_no_global_state_of_matplotlib_is_touched():
    import subprocess

    code = (
        "import sys; import numpy as np; from ActiveSegmentationLib.evaluation import *;"
        "slice_picture(SliceView(np.zeros((4, 4)))); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_titles_of_two_lines_have_room_above_every_row():
    image, labels = np.random.default_rng(0).random((40, 40)), np.zeros((40, 40), np.uint8)
    labels[10:30, 10:30] = 1
    heights = []
    for title in ("one line", "one line\nand another"):
        views = [PredictionView(image, labels, labels, title=title) for _ in range(3)]
        png = prediction_gallery(views)
        heights.append(int.from_bytes(png[20:24], "big"))
    assert heights[1] - heights[0] >= 3 * 12  # a line of letters of 10 points in every row
