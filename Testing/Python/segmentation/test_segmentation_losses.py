"""Losses against slow literal versions; unlabelled pixels must have no say."""

from __future__ import annotations

import math

import pytest
import torch

from ActiveSegmentationLib.segmentation import (
    TRAINING_PRESETS,
    SegmentationLoss,
    partial_cross_entropy,
    partial_dice,
)
from ActiveSegmentationLib.segmentation.losses import pooled_cross_entropy


def random_batch(seed: int, *, unlabelled: float = 0.4, n: int = 3, classes: int = 4):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn((n, classes, 5, 7), generator=generator, dtype=torch.float64).requires_grad_()
    labels = torch.randint(0, classes, (n, 5, 7), generator=generator, dtype=torch.uint8)
    labels[torch.rand((n, 5, 7), generator=generator) < unlabelled] = 255
    return logits, labels


def probabilities_of(logits: torch.Tensor, i: int, y: int, x: int) -> list[float]:
    powers = [math.exp(v) for v in logits[i, :, y, x].tolist()]
    return [p / sum(powers) for p in powers]


def literal_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    means = []
    for i in range(len(labels)):
        losses = [
            -math.log(probabilities_of(logits, i, y, x)[int(labels[i, y, x])])
            for y in range(5)
            for x in range(7)
            if labels[i, y, x] != 255
        ]
        if losses:
            means.append(sum(losses) / len(losses))
    return sum(means) / len(means) if means else 0.0


def literal_dice(logits: torch.Tensor, labels: torch.Tensor, *, background: bool, squared: bool) -> float:
    losses = []
    for c in range(0 if background else 1, logits.shape[1]):
        both = total = pixels = 0.0
        for i in range(len(labels)):
            for y in range(5):
                for x in range(7):
                    if labels[i, y, x] == 255:
                        continue
                    p, t = probabilities_of(logits, i, y, x)[c], float(labels[i, y, x] == c)
                    both += p * t
                    total += (p * p if squared else p) + t
                    pixels += t
        if pixels:
            losses.append(1 - 2 * both / (total + 1e-5))
    return sum(losses) / len(losses) if losses else 0.0


@pytest.mark.parametrize("seed", range(5))
def test_cross_entropy_equals_the_literal_one(seed):
    logits, labels = random_batch(seed)
    assert partial_cross_entropy(logits, labels).item() == pytest.approx(
        literal_cross_entropy(logits, labels), abs=1e-9
    )


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_dice_equals_the_literal_one(seed, background, squared):
    logits, labels = random_batch(seed)
    expected = literal_dice(logits, labels, background=background, squared=squared)
    assert partial_dice(logits, labels, background=background, squared=squared).item() == pytest.approx(expected)


def test_dice_leaves_out_absent_classes():
    logits, labels = random_batch(1)
    labels[labels == 2] = 0
    expected = literal_dice(logits, labels, background=False, squared=False)
    assert partial_dice(logits, labels).item() == pytest.approx(expected)
    labels[labels != 255] = 0
    assert partial_dice(logits, labels).item() == 0


def test_dense_loss_is_half_cross_entropy_half_dice():
    logits, labels = random_batch(2, unlabelled=0)
    usual = torch.nn.functional.cross_entropy(logits, labels.long()).item()
    expected = usual / 2 + literal_dice(logits, labels, background=False, squared=False) / 2
    assert SegmentationLoss()(logits, labels, torch.ones(3, dtype=torch.bool)).item() == pytest.approx(expected)


def test_scribble_loss_is_cross_entropy_alone():
    logits, labels = random_batch(3)
    found = SegmentationLoss()(logits, labels, torch.zeros(3, dtype=torch.bool)).item()
    assert found == pytest.approx(literal_cross_entropy(logits, labels))


def test_mixed_loss_takes_dice_from_dense_slices_only():
    logits, labels = random_batch(4)
    dice = literal_dice(logits[:2], labels[:2], background=False, squared=False)
    expected = 2 / 3 * literal_cross_entropy(logits, labels) + 1 / 3 * dice
    found = SegmentationLoss()(logits, labels, torch.tensor([True, True, False])).item()
    assert found == pytest.approx(expected)


def test_scribble_dice_is_over_labelled_pixels():
    logits, labels = random_batch(5)
    dice = literal_dice(logits, labels, background=False, squared=False)
    found = SegmentationLoss(scribble_dice=True)(logits, labels, torch.zeros(3, dtype=torch.bool)).item()
    assert found == pytest.approx((literal_cross_entropy(logits, labels) + dice) / 2)


@pytest.mark.parametrize("dense", [[True] * 3, [False] * 3, [True, False, True]])
@pytest.mark.parametrize("scribble_dice", [False, True])
def test_unlabelled_pixels_have_no_gradient_and_labelled_ones_do(dense, scribble_dice):
    logits, labels = random_batch(6)
    loss = SegmentationLoss(scribble_dice=scribble_dice, background=True)
    loss(logits, labels, torch.tensor(dense)).backward()
    size = logits.grad.abs().amax(1)
    assert (size[labels == 255] == 0).all()
    assert (size[labels != 255] > 0).all()


