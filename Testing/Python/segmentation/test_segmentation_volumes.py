"""The 3D learner: plans, patches, slabs, and a training on partly annotated volumes."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cached_property

import numpy as np
import pytest
import torch
from monai.inferers.utils import sliding_window_inference

from ActiveSegmentationLib.cohort import IGNORE_LABEL
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput, Cancelled
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.segmentation import (
    LEARNERS,
    Ensemble,
    Examples,
    TrainingSettings,
    TrainingTask,
    fit,
    learner_class,
    load_model,
    predict_volume,
    training_for,
)
from ActiveSegmentationLib.segmentation.slabs import slabs, window_starts
from ActiveSegmentationLib.segmentation.volume_learner import VolumeLearner, planned
from ActiveSegmentationLib.segmentation.volume_patches import MASK, NO_ANNOTATION, SCRIBBLE, VolumePatches
from ActiveSegmentationLib.segmentation.volume_plan import VolumeOptions, cube, plan_for, shrinking, sizes
from ActiveSegmentationLib.segmentation.windows import OVERLAP
from ActiveSegmentationLib.uncertainty import Dropout, slice_scores


@pytest.fixture(scope="module")
def small() -> TrainingSettings:
    """A 3D network that trains in seconds."""
    options = {"patch_slices": 4, "patch_rows": 16, "patch_columns": 16}
    return TrainingSettings(
        learner="unet3d",
        steps=10,
        batch_size=2,
        features=(8, 8, 16),
        dropout=(0.0, 0.1, 0.2),
        decoder_dropout=(0.0, 0.1),
        learning_rate=1e-2,
        options=options,
    )


@pytest.fixture(scope="module")
def model(stack, small, tmp_path_factory):
    task = TrainingTask(stack, stack.examples([1, 5, 12]), 3, small, seed=0)
    return fit(task, folder=tmp_path_factory.mktemp("model"))


class Slabbed:
    """A stack of volumes that are given by size and voxels; large planes as in a ``SliceStack``."""

    key, channels = "volumes", 1

    def __init__(self, shapes, spacing=(1.0, 1.0, 1.0), grid=None) -> None:
        self.grid_shape = grid or shapes[0][1:]
        self.volume_number = np.repeat(np.arange(len(shapes)), [shape[0] for shape in shapes])
        self.spacing, self.shapes = spacing, shapes
        self.whole = self if grid else None

    @cached_property
    def arrays(self):
        rng = np.random.default_rng(0)
        return [rng.random(shape, dtype=np.float32) for shape in self.shapes]

    def voxel_spacing(self, number):
        return self.spacing

    def _plane(self, row):
        number = self.volume_number[row]
        return self.arrays[number][row - np.searchsorted(self.volume_number, number)]

    def batches(self, rows, device="cpu"):
        return torch.from_numpy(np.stack([self._plane(row) for row in rows]))[:, None]

    planes = batches

    def holds(self, rows):
        return np.ones(len(rows), dtype=bool)

    def shape(self, row):
        return self._plane(row).shape

    def window(self, row, top, left, size):
        return self._plane(row)[None, top : top + size[0], left : left + size[1]]


@pytest.mark.parametrize(
    ("shape", "spacing", "patch", "pooling", "kernels"),
    [
        # voxels of one size: all directions alike, the whole volume
        ((36, 56, 40), (1, 1, 1), (40, 56, 40), "2x2x2 2x2x2 2x2x2", "3x3x3 3x3x3 3x3x3 3x3x3"),
        # thick slices: rows and columns first, and no kernel across slices until voxels are alike
        ((10, 256, 216), (10, 1.5, 1.5), (10, 112, 112), "1x2x2 1x2x2 2x2x2", "1x3x3 1x3x3 3x3x3 3x3x3"),
        # a CT volume: as near to a cube in mm as fits
        ((1000, 512, 512), (1, 0.7, 0.7), (40, 56, 56), "2x2x2 2x2x2 2x2x2", "3x3x3 3x3x3 3x3x3 3x3x3"),
        # a single slice
        ((1, 64, 64), (5, 1, 1), (1, 64, 64), "1x2x2 1x2x2 1x2x2", "1x3x3 1x3x3 3x3x3 3x3x3"),
        # too small for four levels
        ((4, 8, 9), (1, 1, 1), (4, 8, 10), "1x2x2 1x1x1", "3x3x3 3x3x3 3x3x3"),
    ],
)
def test_patches_and_levels_fit_sizes_and_voxels(shape, spacing, patch, pooling, kernels):
    stack = Slabbed([shape], spacing)
    found = plan_for(stack, 4, VolumeOptions(), device="cpu")
    options = VolumeOptions(**found.options({}))
    assert (found.patch, options.pooling, options.kernels) == (patch, pooling, kernels)
    assert all(side % factor == 0 for side, factor in zip(found.patch, shrinking(sizes(pooling)), strict=True))
    assert found == plan_for(stack, 4, options, device="cuda")


def test_a_gpu_has_larger_patches():
    stack = Slabbed([(64, 512, 512)])
    on_cpu, on_gpu = (np.prod(plan_for(stack, 4, VolumeOptions(), device=name).patch) for name in ("cpu", "cuda:0"))
    assert on_cpu < 1.3 * 2**17 < on_gpu < 1.3 * 2**20


def test_a_cube_is_as_large_as_fits():
    assert cube(np.array([100, 100, 100]), np.array([1.0, 1.0, 1.0]), 1000).tolist() == [10, 10, 10]
    assert cube(np.array([100, 100, 100]), np.array([5.0, 1.0, 1.0]), 3200).tolist() == [5, 25, 25]
    assert cube(np.array([3, 100, 100]), np.array([1.0, 1.0, 1.0]), 300).tolist() == [3, 10, 10]
    assert cube(np.array([3, 4, 5]), np.array([1.0, 1.0, 1.0]), 10**6).tolist() == [3, 4, 5]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"pooling": "2x2"}, "'pooling' must be sizes such as"),
        ({"pooling": "3x2x2 2x2x2", "kernels": "3x3x3 3x3x3 3x3x3"}, "'pooling' must be sizes such as"),
        ({"kernels": "3x3x3"}, "'kernels' must have one size more than 'pooling'"),
        ({"patch_slices": 8}, "must all be given"),
        (
            {"patch_slices": 8, "patch_rows": 9, "patch_columns": 8, "pooling": "1x2x2", "kernels": "3x3x3 3x3x3"},
            "divisible",
        ),
        ({"patch_slices": -1}, "'patch_slices' must be at least 0"),
        ({"width": 3}, "Unknown settings: width"),
    ],
)
def test_bad_options_are_named(small, options, told):
    with pytest.raises(BadInput, match=told):
        VolumeLearner.check(replace(small, options=options))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"neighbours": 1}, "neighbours"),
        ({"upsample": "bilinear"}, "upsample"),
        ({"loss_head": True}, "loss_head"),
        ({"dropout_place": "entry"}, "dropout_place"),
        ({"features": (8, 8), "dropout": (0.0, 0.0), "decoder_dropout": (0.0,)}, "features"),
    ],
)
def test_settings_that_a_3d_network_does_not_have_are_refused(small, changes, field):
    with pytest.raises(BadInput) as error:
        VolumeLearner.check(replace(small, **changes))
    assert field in error.value.where


def test_what_models_lack_is_declared(small, model):
    lacks = LEARNERS["unet3d"].lacks
    assert learner_class("unet3d") is VolumeLearner
    assert lacks == {"augmentation", "gradients", "loss-head"}
    assert model.capabilities == {"dropout", "features"}
    assert training_for(learner="unet3d").learner == "unet3d"


# ---- patches


def examples_of(stack: Slabbed, rows, *, dense=True) -> Examples:
    """Masks with a class 1 in the middle and 0 elsewhere, or with every fifth column only."""
    shapes = [stack.shape(row) for row in rows]
    planes = []
    for height, width in shapes:
        plane = np.zeros((height, width), dtype=np.uint8)
        plane[height // 3 : height // 2, width // 3 : width // 2] = 1
        if not dense:
            plane[:, np.arange(width) % 5 > 0] = IGNORE_LABEL
        planes.append(plane)
    flags = np.full(len(rows), dense)
    if stack.whole is None:
        return Examples(np.array(rows), np.stack(planes), flags)
    grids = np.full((len(rows), *stack.grid_shape), IGNORE_LABEL, dtype=np.uint8)
    return Examples(np.array(rows), grids, flags, dict(enumerate(planes)))


@pytest.mark.parametrize("grid", [None, (8, 8)], ids=["on the grid", "larger planes"])
def test_patches_are_cut_from_the_volume_with_all_labels_in_them(grid):
    stack = Slabbed([(6, 20, 24), (9, 20, 24)], grid=grid)
    examples = examples_of(stack, [2, 7, 9, 14])
    patches = VolumePatches(stack, examples, (4, 12, 12))
    volume = np.pad(stack.arrays[1], ((3, 3), (0, 0), (0, 0)), mode="edge")
    seen = set()
    for draw in range(40):
        image, labels, kinds = patches.patch(2, generator(draw))
        assert image.shape == (1, 4, 12, 12)
        first, top, left = _find(volume, image[0].numpy())
        first -= 3
        seen.add((first, top, left))
        for number in range(4):
            row = 6 + first + number
            known = {7: 1, 9: 2, 14: 3}.get(row)
            assert kinds[number] == (NO_ANNOTATION if known is None else MASK)
            expected = np.full((20, 24), IGNORE_LABEL) if known is None else examples.planes()[known]
            np.testing.assert_array_equal(labels[number], expected[top : top + 12, left : left + 12])
        assert first <= 3 < first + 4
        assert (labels != IGNORE_LABEL).any()
    assert len(seen) > 20
    assert {first for first, _, _ in seen} == {0, 1, 2, 3}


def test_an_annotated_slice_is_at_every_position_of_a_patch():
    """Also where the patch has as many slices as the volume, and the slice is its first."""
    stack = Slabbed([(4, 16, 16)])
    patches = VolumePatches(stack, examples_of(stack, [0]), (4, 16, 16))
    positions = [patches.patch(0, generator(draw))[2].tolist().index(MASK) for draw in range(200)]
    assert (np.bincount(positions, minlength=4) > 30).all()


def _find(volume: np.ndarray, part: np.ndarray) -> tuple[int, int, int]:
    """Where a part lies in a volume; the first place if there are several."""
    ranges = (range(length - side + 1) for length, side in zip(volume.shape, part.shape, strict=True))
    for corner in itertools.product(*ranges):
        box = tuple(slice(start, start + side) for start, side in zip(corner, part.shape, strict=True))
        if volume[corner] == part[0, 0, 0] and np.array_equal(volume[box], part):
            return corner  # type: ignore[return-value]
    raise AssertionError("the patch is not a part of its volume")


def test_a_volume_that_is_smaller_than_a_patch_is_continued():
    stack = Slabbed([(1, 10, 7)])
    image, labels, kinds = VolumePatches(stack, examples_of(stack, [0]), (3, 10, 9)).patch(0, generator(0))
    place = kinds.tolist().index(MASK)
    assert sorted(kinds.tolist()) == [NO_ANNOTATION, NO_ANNOTATION, MASK]
    for number in range(3):
        np.testing.assert_array_equal(image[0, number, :, 1:8], stack.arrays[0][0])
    np.testing.assert_array_equal(image[0, :, :, 0], image[0, :, :, 1])
    assert (labels[place, :, 1:8] != IGNORE_LABEL).all()
    assert (labels[place][:, [0, 8]] == IGNORE_LABEL).all()
    assert (np.delete(labels, place, axis=0) == IGNORE_LABEL).all()


def test_foreground_is_in_half_of_the_patches_or_more():
    stack = Slabbed([(5, 60, 60)])
    examples = Examples(np.array([2]), np.zeros((1, 60, 60), dtype=np.uint8), np.array([True]))
    examples.labels[0, 3:5, 3:5] = 1
    patches = VolumePatches(stack, examples, (3, 8, 8))
    found = [bool((patches.patch(0, generator(draw))[1] == 1).any()) for draw in range(1000)]
    assert 0.47 < np.mean(found) < 0.57


# ---- slabs


@pytest.mark.parametrize("length", [1, 3, 7, 8, 9, 31, 50, 97])
@pytest.mark.parametrize("most", [1, 20, 30, 1000])
def test_slabs_predict_every_slice_once_with_all_its_windows(monkeypatch, length, most):
    monkeypatch.setattr("ActiveSegmentationLib.segmentation.slabs.VALUES_AT_ONCE", most * 10)
    starts = window_starts(length, 8)
    found = slabs(length, 8, 10)
    predicted = [number for slab in found for number in range(slab.begin, slab.end)]
    assert predicted == list(range(length))
    for slab in found:
        assert slab.last - slab.first <= max(16, most) + 8
        own = [start + slab.first for start in window_starts(slab.last - slab.first, 8)]
        for number in range(slab.begin, slab.end):
            covering = [start for start in starts if start <= number < start + 8]
            assert [start for start in own if start <= number < start + 8] == covering


def test_predictions_are_those_of_the_whole_volume(stack, model, monkeypatch):
    monkeypatch.setattr("ActiveSegmentationLib.segmentation.slabs.VALUES_AT_ONCE", 1)
    images = stack.batches(np.arange(8, 16)).transpose(0, 1)[None]
    with torch.no_grad():
        whole = sliding_window_inference(
            images, model.patch, 1, lambda part: torch.softmax(model.network(part), 1), overlap=OVERLAP, mode="gaussian"
        )
    expected = whole[0].transpose(0, 1).numpy()
    found = model.probabilities(stack, np.arange(8, 16))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    volume = predict_volume(model, stack, "b")
    np.testing.assert_array_equal(volume.labels, stack.from_grid(found, "b").argmax(1))


def test_a_slice_is_predicted_alike_whatever_else_is_asked_for(stack, model, monkeypatch):
    monkeypatch.setattr("ActiveSegmentationLib.segmentation.slabs.VALUES_AT_ONCE", 1)
    everything = model.probabilities(stack, np.arange(24))
    for rows in ([3], [20, 4, 5, 3], [15, 16], [23, 23]):
        np.testing.assert_array_equal(model.probabilities(stack, np.array(rows)), everything[rows])
    batches = list(model.batches(stack, np.array([1, 0, 9])))
    assert [batch.rows.tolist() for batch in batches] == [[1, 0], [9]]


def test_memory_of_a_prediction_does_not_grow_with_the_number_of_slices(model, monkeypatch):
    monkeypatch.setattr("ActiveSegmentationLib.segmentation.slabs.VALUES_AT_ONCE", 10 * 3 * 16 * 16)
    stack = Slabbed([(200, 16, 16)])
    given = [batch.inputs.shape for batch in model.batches(stack, np.arange(200))]
    assert len(given) > 20
    assert max(shape[2] for shape in given) <= 14


def test_samples_and_features(stack, model):
    scores = slice_scores(model, stack, np.arange(5), Dropout(passes=3), names=["entropy", "mutual-information"])
    assert (scores["mutual-information"] > 0).all()
    assert model.features(stack, np.arange(5, 9)).shape == (4, 16)
    flat = model.features(stack, np.array([9, 2]), flatten=True)
    assert flat.shape[0] == 2
    assert flat.shape[1] % 16 == 0
    np.testing.assert_allclose(model.features(stack, np.array([9, 2])), flat.reshape(2, 16, -1).mean(2), atol=1e-5)
    assert Ensemble((model, model)).features(stack, np.array([1])).shape == (1, 32)


# ---- training


def weights(model) -> dict[str, torch.Tensor]:
    return model.network.state_dict()


def same(one, other) -> bool:
    return all(torch.equal(value, weights(other)[name]) for name, value in weights(one).items())


def test_equal_seeds_give_equal_weights_and_saved_models_predict_alike(stack, small, model, tmp_path):
    task = TrainingTask(stack, stack.examples([1, 5, 12]), 3, small, seed=0)
    again = fit(task, folder=tmp_path)
    assert same(model, again)
    loaded = load_model(tmp_path)
    assert (loaded.settings, loaded.planned) == (small, again.planned)
    assert loaded.planned.options["pooling"]
    np.testing.assert_array_equal(loaded.probabilities(stack, np.arange(8)), model.probabilities(stack, np.arange(8)))
    other = fit(TrainingTask(stack, stack.examples([1, 5, 12]), 3, small, seed=1), folder=tmp_path / "other")
    assert not same(model, other)


def test_a_killed_training_resumes_to_the_same_weights(stack, small, model, tmp_path):
    class Killed(Progress):
        def show(self, stage, done, total, **values):
            if done == 7:
                raise Cancelled()

    task = TrainingTask(stack, stack.examples([1, 5, 12]), 3, small, seed=0)
    with pytest.raises(Cancelled):
        fit(task, folder=tmp_path, compute=Compute(progress=Killed()), checkpoint_every=3)
    resumed = fit(task, folder=tmp_path)
    assert same(model, resumed)


def test_unlabelled_pixels_change_no_weight(stack, small, tmp_path):
    """Pixels that are not labelled have no influence, and neither have slices that are not annotated."""
    examples = stack.examples([1, 5], dense=False)
    task = TrainingTask(stack, examples, 3, replace(small, steps=3, augment=False), seed=0)
    learner = VolumeLearner(stack, examples, 3, task.settings, seed=0, device="cpu")
    images, labels, kinds = learner.batch(0)
    logits = learner.network(images).detach().requires_grad_()
    learner.loss([logits], labels, kinds, 0).backward()
    changed = logits.grad.abs().amax(1) > 0
    assert changed.any()
    assert not (changed & (labels == IGNORE_LABEL)).any()


@pytest.mark.parametrize("dense", [(True, True), (False, False), (True, False)], ids=["masks", "scribbles", "mixed"])
def test_the_loss_is_that_of_the_annotated_slices(stack, small, dense):
    parts = [stack.examples([row], dense=kind) for row, kind in zip((1, 5), dense, strict=True)]
    examples = Examples(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "labels", "dense"))
    )
    learner = VolumeLearner(stack, examples, 3, replace(small, augment=False), seed=0, device="cpu")
    images, labels, kinds = learner.batch(0)
    assert set(kinds.flatten().tolist()) <= {NO_ANNOTATION, MASK, SCRIBBLE}
    logits = learner.network(images)
    chosen = kinds.flatten() != NO_ANNOTATION
    flat = logits.transpose(1, 2).flatten(0, 1)[chosen]
    expected = learner._loss(flat, labels.flatten(0, 1)[chosen], kinds.flatten()[chosen] == MASK)
    assert learner.loss([logits], labels, kinds, 0).item() == pytest.approx(expected.item())


def test_two_annotated_slices_are_learned(stack, small, tmp_path):
    settings = replace(small, steps=50, augment=False, dropout=(0.0,) * 3, decoder_dropout=(0.0,) * 2)
    found = fit(TrainingTask(stack, stack.examples([2, 13]), 3, settings, seed=0), folder=tmp_path)
    labels = found.probabilities(stack, np.array([2, 13])).argmax(1)
    truth = stack.truth[[2, 13]]
    for number in (1, 2):
        both = (labels == number) & (truth == number)
        assert 2 * both.sum() / ((labels == number).sum() + (truth == number).sum()) > 0.85


def test_the_best_weights_on_validation_slices_are_kept(stack, small, tmp_path):
    settings = replace(small, select="best", validate_every=5)
    task = TrainingTask(stack, stack.examples([1, 5]), 3, settings, seed=0, validation=stack.examples([17, 18, 20]))
    found = fit(task, folder=tmp_path)
    labels = found.probabilities(stack, np.array([17, 18, 20])).argmax(1)
    truth = stack.truth[[17, 18, 20]]
    dice = [2 * ((labels == n) & (truth == n)).sum() / max(1, (labels == n).sum() + (truth == n).sum()) for n in (1, 2)]
    assert found.record["validation Dice"] == pytest.approx(np.mean(dice), abs=1e-6)


def test_a_plan_is_kept_and_a_warm_start_needs_the_same_network(stack, small, model):
    settings = planned(replace(small, options={}), stack, device="cpu")
    assert settings.options["pooling"]
    assert planned(settings, stack, device="cuda") == settings
    assert VolumeLearner.can_start_from(model, small, 1)
    assert VolumeLearner.can_start_from(model, model.planned, 1)
    assert not VolumeLearner.can_start_from(model, small, 2)
    assert not VolumeLearner.can_start_from(model, replace(small, norm="instance"), 1)
    kernels = {**model.planned.options, "kernels": "1x3x3 1x3x3 1x3x3"}
    assert not VolumeLearner.can_start_from(model, replace(model.planned, options=kernels), 1)
    longer = replace(small, features=(8, 8, 16, 16), dropout=(0.0,) * 4, decoder_dropout=(0.0,) * 3)
    assert VolumeLearner.can_start_from(model, longer, 1)


def test_augmentation_moves_all_slices_of_a_patch_alike(stack, small):
    options = {**small.options, "flip_slices": True}
    examples = stack.examples(range(8))
    learners = [
        VolumeLearner(stack, examples, 3, replace(small, augment=on, options=options), seed=3, device="cpu")
        for on in (False, True)
    ]
    (plain, labels, kinds), (images, moved, turned) = (learner.batch(0) for learner in learners)
    assert images.shape == plain.shape
    assert moved.shape == labels.shape
    assert not torch.equal(images, plain)
    assert set(moved.unique().tolist()) <= {0, 1, 2, IGNORE_LABEL}
    assert sorted(kinds.flatten().tolist()) == sorted(turned.flatten().tolist())


def test_large_planes_and_odd_sizes(small, tmp_path):
    stack = Slabbed([(5, 33, 21), (7, 33, 21)], grid=(16, 16))
    task = TrainingTask(stack, examples_of(stack, [1, 8]), 2, replace(small, steps=2), seed=0)
    found = fit(task, folder=tmp_path)
    assert found.probabilities(stack, np.arange(5)).shape == (5, 2, 33, 21)
