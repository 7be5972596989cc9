"""The U-Net with a ResNet-50, and weights from files with the public names of ImageNet, RadImageNet and LVM-Med."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conformance import Listener
from safetensors.torch import save_file
from torch import nn

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation import TRAINING_PRESETS, TrainingSettings, TrainingTask, fit, load_model
from ActiveSegmentationLib.segmentation.learner_choice import with_options
from ActiveSegmentationLib.segmentation.pretrained import load_weights
from ActiveSegmentationLib.segmentation.resnet_unet import ResNetUNetLearner

PLACES = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}


def torchvision_shapes(width: int = 64) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the tensors of torchvision's ResNet-50, with another width than 64 where wanted."""

    def norm(name: str, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield from ((f"{name}.{part}", (channels,)) for part in ("weight", "bias", "running_mean", "running_var"))
        yield f"{name}.num_batches_tracked", ()

    yield "conv1.weight", (width, 3, 7, 7)
    yield from norm("bn1", width)
    before = width
    for layer, blocks in enumerate((3, 4, 6, 3), start=1):
        inner = width * 2 ** (layer - 1)
        for block in range(blocks):
            name = f"layer{layer}.{block}"
            for number, shape in enumerate(((inner, before, 1), (inner, inner, 3), (4 * inner, inner, 1)), start=1):
                yield f"{name}.conv{number}.weight", (*shape, shape[2])
                yield from norm(f"{name}.bn{number}", shape[0])
            if block == 0:
                yield f"{name}.downsample.0.weight", (4 * inner, before, 1, 1)
                yield from norm(f"{name}.downsample.1", 4 * inner)
            before = 4 * inner
    yield "fc.weight", (1000, before)
    yield "fc.bias", (1000,)


@pytest.fixture(scope="module")
def imagenet() -> dict[str, torch.Tensor]:
    """A state dictionary with torchvision's names, of a narrow network."""
    generator = torch.Generator().manual_seed(0)
    found = {}
    for name, shape in torchvision_shapes(8):
        if name.endswith("num_batches_tracked"):
            found[name] = torch.tensor(7)
        else:
            found[name] = torch.rand(shape, generator=generator) + 0.1
    return found


@pytest.fixture
def small() -> TrainingSettings:
    return replace(TRAINING_PRESETS["resnet50-unet"], **{**ResNetUNetLearner.small, "steps": 4})


@pytest.fixture
def encoder(small) -> nn.Module:
    return ResNetUNetLearner.build_network(1, 3, small, seed=0).net.encoder


def in_parts(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As RadImageNet's files: layers numbered as in a sequence, after "backbone."."""
    return {
        f"backbone.{PLACES[name.partition('.')[0]]}.{name.partition('.')[2]}": value
        for name, value in tensors.items()
        if not name.startswith("fc")
    }


def without_head(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in tensors.items() if not name.startswith("fc")}


def with_prefix(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in tensors.items()}


WAYS = {
    "imagenet.pth": lambda t: t,
    "older.pth": lambda t: {name: value for name, value in t.items() if "num_batches" not in name},
    "ResNet50.pt": in_parts,
    "lvmmed_resnet.torch": without_head,
    "moco.pth.tar": lambda t: {
        "epoch": 200,
        "arch": "resnet50",
        "state_dict": with_prefix("module.encoder_q.", t) | {"module.queue": torch.zeros(128, 16)},
        "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": []},
    },
    "lightning.ckpt": lambda t: {"state_dict": with_prefix("model.encoder.", without_head(t)), "global_step": 3},
    "vissl.torch": lambda t: {
        "classy_state_dict": {"base_model": {"model": {"trunk": with_prefix("_feature_blocks.", without_head(t))}}}
    },
    "half.pt": lambda t: {"model": {name: v.half() if v.is_floating_point() else v for name, v in t.items()}},
}


@pytest.mark.parametrize("file", [*WAYS, "backbone.safetensors"])
def test_files_with_public_names_are_matched(file, imagenet, encoder, tmp_path):
    path = tmp_path / file
    if path.suffix == ".safetensors":
        save_file(with_prefix("backbone.", imagenet), path)
    else:
        torch.save(WAYS[file](imagenet), path)
    report = load_weights(path, encoder)
    assert len(report.matched) == report.wanted == 265
    assert (report.missing, report.differing, report.adapted) == ((), (), ())
    assert report.unused == (("module.queue",) if file.startswith("moco") else ())
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    for name, value in encoder.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            tolerance = 1e-3 if file == "half.pt" else 0.0
            assert torch.allclose(value, imagenet[name], rtol=tolerance, atol=0.0), name
    assert report.text().startswith(f"{file}: 265 of 265 tensors of the encoder were loaded")


def test_the_encoder_is_torchvisions_resnet_50_by_names_and_shapes():
    preset = TRAINING_PRESETS["resnet50-unet"]
    network = ResNetUNetLearner.build_network(1, 4, preset, seed=0)
    found = {name: tuple(value.shape) for name, value in network.net.encoder.state_dict().items()}
    assert found == {name: shape for name, shape in torchvision_shapes() if not name.startswith("fc")}
    counted = [sum(p.numel() for p in part.parameters()) for part in (network.net.encoder, network)]
    # with one class fewer numbers: segmentation-models-pytorch's Unet("resnet50") has 32,521,105
    assert counted == [23_508_032, 32_521_105 + 3 * (16 * 9 + 1)]


@pytest.mark.parametrize("has", [1, 4])
def test_the_first_convolution_is_fitted_to_the_channels(has, imagenet, encoder, tmp_path):
    given = dict(imagenet)
    given["conv1.weight"] = torch.rand(8, has, 7, 7)
    torch.save(given, tmp_path / "w.pt")
    report = load_weights(tmp_path / "w.pt", encoder)
    assert report.adapted == (f"conv1.weight: 8 x {has} x 7 x 7 in the file, 8 x 3 x 7 x 7 in the network",)
    assert "1 fitted to the image channels (conv1.weight" in report.text()
    weight = encoder.conv1.weight.detach()
    grey = torch.rand(2, 1, 20, 20)
    if has == 1:
        expected = nn.functional.conv2d(grey, given["conv1.weight"], padding=3)
        found = nn.functional.conv2d(grey.expand(-1, 3, -1, -1), weight, padding=3)
        assert torch.allclose(found, expected, atol=1e-4)
    else:
        assert torch.allclose(weight, given["conv1.weight"][:, :3] * 4 / 3)


def test_a_grey_network_gets_the_sum_over_the_colours(tmp_path):
    network = nn.Sequential(nn.Conv2d(1, 4, 3))
    torch.save({"0.weight": torch.ones(4, 3, 3, 3), "0.bias": torch.zeros(4)}, tmp_path / "w.pt")
    load_weights(tmp_path / "w.pt", network)
    assert torch.equal(network[0].weight.detach(), torch.full((4, 1, 3, 3), 3.0))


def test_what_does_not_fit_is_reported_and_left(imagenet, encoder, tmp_path):
    given = {name: value for name, value in imagenet.items() if not name.startswith("layer4.2.bn3")}
    given["layer4.2.conv3.weight"] = torch.rand(256, 64, 3, 3)
    given["extra.weight"] = torch.rand(2)
    torch.save(given, tmp_path / "w.pt")
    before = encoder.layer4[2].conv3.weight.clone()
    report = load_weights(tmp_path / "w.pt", encoder)
    assert torch.equal(encoder.layer4[2].conv3.weight, before)
    assert report.differing == ("layer4.2.conv3.weight: 256 x 64 x 3 x 3 in the file, 256 x 64 x 1 x 1 in the network",)
    assert len(report.missing) == 4
    assert report.unused == ("extra.weight",)
    assert len(report.matched) == 260
    for told in ("260 of 265", "1 not loaded because of another shape", "4 not in the file", "1 in the file only"):
        assert told in report.text()
    assert json.loads(json.dumps(report.to_json()))["matched"] == 260


class Harmful:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_no_code_of_a_file_runs(encoder, tmp_path):
    torch.save({"state_dict": Harmful(tmp_path / "harm")}, tmp_path / "w.pt")
    with pytest.raises(BadInput, match="cannot be read") as error:
        load_weights(tmp_path / "w.pt", encoder)
    assert "state dictionary alone" in str(error.value)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("file", ["broken.pt", "broken.safetensors"])
def test_a_file_that_is_none_is_refused(file, encoder, tmp_path):
    (tmp_path / file).write_bytes(b"no weights")
    with pytest.raises(BadInput, match="cannot be read"):
        load_weights(tmp_path / file, encoder)


def test_the_weights_of_another_network_are_refused(imagenet, encoder, tmp_path):
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    wide = {name: torch.zeros(shape) for name, shape in torchvision_shapes(16)}
    for number, given in enumerate(
        (wide, {"a": torch.zeros(3)}, {name: imagenet[name] for name in list(imagenet)[:60]})
    ):
        torch.save(given, tmp_path / f"{number}.pt")
        with pytest.raises(BadInput, match="not the weights of this network"):
            load_weights(tmp_path / f"{number}.pt", encoder)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_a_training_starts_from_the_file_and_says_so(stack, small, imagenet, tmp_path):
    torch.save(imagenet, tmp_path / "w.pt")
    settings = replace(small, options={"width": 8, "weights": str(tmp_path / "w.pt")}, learning_rate=1e-9, steps=1)
    task = TrainingTask(stack, stack.examples([0, 3]), 3, settings, seed=0)
    listener = Listener()
    model = fit(task, folder=tmp_path / "m", compute=Compute(progress=listener))
    assert listener.texts == ["w.pt: 265 of 265 tensors of the encoder were loaded."]
    kept = model.network.net.encoder.state_dict()
    assert torch.allclose(kept["layer3.2.conv2.weight"], imagenet["layer3.2.conv2.weight"], atol=1e-6)
    record = model.record["initial weights"]
    assert (record["file"], record["matched"], record["wanted"]) == ("w.pt", 265, 265)
    assert record["sha256"] == hashlib.sha256((tmp_path / "w.pt").read_bytes()).hexdigest()
    rows = np.arange(3)
    expected = model.probabilities(stack, rows)
    (tmp_path / "w.pt").unlink()
    assert np.array_equal(load_model(tmp_path / "m").probabilities(stack, rows), expected)
    with pytest.raises(BadInput, match="no such file of weights"):
        TrainingTask(stack, stack.examples([0, 3]), 3, settings, seed=0)


def test_the_key_follows_the_content_of_the_file_and_not_its_place(stack, small, imagenet, tmp_path):
    torch.save(imagenet, tmp_path / "a.pt")
    shutil.copy(tmp_path / "a.pt", tmp_path / "b.pt")
    torch.save({**imagenet, "conv1.weight": imagenet["conv1.weight"] + 1}, tmp_path / "c.pt")

    def key(file: str) -> str:
        options = {"width": 8, "weights": str(tmp_path / file)} if file else {"width": 8}
        return TrainingTask(stack, stack.examples([0]), 3, replace(small, options=options), seed=0).key

    assert key("a.pt") == key("b.pt")
    assert len({key("a.pt"), key("c.pt"), key("")}) == 3


def test_a_warm_start_needs_equal_widths_and_no_file(stack, small, tmp_path):
    initial = fit(TrainingTask(stack, stack.examples([0]), 3, replace(small, steps=1), seed=0), folder=tmp_path / "a")
    torch.save({}, tmp_path / "w.pt")
    warm = replace(small, steps=1, warm_start=True, options={"width": 8, "weights": str(tmp_path / "w.pt")})
    listener = Listener()
    task = TrainingTask(stack, stack.examples([0]), 3, warm, seed=0, initial=initial)
    model = fit(task, folder=tmp_path / "b", compute=Compute(progress=listener))
    assert listener.texts == []
    assert "initial weights" not in model.record
    with pytest.raises(BadInput, match="another shape"):
        TrainingTask(stack, stack.examples([0]), 3, replace(warm, options={"width": 16}), seed=0, initial=initial)


def test_without_a_file_random_weights_are_reported(stack, small, tmp_path):
    listener = Listener()
    task = TrainingTask(stack, stack.examples([0]), 3, replace(small, steps=1), seed=0)
    model = fit(task, folder=tmp_path, compute=Compute(progress=listener))
    assert "starts from random weights" in listener.texts[0]
    assert "initial weights" not in model.record


def test_the_papers_schedule_grows_with_the_annotated_slices(stack, small):
    preset = TRAINING_PRESETS["resnet50-unet"]
    assert (preset.epochs, preset.batch_size, preset.learning_rate, preset.optimiser) == (50, 8, 1e-4, "adam")
    assert (preset.schedule, preset.clip, preset.select, preset.validate_every) == ("constant", 1.0, "best", 5)
    for count, steps, every in ((1, 50, 5), (8, 50, 5), (9, 100, 10), (20, 150, 15)):
        settings = replace(small, epochs=50, batch_size=8, select="best", validate_every=5)
        examples = stack.examples(range(count))
        task = TrainingTask(stack, examples, 3, settings, seed=0, validation=stack.examples([23]))
        assert (task.settings.steps, task.settings.validate_every, task.settings.epochs) == (steps, every, 0)
    short = preset.with_steps(200)
    assert (short.steps, short.epochs, short.validate_every) == (200, 0, 20)  # ten validations as before
    assert TrainingSettings().with_steps(200).validate_every == TrainingSettings().validate_every
    assert "epochs" not in TrainingSettings().to_json()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"features": (8, 8, 8), "dropout": (0.0,) * 3, "decoder_dropout": (0.0,) * 2},
            "'features' must have 5 numbers",
        ),
        ({"norm": "group"}, "'norm' must be batch"),
        ({"options": {"width": 2}}, "width"),
    ],
)
def test_what_a_resnet_cannot_do_is_refused(stack, small, changes, told):
    with pytest.raises(BadInput, match=told):
        TrainingTask(stack, stack.examples([0]), 3, replace(small, **changes), seed=0)


def test_the_path_is_an_option_of_the_learner():
    chosen = with_options(TRAINING_PRESETS["resnet50-unet"], {"weights": "~/ResNet50.pt"})
    assert chosen.options["weights"] == "~/ResNet50.pt"
    assert chosen.epochs == 50
