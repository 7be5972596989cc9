from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from embedding_fakes import FakeStack

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.embedding import (
    EMBEDDING_PRESETS,
    EmbeddingSettings,
    cached_embeddings,
    collapse_diagnostics,
    named_settings,
    pixel_features,
)


@pytest.mark.parametrize("name", EMBEDDING_PRESETS)
def test_settings_survive_json(name):
    settings = EMBEDDING_PRESETS[name]
    assert EmbeddingSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


def test_missing_settings_take_their_defaults():
    assert EmbeddingSettings.from_json({"batch_size": 12}) == EmbeddingSettings(batch_size=12)


def test_unknown_settings_are_refused():
    with pytest.raises(BadInput, match="Unknown settings: batchsize"):
        EmbeddingSettings.from_json({"batchsize": 12})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weights", (1, 0, 0)),
        ("weights", (0, 0, 0, 0)),
        ("weights", (1, -1, 0, 0)),
        ("width", 12),
        ("temperature", 0),
        ("learning_rate", 0),
        ("weight_decay", -1),
        ("batch_size", 1),
        ("epochs", 0),
        ("steps", 0),
        ("longest_side", 3),
        ("anchors", "some"),
        ("stem", "tiny"),
        ("norm", "layer"),
        ("schedule", "step"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(BadInput, match=f"'{name}' must"):
        EmbeddingSettings(**{name: value})


def test_every_combination_of_losses_is_a_preset():
    """Every row of the ablation (Table 4) and the combinations that it leaves out."""
    for used in itertools.product([False, True], repeat=4):
        if any(used):
            losses = [loss for loss, on in zip(("ntxent", "patient", "volume", "slice"), used, strict=True) if on]
            settings = EMBEDDING_PRESETS["all" if all(used) else "-".join(losses)]
            assert tuple(weight > 0 for weight in settings.weights) == used
            assert settings.weights.ntxent in {0, 1}
            assert settings.batch_size == (9 if sum(used[1:]) == 2 else 8)
    assert EMBEDDING_PRESETS["ntxent-patient-volume"] == EMBEDDING_PRESETS["vepa2024-acdc"]


def test_weights_can_be_written_freely():
    own = EmbeddingSettings(epochs=3, steps=7)
    settings = named_settings("nt-xent=1+volume=0.35", own)
    assert settings == replace(own, weights=(1, 0, 0.35, 0))
    assert named_settings("slice=0+volume=.35+nt-xent=1", own) == settings
    assert named_settings("volume", own) == replace(EMBEDDING_PRESETS["volume"], steps=7)
    assert named_settings("volume", EmbeddingSettings()) == EMBEDDING_PRESETS["volume"]


@pytest.mark.parametrize(
    "name",
    ["", "x", "x=1", "volume=", "volume=x", "volume=-1", "volume=nan", "volume=inf", "volume=0", "volume=1+volume=1"],
)
def test_wrong_names_of_learned_metrics_are_refused_in_words(name):
    with pytest.raises(BadInput) as error:
        named_settings(name, EmbeddingSettings())
    assert "nt-xent=1+patient=0.05+volume=0.35+slice=0" in error.value.advice


def test_automatic_weights_use_patients_where_one_has_several_volumes():
    several, single = FakeStack([[3, 3], [4]]), FakeStack([[3], [4]])
    assert EmbeddingSettings().resolved(several, several.rows).weights == (1, 0.05, 0.35, 0)
    assert EmbeddingSettings().resolved(single, single.rows).weights == (1, 0, 0.35, 0)
    assert EmbeddingSettings().resolved(several, several.rows[3:]).weights == (1, 0, 0.35, 0)


@pytest.mark.parametrize(
    ("grid", "stem"), [((200, 220), "large"), ((48, 56), "large"), ((32, 56), "medium"), ((16, 40), "small")]
)
def test_automatic_stem_follows_the_shorter_side(grid, stem):
    stack = FakeStack([[2]], grid=grid)
    settings = EmbeddingSettings(longest_side=None)
    assert settings.resolved(stack, stack.rows).stem == stem
    assert replace(settings, stem="large").resolved(stack, stack.rows).stem == "large"


def test_shrinking_keeps_the_proportions_and_never_enlarges():
    settings = EmbeddingSettings(longest_side=64)
    assert settings.input_shape((200, 256)) == (50, 64)
    assert settings.input_shape((48, 56)) == (48, 56)
    assert replace(settings, longest_side=None).input_shape((200, 256)) == (200, 256)


def test_steps_are_epochs_up_to_a_limit_by_default():
    settings = EmbeddingSettings(epochs=10, max_steps=100)
    assert settings.total_steps(5) == 50
    assert settings.total_steps(50) == 100
    assert replace(settings, max_steps=None).total_steps(50) == 500
    assert replace(settings, steps=7).total_steps(50) == 7


def test_pixel_features_are_means_of_equal_areas():
    stack = FakeStack([[3], [2]], grid=(8, 12), channels=2)
    features = pixel_features(stack, np.array([4, 0]), size=4)
    assert features.shape == (2, 2 * 4 * 4)
    assert features.dtype == np.float32
    expected = stack.images[[4, 0]].astype(np.float32).reshape(2, 2, 4, 2, 4, 3).mean((3, 5)).reshape(2, -1)
    np.testing.assert_allclose(features, expected, rtol=1e-5)


def test_pixel_features_take_many_slices_and_none():
    stack = FakeStack([[300], [300]])
    features = pixel_features(stack, stack.rows)
    assert features.shape == (600, 32 * 32)
    np.testing.assert_array_equal(features[555], pixel_features(stack, np.array([555]))[0])
    assert pixel_features(stack, stack.rows[:0]).shape == (0, 32 * 32)


def test_embeddings_are_computed_once(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return np.arange(6.0).reshape(3, 2)

    first = cached_embeddings(tmp_path / "new", "key", compute)
    again = cached_embeddings(tmp_path / "new", "key", compute)
    assert len(calls) == 1
    assert first.dtype == again.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    cached_embeddings(tmp_path / "new", "other", compute)
    assert len(calls) == 2


def test_a_failed_computation_leaves_no_file(tmp_path):
    def compute():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cached_embeddings(tmp_path, "key", compute)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"broken", b"\x93NUMPY\x01\x00"])
