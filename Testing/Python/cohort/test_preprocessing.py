"""Settings of the stack, automatic values, and normalisation against its definition."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from ActiveSegmentationLib.cohort.preprocessing import PRESETS, StackSettings, normalise, plane_zoom, resolve
from ActiveSegmentationLib.cohort.types import Geometry, Source, Volume
from ActiveSegmentationLib.common.errors import BadInput


def volume_of(size: tuple[int, int, int], spacing: tuple[float, float, float] = (1.0, 1.0, 5.0), axis: int = 2):
    return Volume("v", "p", (Source("file", ("v.nii",)),), Geometry(size, spacing), axis)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name):
    assert StackSettings.from_json(json.loads(json.dumps(PRESETS[name].to_json()))) == PRESETS[name]


def test_missing_fields_take_their_default():
    assert StackSettings.from_json({"spacing": 2}) == StackSettings(spacing=2)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("normalisation", "histogram"),
        ("percentiles", (99, 1)),
        ("percentiles", (-1, 99)),
        ("window", (40, 0)),
        ("spacing", -1),
        ("spacing", float("nan")),
        ("size", (0, 8)),
        ("channels", ()),
        ("channels", (-1,)),
    ],
)
def test_senseless_settings_are_refused_by_name(field, value):
    with pytest.raises(BadInput) as caught:
        StackSettings(**{field: value})
    assert caught.value.where == field
    assert caught.value.advice


def test_unknown_settings_are_refused():
    with pytest.raises(BadInput, match="spacings"):
        StackSettings.from_json({"spacings": 1})


def test_percentiles_clip_and_scale_each_channel():
    image = np.stack([np.arange(1000.0), 5 * np.arange(1000.0) - 77]).reshape(2, 10, 10, 10).astype(np.float32)
    found = normalise(image, StackSettings(percentiles=(10, 90)))
    low, high = np.percentile(image[0], [10, 90])
    np.testing.assert_allclose(found[0], (np.clip(image[0], low, high) - low) / (high - low), atol=1e-6)
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    assert (found.min(), found.max()) == (0, 1)


def test_percentiles_0_and_99_clip_at_the_top_only():
    image = np.arange(1001.0, dtype=np.float32).reshape(1, 7, 11, 13)
    found = normalise(image, StackSettings(percentiles=(0, 99)))
    assert (found == 0).sum() == 1
    assert (found == 1).sum() == 11


def test_zscore_has_zero_mean_and_unit_variance():
    image = np.random.default_rng(0).gamma(2, 1000, (2, 4, 5, 6)).astype(np.float32)
    found = normalise(image, StackSettings(normalisation="zscore"))
    np.testing.assert_allclose(found.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(found.std(axis=(1, 2, 3)), 1, atol=1e-5)


def test_window_of_level_40_and_width_200():
    image = np.array([-1000, -60, 40, 140, 3000], np.float32).reshape(1, 1, 1, 5)
    found = normalise(image, StackSettings(normalisation="window", window=(40, 200)))
    np.testing.assert_allclose(found.ravel(), [-1, -1, 0, 1, 1])


@pytest.mark.parametrize("normalisation", ["percentile", "zscore"])
@pytest.mark.parametrize("value", [0.0, 0.1, -123456.7])
def test_a_constant_volume_becomes_zero(normalisation, value):
    image = np.full((1, 9, 33, 31), value, dtype=np.float32)
    np.testing.assert_array_equal(normalise(image, StackSettings(normalisation=normalisation)), 0)


def test_few_bright_pixels_in_an_empty_volume_survive_the_percentiles():
    image = np.zeros((1, 10, 10, 10), dtype=np.float32)
    image[0, 5, 5, 5] = 200
    found = normalise(image, StackSettings(percentiles=(1, 99)))
    assert found[0, 5, 5, 5] == 1
    assert found.sum() == 1


def test_equal_spacings_are_not_resampled():
    volumes = [volume_of((30, 40, 9), (1.0, 1.005, 5.0)), volume_of((31, 40, 9), (1.002, 1.0, 4.0))]
    assert resolve(StackSettings(), volumes).spacing == 0


def test_automatic_spacing_is_a_median_that_occurs():
    spacings = [(0.7, 0.7), (1.36719, 1.36719), (1.5625, 1.5625), (3.0, 3.0)]
    volumes = [volume_of((30, 40, 9), (a, b, 8.0)) for a, b in spacings]
    settings = resolve(StackSettings(), volumes)
    assert settings.spacing == pytest.approx(1.36719, rel=1e-3)
    assert plane_zoom(volumes[1], settings) == (1, 1)
    assert plane_zoom(volumes[0], settings) == pytest.approx((settings.spacing / 0.7,) * 2)


def test_anisotropic_planes_take_the_geometric_mean():
    settings = resolve(StackSettings(), [volume_of((30, 40, 9), (0.5, 2.0, 8.0))])
    assert settings.spacing == 1
    assert plane_zoom(volume_of((30, 40, 9), (0.5, 2.0, 8.0)), settings) == (0.5, 2.0)
    assert settings.size == (80, 16)


def test_automatic_size_holds_95_percent_of_the_planes():
    volumes = [volume_of((33, 50, 9))] * 19 + [volume_of((400, 300, 9))]
    assert resolve(StackSettings(), volumes).size == (56, 40)
    assert resolve(StackSettings(), [*volumes[1:], volumes[-1]]).size == (304, 400)


@pytest.mark.parametrize(("plane", "size"), [((7, 9), (16, 16)), ((512, 900), (512, 512)), ((64, 65), (64, 72))])
def test_automatic_size_is_a_multiple_of_8_within_limits(plane, size):
    assert resolve(StackSettings(), [volume_of((plane[1], plane[0], 9))]).size == size


@pytest.mark.parametrize(("axis", "size"), [(0, (40, 24)), (1, (40, 16)), (2, (24, 16))])
def test_automatic_values_look_at_the_planes_of_the_slice_axis(axis, size):
    volume = volume_of((16, 24, 40), (1.0, 1.0, 1.0), axis)
    assert resolve(StackSettings(), [volume]).size == size


def test_given_values_are_kept():
    settings = StackSettings(spacing=1.25, size=(50, 50))
    assert resolve(settings, [volume_of((30, 40, 9))]) == settings


def test_stretching_gives_every_plane_the_whole_grid():
    volumes = [volume_of((216, 256, 9)), volume_of((854, 480, 9))]
    settings = resolve(replace(PRESETS["vepa2024-davis"], spacing=None), volumes)
    assert settings.size == (256, 256)
    assert [plane_zoom(volume, settings) for volume in volumes] == [(1, 216 / 256), (480 / 256, 854 / 256)]
