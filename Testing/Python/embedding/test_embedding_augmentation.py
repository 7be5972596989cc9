from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from ActiveSegmentationLib.embedding import ViewSettings, blurred, random_views

STILL = ViewSettings(
    crop=(1, 1), aspect=1, flip=0, rotation=0, shift=0, scale=(1, 1), shear=0, blur=(1e-3, 1e-3), erasing=0
)


def images(n=6, height=20, width=28, channels=2, seed=0):
    return torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(seed))


def views(batch, settings, seed=0):
    return random_views(batch, settings, torch.Generator().manual_seed(seed))


def test_ranges_of_zero_change_nothing():
    torch.testing.assert_close(views(images(), STILL), images(), rtol=0, atol=1e-5)


def test_the_generator_decides():
    batch, torch_state = images(), torch.get_rng_state()
    first, again, other = (views(batch, ViewSettings(), seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_every_slice_has_a_draw_of_its_own():
    batch = images(1).expand(8, -1, -1, -1)
    changed = views(batch, ViewSettings())
    assert all(not torch.equal(changed[0], changed[i]) for i in range(1, 8))
    assert torch.equal(views(batch, STILL)[0], views(batch, STILL)[3])


def test_all_channels_of_a_slice_move_together():
    batch = images(channels=1).expand(-1, 3, -1, -1)
    changed = views(batch, ViewSettings())
    torch.testing.assert_close(changed[:, 0], changed[:, 2])


def test_flip_mirrors_columns_of_about_half_the_slices():
    batch = images(200, 6, 8, 1)
    changed = views(batch, replace(STILL, flip=0.5))
    mirrored = torch.tensor([torch.allclose(c, b.flip(2), atol=1e-4) for c, b in zip(changed, batch, strict=True)])
    same = torch.tensor([torch.allclose(c, b, atol=1e-4) for c, b in zip(changed, batch, strict=True)])
    assert torch.all(mirrored ^ same)
    assert 60 < int(mirrored.sum()) < 140


def blob(x, y, size=65):
    """A spot at pixel offset (x, y) from the centre of a square slice."""
    axis = torch.arange(size) - size // 2
    return torch.exp(-((axis[None, :] - x) ** 2 + (axis[:, None] - y) ** 2) / 8.0)[None, None]


def centre_of_mass(image):
    """(x, y) offset from the centre in pixels of (1, H, W)."""
    axes = [torch.arange(length) - (length - 1) / 2 for length in image.shape[1:]]
    weight = image[0] / image.sum()
    return float((weight.sum(0) * axes[1]).sum()), float((weight.sum(1) * axes[0]).sum())


@pytest.mark.parametrize(("height", "width"), [(65, 65), (65, 97)])
def test_rotation_keeps_the_distance_from_the_centre_also_where_slices_are_not_square(height, width):
    pad = (width - 65) // 2
    batch = functional.pad(blob(16, 0), (pad, pad)).expand(40, -1, -1, -1)
    angles = []
    for view in views(batch, replace(STILL, rotation=15)):
        x, y = centre_of_mass(view)
        assert math.hypot(x, y) == pytest.approx(16, abs=0.1)
        angles.append(math.degrees(math.atan2(y, x)))
    assert -15.1 < min(angles) < -10
    assert 10 < max(angles) < 15.1


def test_scale_moves_a_spot_towards_or_away_from_the_centre():
    factors = [
        centre_of_mass(view)[0] / 16
        for view in views(blob(16, 0).expand(60, -1, -1, -1), replace(STILL, scale=(0.8, 1.2)))
    ]
    assert 0.79 < min(factors) < 0.84
    assert 1.16 < max(factors) < 1.21


def test_shift_is_a_share_of_the_slice():
    moved = [centre_of_mass(view) for view in views(blob(0, 0).expand(80, -1, -1, -1), replace(STILL, shift=0.2))]
    for values in zip(*moved, strict=True):
        assert -13.1 < min(values) < -10
        assert 10 < max(values) < 13.1


def test_shear_slants_rows_sideways():
    moved = [centre_of_mass(view) for view in views(blob(0, 16).expand(60, -1, -1, -1), replace(STILL, shear=10))]
    largest = 16 * math.tan(math.radians(10))
    assert all(y == pytest.approx(16, abs=0.1) for _, y in moved)
    assert max(abs(x) for x, _ in moved) == pytest.approx(largest, rel=0.15)


def test_a_crop_enlarges_by_what_it_leaves_out():
    spots = blob(16, 0) + blob(-16, 0)
    for view in views(spots.expand(50, -1, -1, -1), replace(STILL, crop=(0.8, 1.0))):
        row = view[0].sum(0)
        half = len(row) // 2
        peaks = int(row[:half].argmax()), half + int(row[half:].argmax())
        assert 31 <= peaks[1] - peaks[0] <= round(32 / math.sqrt(0.8)) + 1


def test_blur_equals_a_convolution_with_a_gaussian_of_five_taps():
    batch, deviations = images(3), torch.tensor([0.1, 0.9, 2.0])
    changed = blurred(batch, deviations)
    for i, sigma in enumerate(deviations.tolist()):
        taps = torch.tensor([math.exp(-(k**2) / (2 * sigma**2)) for k in (-2, -1, 0, 1, 2)])
        kernel = torch.outer(taps, taps) / taps.sum() ** 2
        padded = functional.pad(batch[i : i + 1], (2, 2, 2, 2), mode="reflect").transpose(0, 1)
        expected = functional.conv2d(padded, kernel[None, None]).transpose(0, 1)
        torch.testing.assert_close(changed[i : i + 1], expected, rtol=1e-5, atol=1e-6)


def test_erasing_cuts_one_rectangle_out_of_some_slices():
    batch = images(400, 40, 30, 2) + 1
    batch[:, :, 0, 0] = -3.0  # the slice's minimum fills the hole
    erased = ((views(batch, replace(STILL, erasing=0.2)) + 3).abs() < 1e-4).all(1)
    shares = []
    for mask in erased:
        mask[0, 0] = False
        rows, columns = mask.any(1), mask.any(0)
        if mask.sum() > 4:
            shares.append(float(mask.sum() / mask.numel()))
            assert int(mask.sum()) >= int(rows.sum()) * int(columns.sum()) - 1
    assert 45 < len(shares) < 120
    assert 0.005 < min(shares) < 0.08
    assert 0.25 < max(shares) < 0.37


def test_outside_of_the_slice_is_its_minimum():
    batch = images(30) - 5
    changed = views(batch, replace(STILL, shift=0.4))
    low = batch.amin((2, 3))
    assert torch.all(changed.amin((2, 3)) >= low - 1e-4)
    assert torch.isclose(changed, low[:, :, None, None], atol=1e-5).float().mean() > 0.1


def test_a_constant_slice_stays_finite_and_constant():
    changed = views(torch.full((4, 1, 12, 12), 0.25), ViewSettings())
    torch.testing.assert_close(changed, torch.full_like(changed, 0.25))
