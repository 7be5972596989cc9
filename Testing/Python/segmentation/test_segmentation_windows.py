"""Planes larger than the grid: windows that cover them, parts that are learned from, structures found anywhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ActiveSegmentationLib.cohort import IGNORE_LABEL, AnnotationKind, SliceId
from ActiveSegmentationLib.cohort.whole_planes import WholePlanes
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation import (
    Examples,
    SegmentationModel,
    TrainingSettings,
    TrainingTask,
    examples_from_annotations,
    fit,
    predict_volume,
)
from ActiveSegmentationLib.segmentation.crops import RandomCrops
from ActiveSegmentationLib.segmentation.network import build_network
from ActiveSegmentationLib.segmentation.slices import same_shape_runs
from ActiveSegmentationLib.segmentation.validation import foreground_dice
from ActiveSegmentationLib.segmentation.windows import mean_over_windows, places, windowed
from ActiveSegmentationLib.uncertainty import Deterministic, Dropout, entropy_map, slice_scores
from ActiveSegmentationLib.uncertainty.gradients import gradient_embeddings, sample_gradients

GRID = (32, 32)
SHAPE = (70, 90)
SMALL = TrainingSettings(steps=40, batch_size=4, features=(8, 8, 8, 8, 8), dropout=(0, 0, 0.2, 0.2, 0.2), augment=False)


class LargeStack:
    """Volume "s" of four slices on the grid, volume "l" of three that are larger, with a disc near a corner."""

    key, channels, grid_shape = "large", 1, GRID

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.truth = {0: np.zeros((4, *GRID), np.uint8), 4: np.zeros((3, *SHAPE), np.uint8)}
        for labels, centre in ((self.truth[0], (16, 16)), (self.truth[4], (60, 78))):
            rows, columns = np.ogrid[: labels.shape[1], : labels.shape[2]]
            labels[:, (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < 36] = 1
        pictures = {n: (t + rng.normal(0, 0.1, t.shape))[:, None].astype(np.float16) for n, t in self.truth.items()}
        self.small, self.whole = pictures[0], WholePlanes({4: pictures[4]})
        self.overview = np.concatenate([pictures[0], np.zeros((3, 1, *GRID), np.float16)])

    def row(self, slice_id: SliceId) -> int:
        return {"s": 0, "l": 4}[slice_id.volume] + slice_id.index

    def volume_rows(self, volume_id: str) -> np.ndarray:
        return np.arange(4) if volume_id == "s" else np.arange(4, 7)

    def to_grid(self, labels, volume_id):
        return labels

    def from_grid(self, values, volume_id):
        return values

    def inside(self, rows) -> np.ndarray:
        shape = SHAPE if self.whole.holds(rows[:1])[0] else GRID
        return np.ones((len(rows), *shape), bool)

    def batches(self, rows, device="cpu") -> torch.Tensor:
        return torch.from_numpy(self.overview[rows].astype(np.float32)).to(device)


class Classes:
    def to_classes(self, labels):
        return labels


class Drawn:
    def __init__(self, labels: np.ndarray, kind: AnnotationKind = AnnotationKind.MASK) -> None:
        self.labels, self.kind = labels, kind


def random_model(stack: LargeStack, classes: int = 2) -> SegmentationModel:
    network = build_network(1, classes, SMALL, seed=3).eval()
    return SegmentationModel(network, 1, classes, SMALL, "key", window=stack.grid_shape)


@pytest.mark.parametrize("shape", [(32, 32), (20, 90), (33, 32), (70, 90), (129, 64), (2048, 2048)])
@pytest.mark.parametrize("window", [(32, 32), (512, 512), (48, 16)])
def test_windows_cover_a_plane_and_each_pixel_is_one_windows_own(shape, window):
    owners = np.zeros(shape, int)
    for (rows, columns), (own_rows, own_columns) in places(shape, window):
        part = owners[rows, columns]
        assert part.shape == tuple(min(n, limit) for n, limit in zip(shape, window, strict=True))
        part[own_rows, own_columns] += 1
    assert (owners == 1).all()


def test_windowed_prediction_of_what_looks_at_single_pixels_is_that_of_the_whole():
    images = torch.randn(2, 1, *SHAPE)
    calls = []

    def by_pixel(part: torch.Tensor) -> torch.Tensor:
        calls.append(tuple(part.shape[2:]))
        return torch.cat([part.sin(), part.cos()], 1)

    assert torch.allclose(windowed(by_pixel, images, GRID), by_pixel(images), atol=1e-5)
    assert set(calls[:-1]) == {GRID}
    assert torch.equal(windowed(by_pixel, images, SHAPE), by_pixel(images))
    mean = mean_over_windows(lambda part: part.flatten(1).amax(1), images, GRID)
    assert mean.shape == (2,)
    assert (mean <= images.flatten(1).amax(1)).all()


def test_runs_of_one_shape_keep_the_order():
    stack = LargeStack()
    runs = list(same_shape_runs(stack, np.array([1, 0, 5, 4, 2])))
    assert [(rows.tolist(), shape) for rows, shape in runs] == [([1, 0], GRID), ([5, 4], SHAPE), ([2], GRID)]
    stack.whole = None
    assert [rows.tolist() for rows, _ in same_shape_runs(stack, np.array([1, 0]))] == [[1, 0]]


def test_parts_hold_labelled_pixels_and_reach_all_of_the_plane():
    stack = LargeStack()
    scribble = np.full(SHAPE, IGNORE_LABEL, np.uint8)
    scribble[3, 85], scribble[40, 10] = 0, 1
    crops = RandomCrops(stack.whole, np.array([4, 5]), {0: stack.truth[4][0], 1: scribble}, GRID)
    seen, foreground = np.zeros(SHAPE, int), 0
    for draw in range(400):
        rng = np.random.default_rng(draw)
        image, labels = crops.crop(0, rng)
        assert image.shape == (1, *GRID)
        assert labels.shape == GRID
        foreground += bool(labels.any())
        assert abs(image[0][labels == 1].mean() - 1) < 0.1 if labels.any() else True
        _, drawn = crops.crop(1, np.random.default_rng(draw))
        assert (drawn != IGNORE_LABEL).any()
    for draw in range(600):
        top, left = _place(crops, stack, draw)
        seen[top : top + 32, left : left + 32] += 1
    assert (seen > 0).all()
    assert foreground > 160  # the disc is 2 % of the plane


def _place(crops: RandomCrops, stack: LargeStack, draw: int) -> tuple[int, int]:
    image, _ = crops.crop(0, np.random.default_rng([draw, 1]))
    whole = stack.whole.window(4, 0, 0, SHAPE)[0]
    for top, left in np.argwhere(whole == image[0, 0, 0]):
        if np.array_equal(whole[top : top + 32, left : left + 32], image[0]):
            return int(top), int(left)
    raise AssertionError("the part is none of the plane")


def test_a_structure_in_the_corner_of_a_large_plane_is_learned_and_found(tmp_path):
    stack = LargeStack()
    chosen = {SliceId("s", 0): Drawn(stack.truth[0][0]), SliceId("l", 0): Drawn(stack.truth[4][0])}
    examples = examples_from_annotations(stack, chosen, Classes())
    assert list(examples.whole) == [1]
    assert (examples.labels[1] == IGNORE_LABEL).all()
    model = fit(TrainingTask(stack, examples, 2, SMALL, seed=1), folder=tmp_path / "a")
    found = predict_volume(model, stack, "l").labels[1:]
    truth = stack.truth[4][1:]
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.8


def test_the_same_seed_takes_the_same_parts(tmp_path):
    stack, settings = LargeStack(), replace(SMALL, steps=3)
    examples = examples_from_annotations(stack, {SliceId("l", 0): Drawn(stack.truth[4][0])}, Classes())
    one, two = (fit(TrainingTask(stack, examples, 2, settings, seed=1), folder=tmp_path / name) for name in "ab")
    assert all(torch.equal(a, b) for a, b in zip(one.network.parameters(), two.network.parameters(), strict=True))


def test_validation_looks_at_whole_planes():
    stack = LargeStack()
    chosen = {SliceId("s", 0): Drawn(stack.truth[0][0]), SliceId("l", 0): Drawn(stack.truth[4][0])}
    examples = examples_from_annotations(stack, chosen, Classes())
    images, labels = stack.batches(examples.rows[:1]), torch.from_numpy(examples.labels[:1])
    whole = [(stack.whole.planes([4]), torch.from_numpy(examples.whole[1][None]))]

    def bright(part: torch.Tensor) -> torch.Tensor:
        return torch.cat([0.5 - part, part - 0.5], 1)

    assert foreground_dice(bright, images, labels, 2, batch_size=1, whole=whole) > 0.99
    wrong = [(whole[0][0], 1 - whole[0][1])]
    assert foreground_dice(bright, images, labels, 2, batch_size=1, whole=wrong) < 0.1


def test_scores_and_gradients_speak_of_the_whole_plane():
    stack = LargeStack()
    model, rows = random_model(stack), np.array([1, 5, 6])
    scores = slice_scores(model, stack, rows, Deterministic(), names=("entropy", "entropy:max", "class-share"))
    entropy = entropy_map(predict_volume(model, stack, "l").probabilities)
    assert scores["entropy"][1:] == pytest.approx(entropy[1:].mean((1, 2)), rel=1e-4)
    assert scores["entropy:max"][1:] == pytest.approx(entropy[1:].max((1, 2)), rel=1e-4)
    assert scores["class-share"].sum(1) == pytest.approx(1)
    assert np.isfinite(
        slice_scores(model, stack, rows, Dropout(2), names=("mutual-information",))["mutual-information"]
    ).all()
    found = gradient_embeddings(model, stack, rows, layer="last")
    alone = gradient_embeddings(model, stack, rows[:1], layer="last")
    assert found.shape == (3, alone.shape[1])
    assert np.array_equal(found[:1], alone)
    assert model.features(stack, rows).shape == (3, 8)


def test_gradient_of_a_plane_whose_pixels_lie_in_one_window_is_that_windows():
    stack = LargeStack()
    model = random_model(stack)
    (rows, columns), (own_rows, own_columns) = list(places(SHAPE, GRID))[4]
    mask = np.zeros(SHAPE, bool)
    mask[rows, columns][own_rows, own_columns] = True
    stack.inside = lambda chosen: np.repeat(mask[None], len(chosen), 0)
    found = gradient_embeddings(model, stack, np.array([4]), layer="last")
    image, inside = stack.whole.planes([4])[..., rows, columns], torch.from_numpy(mask[rows, columns])[None]
    expected = sample_gradients(model.network, image, layer="last", inside=inside).numpy()
    assert found == pytest.approx(expected, abs=1e-6)


def test_annotations_that_preparation_loses_are_counted_correctly(tmp_path):
    stack = LargeStack()
    lost = np.full(GRID, IGNORE_LABEL, np.uint8)
    stack.to_grid = lambda labels, volume_id: lost
    chosen = {SliceId("s", 0): Drawn(stack.truth[0][0])}
    examples = examples_from_annotations(stack, chosen, Classes())
    assert examples.lost == (0, 1)
    with pytest.raises(BadInput, match="left on the prepared slices") as caught:
        examples.check(2, GRID)
    assert "--crop" in caught.value.advice
    nothing = Examples(np.array([0]), np.full((1, *GRID), IGNORE_LABEL, np.uint8), np.ones(1, bool))
    with pytest.raises(BadInput, match="No pixel of any annotated slice"):
        nothing.check(2, GRID)
