"""Scores of slices: golden values, aggregates, and the pixels that augmentation loses."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation import Ensemble, SegmentationModel, TrainingSettings
from ActiveSegmentationLib.segmentation.network import build_network
from ActiveSegmentationLib.uncertainty import (
    AGGREGATES,
    CLASS_SCORES,
    SCORES,
    Accumulator,
    Deterministic,
    TestTimeAugmentation,
    accumulate,
    slice_scores,
)
from ActiveSegmentationLib.uncertainty.samplers import rotate

SETTINGS = TrainingSettings(features=(8, 8, 8, 8, 8), norm="group")


@pytest.fixture
def model() -> SegmentationModel:
    return SegmentationModel(build_network(1, 3, SETTINGS, seed=0).eval(), 1, 3, SETTINGS, "key")


def stack_of(images: torch.Tensor) -> SimpleNamespace:
    return SimpleNamespace(
        inside=lambda rows: np.ones((len(rows), *images.shape[-2:]), dtype=bool),
        key="fake",
        channels=1,
        grid_shape=tuple(images.shape[-2:]),
        batches=lambda rows, device="cpu": images[torch.as_tensor(rows)],
    )


def pixel(*probabilities: float) -> torch.Tensor:
    return torch.tensor(probabilities).reshape(1, -1, 1, 1)


def test_golden_divergences():
    same = Accumulator(iter([pixel(0.2, 0.8), pixel(0.2, 0.8), pixel(0.2, 0.8)]))
    apart = Accumulator(iter([pixel(1.0, 0.0), pixel(0.0, 1.0)]))
    assert SCORES["mutual-information"](same).item() == pytest.approx(0, abs=1e-7)
    assert SCORES["mutual-information"](apart).item() == pytest.approx(math.log(2))
    assert SCORES["half-sum-of-entropies"](apart).item() == pytest.approx(0.5 * math.log(2))
    entropy = -(0.2 * math.log(0.2) + 0.8 * math.log(0.8))
    assert SCORES["half-sum-of-entropies"](same).item() == pytest.approx(entropy)


def draws_of(count: int = 5) -> list[torch.Tensor]:
    stream = torch.Generator().manual_seed(1)
    return [torch.softmax(3 * torch.randn((4, 3, 16, 20), generator=stream), 1) for _ in range(count)]


@pytest.mark.parametrize("masked", [False, True])
def test_aggregates_are_what_they_say(masked):
    draws = draws_of()
    background = torch.tensor([0.9, 0.06, 0.04]).reshape(3, 1, 1).expand(3, 16, 20)
    for draw in draws:
        draw[3] = background
    valid = torch.rand((4, 16, 20), generator=torch.Generator().manual_seed(2)) < 0.6 if masked else None
    found = Accumulator(iter(draws), valid)
    values, mean = SCORES["entropy"](found), found.mean
    for i in range(4):
        counted = np.ones((16, 20), dtype=bool) if valid is None else valid[i].numpy()
        numbers = values[i].numpy()[counted]
        predicted = mean[i].argmax(0).numpy() > 0
        near = np.zeros((16, 20), dtype=bool)
        for row, column in np.argwhere(predicted):
            near[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3] = True
        inside = values[i].numpy()[counted & near]
        top = np.sort(numbers)[::-1][: max(1, round(0.05 * len(numbers)))]
        expected = {
            "mean": numbers.mean(),
            "foreground": inside.mean() if len(inside) else 0.0,
            "top": top.mean(),
            "sum": numbers.sum(),
            "max": numbers.max(),
        }
        for name, aggregate in AGGREGATES.items():
            assert aggregate(values, found)[i].item() == pytest.approx(expected[name], rel=1e-5), name
    assert AGGREGATES["foreground"](values, found)[3] == 0  # nothing but background is predicted


def test_maps_of_classes_are_weighted_with_the_mean():
    found = Accumulator(iter(draws_of()))
    for name in ("entropy", "mutual-information", "margin"):
        expected = found.mean * SCORES[name](found)[:, None]
        assert torch.allclose(CLASS_SCORES[f"class-{name}"](found), expected)
    assert torch.equal(CLASS_SCORES["class-variance"](found), found.variance)
    assert torch.equal(CLASS_SCORES["class-share"](found).argmax(1), found.mean.argmax(1))


def test_unknown_names_are_refused(model):
    stack = stack_of(torch.zeros(1, 1, 32, 32))
    for name in ("nonsense", "entropy:nonsense", "class-entropy:top"):
        with pytest.raises(BadInput, match="There is no"):
            slice_scores(model, stack, np.arange(1), Deterministic(), names=(name,))


def test_broken_slices_are_never_scored(model):
    images = torch.rand(3, 1, 32, 32)
    images[1, 0, 4, 4] = torch.nan
    names = (*(f"entropy:{name}" for name in AGGREGATES), "variance-ratio", "class-share")
    for values in slice_scores(model, stack_of(images), np.arange(3), Deterministic(), names=names).values():
        assert np.isfinite(values).reshape(3, -1).all(1).tolist() == [True, False, True]


# Test-time augmentation


def test_rotation_keeps_circles_and_turns_by_the_angle_even_where_pixels_are_oblong():
    rows, columns = np.mgrid[:41, :61] - np.array([20, 30]).reshape(2, 1, 1)
    circle = torch.from_numpy(np.exp(-(rows**2 + columns**2) / 50.0)).float()[None, None]
    assert torch.allclose(rotate(circle, torch.tensor([37.0])), circle, atol=0.01)
    spot = torch.from_numpy(np.exp(-(rows**2 + (columns - 15) ** 2) / 8.0)).float()[None, None]
    turned = rotate(spot, torch.tensor([90.0]))[0, 0].numpy()
    place = np.unravel_index(turned.argmax(), turned.shape)
    assert place in ((5, 30), (35, 30))
    assert turned.max() == pytest.approx(1, abs=0.02)
    assert torch.allclose(rotate(rotate(spot, torch.tensor([8.0])), torch.tensor([-8.0])), spot, atol=0.1)


def test_every_slice_has_its_own_angle_within_the_range():
    sampler, images = TestTimeAugmentation(passes=50), torch.zeros(40, 1, 32, 32)
    angles = torch.stack([sampler.angles(images, 0, draw) for draw in range(50)])
    assert len(torch.unique(angles)) > 1990
    assert angles.abs().max() <= 10
    assert angles.std() == pytest.approx(10 / math.sqrt(3), rel=0.05)
    assert not torch.equal(angles[0], sampler.angles(images, 1, 0))


def test_draws_are_the_plain_one_and_the_turned_ones_brought_back(model):
    images = torch.rand((3, 1, 32, 40), generator=torch.Generator().manual_seed(3))
    sampler = TestTimeAugmentation(passes=2, noise=0.0)
    before = torch.get_rng_state()
    draws = list(sampler.draws(model, images))
    assert torch.equal(before, torch.get_rng_state())
    assert len(draws) == 3
    assert torch.equal(draws[0], model.predict(images))
    for number, draw in enumerate(draws[1:]):
        angles = sampler.angles(images, 0, number)
        kept = rotate(rotate(torch.ones(3, 1, 32, 40), angles), -angles) > 0.999
        back = rotate(model.predict(rotate(images, angles)), -angles)
        assert torch.allclose(draw.sum(1), torch.ones(3, 32, 40), atol=1e-5)
        assert torch.allclose(torch.where(kept, draw, 0), torch.where(kept, back / back.sum(1, keepdim=True), 0))
        assert torch.equal(torch.where(kept, 0, draw), torch.where(kept, 0, draws[0]))


def test_only_pixels_that_no_rotation_lost_count(model):
    images = torch.rand((3, 1, 32, 40), generator=torch.Generator().manual_seed(3))
    sampler, stack = TestTimeAugmentation(passes=4), stack_of(images)
    valid = sampler.valid_pixels(images)
    ones, angles = torch.ones(3, 1, 32, 40), [sampler.angles(images, 0, draw) for draw in range(4)]
    expected = torch.stack([rotate(rotate(ones, a), -a)[:, 0] > 0.999 for a in angles]).all(0)
    assert torch.equal(valid, expected)
    assert 0.4 < valid.float().mean() < 0.99
    draws = torch.stack(list(sampler.draws(model, images))).double()
    h = -(draws * draws.clamp(min=1e-30).log()).sum(2).mean(0)
    mean = draws.mean(0)
    jsd = -(mean * mean.clamp(min=1e-30).log()).sum(1) - h
    by_hand = [jsd[i][valid[i]].mean().item() for i in range(3)]
    found = slice_scores(model, stack, np.arange(3), sampler, names=("mutual-information", "class-entropy"))
    assert found["mutual-information"] == pytest.approx(by_hand, rel=1e-3, abs=1e-7)
    weighted = mean * -(mean * mean.log()).sum(1, keepdim=True)
    by_class = [[weighted[i, c][valid[i]].mean().item() for c in range(3)] for i in range(3)]
    assert found["class-entropy"] == pytest.approx(np.array(by_class), rel=1e-3)
    assert next(accumulate(model, stack, np.arange(3), sampler))[1].valid.shape == (3, 32, 40)


def test_noise_is_repeatable_and_of_its_size(model):
    images, seen = torch.zeros(8, 1, 32, 32), []
    half = torch.full((8, 2, 32, 32), 0.5)
    spy = SimpleNamespace(capabilities={"augmentation"}, predict=lambda x: seen.append(x) or half)
    list(TestTimeAugmentation(passes=1, rotation=0.0, noise=0.25).draws(spy, images))
    list(TestTimeAugmentation(passes=1, rotation=0.0, noise=0.25).draws(spy, images))
    assert seen[1].std() == pytest.approx(0.25, rel=0.05)
    assert torch.equal(seen[1], seen[3])


@pytest.mark.parametrize("wrong", [{"passes": 0}, {"rotation": -1.0}, {"rotation": 91.0}, {"noise": -0.1}])
def test_impossible_augmentations_are_refused(wrong):
    with pytest.raises(BadInput):
        TestTimeAugmentation(**wrong)


def test_ensembles_are_augmented_as_one(model):
    other = SegmentationModel(build_network(1, 3, SETTINGS, seed=1).eval(), 1, 3, SETTINGS, "other")
    images = torch.rand(2, 1, 32, 32)
    draws = list(TestTimeAugmentation(passes=1).draws(Ensemble((model, other)), images))
    assert torch.allclose(draws[0], (model.predict(images) + other.predict(images)) / 2)
