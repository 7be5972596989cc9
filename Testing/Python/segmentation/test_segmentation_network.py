"""The network at any size, its features, and a model's way to disk and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation import (
    TRAINING_PRESETS,
    Ensemble,
    SegmentationModel,
    TrainingSettings,
    load_model,
    predict_volume,
)
from ActiveSegmentationLib.segmentation.model_files import FILES
from ActiveSegmentationLib.segmentation.network import build_network
from ActiveSegmentationLib.segmentation.validation import foreground_dice


def model(tiny: TrainingSettings, seed: int = 1, **changes) -> SegmentationModel:
    settings = replace(tiny, **changes)
    return SegmentationModel(
        build_network(1, 3, settings, seed=seed).eval(), 1, 3, settings, f"key-{seed}", {"seed": seed}
    )


@pytest.mark.parametrize("shape", [(48, 56), (33, 47), (7, 20), (50, 50), (96, 31)])
@pytest.mark.parametrize("norm", ["group", "batch", "instance"])
def test_any_size_goes_through_and_learns(shape, norm, tiny):
    network = build_network(2, 3, replace(tiny, norm=norm), seed=0).train()
    logits = network(torch.rand((1, 2, *shape)))
    assert logits.shape == (1, 3, *shape)
    logits.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_dropout_lies_where_the_settings_say(tiny):
    network = build_network(1, 3, replace(tiny, dropout=(0, 0.1, 0.2, 0.3, 0.4)), seed=0)
    rates = {
        name: [m.p for m in getattr(network.net, name).modules() if isinstance(m, nn.Dropout)]
        for name in ("conv_0", "down_1", "down_4", "upcat_1", "upcat_4")
    }
    assert rates == {"conv_0": [], "down_1": [0.1] * 2, "down_4": [0.4] * 2, "upcat_1": [], "upcat_4": [0.1] * 2}


def test_weights_come_from_the_seed_and_the_global_generator_is_left_alone(tiny):
    before = torch.get_rng_state()
    a, b, c = (build_network(1, 3, tiny, seed=seed).state_dict() for seed in (4, 4, 5))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["net.final_conv.weight"], c["net.final_conv.weight"])
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", sorted(TRAINING_PRESETS))
def test_every_preset_builds(name):
    network = build_network(1, 4, TRAINING_PRESETS[name], seed=0).eval()
    assert network(torch.zeros((1, 1, 32, 32))).shape == (1, 4, 32, 32)


def test_features_are_the_mean_of_what_leaves_the_last_encoder_level(stack, tiny):
    trained = model(tiny)
    kept = []
    hook = trained.network.net.down_4.register_forward_hook(lambda module, given, result: kept.append(result))
    probabilities = trained.probabilities(stack, np.arange(5))
    hook.remove()
    expected = kept[0].detach().numpy()
    assert probabilities.shape == (5, 3, 34, 40)
    assert trained.features(stack, np.arange(5)) == pytest.approx(expected.mean((2, 3)), abs=1e-6)
    flat = trained.features(stack, np.arange(5), flatten=True)
    assert flat == pytest.approx(expected.reshape(5, -1), abs=1e-6)


def test_streaming_equals_all_at_once(stack, tiny):
    trained, rows = model(tiny), np.array([7, 2, 11, 3, 0])
    streamed = list(trained.iterate_probabilities(stack, rows, Compute(batch_size=2)))
    assert [chosen.tolist() for chosen, _ in streamed] == [[7, 2], [11, 3], [0]]
    together = trained.probabilities(stack, rows)
    assert np.concatenate([p for _, p in streamed]) == pytest.approx(together, abs=1e-5)
    assert together.sum(1) == pytest.approx(1, abs=1e-5)
    assert together.dtype == np.float32


def test_a_model_survives_the_disk(stack, tiny, tmp_path):
    trained = model(tiny)
    trained.save(tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.describe() == trained.describe()
    assert loaded.settings == trained.settings
    rows = np.arange(4)
    assert np.array_equal(loaded.probabilities(stack, rows), trained.probabilities(stack, rows))


def test_damaged_models_are_refused(tiny, tmp_path):
    model(tiny).save(tmp_path / "a")
    model(tiny, seed=2).save(tmp_path / "b")
    (tmp_path / "a" / FILES.weights).write_bytes((tmp_path / "b" / FILES.weights).read_bytes())
    with pytest.raises(BadInput, match="were changed after"):
        load_model(tmp_path / "a")
    whole = (tmp_path / "b" / FILES.weights).read_bytes()
    (tmp_path / "b" / FILES.weights).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="were changed after"):
        load_model(tmp_path / "b")
    (tmp_path / "b" / FILES.description).unlink()
    with pytest.raises(BadInput, match="no such file"):
        load_model(tmp_path / "b")


def test_a_volume_is_predicted_in_its_own_plane(stack, tiny):
    members = (model(tiny, 1), model(tiny, 2))
    prediction = predict_volume(Ensemble(members), stack, "b", compute=Compute(batch_size=3))
    rows = stack.volume_rows("b")
    mean = (members[0].probabilities(stack, rows) + members[1].probabilities(stack, rows)) / 2
    expected = stack.from_grid(mean, "b")
    assert prediction.probabilities.shape == (3, 8, 30, 36)
    assert prediction.probabilities == pytest.approx(np.moveaxis(expected, 1, 0), abs=1e-5)
    assert np.array_equal(prediction.labels, prediction.probabilities.argmax(0))
    assert prediction.labels.dtype == np.uint8


class Oracle(nn.Module):
    """Logits that name the class written in the image."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.one_hot(images[:, 0].long(), 4).movedim(-1, 1).float()


