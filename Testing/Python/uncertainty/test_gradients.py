"""Gradients of every slice, against autograd one slice at a time."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput, Cancelled
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.segmentation import Ensemble, SegmentationModel, TrainingSettings, partial_dice
from ActiveSegmentationLib.segmentation.network import build_network
from ActiveSegmentationLib.uncertainty.gradients import (
    LOSSES,
    choose_parameters,
    gradient_embeddings,
    mean_squared_gradients,
    parameter_count,
    sample_gradients,
)

LAYERS = ("last", "bottleneck", "decoder")
LAYER_NAMES = {
    "last": ["upcat_1.convs.conv_1.conv"],
    "bottleneck": ["down_4.convs.conv_1.conv"],
    "decoder": [f"upcat_{level}.convs.conv_{n}.conv" for level in (4, 3, 2, 1) for n in (0, 1)],
}


def random_model(seed: int = 0, norm: str = "batch") -> SegmentationModel:
    settings = TrainingSettings(features=(3, 4, 5, 6, 7), norm=norm)
    network = build_network(1, 3, settings, seed=seed).train()
    images = torch.rand((8, 1, 37, 42), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for _ in range(20):  # untrained running statistics flatten all but the finest level
            network(images)
    return SegmentationModel(network.eval(), 1, 3, settings, f"key-{seed}")


@pytest.fixture
def stack() -> SimpleNamespace:
    images = torch.rand((9, 1, 37, 42), generator=torch.Generator().manual_seed(0))
    return SimpleNamespace(
        grid_shape=(37, 42),
        channels=1,
        inside=lambda rows: np.ones((len(rows), 37, 42), dtype=bool),
        batches=lambda rows, device="cpu": images[torch.as_tensor(rows)],
    )


def by_autograd(network, image, layer, loss):
    """Gradient of one image (C, H, W), the weights of the layer flattened one after the other."""
    weights = [network.net.get_submodule(name).weight for name in LAYER_NAMES[layer]]
    logits = network(image[None])
    labels = logits.detach().argmax(1)
    log_p = torch.log_softmax(logits, 1).gather(1, labels[:, None])
    value = log_p.mean()
    if loss == "cross-entropy":
        value = -value
    if loss == "training":
        value = (partial_dice(logits, labels) - value) / 2
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, weights)])


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("norm", "shape"), [("batch", (37, 42)), ("instance", (32, 48)), ("group", (20, 33))])
def test_equal_to_autograd_one_image_at_a_time(layer, loss, norm, shape):
    network = random_model(norm=norm).network.double()
    images = torch.rand((3, 1, *shape), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = sample_gradients(network, images, layer=layer, loss=loss)
    expected = torch.stack([by_autograd(network, image, layer, loss) for image in images])
    assert found.dtype == torch.float64
    assert expected.abs().max() > 1e-7
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12 * float(expected.abs().max()))


@pytest.mark.parametrize("layer", LAYERS)
def test_chosen_columns_in_their_order_and_batches_do_not_matter(layer, stack):
    model, rows = random_model(), np.array([3, 8, 1, 0, 5])
    everything = gradient_embeddings(model, stack, rows, layer=layer)
    assert everything.shape == (5, parameter_count(model, layer))
    columns = np.random.default_rng(0).choice(everything.shape[1], 40, replace=False)
    chosen = gradient_embeddings(model, stack, rows, layer=layer, columns=columns, compute=Compute(batch_size=2))
    assert chosen.dtype == np.float32
    np.testing.assert_allclose(chosen, everything[:, columns], rtol=1e-4, atol=1e-7)
    first = gradient_embeddings(model, stack, rows, layer=layer, columns=np.arange(30))
    np.testing.assert_allclose(first, everything[:, :30], rtol=1e-4, atol=1e-7)


def test_the_diagonal_is_a_true_mean_of_squares(stack):
    model, rows = random_model(), np.array([0, 4, 7])
    gradients = gradient_embeddings(model, stack, rows, layer="decoder").astype(np.float64)
    found = mean_squared_gradients(model, stack, rows, layer="decoder", compute=Compute(batch_size=2))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, (gradients**2).mean(axis=0), rtol=1e-3, atol=1e-14)
    weighted = mean_squared_gradients(model, stack, rows, layer="decoder", weights=np.array([2, 0, 1]))
    np.testing.assert_allclose(weighted, (2 * gradients[0] ** 2 + gradients[2] ** 2) / 3, rtol=1e-3, atol=1e-14)
    with pytest.raises(ValueError, match="no slice"):
        mean_squared_gradients(model, stack, rows[:0], layer="decoder")


def test_nothing_of_the_model_changes(stack):
    model = random_model()
    network = model.network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    with torch.no_grad():
        found = sample_gradients(network, stack.batches([0, 1]), layer="decoder")
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), random)
    assert all(module.training for module in network.modules())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())
    assert not found.requires_grad
    again = sample_gradients(network.eval(), stack.batches([0, 1]), layer="decoder")
    assert torch.equal(found, again)  # dropout and batch statistics took no part in training mode


def test_of_an_ensemble_the_first_member(stack):
    first, second = random_model(0), random_model(1)
    both = gradient_embeddings(Ensemble((first, second)), stack, np.arange(3), layer="last")
    np.testing.assert_array_equal(both, gradient_embeddings(first, stack, np.arange(3), layer="last"))


def test_parameters_that_stand_for_a_layer():
    rng = np.random.default_rng(0)
    assert choose_parameters(100, 10, "first", rng).tolist() == list(range(10))
    assert choose_parameters(10, 100, "random", rng).tolist() == list(range(10))
    chosen = choose_parameters(1000, 50, "random", rng)
    assert len(set(chosen.tolist())) == 50
    assert np.all(np.diff(chosen) > 0)
    assert chosen.max() > 800
    assert choose_parameters(1000, 50, "random", np.random.default_rng(0)).tolist() == chosen.tolist()
    with pytest.raises(ValueError, match="random or first"):
        choose_parameters(10, 5, "last", rng)


def test_what_is_unknown_is_refused_and_a_cancel_stops(stack):
    model = random_model()
    with pytest.raises(BadInput, match="no part called 'head'"):
        gradient_embeddings(model, stack, np.arange(2), layer="head")
    with pytest.raises(BadInput, match="no loss called 'l2'"):
        gradient_embeddings(model, stack, np.arange(2), layer="last", loss="l2")
    with pytest.raises(Cancelled):
        gradient_embeddings(model, stack, np.arange(2), layer="last", compute=Compute(progress=Progress(lambda: True)))


def test_no_slice_gives_no_row(stack):
    assert gradient_embeddings(random_model(), stack, np.arange(0), layer="last").shape == (0, 81)


@pytest.mark.parametrize("loss", LOSSES)
def test_padding_takes_no_part(loss, stack):
    """Each slice's loss is the mean over its own pixels of the image, so a mask of all is the plain loss."""
    network, images = random_model().network.double(), stack.batches([0, 1, 2]).double()
    inside = torch.zeros((3, 37, 42), dtype=torch.bool)
    inside[0, 4:20, 5:30], inside[1], inside[2, :10] = True, True, True
    found = sample_gradients(network, images, layer="last", loss=loss, inside=inside)
    weight = network.net.get_submodule(LAYER_NAMES["last"][0]).weight
    for image, mask, gradient in zip(images, inside, found, strict=True):
        logits = network(image[None])
        labels = logits.detach().argmax(1)
        value = torch.log_softmax(logits, 1).gather(1, labels[:, None])[:, 0][:, mask].mean()
        if loss == "cross-entropy":
            value = -value
        if loss == "training":
            value = (partial_dice(logits, torch.where(mask, labels, 255)) - value) / 2
        expected = torch.autograd.grad(value, weight)[0].flatten()
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-14)
    whole = sample_gradients(network, images[1:2], layer="last", loss=loss)
    torch.testing.assert_close(found[1:2], whole)
