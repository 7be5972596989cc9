"""Samplers and the statistics of their draws, against literal versions."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation import Ensemble, SegmentationModel, TrainingSettings
from ActiveSegmentationLib.segmentation.network import build_network
from ActiveSegmentationLib.uncertainty import (
    SCORES,
    Accumulator,
    Deterministic,
    Dropout,
    EnsembleSampler,
    accumulate,
    dropout_active,
    entropy_map,
    slice_scores,
)

SETTINGS = TrainingSettings(features=(8, 8, 8, 8, 8), norm="group")  # untrained batch norms flatten all


def random_model(seed: int = 0, settings: TrainingSettings = SETTINGS) -> SegmentationModel:
    return SegmentationModel(build_network(1, 3, settings, seed=seed), 1, 3, settings, f"key-{seed}")


@pytest.fixture
def stack() -> SimpleNamespace:
    images = torch.rand((10, 1, 32, 36), generator=torch.Generator().manual_seed(0))
    return SimpleNamespace(
        key="fake",
        channels=1,
        grid_shape=(32, 36),
        batches=lambda rows, device="cpu": images[torch.as_tensor(rows)],
        inside=lambda rows: np.ones((len(rows), 32, 36), dtype=bool),
        volume_rows=lambda volume_id: np.arange(2, 7),
        from_grid=lambda values, volume_id: values[..., 1:-1, 2:-2],
    )


def random_draws(count: int = 6, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.softmax(2 * torch.randn((2, 3, 4, 5), generator=generator), 1) for _ in range(count)]


def literal(draws: list[torch.Tensor], i: int, y: int, x: int) -> dict[str, float]:
    """Statistics of one pixel, as the formulas have them."""

    def entropy(p: list[float]) -> float:
        return -sum(v * math.log(v) for v in p if v > 0)

    samples = [draw[i, :, y, x].double().tolist() for draw in draws]
    count, classes = len(samples), range(3)
    mean = [sum(s[c] for s in samples) / count for c in classes]
    variance = [sum((s[c] - mean[c]) ** 2 for s in samples) / (count - 1) for c in classes]
    votes = [s.index(max(s)) for s in samples]
    ranked = sorted(mean, reverse=True)
    mean_entropy = sum(entropy(s) for s in samples) / count
    return {
        "entropy": entropy(mean),
        "mean-entropy": mean_entropy,
        "mutual-information": entropy(mean) - mean_entropy,
        "variance": sum(variance) / 3,
        "foreground-variance": sum(variance[1:]) / 2,
        "std": sum(math.sqrt(v) for v in variance) / 3,
        "variance-ratio": 1 - max(votes.count(c) for c in classes) / count,
        "least-confidence": 1 - ranked[0],
        "margin": 1 - (ranked[0] - ranked[1]),
    }


def test_every_statistic_equals_the_literal_one():
    draws = random_draws()
    found = Accumulator(iter(draws))
    maps = {name: function(found) for name, function in SCORES.items()}
    for i in range(2):
        for y in range(4):
            for x in range(5):
                for name, value in literal(draws, i, y, x).items():
                    assert maps[name][i, y, x].item() == pytest.approx(value, abs=2e-6), name
    assert found.count == 6
    assert torch.equal(found.votes.sum(1), torch.full((2, 4, 5), 6))


def test_nearly_equal_draws_keep_their_variance():
    base = torch.tensor([0.5, 0.3, 0.2]).reshape(1, 3, 1, 1)
    offset = torch.tensor([1.0, -1.0, 0.0]).reshape(1, 3, 1, 1)
    draws = [base + 1e-4 * sign * offset for sign in (-1, 1, -1, 1)]
    found = Accumulator(iter(draws)).variance.flatten().tolist()
    assert found == pytest.approx([4e-8 / 3, 4e-8 / 3, 0], rel=1e-2, abs=1e-12)


def test_golden_divergence_of_equal_and_of_disjoint_draws():
    equal = random_draws(1)[0]
    assert Accumulator(iter([equal, equal])).mutual_information.abs().max().item() < 1e-6
    zero, one = torch.zeros((1, 2, 1, 1)), torch.zeros((1, 2, 1, 1))
    zero[:, 0], one[:, 1] = 1, 1
    found = Accumulator(iter([zero, one]))
    assert found.mutual_information.item() == pytest.approx(math.log(2))
    plus = (found.entropy + found.mean_entropy).item() / 2  # the sign in one published implementation
    assert plus == pytest.approx(math.log(2) / 2)
    assert found.variance_ratio.item() == 0.5


def test_golden_bald_of_dropout_is_the_divergence_of_its_draws(stack):
    model, sampler, rows = random_model(), Dropout(5, p=0.5), np.arange(10)
    scores = slice_scores(model, stack, rows, sampler, names=["mutual-information"], compute=Compute(batch_size=10))
    model.network.eval()
    p = torch.stack(list(sampler.draws(model, stack.batches(rows), 0))).double().numpy()
    mean = p.mean(0)
    divergence = -(mean * np.log(mean)).sum(1) + (p * np.log(p)).sum(2).mean(0)
    assert scores["mutual-information"] == pytest.approx(divergence.mean((1, 2)), abs=1e-6)
    assert (scores["mutual-information"] > 1e-6).all()


def test_one_draw_disagrees_with_nothing(stack):
    scores = slice_scores(random_model(), stack, np.arange(4), Deterministic(), names=list(SCORES))
    for name in ("mutual-information", "variance", "std", "variance-ratio"):
        assert scores[name] == pytest.approx(0, abs=1e-6)
    assert scores["entropy"] == pytest.approx(scores["mean-entropy"], abs=1e-6)


def test_scores_follow_the_rows_whatever_the_batches(stack):
    model, rows = random_model(), np.array([9, 0, 4, 4, 1])
    one = slice_scores(model, stack, rows, Deterministic(), compute=Compute(batch_size=2))["entropy"]
    other = slice_scores(model, stack, rows, Deterministic())["entropy"]
    expected = entropy_map(model.probabilities(stack, rows), axis=1).mean((1, 2))
    assert one == pytest.approx(other, abs=1e-6)
    assert one == pytest.approx(expected, abs=1e-6)
    assert one.dtype == np.float32
    assert [
        chosen.tolist() for chosen, _ in accumulate(model, stack, rows, Deterministic(), Compute(batch_size=2))
    ] == [
        [9, 0],
        [4, 4],
        [1],
    ]


def test_unknown_scores_are_refused(stack):
    with pytest.raises(BadInput, match="surprise"):
        slice_scores(random_model(), stack, np.arange(2), Deterministic(), names=["surprise"])


class Layers(nn.Module):
    """One of each kind of dropout among other layers that behave differently in training."""

    def __init__(self) -> None:
        super().__init__()
        self.dropouts = nn.ModuleList(
            [
                nn.Dropout(0.1),
                nn.Dropout1d(0.2),
                nn.Dropout2d(0.3),
                nn.Dropout3d(0.4),
                nn.AlphaDropout(0.5),
                nn.FeatureAlphaDropout(0.6),
            ]
        )
        self.norms = nn.ModuleList([nn.BatchNorm2d(2), nn.InstanceNorm2d(2, track_running_stats=True)])


@pytest.mark.parametrize("training", [True, False])
def test_only_dropout_is_switched_on_and_all_is_put_back(training):
    network = Layers().train(training)
    network.norms[0].eval()
    modes = [module.training for module in network.modules()]

    def look_and_fail():
        with dropout_active(network, 0.25):
            assert all(module.training and module.p == 0.25 for module in network.dropouts)
            assert not any(module.training for module in network.norms)
            assert not network.training
            raise KeyError("an accident")

    with pytest.raises(KeyError):
        look_and_fail()
    assert [module.training for module in network.modules()] == modes
    assert [module.p for module in network.dropouts] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]


def test_dropout_repeats_itself_and_leaves_the_global_generator_alone(stack):
    model = random_model()
    before = torch.get_rng_state()
    first, second, other = (
        slice_scores(model, stack, np.arange(6), Dropout(4, seed=seed), names=["variance"])["variance"]
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert (first > 0).all()
    assert torch.equal(before, torch.get_rng_state())
    assert not any(module.training for module in model.network.modules())


def test_dropout_draws_differ_and_leave_batch_statistics_alone(stack):
    model = random_model(settings=TrainingSettings(features=(8, 8, 8, 8, 8), norm="batch"))
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    draws = list(Dropout(3).draws(model, stack.batches(np.arange(3)), 0))
    assert not torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[1], draws[2])
    assert all(torch.equal(before[name], value) for name, value in model.network.state_dict().items())


def test_a_model_without_dropout_cannot_be_sampled(stack):
    dry = TrainingSettings(features=(8, 8, 8, 8, 8), dropout=(0.0,) * 5, decoder_dropout=(0.0,) * 4)
    with pytest.raises(BadInput, match="no dropout"):
        slice_scores(random_model(settings=dry), stack, np.arange(2), Dropout(2))


@pytest.mark.parametrize("wrong", [{"passes": 0}, {"p": 0.0}, {"p": 1.0}])
def test_wrong_dropout_is_refused(wrong):
    with pytest.raises(BadInput, match="passes"):
        Dropout(**wrong)


def test_an_ensemble_is_sampled_member_by_member(stack):
    members = (random_model(1), random_model(2), random_model(3))
    images = stack.batches(np.arange(3))
    for member in members:
        member.network.eval()
    draws = list(EnsembleSampler().draws(Ensemble(members), images))
    assert all(torch.equal(draw, member.predict(images)) for draw, member in zip(draws, members, strict=True))
    assert len(list(Dropout(2).draws(Ensemble(members), images))) == 6
    with pytest.raises(BadInput, match="at least two"):
        next(EnsembleSampler().draws(members[0], images))


def test_the_entropy_map_has_the_values_known_by_heart():
    p = np.array([[1, 0.5, 0.25], [0, 0.5, 0.25], [0, 0, 0.25], [0, 0, 0.25]], dtype=np.float32)
    assert entropy_map(p) == pytest.approx([0, math.log(2), math.log(4)])
    assert entropy_map(p.T, axis=1).dtype == np.float32


def test_padding_takes_no_part_in_scores(stack):
    rows, mask = np.arange(4), np.zeros((32, 36), dtype=bool)
    mask[3:20, 5:30] = True
    stack.inside = lambda rows: np.repeat(mask[None], len(rows), axis=0)
    found = slice_scores(random_model(), stack, rows, Deterministic(), names=["entropy", "class-probability"])
    p = random_model().probabilities(stack, rows)
    np.testing.assert_allclose(found["entropy"], entropy_map(p, axis=1)[:, mask].mean(axis=1), rtol=1e-4)
    np.testing.assert_allclose(found["class-probability"], p[:, :, mask].mean(axis=2), rtol=1e-4)
