"""VAAL: on clearly different slices it requests the different ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from acquisition_fakes import FakeStack, fake_pool
from recorded_progress import RecordedProgress

from ActiveSegmentationLib.acquisition import create_strategy
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.embedding import VaalSettings, train_vaal
from ActiveSegmentationLib.embedding.vaal import VaalNetworks, _pair_accuracy
from ActiveSegmentationLib.loop import choose_slices


def two_kinds() -> FakeStack:
    """Odd rows have a bright square above, even rows one below."""
    stack = FakeStack(6, 10)
    stack.batches([0])
    stack._images *= 0.3
    stack._images[1::2, :, 4:14, 4:14] += 2
    stack._images[::2, :, 18:28, 18:28] += 2
    return stack


def test_different_slices_come_first():
    stack = two_kinds()
    annotated = [stack.slice_id(row) for row in range(0, 60, 8)]
    pool = fake_pool(stack, annotated=annotated, progress=RecordedProgress())
    chosen = choose_slices(create_strategy("vaal"), pool, 20, generator(0))
    odd = [pool.rows[pool.ids.index(choice.slice)] % 2 for choice in chosen]
    assert np.mean(odd) > 0.9
    assert not pool.compute.progress.messages
    assert all(choice.score >= 0 for choice in chosen)


def test_the_score_is_computed_once_a_pool_and_leaves_torch_alone():
    stack = two_kinds()
    pool = fake_pool(stack, annotated=[stack.slice_id(0)], progress=RecordedProgress())
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = create_strategy("vaal").score(pool)
    assert torch.equal(torch.rand(3), expected)
    steps = len(pool.compute.progress.reports)
    assert pool.compute.progress.reports[-1][1:] == (19, 19)
    assert create_strategy("vaal").score(pool) is first
    assert len(pool.compute.progress.reports) == steps


def test_scores_that_are_noise_are_reported():
    stack = FakeStack(constant=True)
    pool = fake_pool(stack, annotated=[stack.slice_id(0), stack.slice_id(31)], progress=RecordedProgress())
    choose_slices(create_strategy("vaal/steps=1"), pool, 3, generator(0))
    assert "close to noise" in pool.compute.progress.messages[0]


def test_rounds_differ_and_seeds_repeat():
    stack = two_kinds()
    annotated = np.arange(60) % 8 == 0
    first, again, other = (
        train_vaal(stack, np.arange(60), annotated, VaalSettings(steps=3), seed=seed).surprise for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_larger_slices_get_another_block():
    stack = FakeStack(2, 5, side=80)
    outcome = train_vaal(stack, np.arange(10), np.arange(10) < 3, VaalSettings(steps=1), seed=0)
    assert np.isfinite(outcome.surprise).all()


def test_the_papers_networks_can_be_had():
    """Sinha et al. 2019: 64 pixels come down to 4 in four blocks, behind which is a discriminator of 512 units."""
    networks = VaalNetworks(1, create_strategy("vaal/network=original").settings(), 64)
    convolutions = [module for module in networks.encoder if isinstance(module, torch.nn.Conv2d)]
    assert [module.out_channels for module in convolutions] == [128, 256, 512, 1024]
    assert networks.discriminator[0].out_features == 512


def test_both_kinds_are_needed():
    with pytest.raises(ValueError, match="both"):
        train_vaal(FakeStack(1, 4), np.arange(4), np.ones(4, dtype=bool), seed=0)


def test_pairs_in_the_right_order():
    logits, annotated = np.array([3.0, 1.0, 2.0, 0.0, 1.0]), np.array([True, True, False, False, False])
    pairs = [(a > b) + 0.5 * (a == b) for a in logits[annotated] for b in logits[~annotated]]
    assert _pair_accuracy(logits, annotated) == pytest.approx(np.mean(pairs))
