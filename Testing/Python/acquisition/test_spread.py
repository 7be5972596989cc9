"""Volumes stretched in proportion to weights, and even positions in them."""

from __future__ import annotations

import numpy as np
import pytest
from acquisition_fakes import FakeStack, fake_model, fake_pool

from ActiveSegmentationLib.acquisition import PoolStatistics, create_strategy
from ActiveSegmentationLib.acquisition.foreground_random import class_share, structures
from ActiveSegmentationLib.acquisition.spread import SMALLEST_WEIGHT, SpreadPositions, StretchedVolumes
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.loop import choose_slices


def literal_lengths(pool, trim, foreground, pixels):
    """The definition, slice by slice."""
    lengths = np.zeros(len(pool))
    for volume in np.unique(pool.volumes):
        members = list(np.flatnonzero(pool.volumes == volume))
        n = len(members)
        even = [max(0.0, min((i + 1) / n, 1 - trim) - max(i / n, trim)) for i in range(n)]
        even = [e / sum(even) for e in even]
        of_classes = []
        for c in range(pixels.shape[1]):
            column = pixels[members, c]
            shown = [x > 0 and x >= 0.1 * column.max() for x in column]
            if any(shown):
                of_classes.append([s / sum(shown) for s in shown])
        for i, member in enumerate(members):
            structure = np.mean([weights[i] for weights in of_classes]) if of_classes else even[i]
            lengths[member] = (1 - foreground) * even[i] + foreground * structure
    return lengths


def seeing(stack, pixels, **options):
    """A pool whose model sees so many pixels (n, 2) of 32 x 32 of each class."""
    pool = fake_pool(stack, model=fake_model(), statistics=options.pop("statistics", PoolStatistics()), **options)
    share = np.concatenate([1024 - pixels.sum(axis=1, keepdims=True), pixels], axis=1).astype(np.float32) / 1024
    scores = pool.scores

    def given(spec):
        return pool.per_item("given", lambda rows: share[rows]) if spec == class_share() else scores(spec)

    pool.scores = given
    return pool


def pixels_of(stack, shown, count=300):
    pixels = np.zeros((len(stack), 2))
    pixels[shown, 0] = count
    return pixels


@pytest.mark.parametrize("trim", [0.0, 0.1, 0.33])
@pytest.mark.parametrize("foreground", [0.0, 0.66, 1.0])
def test_lengths_are_those_of_the_definition(trim, foreground):
    stack = FakeStack(5, 11)
    pixels = np.random.default_rng(0).integers(-40, 60, size=(55, 2)).clip(0).astype(float)
    pixels[:11] = 0  # nothing is predicted in the first volume, and one class only in the second
    pixels[11:22, 1] = 0
    stretched = StretchedVolumes(fake_pool(stack), trim, foreground, pixels)
    np.testing.assert_allclose(stretched.widths, literal_lengths(fake_pool(stack), trim, foreground, pixels), atol=1e-4)
    np.testing.assert_allclose(np.bincount(stack.volume_number, stretched.widths), 1)
    starts = stretched.middles - stretched.widths / 2
    for volume in range(5):
        members = stack.volume_number == volume
        np.testing.assert_allclose(starts[members][1:], (stretched.middles + stretched.widths / 2)[members][:-1])
        assert starts[members][0] == pytest.approx(0)


def test_without_structures_slices_lie_where_they_are():
    pool = fake_pool(FakeStack(3, 7))
    np.testing.assert_allclose(StretchedVolumes(pool, 0).middles, pool.positions)
    np.testing.assert_allclose(StretchedVolumes(pool, 0, 0.5, np.zeros((21, 2))).middles, pool.positions)


def test_the_slice_at_a_place_is_the_one_that_reaches_over_it():
    pixels = np.zeros((10, 1))
    pixels[3] = 50
    stretched = StretchedVolumes(fake_pool(FakeStack(1, 10)), 0, 0.9, pixels)
    members = np.arange(10)
    inside = [stretched.near(members, place, 0.0) for place in np.linspace(0.035, 0.92, 50)]
    assert all(near.sum() == 1 and near[3] for near in inside)
    others = members[members != 3]
    assert list(others[stretched.near(others, 0.2, 0.0)]) == [2]  # the nearest one where that is taken


def test_a_window_holds_the_slices_whose_middles_lie_in_it():
    stretched = StretchedVolumes(fake_pool(FakeStack(1, 10)), 0)
    assert list(np.flatnonzero(stretched.near(np.arange(10), 0.5, 0.4))) == [3, 4, 5, 6]
    assert list(np.flatnonzero(stretched.near(np.arange(10), 0.0, 0.4))) == [0, 1, 2, 3]
    assert stretched.near(np.arange(10), 0.3, 1.0).all()


