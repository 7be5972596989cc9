"""Augmentation: labels go where their pixels go, and nothing comes from nowhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ActiveSegmentationLib.segmentation import AugmentationSettings
from ActiveSegmentationLib.segmentation.augmentation import augment, change_intensities, move

STILL = AugmentationSettings(probability=1.0, rotation=0, scale=0, shift=0, gamma=0, contrast=0, brightness=0, noise=0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blocks(n: int = 4, height: int = 40, width: int = 56) -> tuple[torch.Tensor, torch.Tensor]:
    """Images whose value is their label."""
    labels = torch.zeros((n, height, width), dtype=torch.uint8)
    labels[:, 8:24, 10:30] = 1
    labels[:, 20:34, 28:44] = 2
    return labels[:, None].float(), labels


def test_no_range_no_change():
    images, labels = blocks()
    moved, moved_labels = augment(images, labels, STILL, generator())
    assert torch.allclose(moved, images, atol=1e-4)
    assert torch.equal(moved_labels, labels)


def test_probability_zero_changes_nothing():
    images, labels = blocks()
    settings = AugmentationSettings(probability=0.0)
    moved, moved_labels = augment(images, labels, settings, generator())
    assert torch.allclose(moved, images, atol=1e-4)
    assert torch.equal(moved_labels, labels)


def test_labels_follow_their_pixels():
    labels = blocks(16)[1].clamp(max=1)
    images = labels[:, None].float()
    settings = AugmentationSettings(
        probability=1.0, rotation=40, scale=0.3, shift=0.1, flip_rows=True, flip_columns=True, quarter_turns=True,
        gamma=0, contrast=0, brightness=0, noise=0,
    )  # fmt: skip
    moved, moved_labels = augment(images, labels, settings, generator(3))
    decided = moved_labels != 255
    wrong = (moved[:, 0] - moved_labels.float()).abs() > 0.76  # bilinear is 0.25 or more where the nearest pixel is 1
    assert not torch.equal(moved_labels, labels)
    assert decided.float().mean() > 0.5
    assert not (wrong & decided).any()


def test_what_comes_from_outside_is_unlabelled():
    images, labels = blocks(1)
    shift = torch.tensor([[[1.0, 0.0, 2 * 10 / 56], [0.0, 1.0, 0.0]]])  # ten columns to the left
    moved, moved_labels = move(images, labels, shift)
    assert (moved_labels[0, :, -10:] == 255).all()
    assert torch.equal(moved_labels[0, :, :-10], labels[0, :, 10:])
    assert torch.allclose(moved[0, 0, :, :-10], images[0, 0, :, 10:], atol=1e-4)


def test_a_quarter_turn_keeps_the_shape_of_things_on_an_oblong_grid():
    labels = torch.zeros((64, 40, 56), dtype=torch.uint8)
    labels[:, 16:24, 20:36] = 1
    settings = AugmentationSettings(**{**vars(STILL), "quarter_turns": True})
    _, moved = augment(labels[:, None].float(), labels, settings, generator())
    shapes = {(int(s.any(1).sum()), int(s.any(0).sum())) for s in (moved == 1)}
    assert shapes == {(8, 16), (16, 8)}


def test_flips_mirror():
    images, labels = blocks(32)
    _, moved = augment(images, labels, AugmentationSettings(**{**vars(STILL), "flip_columns": True}), generator())
    mirrored = [torch.equal(m, labels[0].flip(1)) for m in moved]
    assert 0 < sum(mirrored) < 32
    assert all(torch.equal(m, labels[0]) for m, was in zip(moved, mirrored, strict=True) if not was)


def test_the_same_generator_gives_the_same_result_and_the_global_one_is_left_alone():
    images, labels = blocks()
    before = torch.get_rng_state()
    first = augment(images, labels, AugmentationSettings(), generator(5))
    second = augment(images, labels, AugmentationSettings(), generator(5))
    other = augment(images, labels, AugmentationSettings(), generator(6))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], other[0])
    assert torch.equal(before, torch.get_rng_state())


def test_contrast_and_gamma_equal_the_literal_ones():
    images = torch.rand((2, 1, 6, 6), generator=generator(1))
    settings = AugmentationSettings(**{**vars(STILL), "gamma": 0.5, "contrast": 0.5, "brightness": 0.5})
    found = change_intensities(images, settings, generator(2)).numpy()
    draws = generator(2)
    gamma, contrast, offset = (torch.rand((2, 1, 1, 1), generator=draws) * 2 - 1 for _ in range(3))
    for i, image in enumerate(images.numpy()[:, 0].astype(np.float64)):
        low, high = image.min(), image.max()
        curved = ((image - low) / (high - low)) ** (1.5 ** gamma[i].item()) * (high - low) + low
        spread = (curved - curved.mean()) * 1.5 ** contrast[i].item() + curved.mean()
        assert found[i, 0] == pytest.approx(spread + curved.std(ddof=1) * 0.5 * offset[i].item(), abs=1e-5)


def test_a_constant_slice_stays_finite():
    images, labels = torch.full((2, 3, 32, 32), 0.3), torch.zeros((2, 32, 32), dtype=torch.uint8)
    moved, _ = augment(images, labels, AugmentationSettings(probability=1.0), generator())
    assert torch.allclose(moved, images, atol=1e-5)


def test_noise_of_the_range_is_that_part_of_each_slices_range_always():
    factors = torch.tensor([1.0, 10.0, 500.0])[:, None, None, None]
    ramp = torch.linspace(0, 1, 4096).reshape(1, 1, 64, 64) * factors
    settings = replace(STILL, noise_of_range=0.01)
    changes = (change_intensities(ramp, settings, generator()) - ramp).std((1, 2, 3))
    assert changes.tolist() == pytest.approx([0.01, 0.1, 5.0], rel=0.05)