def test_damaged_embeddings_are_refused_by_file(tmp_path, content):
    (tmp_path / "key.npz").write_bytes(content)
    with pytest.raises(BadInput, match=r"key\.npz.*damaged"):
        cached_embeddings(tmp_path, "key", lambda: np.zeros((1, 1)))


def test_diagnostics_count_directions():
    rng = np.random.default_rng(0)
    assert collapse_diagnostics(np.ones((9, 5)))["effective rank"] == 0
    assert collapse_diagnostics(np.ones((9, 5)))["cosine"] == pytest.approx(1)
    line = np.outer(rng.normal(size=50), np.ones(8))
    assert collapse_diagnostics(line)["effective rank"] == pytest.approx(1)
    assert collapse_diagnostics(rng.normal(size=(4000, 8)))["effective rank"] == pytest.approx(8, abs=0.1)
    assert collapse_diagnostics(np.ones((1, 4))) == {"effective rank": 0, "deviation": 0, "cosine": 0}


def test_diagnostics_measure_cosines_of_pairs():
    x = np.array([[1.0, 0], [0, 2], [-3, 0]])
    pairs = [0, -1, 0]
    assert collapse_diagnostics(x)["cosine"] == pytest.approx(np.mean(pairs))
    assert collapse_diagnostics(x)["deviation"] == pytest.approx(x.std(0).mean())


def test_no_flipped_bit_of_cached_embeddings_goes_unnoticed(tmp_path):
    wanted = cached_embeddings(tmp_path, "key", lambda: np.arange(40, dtype=np.float32).reshape(10, 4))
    path = tmp_path / "key.npz"
    content = path.read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            found = cached_embeddings(tmp_path, "key", lambda: np.zeros((1, 1)))
        except BadInput:
            continue
        assert np.array_equal(found, wanted), place