def test_positions_are_even_and_far_from_what_is_annotated():
    stack = FakeStack(8, 10)
    spread = SpreadPositions(fake_pool(stack), StretchedVolumes(fake_pool(stack), 0), 8, np.random.default_rng(0))
    found = sorted(spread.next(volume) for volume in range(8))
    np.testing.assert_allclose(np.diff(found), 1 / 8)
    pool = fake_pool(stack, annotated=[SliceId("volume00", 0)])
    assert SpreadPositions(pool, StretchedVolumes(pool, 0), 8, np.random.default_rng(0)).next(0) > 0.8


def test_far_from_annotated_is_measured_in_stretched_volumes():
    """Slice 5 follows on the structure: it lies at 0.9 of the stretched volume, though at 0.14 of the real one."""
    stack = FakeStack(1, 40)
    stretched = StretchedVolumes(fake_pool(stack), 0, 0.9, pixels_of(stack, stack.index < 5))
    pool = fake_pool(stack, annotated=[SliceId("volume00", 5)])
    assert SpreadPositions(pool, stretched, 8, np.random.default_rng(0)).next(0) < 0.2


@pytest.mark.parametrize("foreground", [0.66, 1.0])
@pytest.mark.parametrize("trim", [0.0, 0.1])
def test_slices_without_weight_keep_their_order(foreground, trim):
    stack = FakeStack(200, 40)
    shown = (stack.index >= 20) & (stack.index <= 22)
    stretched = StretchedVolumes(fake_pool(stack), trim, foreground, pixels_of(stack, shown))
    for volume in (0, 99, 199):
        members = np.flatnonzero(stack.volume_number == volume)
        assert (np.diff(stretched.middles[members]) > SMALLEST_WEIGHT / 100).all()
        assert stretched.near(members, 0.5, 1.0).all()
        left = members[~shown[members]]
        assert set(stack.index[left[stretched.near(left, 0.5, 0.0)]]) <= {19, 23}


def test_specks_are_not_structures():
    stack = FakeStack(3, 40)
    pixels = pixels_of(stack, (stack.index == 7), count=9)  # all there is of a class, but too little of it
    pixels[stack.index >= 30, 1] = 400
    pixels[stack.index == 2, 1] = 39  # less than a tenth of the largest section
    stretched = StretchedVolumes(fake_pool(stack), 0, 0.66, structures(seeing(stack, pixels)))
    assert set(stack.index[stretched.shown]) == set(range(30, 40))


def test_structures_are_predicted_pixels_and_in_marked_volumes_the_marks():
    stack = FakeStack(4, 10)
    known = PoolStatistics(extents={"volume01": (2, 6)})
    assert structures(fake_pool(stack, statistics=PoolStatistics())) is None
    marked_only = structures(fake_pool(stack, statistics=known))
    assert list(np.flatnonzero(marked_only[:, 0])) == list(range(12, 17))
    pool = fake_pool(stack, model=fake_model(), statistics=known)
    both = structures(pool)
    assert both.shape == (40, 2)
    rest = stack.volume_number != 1
    expected = np.rint(pool.scores(class_share())[rest, 1:] * 32 * 32)
    np.testing.assert_allclose(both[rest], np.where(expected < 10, 0, expected))
    np.testing.assert_array_equal(both[10:20], np.repeat((np.arange(10) >= 2) & (np.arange(10) <= 6), 2).reshape(10, 2))


def test_recommended_looks_where_a_person_marked_structures():
    stack = FakeStack(10, 40)
    known = PoolStatistics(extents={volume.id: (30, 34) for volume in stack.volumes})
    share = []
    for seed in range(10):
        pool = fake_pool(stack, statistics=known)
        found = choose_slices(create_strategy("recommended"), pool, 20, np.random.default_rng(seed))
        share.append(np.mean([30 <= choice.slice.index <= 34 for choice in found]))
    assert 0.6 < np.mean(share) < 0.8


def test_recommended_asks_for_two_thirds_where_the_model_sees_structures():
    """And of the other third for as many as fall there: 5 of the 32 slices that are not trimmed."""
    stack = FakeStack(10, 40)
    shown = (stack.index >= 30) & (stack.index <= 34)
    strategy, share = create_strategy("recommended"), []
    assert class_share() in strategy.score_specs
    for seed in range(20):
        pool = seeing(stack, pixels_of(stack, shown))
        found = strategy.select(pool, 20, np.random.default_rng(seed))
        for choice in found:
            assert ("where structures are expected" in choice.reason) == (30 <= choice.slice.index <= 34)
        share.append(np.mean([30 <= choice.slice.index <= 34 for choice in found]))
    assert np.mean(share) == pytest.approx(0.66 + 0.34 * 5 / 32, abs=0.02)


def test_whole_volumes_have_no_place_to_speak_of():
    stack = FakeStack(6, 10)
    pool = seeing(stack, pixels_of(stack, stack.index > 4), unit="volume")
    choices = choose_slices(create_strategy("recommended"), pool, 3, np.random.default_rng(0))
    assert not any("structures" in choice.reason or "way through" in choice.reason for choice in choices)
