"""The discrepancy held against a literal, and the autoencoder: repeatable, resumable, better with training."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from embedding_fakes import FakeStack

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput, Cancelled, JobFailed
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.embedding import (
    INFO_VAE_PRESETS,
    InfoVaeSettings,
    load_info_vae,
    mmd,
    train_info_vae,
)
from ActiveSegmentationLib.embedding.autoencoder import standardised
from ActiveSegmentationLib.embedding.info_vae import kl_per_pixel

SMALL = InfoVaeSettings(side=16, channels=(8, 16), latent=4, batch_size=16, prior_samples=64, steps=40)


def literal_mmd(points, others, kernel):
    """The U-statistic, pair by pair."""
    dimensions = len(points[0])

    def value(a, b):
        squared = sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
        if kernel == "laplace":
            return math.exp(-math.sqrt(squared) / 2)
        return sum(math.exp(-squared / (2 * scale * dimensions)) for scale in (0.5, 1, 2)) / 3

    def within(sample):
        pairs = [value(a, b) for i, a in enumerate(sample) for j, b in enumerate(sample) if i != j]
        return sum(pairs) / len(pairs)

    across = [value(a, b) for a in points for b in others]
    return within(points) + within(others) - 2 * sum(across) / len(across)


@pytest.mark.parametrize("kernel", ["mixture", "laplace"])
def test_the_discrepancy_equals_a_double_loop(kernel):
    rng = np.random.default_rng(0)
    points, others = rng.normal(size=(7, 5)) + 1, rng.normal(size=(9, 5))
    found = mmd(torch.from_numpy(points), torch.from_numpy(others), kernel)
    assert float(found) == pytest.approx(literal_mmd(points.tolist(), others.tolist(), kernel), rel=1e-6)


@pytest.mark.parametrize("dimensions", [2, 200])
def test_the_discrepancy_is_unbiased_and_sees_a_shift(dimensions):
    rng = torch.Generator().manual_seed(0)

    def draw():
        return torch.randn((32, dimensions), generator=rng, dtype=torch.float64)

    same = torch.stack([mmd(draw(), draw()) for _ in range(300)])
    assert abs(float(same.mean())) < 4 * float(same.std()) / math.sqrt(300)
    assert float(mmd(draw() + 1, draw())) > 10 * float(same.std())


@pytest.mark.parametrize("kernel", ["mixture", "laplace"])
def test_equal_points_have_a_finite_gradient(kernel):
    points = torch.zeros((4, 3), requires_grad=True)
    mmd(points, torch.randn(5, 3), kernel).backward()
    assert torch.isfinite(points.grad).all()


@pytest.fixture(scope="module")
def stack():
    return FakeStack([[10, 10], [12], [8, 8], [12]])


class Listener(Progress):
    """Keeps the steps; cancels after some."""

    def __init__(self, stop_after=None):
        super().__init__(lambda: stop_after is not None and len(self.shown) >= stop_after)
        self.shown = []

    def update(self, stage, done, total, **values):
        if stage == "Training the autoencoder":
            self.shown.append((done, total, values))
        super().update(stage, done, total, **values)


def train(stack, folder, settings=SMALL, seed=3, **options):
    return train_info_vae(stack, stack.rows, settings, seed=seed, folder=folder, **options)


def assert_equal(first, second):
    others = second.network.state_dict()
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, others[name]), name


def test_same_seed_same_weights_and_torch_is_left_alone(stack, tmp_path):
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    first = train(stack, tmp_path / "a")
    assert torch.equal(torch.rand(2), expected)
    assert_equal(first, train(stack, tmp_path / "b"))
    assert train(stack, tmp_path / "a", seed=4).key != first.key


def test_a_finished_training_is_loaded(stack, tmp_path):
    first = train(stack, tmp_path)
    listener = Listener()
    again = train(stack, tmp_path, compute=Compute(progress=listener))
    assert not listener.shown
    assert_equal(first, again)
    np.testing.assert_array_equal(first.embed(stack, stack.rows), again.embed(stack, stack.rows))
    assert again.describe() == first.describe()
    files = sorted(path.name for path in (tmp_path / first.key).iterdir())
    assert files == ["encoder.json", "encoder.safetensors", "losses.json"]


def test_an_interrupted_training_goes_on(stack, tmp_path):
    whole = train(stack, tmp_path / "whole")
    with pytest.raises(Cancelled):
        train(stack, tmp_path / "parts", compute=Compute(progress=Listener(stop_after=17)), checkpoint_every=5)
    listener = Listener()
    parts = train(stack, tmp_path / "parts", compute=Compute(progress=listener), checkpoint_every=5)
    assert listener.shown[0][0] == 16
    assert_equal(whole, parts)
    losses = json.loads((tmp_path / "parts" / parts.key / "losses.json").read_text())["losses"]
    assert len(losses["loss"]) == 40


def test_training_improves_images_and_brings_the_latent_space_near_to_normal(tmp_path):
    stack = FakeStack([[10] * 10] * 4)
    settings = InfoVaeSettings(side=16, channels=(16, 32), latent=4, batch_size=64, steps=300)
    listener = Listener()
    model = train(stack, tmp_path, settings, compute=Compute(progress=listener))
    errors = [values["reconstruction"] for *_, values in listener.shown]
    assert np.mean(errors[-10:]) < 0.6 * np.mean(errors[:5])
    latent = model.embed(stack, stack.rows)
    assert latent.shape == (400, 4)
    assert latent.dtype == np.float32
    assert np.abs(latent.mean(axis=0)).max() < 0.3
    assert latent.std(axis=0).min() > 0.7
    assert latent.std(axis=0).max() < 1.3


def test_brightness_and_contrast_of_an_image_do_not_count(stack, tmp_path):
    model = train(stack, tmp_path)
    other = FakeStack([[10, 10], [12], [8, 8], [12]])
    other.images = (other.images.astype(np.float32) * 2 + 3).astype(np.float32)
    np.testing.assert_allclose(model.embed(stack, stack.rows), model.embed(other, stack.rows), atol=0.05)


def test_few_slices_and_no_slice(tmp_path):
    one = FakeStack([[1]])
    assert train(one, tmp_path).embed(one, one.rows).shape == (1, 4)
    with pytest.raises(BadInput, match="no slice"):
        train_info_vae(one, np.array([], dtype=int), SMALL, seed=0, folder=tmp_path)


def test_broken_images_end_the_training(tmp_path):
    stack = FakeStack([[6]])
    stack.images[2] = np.nan
    with pytest.raises(JobFailed, match="diverged"):
        train(stack, tmp_path)


def test_other_channels_are_refused(stack, tmp_path):
    model = train(stack, tmp_path)
    two = FakeStack([[3]], channels=2)
    with pytest.raises(BadInput, match="2 channel"):
        model.embed(two, two.rows)


def test_damaged_files_are_reported(stack, tmp_path):
    home = tmp_path / train(stack, tmp_path).key
    (home / "encoder.safetensors").write_bytes(b"nothing")
    with pytest.raises(BadInput, match="were changed after"):
        load_info_vae(home)


def test_sizes():
    auto, paper = InfoVaeSettings(), INFO_VAE_PRESETS["ozdemir2021"]
    assert auto.resolved((48, 48)).side == 32
    assert auto.resolved((40, 200)).side == 64
    assert auto.total_steps(5000) == 1500
    assert (paper.side, paper.latent, len(paper.channels), paper.batch_size) == (96, 200, 5, 32)
    assert INFO_VAE_PRESETS["ozdemir2021-kernel"].kernel == "laplace"
    assert InfoVaeSettings.from_json(json.loads(json.dumps(paper.to_json()))) == paper


@pytest.mark.parametrize(
    "wrong",
    [
        {"side": 40},
        {"channels": (12,)},
        {"latent": 0},
        {"kernel": "x"},
        {"divergence": "x"},
        {"kl_weight": -1.0},
        {"batch_size": 1},
        {"steps": 0},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(BadInput, match=next(iter(wrong))):
        InfoVaeSettings(**wrong)


def test_unknown_settings_are_refused():
    with pytest.raises(BadInput, match="Unknown settings: width"):
        InfoVaeSettings.from_json({"width": 3})


KL = replace(SMALL, divergence="kl")


def test_settings_of_earlier_models_are_written_as_before():
    assert "divergence" not in SMALL.to_json()
    assert KL.to_json()["divergence"] == "kl"
    assert INFO_VAE_PRESETS["ozdemir2021-vae"] == replace(INFO_VAE_PRESETS["ozdemir2021"], divergence="kl")


def test_a_vae_has_its_own_key_and_its_training_resumes(stack, tmp_path):
    whole = train(stack, tmp_path / "whole", KL)
    assert whole.key != train(stack, tmp_path / "whole").key
    with pytest.raises(Cancelled):
        train(stack, tmp_path / "parts", KL, compute=Compute(progress=Listener(stop_after=17)), checkpoint_every=5)
    parts = train(stack, tmp_path / "parts", KL, checkpoint_every=5)
    assert_equal(whole, parts)
    losses = json.loads((tmp_path / "parts" / parts.key / "losses.json").read_text())["losses"]
    assert sorted(losses) == ["kl", "loss", "reconstruction"]
    loaded = load_info_vae(tmp_path / "parts" / parts.key)
    np.testing.assert_array_equal(loaded.embed(stack, stack.rows), parts.embed(stack, stack.rows))
    assert loaded.embed(stack, stack.rows).shape == (len(stack.rows), 4)


def test_the_divergence_of_a_vae_equals_the_one_by_integration():
    mean, variance, pixels = torch.tensor([[0.3, -1.0]]), torch.tensor([[0.5, 2.0]]), 10
    z = torch.linspace(-30, 30, 600_001, dtype=torch.float64)
    expected = 0.0
    for m, v in zip(mean[0].tolist(), variance[0].tolist(), strict=True):
        log_q = torch.distributions.Normal(m, v**0.5).log_prob(z)
        log_p = torch.distributions.Normal(0.0, 1.0).log_prob(z)
        expected += float(torch.trapezoid(log_q.exp() * (log_q - log_p), z))
    assert float(kl_per_pixel(mean, variance.log(), pixels)) == pytest.approx(2 * expected / pixels, rel=1e-5)


def test_a_vae_learns_images_and_embeds_by_its_means(tmp_path):
    stack = FakeStack([[10] * 10] * 4)
    settings = InfoVaeSettings(side=16, channels=(16, 32), latent=4, batch_size=64, steps=300, divergence="kl")
    listener = Listener()
    model = train(stack, tmp_path, settings, compute=Compute(progress=listener))
    errors = [values["reconstruction"] for *_, values in listener.shown]
    assert np.mean(errors[-10:]) < 0.8 * np.mean(errors[:5])
    divergences = [values["kl"] for *_, values in listener.shown]
    assert divergences[-1] > 0
    images = stack.batches(stack.rows[:5])
    with torch.no_grad():
        mean, log_variance = model.network.encode(standardised(images, 16))
    np.testing.assert_allclose(model.embed(stack, stack.rows[:5]), mean.numpy(), atol=1e-6)
    assert log_variance.exp().mean() < 1  # it knows more of an image than the prior


def test_a_strong_divergence_leaves_nothing_of_the_image(tmp_path):
    stack = FakeStack([[6] * 4] * 2)
    settings = replace(SMALL, divergence="kl", kl_weight=1000.0, steps=150)
    model = train(stack, tmp_path, settings)
    with torch.no_grad():
        mean, log_variance = model.network.encode(standardised(stack.batches(stack.rows), 16))
    assert mean.abs().max() < 0.3
    assert log_variance.abs().max() < 0.3
