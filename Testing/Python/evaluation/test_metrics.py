import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from scipy.ndimage import binary_erosion, generate_binary_structure

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.evaluation import METRICS, dice, surface_distances, volume_metrics

NAMES = {1: "one", 2: "two"}


def score(prediction, truth, *, classes=NAMES, spacing=(1, 1, 1), slice_axis=0, metrics=METRICS, **options):
    found = volume_metrics(
        prediction, truth, classes=classes, spacing=spacing, slice_axis=slice_axis, metrics=metrics, **options
    )
    return {(value.class_name, value.metric): value.value for value in found}


def blobs(seed, shape=(7, 12, 11)):
    """Two overlapping random label maps of the values 0, 1, 2."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(shape, np.uint8)
    truth[1:5, 2:8, 2:6] = 1
    truth[2:6, 4:10, 6:10] = 2
    prediction = np.roll(truth, tuple(rng.integers(-2, 3, 3)), (0, 1, 2))
    noise = rng.random(shape) < 0.03
    prediction[noise] = rng.integers(0, 3, np.count_nonzero(noise))
    return prediction, truth


def literal_dice(prediction, truth):
    p = {tuple(index) for index in np.argwhere(prediction)}
    g = {tuple(index) for index in np.argwhere(truth)}
    return 2 * len(p & g) / (len(p) + len(g)) if p or g else float("nan")


def literal_contour(mask, diagonal):
    """Pixels of the mask with a neighbour that is not in it; outside the array nothing is."""
    steps = [np.array(step) - 1 for step in np.ndindex(3, 3, 3)]
    steps = [step for step in steps if np.abs(step).sum() == 1 or (diagonal and step.any())]
    inside = {tuple(index) for index in np.argwhere(mask)}
    return [index for index in sorted(inside) if any(tuple(index + step) not in inside for step in steps)]


def literal_distances(one, other, spacing):
    return [min(np.linalg.norm((np.subtract(a, b)) * spacing) for b in other) for a in one]


def literal_hd95(prediction, truth, spacing):
    p, g = literal_contour(prediction, False), literal_contour(truth, False)
    return max(np.percentile(literal_distances(p, g, spacing), 95), np.percentile(literal_distances(g, p, spacing), 95))


def literal_msd(prediction, truth, spacing):
    p, g = literal_contour(prediction, True), literal_contour(truth, True)
    total = sum(literal_distances(p, g, spacing)) + sum(literal_distances(g, p, spacing))
    return total / (len(p) + len(g))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spacing", [(1, 1, 1), (10.0, 1.37, 1.5)])
def test_all_metrics_equal_the_literal_versions(seed, spacing):
    prediction, truth = blobs(seed)
    found = score(prediction, truth, spacing=spacing)
    for value, name in NAMES.items():
        p, g = prediction == value, truth == value
        assert found[name, "dice"] == pytest.approx(literal_dice(p, g), abs=1e-12)
        slices = [literal_dice(p[k], g[k]) for k in range(len(p))]
        assert found[name, "dice2d"] == pytest.approx(np.nanmean(slices), abs=1e-12)
        assert found[name, "hd95"] == pytest.approx(literal_hd95(p, g, spacing), abs=1e-9)
        assert found[name, "msd"] == pytest.approx(literal_msd(p, g, spacing), abs=1e-9)
        assert found[name, "missed"] == 0


@pytest.mark.filterwarnings("ignore:monai:FutureWarning")
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (8.0, 1.25, 1.5)])
def test_distances_agree_with_monai(seed, spacing):
    prediction, truth = blobs(seed)
    one_hot = [torch.from_numpy(np.stack([labels == v for v in NAMES])[None]) for labels in (prediction, truth)]
    theirs = compute_hausdorff_distance(*one_hot, include_background=True, percentile=95, spacing=spacing)
    ours = score(prediction, truth, spacing=spacing, metrics=["hd95"])
    np.testing.assert_allclose([ours[name, "hd95"] for name in NAMES.values()], theirs[0], rtol=1e-5)
    pooled = compute_average_surface_distance(*one_hot, include_background=True, symmetric=True, spacing=spacing)
    for place, value in enumerate(NAMES):
        pair = surface_distances(prediction == value, truth == value, spacing)
        assert np.concatenate(pair).mean() == pytest.approx(float(pooled[0, place]), rel=1e-5)


@pytest.mark.parametrize("filled", [0.001, 0.02, 0.5])
def test_contours_that_fill_the_image_have_the_same_distances(filled):
    rng = np.random.default_rng(3)
    prediction, truth = np.zeros((2, 2, 60, 50), bool)
    prediction[rng.random(prediction.shape) < filled] = True
    prediction[0, 0, 0] = True
    truth[:, 20:50, 10:45] = True
    spacing = np.array((4.0, 0.7, 1.3))
    edge = truth & ~binary_erosion(truth, generate_binary_structure(3, 1))
    steps = np.argwhere(prediction)[:, None] * spacing - np.argwhere(edge)[None] * spacing
    found = surface_distances(prediction, truth, spacing)
    np.testing.assert_allclose(found[0], np.sqrt((steps**2).sum(axis=2)).min(axis=1)[contoured(prediction)], atol=1e-9)
    back = np.sqrt((steps[contoured(prediction)] ** 2).sum(axis=2)).min(axis=0)
    np.testing.assert_allclose(found[1], back, atol=1e-9)


def contoured(mask):
    """Which True pixels of a mask are on its contour, in their order."""
    return (mask & ~binary_erosion(mask, generate_binary_structure(3, 1)))[mask]


@pytest.mark.parametrize(("axis", "spacing"), [(0, (10, 1.5, 2.5)), (1, (10, 1.5, 2.5)), (2, (10, 1.5, 2.5))])
def test_a_shift_by_one_voxel_is_one_voxel_of_distance(axis, spacing):
    truth = np.zeros((9, 9, 9), np.uint8)
    truth[4, 4, 4] = 1
    found = score(np.roll(truth, 1, axis), truth, spacing=spacing)
    assert found["one", "hd95"] == pytest.approx(spacing[axis])
    assert found["one", "msd"] == pytest.approx(spacing[axis])
    assert found["one", "dice"] == 0


def test_two_parallel_planes_are_as_far_apart_as_they_are():
    truth, prediction = np.zeros((2, 12, 8, 8), np.uint8)
    truth[3], prediction[7] = 1, 1
    found = score(prediction, truth, spacing=(2.5, 1, 1))
    assert found["one", "hd95"] == found["one", "msd"] == pytest.approx(10.0)


def test_msd_is_pooled_and_not_the_mean_of_two_means():
    truth, prediction = np.zeros((2, 3, 3, 12), np.uint8)
    truth[1, 1, 1] = 1
    prediction[1, 1, [1, 2, 10]] = 1  # distances 0, 1, 9 one way and 0 the other
    assert score(prediction, truth)["one", "msd"] == pytest.approx(10 / 4)


def test_a_perfect_prediction():
    _, truth = blobs(0)
    found = score(truth, truth)
    for name in NAMES.values():
        assert [found[name, metric] for metric in METRICS] == [1, 1, 0, 0, 0]


@pytest.mark.parametrize(("absent", "both"), [("nan", np.nan), ("one", 1.0), ("zero", 0.0)])
def test_absent_classes(absent, both):
    empty = np.zeros((3, 4, 4), np.uint8)
    present = empty.copy()
    present[1, 1:3, 1:3] = 1
    nothing = score(empty, empty, absent=absent)
    np.testing.assert_equal([nothing["one", m] for m in METRICS], [both, both, np.nan, np.nan, np.nan])
    other_slices = 0.0 if absent != "one" else 2 / 3  # two of the three slices are empty in both
    missed = score(empty, present, absent=absent)
    np.testing.assert_equal([missed["one", m] for m in METRICS], [0, other_slices, np.nan, np.nan, 1])
    invented = score(present, empty, absent=absent)
    np.testing.assert_equal([invented["one", m] for m in METRICS], [0, other_slices, np.nan, np.nan, np.nan])


def test_slices_are_cut_along_the_named_axis():
    truth = np.zeros((4, 4, 4), np.uint8)
    truth[:, :2, 0] = 1
    prediction = truth.copy()
    prediction[:, 1, 0] = 0
    assert score(prediction, truth, slice_axis=0)["one", "dice2d"] == pytest.approx(2 / 3)
    assert score(prediction, truth, slice_axis=1)["one", "dice2d"] == pytest.approx(1 / 2)


def test_unlabelled_pixels_count_nowhere():
    prediction, truth = blobs(3)
    unknown = np.zeros(truth.shape, bool)
    unknown[:, 8:] = True
    partial = np.where(unknown, np.uint8(255), truth)
    garbage = np.where(unknown, np.random.default_rng(0).integers(0, 3, truth.shape).astype(np.uint8), prediction)
    first, second = score(prediction, partial), score(garbage, partial)
    assert first == second
    assert first["two", "dice"] == pytest.approx(literal_dice((prediction == 2)[:, :8], (truth == 2)[:, :8]))


def test_the_border_of_the_unlabelled_part_is_not_a_contour():
    truth = np.ones((7, 9, 12), np.uint8)
    truth[:, :, 6:] = 255
    contour, _ = surface_distances(truth == 1, truth == 1, (1, 1, 1), labelled=truth != 255)
    assert (
        len(contour) == 7 * 9 * 6 - 5 * 7 * 5
    )  # all labelled pixels, without those inside of the class or next to unlabelled ones
    plane = np.full((7, 9, 12), 255, np.uint8)
    plane[1:6, 1:8, 1:11] = 1
    found = score(np.ones_like(plane), plane, classes={1: "one"})
    assert found["one", "dice"] == 1
    assert np.isnan(found["one", "hd95"])  # the border is unknown


def test_a_volume_without_labelled_pixels_has_no_score():
    found = score(np.ones((2, 3, 3), np.uint8), np.full((2, 3, 3), 255, np.uint8), absent="one")
    assert all(np.isnan(value) for value in found.values())


def test_missed_comes_with_the_distances_and_metrics_keep_their_order():
    prediction, truth = blobs(0)
    assert [m for _, m in score(prediction, truth, classes={1: "one"}, metrics=["hd95", "dice"])] == [
        "hd95",
        "dice",
        "missed",
    ]
    assert [m for _, m in score(prediction, truth, classes={1: "one"}, metrics=["dice"])] == ["dice"]


def test_bad_arguments_are_refused():
    labels = np.zeros((2, 3, 3), np.uint8)
    with pytest.raises(BadInput, match="no evaluation metric iou"):
        score(labels, labels, metrics=["dice", "iou"])
    wrong_options = {
        "slice axis": {"slice_axis": 3},
        "Three positive spacings": {"spacing": (1, 0, 1)},
        "absent classes": {"absent": "half"},
        "cannot be a class": {"classes": {255: "u"}},
    }
    for words, options in wrong_options.items():
        with pytest.raises(ValueError, match=words):
            score(labels, labels, **options)
    with pytest.raises(ValueError, match="one 3D shape"):
        score(labels, labels[:1])


masks = hnp.arrays(bool, (3, 4, 4))


@settings(max_examples=50, deadline=None)
@given(masks, masks)
def test_dice_is_symmetric_and_between_0_and_1(one, other):
    forth, back = dice(one, other, absent="one"), dice(other, one, absent="one")
    assert forth == back
    assert 0 <= forth <= 1
    assert (forth == 1) == bool((one == other).all())


@settings(max_examples=30, deadline=None)
@given(masks, masks, st.permutations([0, 1, 2]))
def test_distances_are_symmetric_and_follow_the_axes(one, other, order):
    spacing = np.array([3.0, 1.0, 1.7])
    labels = [mask.astype(np.uint8) for mask in (one, other)]
    forth = score(*labels, spacing=spacing)
    back = score(*labels[::-1], spacing=spacing)
    turned = score(*(np.transpose(map_, order) for map_ in labels), spacing=spacing[list(order)])
    for metric in ("hd95", "msd"):
        np.testing.assert_allclose(back["one", metric], forth["one", metric])
        np.testing.assert_allclose(turned["one", metric], forth["one", metric])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_contour_of_a_mask_in_a_single_slice_is_its_outline(axis):
    plane = np.zeros((20, 20), bool)
    plane[4:14, 4:14] = True
    shifted = np.roll(plane, 2, axis=1)
    pair = surface_distances(np.expand_dims(plane, axis), np.expand_dims(shifted, axis), (1, 1, 1))
    assert [len(side) for side in pair] == [36, 36]
    (value,) = (
        found.value
        for found in volume_metrics(
            np.expand_dims(plane, axis).astype(np.uint8),
            np.expand_dims(shifted, axis).astype(np.uint8),
            classes={1: "square"},
            spacing=(1.5, 1.5, 1.5),
            slice_axis=axis,
            metrics=["hd95"],
        )
        if found.metric == "hd95"
    )
    assert value == pytest.approx(3.0)