def test_validation_dice_equals_the_literal_one():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (5, 6, 6)).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.2] = 255
    predicted = rng.integers(0, 4, (5, 6, 6))
    decided = truth != 255
    expected = []
    for c in (1, 2):
        p, t = (predicted == c) & decided, truth == c
        expected.append(2 * (p & t).sum() / (p.sum() + t.sum()))
    images = torch.from_numpy(predicted)[:, None]
    found = foreground_dice(Oracle(), images, torch.from_numpy(truth), 4, batch_size=2)
    assert found == pytest.approx(np.mean(expected))
    nothing = torch.zeros((5, 6, 6), dtype=torch.uint8)
    assert foreground_dice(Oracle(), images, nothing, 4, batch_size=2) == 0


def dropouts(network, kind=torch.nn.modules.dropout._DropoutNd):
    return [(name, module) for name, module in network.net.named_modules() if isinstance(module, kind)]


def test_five_levels_are_monais_network_to_the_bit():
    from monai.networks.nets import BasicUNet

    settings = TrainingSettings()
    ours = build_network(1, 3, settings, seed=5)
    torch.manual_seed(5)
    act = ("LeakyReLU", {"negative_slope": 0.01, "inplace": True})
    features = (*settings.features, settings.features[0])
    theirs = BasicUNet(2, 1, 3, features=features, act=act, norm="batch", bias=False, dropout=0.5)
    assert list(ours.net.state_dict()) == list(theirs.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(ours.net.parameters(), theirs.parameters(), strict=True))
    images = torch.randn(2, 1, 50, 43)
    assert torch.allclose(ours.eval()(images), theirs.eval()(images), atol=1e-6)


def test_gaillochets_network_has_four_levels_with_one_dropout_each_after_pooling_and_joining():
    preset = TRAINING_PRESETS["gaillochet2023"]
    network = build_network(1, 3, preset, seed=0)
    assert len(network.encode(torch.zeros(1, 1, 32, 32))) == 4
    names = [name for name, _ in dropouts(network)]
    assert names == [
        f"{part}_{level}.convs.entry" for part, levels in (("down", "123"), ("upcat", "321")) for level in levels
    ]
    assert {module.p for _, module in dropouts(network)} == {0.5}
    assert (preset.learning_rate, preset.dice_share, preset.augmentation.noise_of_range) == (2e-4, 0.0, 0.01)
    assert preset.rate(round(preset.warm_up * preset.steps)) == pytest.approx(2e-4)


def test_vepas_network_has_one_dropout_a_level_between_its_convolutions():
    network = build_network(1, 4, TRAINING_PRESETS["vepa2024"], seed=0)
    found = dropouts(network)
    assert [name.split(".")[0] for name, _ in found] == ["conv_0", "down_1", "down_2", "down_3", "down_4"]
    assert all(".conv_0.adn." in f".{name}" for name, _ in found)
    assert [module.p for _, module in found] == [0.05, 0.1, 0.2, 0.3, 0.5]
    # 1,813,764 in the paper's program, whose head is a 3 x 3 convolution with bias
    head = 16 * 4 * 9 + 4
    norms_and_biases = sum(p.numel() for p in network.parameters()) - 1_813_764 + head - (16 * 4 + 4)
    assert abs(norms_and_biases) < 2_500


def test_ozdemirs_dropout_switches_off_whole_channels():
    network = build_network(1, 3, TRAINING_PRESETS["ozdemir2021-unet"], seed=0)
    assert len(dropouts(network)) == len(dropouts(network, torch.nn.Dropout2d)) == 8