@pytest.mark.parametrize("dense", [True, False])
def test_a_slice_or_batch_without_labelled_pixels_gives_no_nan(dense):
    logits, labels = random_batch(7)
    labels[1] = 255
    kinds = torch.full((3,), dense)
    loss = SegmentationLoss()(logits, labels, kinds)
    assert torch.isfinite(loss)
    labels[:] = 255
    nothing = SegmentationLoss()(logits, labels, kinds)
    nothing.backward()
    assert nothing.item() == 0
    assert (logits.grad == 0).all()


def test_cross_entropy_alone_absent_classes_and_weights_by_frequency():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 6, 5, generator=generator)
    labels = torch.randint(0, 3, (3, 6, 5), generator=generator)
    labels[0, :2] = 255
    dense = torch.ones(3, dtype=torch.bool)
    alone = SegmentationLoss(dice_share=0.0)(logits, labels, dense)
    assert alone == pytest.approx(float(partial_cross_entropy(logits, labels)))
    weights = torch.tensor([0.5, 2.0, 3.0, 1.0])
    of_slices = [
        float(torch.nn.functional.cross_entropy(logits[n : n + 1], labels[n : n + 1], weights, ignore_index=255))
        for n in range(3)
    ]
    weighted = partial_cross_entropy(logits, labels, class_weights=weights)
    assert float(weighted) == pytest.approx(sum(of_slices) / 3, rel=1e-5)
    form = {"dice_share": 0.3, "absent": True, "class_weights": weights, "background": True, "squared": True}
    loss = SegmentationLoss(**form)
    each = [loss(logits[n : n + 1], labels[n : n + 1], dense[:1]) for n in range(3)]
    assert loss.by_slice(logits, labels, dense).tolist() == pytest.approx([float(x) for x in each], rel=1e-5)
    seen = partial_dice(logits, labels, background=True)
    counted = partial_dice(logits, labels, background=True, absent=True)  # class 3 is nowhere: its Dice is near 0
    assert float(counted) == pytest.approx((3 * float(seen) + 1) / 4, abs=1e-3)


def test_the_pooled_cross_entropy_of_one_kind_is_the_mean_over_labelled_pixels():
    logits, labels = random_batch(3)
    labels[0, :, 1:] = 255
    logs = [
        -math.log(probabilities_of(logits, i, y, x)[int(labels[i, y, x])])
        for i, y, x in (labels != 255).nonzero().tolist()
    ]
    for dense in (True, False):
        found = pooled_cross_entropy(logits, labels, torch.full((3,), dense))
        assert float(found.detach()) == pytest.approx(sum(logs) / len(logs))


def test_the_pooled_cross_entropy_weighs_masks_and_scribbles_by_slices():
    logits, labels = random_batch(4, n=4)
    logits = logits.detach()
    labels[3] = 255  # no stroke: does not count
    dense = torch.tensor([True, False, False, False])
    parts = [pooled_cross_entropy(logits[part], labels[part], dense[part]) for part in (slice(0, 1), slice(1, 3))]
    found = pooled_cross_entropy(logits, labels, dense)
    assert float(found) == pytest.approx((float(parts[0]) + 2 * float(parts[1])) / 3)
    assert float(pooled_cross_entropy(logits, torch.full_like(labels, 255), dense)) == 0
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    known = labels[1:3] != 255
    weighted = torch.nn.functional.cross_entropy(logits[1:3], labels[1:3].long(), weight=weights, ignore_index=255)
    assert known.any()
    found = pooled_cross_entropy(logits[1:3], labels[1:3], dense[1:3], class_weights=weights)
    assert float(found) == pytest.approx(float(weighted))


@pytest.mark.parametrize("absent", [False, True])
def test_the_dice_of_single_slices_is_the_mean_of_their_own(absent):
    logits, labels = random_batch(8, n=4)
    logits = logits.detach()
    labels[3] = 255
    labels[2][labels[2] == 1] = 2
    own = [partial_dice(logits[n : n + 1], labels[n : n + 1], absent=absent) for n in range(3)]
    found = partial_dice(logits, labels, absent=absent, pooled=False)
    assert float(found) == pytest.approx(float(sum(own) / 3))
    assert float(found) != pytest.approx(float(partial_dice(logits, labels, absent=absent)))
    assert float(partial_dice(logits, torch.full_like(labels, 255), absent=absent, pooled=False)) == 0
    settings = TRAINING_PRESETS["gaillochet2023-released"]
    dense = torch.ones(3, dtype=torch.bool)
    loss = SegmentationLoss.of(settings)(logits[:3], labels[:3], dense)
    expected = 0.5 * partial_cross_entropy(logits[:3], labels[:3])
    expected += 0.5 * partial_dice(logits[:3], labels[:3], absent=True, pooled=False)
    assert float(loss) == pytest.approx(float(expected))
