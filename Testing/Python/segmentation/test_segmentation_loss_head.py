"""The head that predicts the loss: it learns the order of losses, and leaves everything else as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput, Cancelled
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.segmentation import (
    Ensemble,
    SegmentationLoss,
    TrainingSettings,
    TrainingTask,
    fit,
    load_model,
)
from ActiveSegmentationLib.segmentation.loss_head import MARGIN, LossHead, head_optimiser, ranking_loss
from ActiveSegmentationLib.segmentation.network import build_network
from ActiveSegmentationLib.segmentation.network_learner import HEAD, TASK, NetworkLearner


class Stopping(Progress):
    """Cancels after ``limit`` reports."""

    def __init__(self, limit: int) -> None:
        self.count = 0
        super().__init__(lambda: self.count >= limit)

    def show(self, stage, done, total, **values):
        self.count += 1

    def message(self, text):
        pass


@pytest.fixture
def headed(tiny) -> TrainingSettings:
    return replace(tiny, loss_head=True)


def weights(model):
    return model.network.state_dict()


def same(a, b) -> bool:
    left, right = weights(a), weights(b)
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def literal_ranking(predicted, losses):
    n, terms = len(predicted), []
    for i in range(n // 2):
        j = n - 1 - i
        if losses[i] != losses[j]:
            sign = 1 if losses[i] > losses[j] else -1
            terms.append(max(0.0, MARGIN - sign * (predicted[i] - predicted[j])))
    return sum(terms) / len(terms) if terms else 0.0


@pytest.mark.parametrize("n", [1, 2, 3, 8, 9])
def test_the_ranking_loss_follows_the_paper(n):
    rng = np.random.default_rng(n)
    predicted, losses = rng.normal(size=n), rng.integers(0, 4, n).astype(float)
    found = ranking_loss(torch.tensor(predicted), torch.tensor(losses))
    assert found.item() == pytest.approx(literal_ranking(predicted, losses))


def test_the_middle_of_an_odd_batch_and_equal_losses_teach_nothing():
    predicted = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5], requires_grad=True)
    ranking_loss(predicted, torch.tensor([1.0, 2.0, 9.0, 2.0, 3.0])).backward()
    assert predicted.grad.tolist() == [1, 0, 0, 0, -1]
    single = torch.tensor([0.1], requires_grad=True)
    ranking_loss(single, torch.tensor([1.0])).backward()
    assert single.grad.tolist() == [0]


@pytest.mark.parametrize("scribble_dice", [False, True])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("background", [False, True])
def test_losses_of_slices_are_those_of_batches_of_one(background, squared, scribble_dice):
    stream = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn((6, 3, 8, 9), generator=stream)
    labels = torch.randint(0, 3, (6, 8, 9), generator=stream).to(torch.uint8)
    labels[1, 2:] = 255
    labels[2] = 255
    labels[3] = 0
    dense = torch.tensor([True, False, False, True, True, False])
    loss = SegmentationLoss(background=background, squared=squared, scribble_dice=scribble_dice)
    expected = [loss(logits[i : i + 1], labels[i : i + 1], dense[i : i + 1]) for i in range(6)]
    assert loss.by_slice(logits, labels, dense).tolist() == pytest.approx([e.item() for e in expected], rel=1e-4)


def test_the_head_learns_an_order_from_pairs():
    """A toy: the loss of a slice depends on its maps; the head learns to rank slices that it was not trained on."""
    stream = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    head = LossHead((4, 6))
    optimiser = head_optimiser(head)

    def batch(n):
        maps = [torch.randn((n, width, 5, 5), generator=stream) for width in (4, 6)]
        return maps, maps[0].mean((2, 3))[:, 0] + 2 * maps[1].mean((2, 3))[:, 3]

    for _ in range(400):
        maps, losses = batch(8)
        optimiser.zero_grad()
        ranking_loss(head(maps), losses).backward()
        optimiser.step()
    maps, losses = batch(200)
    assert stats.spearmanr(head(maps).detach(), losses).statistic > 0.9


def test_the_trained_head_ranks_what_the_model_finds_hard(stack, headed, tmp_path):
    """Slices without contrast are hard; the head of a trained model tells them from the others of the training."""
    rows = np.arange(12)
    images = stack.images.copy()
    stack = type(stack)()
    stack.images = images
    hard = rows % 2 == 1
    noise = np.random.default_rng(0).normal(0, 0.3, images[rows[hard]].shape)
    stack.images[rows[hard]] = (0.4 + noise).astype(np.float16)
    settings = replace(headed, steps=200, augment=False)
    model = fit(TrainingTask(stack, stack.examples(rows), 3, settings, seed=0), folder=tmp_path)
    found = model.predicted_losses(stack, rows)
    assert found.shape == (12,)
    assert found.dtype == np.float32
    better = (found[hard][:, None] > found[~hard][None]).mean()
    assert better > 0.9


def test_task_weights_start_alike_and_the_task_optimiser_knows_no_head(stack, tiny, headed):
    plain, with_head = (build_network(1, 3, settings, seed=3) for settings in (tiny, headed))
    for name, value in plain.state_dict().items():
        assert torch.equal(value, with_head.state_dict()[name])
    learner = NetworkLearner(stack, stack.examples([0, 3]), 3, headed, seed=0, device="cpu")
    of_task, of_head = (
        {id(p) for group in learner.optimisers[name].param_groups for p in group["params"]} for name in (TASK, HEAD)
    )
    assert of_task == {id(p) for p in learner.network.net.parameters()}
    assert of_head == {id(p) for p in learner.network.loss_head.parameters()}
    assert not of_task & of_head


def test_encoding_and_decoding_is_the_forward_pass(tiny):
    network = build_network(1, 3, tiny, seed=0).eval()
    for side in ((34, 40), (32, 32), (20, 50)):
        images = torch.rand((2, 1, *side), generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            assert torch.equal(network(images), network.decode(network.encode(images), side))


def test_late_steps_leave_the_features_to_the_task(stack, tiny, headed, monkeypatch, tmp_path):
    """With the maps detached from the first step on, the network is that of a training without head, to the bit."""
    monkeypatch.setattr("ActiveSegmentationLib.segmentation.network_learner.ATTACHED", 0.0)
    examples = stack.examples([0, 3, 9])
    plain = fit(TrainingTask(stack, examples, 3, tiny, seed=0), folder=tmp_path / "plain")
    with_head = fit(TrainingTask(stack, examples, 3, headed, seed=0), folder=tmp_path / "head")
    assert all(torch.equal(value, weights(with_head)[name]) for name, value in weights(plain).items())
    monkeypatch.undo()
    other = fit(TrainingTask(stack, examples, 3, headed, seed=0), folder=tmp_path / "attached")
    assert not all(torch.equal(value, weights(other)[name]) for name, value in weights(plain).items())


@pytest.mark.parametrize("select", ["last", "best"])
def test_a_training_with_a_head_goes_on_to_the_same_bits(stack, headed, tmp_path, select):
    settings = replace(headed, select=select, validate_every=3, batch_size=3)
    examples = stack.examples([0, 3, 9])
    task = TrainingTask(stack, examples, 3, settings, seed=0, validation=stack.examples([20, 21]))
    whole = fit(task, folder=tmp_path / "whole", checkpoint_every=4)
    for limit in (2, 5, 6):  # the last two go on from a checkpoint
        with pytest.raises(Cancelled):
            fit(task, folder=tmp_path / "cut", compute=Compute(progress=Stopping(limit)), checkpoint_every=4)
    assert same(whole, fit(task, folder=tmp_path / "cut", checkpoint_every=4))


def test_the_head_is_kept_with_the_model(stack, headed, tiny, tmp_path):
    model = fit(TrainingTask(stack, stack.examples([0, 3]), 3, headed, seed=0), folder=tmp_path / "a")
    loaded = load_model(tmp_path / "a")
    assert same(model, loaded)
    rows = np.arange(5)
    assert np.array_equal(model.predicted_losses(stack, rows), loaded.predicted_losses(stack, rows))
    assert loaded.predicted_losses(stack, rows, Compute(batch_size=2)) == pytest.approx(
        loaded.predicted_losses(stack, rows)
    )
    other = fit(TrainingTask(stack, stack.examples([0, 3]), 3, headed, seed=1), folder=tmp_path / "b")
    both = Ensemble((model, other)).predicted_losses(stack, rows)
    assert both == pytest.approx((model.predicted_losses(stack, rows) + other.predicted_losses(stack, rows)) / 2)
    assert model.predicted_losses(stack, []).shape == (0,)
    bare = fit(TrainingTask(stack, stack.examples([0, 3]), 3, tiny, seed=0), folder=tmp_path / "c")
    with pytest.raises(BadInput, match="no head"):
        bare.predicted_losses(stack, rows)


def test_a_warm_start_takes_what_there_is(stack, headed, tiny, tmp_path):
    examples = stack.examples([0, 3])
    bare = fit(TrainingTask(stack, examples, 3, tiny, seed=0), folder=tmp_path / "bare")
    first = fit(TrainingTask(stack, examples, 3, headed, seed=0), folder=tmp_path / "first")
    for number, (settings, initial) in enumerate(((headed, bare), (headed, first), (tiny, first))):
        warm = replace(settings, warm_start=True, steps=1, learning_rate=1e-12, warm_up=0.0)
        model = fit(TrainingTask(stack, examples, 3, warm, seed=7, initial=initial), folder=tmp_path / str(number))
        for name, value in initial.network.net.named_parameters():
            assert torch.allclose(value, dict(model.network.net.named_parameters())[name], atol=1e-6)
        if settings.loss_head and initial is first:
            before, after = (m.network.loss_head.out.weight for m in (first, model))
            assert torch.allclose(before, after, atol=0.02)


def test_settings_without_a_head_are_written_as_before(tiny, headed):
    assert "loss_head" not in tiny.to_json()
    assert headed.to_json()["loss_head"] is True
    assert TrainingSettings.from_json(headed.to_json()) == headed
    assert TrainingSettings.from_json(tiny.to_json()) == tiny
