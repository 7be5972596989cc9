"""Volumes stretched in proportion to weights, and even places in them."""

from __future__ import annotations

import numpy as np
import pytest
from acquisition_fakes import FakeStack, fake_model, fake_pool

from ActiveSegmentationLib.acquisition import Knowledge, create_strategy
from ActiveSegmentationLib.acquisition.foreground import SHARE, structures
from ActiveSegmentationLib.acquisition.places import Ground, Places
from ActiveSegmentationLib.cohort import SliceId


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


@pytest.mark.parametrize("trim", [0.0, 0.1, 0.33])
@pytest.mark.parametrize("foreground", [0.0, 0.66, 1.0])
def test_lengths_are_those_of_the_definition(trim, foreground):
    stack = FakeStack(5, 11)
    pixels = np.random.default_rng(0).integers(-40, 60, size=(55, 2)).clip(0).astype(float)
    pixels[:11] = 0  # nothing is predicted in the first volume, and one class only in the second
    pixels[11:22, 1] = 0
    ground = Ground(fake_pool(stack), trim, foreground, pixels)
    np.testing.assert_allclose(ground.widths, literal_lengths(fake_pool(stack), trim, foreground, pixels), atol=1e-4)
    np.testing.assert_allclose(np.bincount(stack.volume_number, ground.widths), 1)
    starts = ground.middles - ground.widths / 2
    for volume in range(5):
        members = stack.volume_number == volume
        np.testing.assert_allclose(starts[members][1:], (ground.middles + ground.widths / 2)[members][:-1])
        assert starts[members][0] == pytest.approx(0)


def test_without_structures_slices_lie_where_they_are():
    pool = fake_pool(FakeStack(3, 7))
    np.testing.assert_allclose(Ground(pool, 0).middles, pool.positions)
    np.testing.assert_allclose(Ground(pool, 0, 0.5, np.zeros((21, 2))).middles, pool.positions)


def test_the_slice_at_a_place_is_the_one_that_reaches_over_it():
    pixels = np.zeros((10, 1))
    pixels[3] = 50
    ground = Ground(fake_pool(FakeStack(1, 10)), 0, 0.9, pixels)
    members = np.arange(10)
    inside = [ground.near(members, place, 0.0) for place in np.linspace(0.035, 0.92, 50)]
    assert all(near.sum() == 1 and near[3] for near in inside)
    others = members[members != 3]
    assert list(others[ground.near(others, 0.2, 0.0)]) == [2]  # the nearest one where that is taken


def test_a_window_holds_the_slices_whose_middles_lie_in_it():
    ground = Ground(fake_pool(FakeStack(1, 10)), 0)
    assert list(np.flatnonzero(ground.near(np.arange(10), 0.5, 0.4))) == [3, 4, 5, 6]
    assert list(np.flatnonzero(ground.near(np.arange(10), 0.0, 0.4))) == [0, 1, 2, 3]
    assert ground.near(np.arange(10), 0.3, 1.0).all()


def test_places_are_even_and_far_from_what_is_annotated():
    stack = FakeStack(8, 10)
    places = Places(fake_pool(stack), Ground(fake_pool(stack), 0), 8, np.random.default_rng(0))
    found = sorted(places.next(volume) for volume in range(8))
    np.testing.assert_allclose(np.diff(found), 1 / 8)
    pool = fake_pool(stack, annotated=[SliceId("volume00", 0)])
    assert Places(pool, Ground(pool, 0), 8, np.random.default_rng(0)).next(0) > 0.8


def test_structures_are_predicted_pixels_and_in_marked_volumes_the_marks():
    stack = FakeStack(4, 10)
    known = Knowledge(extents={"volume01": (2, 6)})
    assert structures(fake_pool(stack, knowledge=Knowledge())) is None
    marked_only = structures(fake_pool(stack, knowledge=known))
    assert list(np.flatnonzero(marked_only[:, 0])) == list(range(12, 17))
    pool = fake_pool(stack, model=fake_model(), knowledge=known)
    both = structures(pool)
    assert both.shape == (40, 2)
    rest = stack.volume_number != 1
    expected = pool.figure(*SHARE)[rest, 1:] * 32 * 32
    np.testing.assert_allclose(both[rest], expected, atol=0.51)
    assert (both[rest] == both[rest].round()).all()
    np.testing.assert_array_equal(both[10:20], np.repeat((np.arange(10) >= 2) & (np.arange(10) <= 6), 2).reshape(10, 2))


def test_recommended_looks_where_a_person_marked_structures():
    stack = FakeStack(10, 40)
    known = Knowledge(extents={volume.id: (30, 34) for volume in stack.volumes})
    share = []
    for seed in range(10):
        pool = fake_pool(stack, knowledge=known)
        found = create_strategy("recommended").select(pool, 20, np.random.default_rng(seed))
        share.append(np.mean([30 <= choice.slice.index <= 34 for choice in found]))
    assert 0.6 < np.mean(share) < 0.8
